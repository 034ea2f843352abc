"""What the engine asks of a connector without positions and margin, and what it says of one."""

from __future__ import annotations

import pytest

from latentspeed.connectors import ConnectorType, OrderRefused, OrderType, PositionAction, SignerInUse, TradeType
from latentspeed.connectors.errors import InvalidOption
from latentspeed.connectors.hyperliquid import (
    HyperliquidConfig,
    HyperliquidPerpetualConnector,
    HyperliquidSpotConnector,
    SigningKey,
)
from latentspeed.connectors.hyperliquid.config import LOCAL, SPOT_LOCAL
from latentspeed.engine.connector_factory import ConnectorRequest, create_connector
from latentspeed.engine.connector_limits import read_limits, write_limits
from latentspeed.engine.margin_commands import MARGIN_KINDS, start_margin_command
from latentspeed.engine.place_command import CommandRefused, make_orders
from latentspeed.engine.records import Command, CommandKind, Connector
from latentspeed.engine.signer_lock import hold_account

ADDRESS = "http://127.0.0.1:1"
KEY = SigningKey(b"\x01" * 32)


@pytest.fixture
def spot():
    return HyperliquidSpotConnector(HyperliquidConfig(domain=SPOT_LOCAL, base_url=ADDRESS), KEY)


@pytest.mark.parametrize("kind", sorted(MARGIN_KINDS))
def test_margin_commands_are_refused_where_nothing_is_traded_on_margin(spot, kind):
    command = Command()
    command.kind, command.amount, command.leverage = kind, 5.0, 2
    with pytest.raises(OrderRefused, match="hyperliquid_spot does not trade on margin"):
        start_margin_command(spot, command, "HYPE-USDC")


def test_exits_of_a_position_are_refused_where_there_are_no_positions(spot):
    command = Command()
    command.kind, command.trade_type, command.amount = CommandKind.BRACKET, TradeType.SELL, 1.0
    command.order_type, command.client_order_id, command.trigger_price = OrderType.STOP_MARKET, 7, 30.0
    with pytest.raises(CommandRefused, match="no positions"):
        make_orders(spot, [command], None, "HYPE-USDC", 1, 0)


def test_the_limits_of_spot_are_told_to_whoever_attaches(spot):
    row = Connector()
    write_limits(row, spot.order_limits)
    row.connector_type = spot.connector_type
    limits = read_limits(row)
    assert row.connector_type == ConnectorType.SPOT
    assert limits.position_actions == frozenset({PositionAction.NIL})
    assert (limits.has_leverage, limits.has_brackets) == (False, False)
    assert limits.order_types == spot.order_limits.order_types
    row.connector_type = ConnectorType.DERIVATIVE_PERPETUAL
    assert read_limits(row).has_leverage


def test_an_engine_may_trade_one_account_on_spot_and_in_perpetuals_and_each_by_one_gateway(spot, tmp_path):
    perpetual = HyperliquidPerpetualConnector(HyperliquidConfig(domain=LOCAL, base_url=ADDRESS), KEY)
    assert perpetual.account_address == spot.account_address
    with (
        hold_account("engine", spot, "one", folder=tmp_path),
        hold_account("engine", perpetual, "two", folder=tmp_path),
        pytest.raises(SignerInUse, match="one"),
    ):
        hold_account("engine", spot, "three", folder=tmp_path)


def request(domain, **options):
    return ConnectorRequest(
        name="mine",
        domain=domain,
        account_address=None,
        secret="0x" + "01" * 32,
        options={"base_url": ADDRESS, **options},
        engine_instance=1,
        last_nonce=0,
        store_nonce=lambda nonce: None,
    )


def test_a_configuration_names_the_kind_of_connector_and_its_dexs():
    assert create_connector("hyperliquid_spot", request(SPOT_LOCAL)).connector_type is ConnectorType.SPOT
    perpetual = create_connector("hyperliquid", request(LOCAL, dexs=["xyz", "hed"]))
    assert perpetual.connector_type is ConnectorType.DERIVATIVE_PERPETUAL
    assert perpetual.config.dexs == ("xyz", "hed")
    for kind, wrong in (
        ("hyperliquid_spot", request(LOCAL)),
        ("hyperliquid", request(SPOT_LOCAL)),
        ("hyperliquid_spot", request(SPOT_LOCAL, dexs=["xyz"])),
        ("hyperliquid", request(LOCAL, dexs="xyz")),
    ):
        with pytest.raises(InvalidOption):
            create_connector(kind, wrong)
