"""latentspeed: an order gateway for Python trading strategies.

The names below are loaded when they are first used, so that `import latentspeed` costs nothing to a command line.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from latentspeed.connectors.compound_orders import BracketIds as BracketIds
    from latentspeed.connectors.compound_orders import ExitParams as ExitParams
    from latentspeed.connectors.errors import ConnectorError as ConnectorError
    from latentspeed.connectors.errors import NotReady as NotReady
    from latentspeed.connectors.errors import OrderRefused as OrderRefused
    from latentspeed.connectors.errors import VenueRejected as VenueRejected
    from latentspeed.connectors.errors import VenueUnreachable as VenueUnreachable
    from latentspeed.connectors.events import ConnectorErrorEvent as ConnectorErrorEvent
    from latentspeed.connectors.events import ErrorEventListener as ErrorEventListener
    from latentspeed.connectors.events import MarketDataListener as MarketDataListener
    from latentspeed.connectors.events import OrderEventListener as OrderEventListener
    from latentspeed.connectors.events import TradeEventListener as TradeEventListener
    from latentspeed.connectors.events import TradeUpdate as TradeUpdate
    from latentspeed.connectors.in_flight_order import InFlightOrder as InFlightOrder
    from latentspeed.connectors.order_book import OrderBook as OrderBook
    from latentspeed.connectors.order_params import OrderParams as OrderParams
    from latentspeed.connectors.pending import Pending as Pending
    from latentspeed.connectors.position import Balance as Balance
    from latentspeed.connectors.position import Position as Position
    from latentspeed.connectors.quote import MarketTrade as MarketTrade
    from latentspeed.connectors.quote import Quote as Quote
    from latentspeed.connectors.trading_rule import TradingRule as TradingRule
    from latentspeed.connectors.types import ConnectorState as ConnectorState
    from latentspeed.connectors.types import ConnectorType as ConnectorType
    from latentspeed.connectors.types import MarginMode as MarginMode
    from latentspeed.connectors.types import OrderState as OrderState
    from latentspeed.connectors.types import OrderType as OrderType
    from latentspeed.connectors.types import PositionAction as PositionAction
    from latentspeed.connectors.types import TimeInForce as TimeInForce
    from latentspeed.connectors.types import TradeType as TradeType
    from latentspeed.engine.in_process import run_in_process as run_in_process
    from latentspeed.engine.order_reports import CatchUpTrade as CatchUpTrade
    from latentspeed.engine.records import OrderEventKind as OrderEventKind
    from latentspeed.engine.refusals import GatewayNotReady as GatewayNotReady
    from latentspeed.engine.refusals import OrderBlockFull as OrderBlockFull
    from latentspeed.engine.refusals import OrderIdsExhausted as OrderIdsExhausted
    from latentspeed.engine.remote_connector import RemoteConnector as RemoteConnector
    from latentspeed.engine.run import run as run
    from latentspeed.engine.strategy import OrderNotice as OrderNotice
    from latentspeed.engine.strategy import Strategy as Strategy
    from latentspeed.ipc import CommandQueueFull as CommandQueueFull
    from latentspeed.ipc import ForkedSession as ForkedSession
    from latentspeed.ipc import GatewayDown as GatewayDown
    from latentspeed.ipc import IpcError as IpcError
    from latentspeed.ipc import SegmentRetired as SegmentRetired
    from latentspeed.ipc import SessionFenced as SessionFenced

_MODULES = {
    "connectors.compound_orders": ("BracketIds", "ExitParams"),
    "connectors.errors": ("ConnectorError", "NotReady", "OrderRefused", "VenueRejected", "VenueUnreachable"),
    "connectors.events": (
        "ConnectorErrorEvent",
        "ErrorEventListener",
        "MarketDataListener",
        "OrderEventListener",
        "TradeEventListener",
        "TradeUpdate",
    ),
    "connectors.in_flight_order": ("InFlightOrder",),
    "connectors.order_book": ("OrderBook",),
    "connectors.order_params": ("OrderParams",),
    "connectors.pending": ("Pending",),
    "connectors.position": ("Balance", "Position"),
    "connectors.quote": ("MarketTrade", "Quote"),
    "connectors.trading_rule": ("TradingRule",),
    "connectors.types": (
        "ConnectorState",
        "ConnectorType",
        "MarginMode",
        "OrderState",
        "OrderType",
        "PositionAction",
        "TimeInForce",
        "TradeType",
    ),
    "engine.in_process": ("run_in_process",),
    "engine.order_reports": ("CatchUpTrade",),
    "engine.records": ("OrderEventKind",),
    "engine.refusals": ("GatewayNotReady", "OrderBlockFull", "OrderIdsExhausted"),
    "engine.remote_connector": ("RemoteConnector",),
    "engine.run": ("run",),
    "engine.strategy": ("OrderNotice", "Strategy"),
    "ipc": ("CommandQueueFull", "ForkedSession", "GatewayDown", "IpcError", "SegmentRetired", "SessionFenced"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    module = _HOMES.get(name)
    if module is None:
        raise AttributeError(f"module 'latentspeed' has no attribute {name!r}")
    value = getattr(import_module(f"latentspeed.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
