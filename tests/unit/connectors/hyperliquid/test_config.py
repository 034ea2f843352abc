"""An option that cannot be is refused by name, and only the main network is signed for as such."""

from __future__ import annotations

import pytest

from latentspeed.connectors.errors import InvalidOption
from latentspeed.connectors.hyperliquid.config import LOCAL, MAINNET, TESTNET, HyperliquidConfig


def test_addresses_follow_the_domain():
    assert HyperliquidConfig().rest_url == "https://api.hyperliquid.xyz"
    assert HyperliquidConfig().socket_url == "wss://api.hyperliquid.xyz/ws"
    assert HyperliquidConfig(domain=TESTNET).rest_url == "https://api.hyperliquid-testnet.xyz"
    local = HyperliquidConfig(domain=LOCAL, base_url="http://127.0.0.1:3001/")
    assert (local.rest_url, local.socket_url) == ("http://127.0.0.1:3001", "ws://127.0.0.1:3001/ws")


def test_only_the_main_domain_signs_for_the_main_network():
    assert HyperliquidConfig(domain=MAINNET).is_mainnet
    assert not HyperliquidConfig(domain=TESTNET).is_mainnet
    assert not HyperliquidConfig(domain=LOCAL, base_url="http://127.0.0.1:1").is_mainnet


def test_limits_are_kept_everywhere_but_locally_unless_asked():
    assert HyperliquidConfig().is_limited
    assert not HyperliquidConfig(domain=LOCAL, base_url="http://127.0.0.1:1").is_limited
    assert HyperliquidConfig(domain=LOCAL, base_url="http://127.0.0.1:1", limit_requests=True).is_limited


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("domain", {"domain": "hyperliquid"}),
        ("base_url", {"domain": LOCAL}),
        ("base_url", {"domain": LOCAL, "base_url": "https://api.example.com"}),
        ("base_url", {"base_url": "http://api.example.com"}),
        ("ws_url", {"ws_url": "ws://10.1.2.3/ws"}),
        ("account_address", {"account_address": "0x12"}),
        ("account_address", {"account_address": "0x" + "g" * 40}),
        ("engine_instance", {"engine_instance": 1 << 32}),
        ("slippage", {"slippage": 0.0}),
        ("slippage", {"slippage": 1.5}),
        ("order_transport", {"order_transport": "carrier pigeon"}),
        ("max_batch", {"max_batch": 201}),
        ("place_expiry_ms", {"place_expiry_ms": 0}),
        ("request_timeout_s", {"request_timeout_s": float("nan")}),
        ("stale_after_s", {"stale_after_s": -1.0}),
        ("account_kind", {"account_kind": "pool", "account_address": "0x" + "1" * 40}),
        ("account_kind", {"account_kind": "vault"}),
        ("agent_check_every_s", {"agent_check_every_s": -1}),
        ("builder_address", {"builder_address": "0x12", "builder_fee_tenths_bp": 1}),
        ("builder_fee_tenths_bp", {"builder_address": "0x" + "1" * 40}),
        ("dead_man_switch_s", {"dead_man_switch_s": 4.0}),
        ("market_channels", {"market_channels": ("l2Book",)}),
        ("market_channels", {"market_channels": ("bbo", "candle")}),
    ],
)
def test_a_wrong_option_is_refused_by_name(name, options):
    with pytest.raises(InvalidOption, match=f"^{name}="):
        HyperliquidConfig(**options)
