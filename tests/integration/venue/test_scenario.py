"""A scenario file: what goes wrong when, for how long, and what a wrong file is told."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from latentspeed.tools.venues.hyperliquid.process import venue_process

LATENTSPEED = str(Path(sys.executable).with_name("latentspeed"))


@pytest.fixture
def written(tmp_path):
    """Writes a scenario file."""

    def write(text: str) -> Path:
        path = tmp_path / "scenario.toml"
        path.write_text(text)
        return path

    return write


def test_a_step_waits_for_its_order_and_hits_the_very_reply(with_venue, wallet, written):
    path = written('[[step]]\nafter_orders = 3\ndo = "drop_next_reply"\n')

    async def scenario(client):
        for index in range(2):
            await client.exchange(wallet.order(str(60_000 + index)))
        with pytest.raises(aiohttp.ClientError):
            await client.exchange(wallet.order("60002"))
        await client.exchange(wallet.order("60003"))
        assert len(await client.info("openOrders", user=wallet.address)) == 4

    with_venue(scenario, scenario=path)


def test_a_step_waits_for_its_time_lasts_as_long_as_it_says_and_comes_again(with_venue, written):
    path = written(
        '[[step]]\nat_s = 0.05\ndo = "silent_pongs"\nfor_s = 0.05\nevery_s = 0.2\ntimes = 2\n'
        '[[step]]\nat_s = 0\ndo = "set"\nsetting = "greeting"\nvalue = false\n'
    )

    async def scenario(client):
        assert client.venue.config.greeting is False
        seen = []
        async with asyncio.timeout(10):
            while seen != [False, True, False, True, False]:
                now = bool(client.venue.faults.armed)
                if seen[-1:] != [now]:
                    seen.append(now)
                await asyncio.sleep(0.005)

    with_venue(scenario, scenario=path)


def test_a_venue_that_stops_plays_nothing_more(with_venue, written):
    path = written('[[step]]\nat_s = 0.01\ndo = "http_429_burst"\nevery_s = 0.01\ntimes = 1000000\n')

    async def scenario(client):
        await client.venue.stop()
        client.venue.faults.reset()
        await asyncio.sleep(0.05)
        assert client.venue.faults.armed == {}

    with_venue(scenario, scenario=path)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "no [[step]]"),
        ("[[step]\n", "Expected"),
        ("[[step]]\nat_s = 1\n", "step 1: do=None: must be one of advance_clock"),
        ('[[step]]\nat_s = 1\ndo = "silence"\n', "step 1: do='silence': must be one of"),
        ('[[step]]\ndo = "silent_pongs"\n', "step 1: needs either at_s or after_orders"),
        ('[[step]]\nat_s = 1\nafter_orders = 1\ndo = "silent_pongs"\n', "step 1: needs either at_s or after_orders"),
        ('[[step]]\nat_s = -1\ndo = "silent_pongs"\n', "step 1: at_s=-1: must be seconds, from 0"),
        ('[[step]]\nat_s = "1"\ndo = "silent_pongs"\n', "step 1: at_s='1': must be seconds"),
        ('[[step]]\nafter_orders = 0\ndo = "silent_pongs"\n', "step 1: after_orders=0: must be a whole number"),
        ('[[step]]\nat_s = 1\ndo = "drop_sockets"\nfor_s = 1\n', "step 1: for_s: drop_sockets has no duration"),
        ('[[step]]\nat_s = 1\ndo = "silent_pongs"\nfor_s = 0\n', "step 1: for_s=0: must be seconds, above 0"),
        ('[[step]]\nat_s = 1\ndo = "silent_pongs"\ntimes = 2\n', "step 1: every_s and times go together"),
        (
            '[[step]]\nat_s = 1\ndo = "silent_pongs"\nfor = 2\n',
            "step 1: silent_pongs: unknown argument 'for'; it takes",
        ),
        (
            '[[step]]\nat_s = 1\ndo = "silent_pongs"\n\n[[step]]\nat_s = 1\ndo = "set_price"\ncoin = "BTC"\n',
            "step 2: set_price: missing 'price', a decimal number as text",
        ),
        (
            '[[step]]\nat_s = 1\ndo = "silent_pongs"\n[other]\n',
            "unknown key 'other'; a scenario has [[step]] tables only",
        ),
    ],
)
def test_a_wrong_scenario_ends_the_command_with_the_step_and_the_rule(written, text, error):
    path = written(text)
    done = subprocess.run(
        [LATENTSPEED, "venue", "hyperliquid", "--port", "0", "--scenario", str(path)],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "PYTHONSAFEPATH": "1"},
        check=False,
    )
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert str(path) in done.stderr
    assert error in done.stderr


def test_a_scenario_that_is_not_there_is_named(written):
    path = written("").with_name("none.toml")
    with pytest.raises(RuntimeError, match="ended with 2"), venue_process("--scenario", str(path)):
        pass


def test_the_documented_scenario_is_one(with_venue, written):
    page = (Path(__file__).parents[3] / "docs" / "venue.md").read_text()
    example = page.split("```toml\n")[1].split("```")[0]

    async def scenario(client):
        assert len(client.venue.scenario.steps) >= 4

    with_venue(scenario, scenario=written(example))
