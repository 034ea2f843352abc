"""The official dYdX client, unmodified, against the local venue: gRPC, the indexer's REST and its sockets.

It lives in an environment of its own, because it wants an older coincurve than the other developer tools: `make test`
and `make dydx-client` make it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from latentspeed.tools.venues.dydx_v4.process import venue_process

PYTHON = Path(sys.prefix) / "dydx-client" / "bin" / "python"
PROGRAM = Path(__file__).parents[2] / "support" / "official_dydx_client.py"
OK = ["", 0]
pytestmark = pytest.mark.skipif(
    not PYTHON.exists(), reason="the official dYdX client is not installed: run `make dydx-client`"
)


@pytest.fixture
def venue():
    with venue_process("--quiet", "--block-ms", "200", "--grpc-port", "0") as running:
        yield running


@pytest.fixture
def client(venue):
    """Runs a scenario of the client's program; returns what the client saw."""
    urls = {name: getattr(venue, name) for name in ("rest_url", "ws_url", "grpc_url", "rpc_url", "control_url")}

    def run(scenario):
        command = [PYTHON, PROGRAM, scenario, json.dumps(urls)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_it_trades_and_hears_of_it_by_every_channel(client):
    seen = client("trade")
    assert seen["placed"] == [OK, OK]
    assert seen["book"] == {"bids": [], "asks": [{"price": "64010", "size": "0.001"}]}
    assert seen["statuses"] == ["BEST_EFFORT_OPENED", "FILLED"]
    (told,), (found,) = seen["fills_told"], seen["fills"]
    assert (told["liquidity"], told["side"], told["price"], told["fee"]) == ("MAKER", "SELL", "64010", "0.006401")
    assert (found["liquidity"], found["side"], found["size"], found["fee"]) == ("TAKER", "BUY", "0.001", "0.032005")
    assert found["clientMetadata"] == "2", "this client writes 2 whatever it is given"
    assert (seen["position"]["size"], seen["position"]["entryPrice"]) == ("0.001", "64010")
    assert seen["on_chain"] == "02989680"
    assert seen["trades"][0]["trades"][0]["side"] == "BUY"
    assert seen["candles"][-1]["close"] == "64010"


def test_it_cancels_one_order_and_several_at_once(client):
    seen = client("cancel")
    # The second cancel is the same bytes again; the last order's block is over.
    assert seen["verdicts"] == [OK, OK, ["sdk", 19], OK, ["clob", 10]]
    assert all(told[:2] == ["BEST_EFFORT_OPENED", "BEST_EFFORT_CANCELED"] for told in seen["statuses"].values())


def test_it_places_long_term_and_conditional_orders_and_takes_them_back(client):
    seen = client("stateful")
    assert seen["verdicts"] == [OK] * 4
    assert seen["same"], "the chain holds the order that was sent"
    assert (seen["shown"]["type"], seen["shown"]["status"]) == ("STOP_LIMIT", "UNTRIGGERED")
    assert seen["shown"]["triggerPrice"] == "63000"
    assert seen["statuses"] == {"21": ["OPEN", "CANCELED"], "22": ["UNTRIGGERED", "OPEN", "CANCELED"]}


def test_it_moves_money_and_pays_for_the_gas_that_it_simulated(client):
    seen = client("money")
    assert seen["verdicts"] == [OK] * 4
    assert seen["faucet"] == [202, 202]
    assert sorted(seen["transfers"]) == ["DEPOSIT", "TRANSFER_IN", "WITHDRAWAL"]
    # Five dollars came back on balance, and four fees of less than a cent each were paid.
    assert 4_960_000 < seen["usdc"] < 5_000_000
    assert seen["native"] == 10**18 - 777


def test_it_hears_of_a_parent_with_its_children(client):
    seen = client("children")
    assert seen["verdicts"] == [OK, OK]
    assert seen["snapshot"]["parentSubaccountNumber"] == 0
    assert [128, "51", "BEST_EFFORT_OPENED"] in seen["orders"]
    assert [128, "51"] in seen["listed"]
    assert seen["equities"]["128"] == "50"


def test_it_lets_another_key_trade_and_takes_that_back(client):
    assert client("permission") == {
        "added": OK,
        "placed": OK,
        "refused": ["dydxaccountplus", 104],
        "removed": OK,
        "late": ["dydxaccountplus", 1],
    }


def test_it_can_ask_everything_a_trader_asks(client):
    seen = client("queries")
    assert [pair.get("id", 0) for pair in seen["clob_pairs"]["clob_pair"]] == [0, 1, 5, 10, 28, 99]
    assert seen["perpetual"]["perpetual"]["params"]["atomic_resolution"] == 1, "a positive one is zig-zag encoded"
    assert (seen["price"]["exponent"], seen["price"]["price"]) == (-5, "6400000000")
    assert seen["node_info"]["default_node_info"]["network"] == "localdydxprotocol"
    assert seen["equity_tiers"][1] == ["0201312d00", 10]
    assert int(seen["latest_block"]["block"]["header"]["height"]) > 24_000_000
    assert (seen["syncing"], seen["validators"]) == (False, "UNIMPLEMENTED")
    assert seen["user_fee_tier"]["tier"]["taker_fee_ppm"] == 500
    assert seen["rest_screen"] == {"restricted": False}
    assert seen["rest_markets"]["markets"]["PEPE-USD"]["stepSize"] == "10000000"
    for name, rows in (("fills", "fills"), ("positions", "positions"), ("assets", "positions")):
        parent = seen[f"rest_parent_{name}"][rows]
        assert parent
        assert parent == seen[f"rest_{name}"][rows]
