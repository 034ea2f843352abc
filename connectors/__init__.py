"""Trading connectors: the framework that every venue shares, and the venues. Knows no shared memory."""

from latentspeed.connectors.candle import Candle
from latentspeed.connectors.channels import Channel, ChannelState, ChannelWatch
from latentspeed.connectors.client_order_id import (
    IN_PROCESS_SLOT,
    ClientOrderIdGenerator,
    format_client_order_id,
    new_incarnation,
    parse_client_order_id,
)
from latentspeed.connectors.client_order_tracker import ClientOrderTracker
from latentspeed.connectors.clock_skew import ClockSkew
from latentspeed.connectors.compound_orders import BracketIds, ExitParams
from latentspeed.connectors.connector_base import ConnectorBase
from latentspeed.connectors.counted_before import ForgottenFills
from latentspeed.connectors.data_sources import OrderBookTrackerDataSource, UserStreamTrackerDataSource
from latentspeed.connectors.errors import (
    ConnectorError,
    InvalidOption,
    NotReady,
    OrderEnded,
    OrderNeverSent,
    OrderRefused,
    SignerInUse,
    VenueRejected,
    VenueUnreachable,
)
from latentspeed.connectors.events import (
    ConnectorErrorEvent,
    ErrorEventListener,
    MarketDataListener,
    OrderEventListener,
    OrderUpdate,
    TradeEventListener,
    TradeUpdate,
)
from latentspeed.connectors.funding import FundingPayment, PredictedFunding
from latentspeed.connectors.in_flight_order import InFlightOrder
from latentspeed.connectors.network_connector import NetworkConnector
from latentspeed.connectors.options import checked_options
from latentspeed.connectors.order_book import OrderBook
from latentspeed.connectors.order_params import OrderLimits, OrderParams
from latentspeed.connectors.pending import Pending
from latentspeed.connectors.perpetual_derivative_base import PerpetualDerivativeBase
from latentspeed.connectors.position import Balance, Position
from latentspeed.connectors.quote import MarketTrade, Quote
from latentspeed.connectors.rate_limit import RateLimit
from latentspeed.connectors.restored_order import restore_order
from latentspeed.connectors.spot_exchange_base import SpotExchangeBase
from latentspeed.connectors.trading_rule import TradingRule, decimal_units
from latentspeed.connectors.types import (
    ConnectorState,
    ConnectorType,
    MarginMode,
    OrderState,
    OrderType,
    PositionAction,
    ReportSource,
    TimeInForce,
    TradeType,
    enum_name,
)

__all__ = [
    "IN_PROCESS_SLOT",
    "Balance",
    "Candle",
    "Channel",
    "ChannelState",
    "ChannelWatch",
    "BracketIds",
    "ClientOrderIdGenerator",
    "ClientOrderTracker",
    "ClockSkew",
    "ConnectorBase",
    "ConnectorError",
    "ConnectorErrorEvent",
    "ConnectorState",
    "ConnectorType",
    "ErrorEventListener",
    "ForgottenFills",
    "FundingPayment",
    "ExitParams",
    "InFlightOrder",
    "InvalidOption",
    "MarginMode",
    "MarketDataListener",
    "MarketTrade",
    "NetworkConnector",
    "NotReady",
    "OrderBook",
    "OrderBookTrackerDataSource",
    "OrderEnded",
    "OrderEventListener",
    "OrderLimits",
    "OrderNeverSent",
    "OrderParams",
    "OrderRefused",
    "OrderState",
    "OrderType",
    "OrderUpdate",
    "Pending",
    "PerpetualDerivativeBase",
    "Position",
    "PositionAction",
    "PredictedFunding",
    "Quote",
    "RateLimit",
    "ReportSource",
    "SignerInUse",
    "SpotExchangeBase",
    "TimeInForce",
    "TradeEventListener",
    "TradeType",
    "TradeUpdate",
    "TradingRule",
    "UserStreamTrackerDataSource",
    "VenueRejected",
    "VenueUnreachable",
    "checked_options",
    "decimal_units",
    "enum_name",
    "format_client_order_id",
    "new_incarnation",
    "parse_client_order_id",
    "restore_order",
]
