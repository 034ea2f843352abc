"""What anybody may read of a connector's markets: rules, quotes, books, candles, balances, and what rounds to them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping

from latentspeed.connectors.candle import Candle
from latentspeed.connectors.errors import OrderRefused
from latentspeed.connectors.market_state import MarketState
from latentspeed.connectors.order_book import OrderBook
from latentspeed.connectors.position import Balance
from latentspeed.connectors.quote import Quote
from latentspeed.connectors.trading_rule import TradingRule


class MarketAccess(ABC):
    """The getters of ConnectorBase that only read what it keeps of its markets."""

    _market: MarketState

    @property
    @abstractmethod
    def name(self) -> str:
        """The connector's name."""

    def get_trading_rule(self, trading_pair: str) -> TradingRule | None:
        """The rule of a market, None for an unknown pair."""
        return self._market.rules.get(trading_pair)

    def get_all_trading_rules(self) -> list[TradingRule]:
        """The rules of all markets."""
        return list(self._market.rules.values())

    def get_quote(self, trading_pair: str) -> Quote | None:
        """The latest quote of a market; the object is reused."""
        return self._market.quotes.get(trading_pair)

    def get_book(self, trading_pair: str) -> OrderBook | None:
        """The latest order book of a market; the object is reused."""
        return self._market.books.get(trading_pair)

    def get_candle(self, trading_pair: str, interval: str) -> Candle | None:
        """The latest candle of a market and interval, None where those are not heard; the object is reused."""
        return self._market.candles.get((trading_pair, interval))

    def get_balance(self, asset: str) -> Balance | None:
        """The latest balance of an asset; the object is reused."""
        return self._market.balances.get(asset)

    def get_all_balances(self) -> list[Balance]:
        """The balances that are not zero."""
        return [balance for balance in self._market.balances.values() if balance.total]

    def get_available_balance(self, asset: str) -> float:
        """What a new order may use of an asset; 0.0 for one that the account does not hold."""
        balance = self.get_balance(asset)
        return 0.0 if balance is None else balance.available

    def quantize_order_price(self, trading_pair: str, price: float) -> float:
        """The valid price nearest to `price`, ties down, see `TradingRule.quantize_price`.

        Raises OrderRefused for an unknown pair.
        """
        return self._rule(trading_pair).quantize_price(price)

    def quantize_order_amount(self, trading_pair: str, amount: float) -> float:
        """The amount in whole lots toward zero, see `TradingRule.quantize_amount`.

        Raises OrderRefused for an unknown pair.
        """
        return self._rule(trading_pair).quantize_amount(amount)

    def _rule(self, trading_pair: str) -> TradingRule:
        rule = self._market.rules.get(trading_pair) if isinstance(trading_pair, str) else None
        if rule is None:
            known = len(self._market.rules)
            hint = f"{known} pairs are known" if known else "no pairs are known before initialize"
            raise OrderRefused("trading_pair", trading_pair, f"{self.name} does not know this pair; {hint}")
        return rule

    def _set_trading_rules(self, rules: Iterable[TradingRule] | Mapping[str, TradingRule]) -> None:
        """Replaces all rules; listeners hear of what is new or changed, orders keep the rule they were made with."""
        self._market.set_rules(rules.values() if isinstance(rules, Mapping) else rules)
