"""Commands about margin: what a strategy asked for, put to the connector; the venue's word is the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from latentspeed.connectors import MarginMode, OrderRefused, Pending, PerpetualDerivativeBase
from latentspeed.engine.records import KEEP_MARGIN_MODE, Command, CommandKind

if TYPE_CHECKING:
    from latentspeed.connectors import ConnectorBase

MARGIN_KINDS: Final = frozenset((CommandKind.SET_LEVERAGE, CommandKind.SET_MARGIN_MODE, CommandKind.ADJUST_MARGIN))


def start_margin_command(connector: ConnectorBase, command: Command, trading_pair: str) -> Pending[Any]:
    """Begin what a command of MARGIN_KINDS asks for.

    Raises OrderRefused for what the market does not allow, on spot anything, and ValueError for a margin mode that
    there is not.
    """
    if not isinstance(connector, PerpetualDerivativeBase):
        raise OrderRefused("command", CommandKind(command.kind).name, f"{connector.name} does not trade on margin")
    if command.kind == CommandKind.ADJUST_MARGIN:
        return connector.adjust_margin(trading_pair, command.amount)
    if command.kind == CommandKind.SET_MARGIN_MODE:
        return connector.set_margin_mode(trading_pair, MarginMode(command.margin_mode))
    mode = None if command.margin_mode == KEEP_MARGIN_MODE else MarginMode(command.margin_mode)
    return connector.set_leverage(trading_pair, command.leverage, mode)
