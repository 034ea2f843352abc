"""The official client holds a position over the hour: payments, histories, predictions, and an isolated margin."""

from __future__ import annotations

from decimal import Decimal

import pytest
from support.venue_sdk import SdkTrader, control, eventually, order_request

from latentspeed.tools.venues.hyperliquid.process import venue_process

HOUR_MS = 3_600_000


@pytest.fixture
def trader():
    with venue_process("--quiet") as venue:
        control(venue, "set_price", coin="ETH", price="3000")
        maker, trader = SdkTrader(venue), SdkTrader(venue, "userFundings")
        maker.place([order_request("ETH", False, 10, 3_000)])
        maker.place([order_request("ETH", True, 10, 2_990)])
        yield trader
        maker.close()
        trader.close()


@pytest.mark.parametrize(("rate", "paid"), [("0.0001", "-0.6"), ("-0.0000104821", "0.062892")])
def test_a_position_pays_or_receives_at_the_hour(trader, rate, paid):
    control(trader.venue, "set_funding", coin="ETH", rate=rate)
    trader.place([order_request("ETH", True, 2, 3_000, "Ioc")])
    before = Decimal(trader.info.user_state(trader.user)["marginSummary"]["totalRawUsd"])
    control(trader.venue, "advance_clock", ms=HOUR_MS)
    (row,) = eventually(lambda: trader.info.user_funding_history(trader.user, 0))
    assert row["delta"] == {
        "type": "funding", "coin": "ETH", "usdc": paid, "szi": "2.0", "fundingRate": rate, "nSamples": None,
    }  # fmt: skip
    assert row["time"] % HOUR_MS < 100
    state = trader.info.user_state(trader.user)
    assert Decimal(state["marginSummary"]["totalRawUsd"]) - before == Decimal(paid)
    assert Decimal(state["assetPositions"][0]["position"]["cumFunding"]["sinceOpen"]) == -Decimal(paid)
    told = eventually(lambda: [d for d in trader.of("userFundings") if not d.get("isSnapshot")])
    assert told[0]["fundings"] == [{"time": row["time"], **{k: v for k, v in row["delta"].items() if k != "type"}}]
    (event,) = eventually(lambda: [d["funding"] for d in trader.of("user") if "funding" in d])
    assert event == told[0]["fundings"][0]
    assert trader.info.funding_history("ETH", 0)[-1]["fundingRate"] == rate
    assert trader.info.funding_history("ETH", 0)[-1]["time"] == row["time"]
    predicted = dict(trader.info.post("/info", {"type": "predictedFundings"}))["ETH"]
    assert [name for name, _ in predicted] == ["BinPerp", "HlPerp"]
    own = dict(predicted)["HlPerp"]
    assert (own["fundingRate"], own["nextFundingTime"] % HOUR_MS) == (rate, 0)


def test_an_isolated_position_pays_from_its_own_margin_which_can_be_topped_up(trader):
    trader.exchange.update_leverage(10, "ETH", is_cross=False)
    trader.place([order_request("ETH", True, 2, 3_000, "Ioc")])
    control(trader.venue, "set_funding", coin="ETH", rate="0.0001")

    def position():
        return trader.info.user_state(trader.user)["assetPositions"][0]["position"]

    first = position()
    assert (first["marginUsed"], first["leverage"]["rawUsd"]) == ("600.0", "-5400.0")
    control(trader.venue, "advance_clock", ms=HOUR_MS)
    eventually(lambda: position()["leverage"]["rawUsd"] == "-5400.6")
    assert trader.exchange.update_isolated_margin(100, "ETH")["status"] == "ok"
    second = position()
    assert second["leverage"]["rawUsd"] == "-5300.6"
    assert Decimal(second["liquidationPx"]) < Decimal(first["liquidationPx"])
    assert trader.exchange.update_isolated_margin(-50, "ETH")["status"] == "ok"
    assert position()["leverage"]["rawUsd"] == "-5350.6"
    refused = trader.exchange.update_isolated_margin(-600, "ETH")
    assert refused["status"] == "err"
    reply = trader.exchange.update_leverage(10, "ETH", is_cross=True)
    assert reply == {"status": "err", "response": "Cannot switch leverage type with open position."}
