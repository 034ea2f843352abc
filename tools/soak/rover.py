"""A strategy that does everything at random, for the soak: `python -m latentspeed.tools.soak.rover`."""

from __future__ import annotations

import os
import random
from time import monotonic

from latentspeed import OrderParams, OrderType, PositionAction, TimeInForce, TradeType, run
from latentspeed.tools.proving.strategies import ProvenStrategy

PERIOD_S = 0.05
MOST_OPEN = 12
KINDS = (
    (OrderType.LIMIT, TimeInForce.GTC),
    (OrderType.LIMIT, TimeInForce.GTC),
    (OrderType.LIMIT, TimeInForce.IOC),
    (OrderType.LIMIT_MAKER, TimeInForce.GTC),
    (OrderType.MARKET, TimeInForce.GTC),
)


class Rover(ProvenStrategy):
    """Places orders of every kind around the touch, some of them reduce-only, and cancels at random."""

    def on_start(self) -> None:
        """Draw from the seed and the name."""
        super().on_start()
        self.random = random.Random(f"{os.environ['LATENTSPEED_PROVING_SEED']}:{self.name}:{os.getpid()}")
        self.every(PERIOD_S, self.act)

    def act(self) -> None:
        """One thing or another."""
        if self.is_finishing or monotonic() >= self.stop_at or not self.venue.is_ready:
            return
        quote, draw = self.venue.get_quote(self.pair), self.random
        if quote is None or not (quote.bid and quote.ask):
            return
        live = self.venue.get_open_orders()
        if live and draw.random() < 0.4:
            self.cancel(draw.choice(live).client_order_id)
        if len(live) > MOST_OPEN or draw.random() < 0.02:
            self.venue.cancel_all()
            return
        side = draw.choice((TradeType.BUY, TradeType.SELL))
        order_type, time_in_force = draw.choice(KINDS)
        price = None
        if order_type is not OrderType.MARKET:
            touch = quote.bid if side is TradeType.BUY else quote.ask
            price = self.venue.quantize_order_price(self.pair, touch * (1.0 + draw.uniform(-0.0006, 0.0006)))
        amount = self.venue.quantize_order_amount(self.pair, self.clip * draw.randint(1, 5))
        action = PositionAction.CLOSE if draw.random() < 0.1 else PositionAction.NIL
        self.place(side, OrderParams(self.pair, amount, price, order_type, action, time_in_force=time_in_force))


if __name__ == "__main__":
    run(Rover, start_timeout_s=60.0)  # a gateway that is killed again and again is away for long
