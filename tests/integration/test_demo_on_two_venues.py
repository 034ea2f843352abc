"""One engine, two venues: what is filled on the one is hedged on the other, and both venues' books agree with ours."""

import subprocess
from decimal import Decimal

import pytest
from support.demo_run import COMMAND, run_demo

from latentspeed.tools.demo.run import unhedged


def test_the_books_of_both_venues_agree_though_both_gateways_are_killed(tmp_path):
    kills = ["--kill", "gateway-dydx_v4@2", "--kill", "gateway-hyperliquid@5"]
    report = run_demo(tmp_path, "--venues", "hyperliquid,dydx_v4", "--seconds", "9", *kills)
    fills = report["fills"]
    for venue in ("hyperliquid", "dydx_v4"):
        assert fills[f"{venue}: venue"] == fills[f"{venue}: gateway"] > 0
        assert report["orders"][f"{venue}: sent"] > 0
    assert [kill["sessions_kept"] for kill in report["kills"]] == [["hedger"], ["hedger"]]
    assert report["gateway_epochs"] == 4


def test_on_dydx_alone_the_books_agree_after_gateway_and_taker_were_killed(tmp_path):
    kills = ["--kill", "gateway@2", "--kill", "taker@5"]
    report = run_demo(tmp_path, "--venues", "dydx_v4", "--seconds", "9", *kills)
    fills = report["fills"]
    assert fills["venue"] == fills["gateway"] > 0
    gateway, taker = report["kills"]
    assert report["gateway_epochs"] == gateway["epoch"] == 2
    assert gateway["sessions_kept"] == ["maker", "taker"]
    assert taker["open_orders"] == taker["cancelled"] + taker["filled"] > 0


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--venues", "atlantis"), "'atlantis' is none of dydx_v4, hyperliquid"),
        (("--venues", "hyperliquid,hyperliquid"), "is not one venue or two different ones"),
        (("--venues", "hyperliquid,dydx_v4", "--kill", "gateway@1"), "gateway-dydx_v4@10"),
        (("--venues", "dydx_v4", "--chaos", "1"), "chaos is for hyperliquid alone"),
    ],
)
def test_what_cannot_be_is_said_in_words(options, problem):
    done = subprocess.run([*COMMAND, *options], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 2
    assert problem in " ".join(done.stderr.replace("\u2502", " ").split())


def test_positions_that_do_not_hedge_each_other_are_a_difference():
    fine, coarse = Decimal("0.00001"), Decimal("0.0001")
    assert unhedged([(-600, fine), (60, coarse)]) == unhedged([(-609, fine), (60, coarse)]) == []
    assert unhedged([(-610, fine), (60, coarse)]) == ["the positions add up to -0.00010, a lot is 0.0001"]
    assert unhedged([(-600, fine), (-60, coarse)])
