"""Rows of funding payments become payments, each told once."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import msgspec
import pytest
from support.heard import Heard

from latentspeed.connectors.dydx_v4 import decoding, messages
from latentspeed.connectors.dydx_v4.fundings import FundingHours, FundingReports
from latentspeed.connectors.event_dispatcher import EventDispatcher
from latentspeed.connectors.market_state import MarketState
from latentspeed.connectors.trading_rule import TradingRule
from latentspeed.connectors.transport import HttpStatusError

RULE = TradingRule("BTC-USD", "BTC-USD", 0, Decimal("0.0001"), Decimal(1), quote_asset="USDC")
ROW = {
    "ticker": "BTC-USD",
    "payment": "-0.008",
    "createdAt": "2026-01-01T16:00:00.219Z",
    "createdAtHeight": "7000",
    "perpetualId": "0",
    "oraclePrice": "64000",
    "size": "0.01",
    "side": "LONG",
    "rate": "0.0000125",
    "subaccountNumber": "0",
    "fundingIndex": "0.8",
}
AT_NS = 1_767_283_200_219 * 10**6


class Told:
    """Reports with a listener, and what went wrong."""

    def __init__(self):
        self.heard, self.problems = Heard(), []
        events = EventDispatcher()
        events.market_data_listener = self.heard
        market = MarketState(events)
        market.set_rules([RULE])
        self.reports = FundingReports(
            market, on_payment=lambda: None, on_problem=lambda code, text: self.problems.append(code)
        )

    def take(self, *changes):
        return self.reports.take([msgspec.convert({**ROW, **change}, messages.FundingPaymentRow) for change in changes])


@pytest.fixture
def told():
    return Told()


def test_a_row_is_one_payment_however_often_it_comes(told):
    assert told.take({}, {}) == 1
    assert told.take({}) == 0
    (payment,) = told.heard.fundings
    assert (payment.amount_units, payment.amount, payment.rate) == (-800_000, -0.008, 0.0000125)
    assert (payment.position_amount, payment.venue_utc_ns) == (0.01, AT_NS)


def test_what_children_of_a_parent_pay_in_a_block_is_one_payment(told):
    told.take({"subaccountNumber": "128", "payment": "0.5", "size": "-2", "side": "SHORT"}, {"payment": "-1.25"})
    (payment,) = told.heard.fundings
    assert payment.amount_units == -75_000_000
    assert payment.position_amount == -1.99


def test_the_hours_of_a_market_are_told_in_their_order(told):
    later = {"createdAtHeight": "13000", "createdAt": "2026-01-01T17:00:00.100Z"}
    assert told.take(later, {}) == 2
    assert [payment.venue_utc_ns for payment in told.heard.fundings] == [AT_NS, AT_NS + (3_600_000 - 119) * 10**6]
    assert told.reports.newest_ns == told.heard.fundings[-1].venue_utc_ns


def test_payments_before_the_start_and_of_unknown_markets_are_nobodys(told):
    told.reports.counts_from_ns = AT_NS + 1
    assert told.take({}, {"ticker": "OTHER-USD", "createdAtHeight": "9000"}) == 0
    assert not told.problems


@pytest.mark.parametrize("change", [{"payment": "x"}, {"rate": "inf"}, {"createdAt": "noon"}, {"size": ""}])
def test_a_row_that_is_no_payment_hides_no_other(told, change):
    assert told.take(change, {"createdAtHeight": "9000"}) == 1
    assert told.problems == ["malformed_message"]


def test_an_indexer_that_does_not_know_the_question_is_asked_once(told):
    asked, problems = [], []

    class Rest:
        async def funding_payments(self, since_ns):
            asked.append(since_ns)
            raise HttpStatusError(404, "Not Found")

    hours = FundingHours(
        told.reports, Rest(), is_holding=lambda: True, start=None, on_problem=lambda code, _: problems.append(code)
    )
    for _ in range(3):
        asyncio.run(hours.ask_now())
    assert (len(asked), problems) == (1, ["fundings_failed"])


def test_an_answer_with_a_row_of_another_shape_is_read_row_by_row():
    problems = []
    body = msgspec.json.encode({"fundingPayments": [ROW, {**ROW, "payment": None}, ROW]})
    rows, length = decoding.funding_rows(body, lambda code, text: problems.append(code))
    assert (len(rows), length, problems) == (2, 3, ["malformed_message"])
