"""A simulated dYdX chain with traders whose transactions are really signed, and a sink that notes what it is told."""

from __future__ import annotations

import hashlib

from latentspeed.connectors.dydx_v4 import wire
from latentspeed.connectors.dydx_v4.keys import DydxKey
from latentspeed.connectors.dydx_v4.transactions import FREE, Fee, TransactionSigner
from latentspeed.connectors.dydx_v4.wire import OrderFlags, OrderId, Side, WireOrder
from latentspeed.tools.venues.dydx_v4.chain import Chain
from latentspeed.tools.venues.dydx_v4.config import VenueConfig
from latentspeed.tools.venues.dydx_v4.refusals import TxRefused

SILENT = {"market": "none", "block_interval_ms": 0}
BTC_STEP, BTC_TICK = 1_000_000, 100_000
GAS_FEE = Fee((("adv4tnt", str(200_000 * 25_000_000_000)),), 200_000)
"""What everything that is not an order pays."""


class Notes:
    """What an indexer would be told."""

    def __init__(self):
        self.said = []
        self.blocks = []

    def order_placed(self, order):
        self.said.append(("placed", order.key.client_id))

    def order_hidden(self, order):
        self.said.append(("hidden", order.key.client_id))

    def order_removed(self, key, order, reason):
        self.said.append(("removed", key.client_id, reason.name))

    def order_matched(self, order):
        self.said.append(("matched", order.key.client_id, order.filled))

    def levels_changed(self, market, levels):
        self.said += [("level", market.ticker, *level) for level in sorted(levels)]

    def block_made(self, block):
        self.blocks.append(block)

    def orders(self):
        """What was said of orders since the last look."""
        said, self.said = [one for one in self.said if one[0] != "level"], []
        return said


class Clock:
    def __init__(self, now_ms=1_735_600_000_000):
        self.now_ms = now_ms

    def __call__(self):
        return self.now_ms


class Trader:
    """A key that trades on the chain; client ids count up by themselves."""

    def __init__(self, desk, name, number=0):
        self.desk = desk
        self.number = number
        self.node = 0
        """Which node takes what it sends."""
        self.key = DydxKey(hashlib.sha256(name.encode()).digest())
        self.address = self.key.address
        account = desk.chain.enrol(self.address)
        self.signer = TransactionSigner(self.key, desk.chain.config.chain_id, account.number)
        self.last_client_id = 0

    @property
    def subaccount(self):
        return self.desk.chain.ledger.subaccount(self.address, self.number)

    def order_id(self, client_id, flags=OrderFlags.SHORT_TERM, pair=0):
        return OrderId(self.address, self.number, client_id, flags, pair)

    def order(self, side, size, price, *, client_id=None, flags=OrderFlags.SHORT_TERM, pair=0, **more):
        """A BTC order of `size` steps at `price` dollars."""
        if client_id is None:
            self.last_client_id += 1
            client_id = self.last_client_id
        if flags is OrderFlags.SHORT_TERM:
            more.setdefault("good_til_block", self.desk.chain.height + 10)
        else:
            more.setdefault("good_til_time", self.desk.clock.now_ms // 1000 + 3600)
        return WireOrder(self.order_id(client_id, flags, pair), side, size * BTC_STEP, round(price * BTC_TICK), **more)

    def send(self, *messages, sequence=0, fee=FREE):
        """Broadcasts; returns the code as (codespace, code), ("", 0) for success."""
        try:
            raw = self.signer.transaction(messages, sequence=sequence, fee=fee)
            self.desk.chain.broadcast(raw, node=self.node)
        except TxRefused as refused:
            return refused.codespace, refused.code
        return "", 0

    def place(self, side, size, price, *, sequence=0, **more):
        return self.send(wire.place_order(self.order(side, size, price, **more)), sequence=sequence)

    def buy(self, size, price, **more):
        return self.place(Side.BUY, size, price, **more)

    def sell(self, size, price, **more):
        return self.place(Side.SELL, size, price, **more)

    def cancel(self, client_id, good_til_block=None):
        until = good_til_block or self.desk.chain.height + 10
        return self.send(wire.cancel_order(self.order_id(client_id), good_til_block=until))

    def position(self, ticker="BTC-USD"):
        """In steps."""
        position = self.subaccount.positions.get(ticker)
        return position.quantums // BTC_STEP if position is not None else 0


class Desk:
    """A silent chain, its clock and what it says."""

    def __init__(self, **config):
        self.clock = Clock()
        self.notes = Notes()
        self.chain = Chain(VenueConfig(**{**SILENT, **config}), self.notes, self.clock)
        for ticker, price in self.chain.config.prices.items():
            market = self.chain.markets[ticker]
            self.chain.set_oracle(ticker, market.to_subticks(round(float(price) * 10**8), up=False))
        self.make_block()

    def make_block(self, after_ms=600):
        self.clock.now_ms += after_ms
        return self.chain.make_block()

    def trader(self, name, number=0):
        return Trader(self, name, number)
