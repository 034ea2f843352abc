"""Positions are what the venue says, moved exactly by the fills since."""

from __future__ import annotations

import json
import math

import pytest

from latentspeed.connectors.event_dispatcher import EventDispatcher
from latentspeed.connectors.hyperliquid import messages
from latentspeed.connectors.hyperliquid.account import Account
from latentspeed.connectors.hyperliquid.messages import AssetMeta, FillRow
from latentspeed.connectors.hyperliquid.metadata import perpetual_rule
from latentspeed.connectors.market_state import MarketState
from latentspeed.connectors.position import Position
from latentspeed.connectors.types import MarginMode

RULES = [
    perpetual_rule(AssetMeta(name=name, szDecimals=decimals, maxLeverage=40), index)
    for index, (name, decimals) in enumerate([("BTC", 5), ("ETH", 4), ("kPEPE", 0)])
]


class Book:
    def __init__(self):
        self.market = MarketState(EventDispatcher())
        self.market.set_rules(RULES)
        self.positions = {}
        self.problems = []
        self.account = Account(
            None,
            self.market,
            positions=self.positions,
            update_position=self.update,
            on_problem=lambda code, text: self.problems.append(text),
        )

    def update(self, position):
        known = self.positions.setdefault(position.trading_pair, position)
        if known is not position:
            for name in Position.__slots__:
                setattr(known, name, getattr(position, name))

    def state(self, *positions, venue_ms=1000, value="1000.0", used="100.0"):
        summary = {"accountValue": value, "totalMarginUsed": used, "totalNtlPos": "0.0", "totalRawUsd": "-5.0"}
        rows = [
            {
                "type": "oneWay",
                "position": {
                    "coin": coin,
                    "szi": size,
                    "entryPx": entry,
                    "leverage": {"type": mode, "value": 7},
                    "unrealizedPnl": "1.5",
                    "liquidationPx": None,
                    "marginUsed": "2.5",
                    "positionValue": "9",
                },
            }
            for coin, size, entry, mode in positions
        ]
        state = {"marginSummary": summary, "crossMarginSummary": summary, "assetPositions": rows, "time": venue_ms}
        self.account.apply_state(messages.CLEARINGHOUSE_STATE.decode(json.dumps(state)))

    def fill(self, side, size, price, start, venue_ms=2000, coin="BTC"):
        row = FillRow(coin=coin, px=price, sz=size, side=side, time=venue_ms, oid=1, tid=1, startPosition=start)
        self.account.apply_fill(row, self.market.rules_by_symbol[coin])


@pytest.fixture
def book():
    return Book()


def test_a_state_is_taken_whole(book):
    book.state(("BTC", "-0.00061", "82771.8", "cross"), ("kPEPE", "500.0", "0.0125", "isolated"))
    btc, pepe = book.positions["BTC-USD"], book.positions["kPEPE-USD"]
    assert (btc.amount, btc.entry_price, btc.leverage, btc.margin_mode) == (-0.00061, 82771.8, 7, MarginMode.CROSS)
    assert (btc.unrealized_pnl, btc.margin_used, math.isnan(btc.liquidation_price)) == (1.5, 2.5, True)
    assert (pepe.amount, pepe.margin_mode) == (500.0, MarginMode.ISOLATED)
    balance = book.market.balances["USDC"]
    assert (balance.total, balance.available) == (1000.0, 900.0)


def test_a_market_that_is_absent_is_flat(book):
    book.state(("BTC", "0.1", "100.0", "cross"), ("ETH", "1.0", "10.0", "cross"))
    book.state(("ETH", "1.0", "10.0", "cross"), venue_ms=1001)
    assert book.positions["BTC-USD"].amount == 0.0
    assert book.positions["BTC-USD"].leverage == 7
    assert book.positions["ETH-USD"].amount == 1.0


@pytest.mark.parametrize(
    ("side", "size", "price", "start", "amount", "entry"),
    [
        ("B", "0.2", "110.0", "0.1", 0.3, 106.66666666666667),
        ("A", "0.05", "110.0", "0.1", 0.05, 100.0),
        ("A", "0.3", "110.0", "0.1", -0.2, 110.0),
        ("A", "0.1", "110.0", "0.1", 0.0, math.nan),
    ],
)
def test_a_fill_moves_the_position(book, side, size, price, start, amount, entry):
    book.state(("BTC", "0.1", "100.0", "cross"))
    book.fill(side, size, price, start)
    position = book.positions["BTC-USD"]
    assert position.amount == amount
    assert position.entry_price == pytest.approx(entry, nan_ok=True)
    assert position.leverage == 7


def test_the_fills_own_start_position_counts_and_not_what_was_believed(book):
    book.fill("B", "0.1", "100.0", "0.5")
    assert book.positions["BTC-USD"].amount == 0.6


def test_a_state_older_than_a_fill_does_not_undo_it(book):
    book.fill("B", "0.1", "100.0", "0.0", venue_ms=2000)
    book.state(venue_ms=1999)
    assert book.positions["BTC-USD"].amount == 0.1
    book.state(("BTC", "0.0", "90.0", "cross"), venue_ms=1999)
    assert book.positions["BTC-USD"].amount == 0.1
    book.state(venue_ms=2001)
    assert book.positions["BTC-USD"].amount == 0.0


def test_an_older_fill_does_not_move_the_position_back(book):
    book.fill("B", "0.1", "100.0", "0.0", venue_ms=2000)
    book.fill("B", "0.3", "100.0", "0.7", venue_ms=1000)
    assert book.positions["BTC-USD"].amount == 0.1


def test_a_malformed_number_is_reported(book):
    book.state(("BTC", "lots", "100.0", "cross"))
    book.fill("B", "0.000001", "100.0", "0.0")
    assert len(book.problems) == 2
    assert book.positions == {}


def test_markets_of_others_are_left_out(book):
    book.state(("xyz:SILVER", "1.0", "80.0", "isolated"))
    assert book.positions == {}


def test_a_unified_account_spends_its_spot_balance(book):
    book.account.is_unified = True
    book.state(value="5.0")
    assert "USDC" not in book.market.balances
    state = messages.SPOT_CLEARINGHOUSE_STATE.decode(
        b'{"balances":[{"coin":"USDC","token":0,"total":"70.5","hold":"20.25"},{"coin":"+7","total":"1","hold":"0"}]}'
    )
    book.account.apply_spot_state(state)
    balance = book.market.balances["USDC"]
    assert (balance.total, balance.available) == (70.5, 50.25)
