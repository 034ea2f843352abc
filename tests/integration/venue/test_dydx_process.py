"""The local dYdX in a process of its own, as programs that block or test a connector from outside run it."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request

import pytest

from latentspeed.tools.venues.dydx_v4.process import venue_process


def ask(url, body=None):
    data = json.dumps(body).encode() if body is not None else None
    with urllib.request.urlopen(urllib.request.Request(url, data), timeout=60) as answer:
        return json.loads(answer.read())


def test_a_venue_process_tells_where_it_listens_and_ends_with_its_block():
    with venue_process("--quiet", "--block-ms", "0") as venue:
        assert venue.ws_url.startswith("ws://127.0.0.1:")
        height = int(ask(venue.rpc_url + "/status")["result"]["sync_info"]["latest_block_height"])
        assert ask(venue.control_url, {"do": "make_block", "count": 3}) == {"ok": True, "height": height + 3}
        assert ask(venue.rest_url + "/v4/height")["height"] == str(height + 3)
        pid = venue.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(urllib.error.URLError):
        ask(venue.rest_url + "/v4/height")


def test_a_venue_that_cannot_start_says_so(capfd):
    with pytest.raises(RuntimeError, match="before it was ready"), venue_process("--tape", "/no/such/tape"):
        pass
    assert "venue dydx_v4:" in capfd.readouterr().err
