"""The queries of a node and their answers, by field number and with the chain's own names."""

from __future__ import annotations

from typing import Final

from latentspeed.tools.venues.dydx_v4.protobuf import (
    BIG,
    BOOL,
    BYTES,
    SINT32,
    STRING,
    UINT32,
    UINT64,
    Schema,
    enum,
    message,
    repeated,
)
from latentspeed.tools.venues.dydx_v4.schemas import ANY, COIN, ORDER, ORDER_ID, SUBACCOUNT_ID

NOTHING: Final[Schema] = {}
PAGE: Final[Schema] = {1: ("next_key", BYTES), 2: ("total", UINT64)}
PAGE_REQUEST: Final[Schema] = {
    1: ("key", BYTES),
    2: ("offset", UINT64),
    3: ("limit", UINT64),
    4: ("count_total", BOOL),
    5: ("reverse", BOOL),
}
PAGED: Final[Schema] = {1: ("pagination", message(PAGE_REQUEST))}
BY_ID: Final[Schema] = {1: ("id", UINT32)}

# --- accounts and money ---

ACCOUNT_REQUEST: Final[Schema] = {1: ("address", STRING)}
BASE_ACCOUNT: Final[Schema] = {
    1: ("address", STRING),
    2: ("pub_key", message(ANY)),
    3: ("account_number", UINT64),
    4: ("sequence", UINT64),
}
ACCOUNT: Final[Schema] = {1: ("account", message(ANY))}
BASE_ACCOUNT_URL: Final = "/cosmos.auth.v1beta1.BaseAccount"
BALANCES_REQUEST: Final[Schema] = {
    1: ("address", STRING),
    2: ("pagination", message(PAGE_REQUEST)),
    3: ("resolve_denom", BOOL),
}
BALANCES: Final[Schema] = {1: ("balances", repeated(message(COIN))), 2: ("pagination", message(PAGE))}
BALANCE_REQUEST: Final[Schema] = {1: ("address", STRING), 2: ("denom", STRING)}
BALANCE: Final[Schema] = {1: ("balance", message(COIN))}

# --- blocks and transactions ---

_TIMESTAMP: Final[Schema] = {1: ("seconds", UINT64), 2: ("nanos", UINT32)}
_HEADER: Final[Schema] = {
    2: ("chain_id", STRING),
    3: ("height", UINT64),
    4: ("time", message(_TIMESTAMP)),
}
LATEST_BLOCK: Final[Schema] = {2: ("block", message({1: ("header", message(_HEADER))}))}
NODE_INFO: Final[Schema] = {
    1: ("default_node_info", message({4: ("network", STRING), 7: ("moniker", STRING)})),
    2: ("application_version", message({1: ("name", STRING), 2: ("app_name", STRING), 3: ("version", STRING)})),
}
SYNCING: Final[Schema] = {1: ("syncing", BOOL)}
BROADCAST_REQUEST: Final[Schema] = {1: ("tx_bytes", BYTES), 2: ("mode", UINT32)}
TX_RESPONSE: Final[Schema] = {
    1: ("height", UINT64),
    2: ("txhash", STRING),
    3: ("codespace", STRING),
    4: ("code", UINT32),
    5: ("data", STRING),
    6: ("raw_log", STRING),
}
BROADCAST: Final[Schema] = {1: ("tx_response", message(TX_RESPONSE))}
SIMULATE_REQUEST: Final[Schema] = {1: ("tx", BYTES), 2: ("tx_bytes", BYTES)}
SIMULATE: Final[Schema] = {1: ("gas_info", message({1: ("gas_wanted", UINT64), 2: ("gas_used", UINT64)}))}
TRANSACTION_REQUEST: Final[Schema] = {1: ("hash", STRING)}
TRANSACTION: Final[Schema] = {1: ("tx", BYTES), 2: ("tx_response", message(TX_RESPONSE))}

# --- trading ---

_STATUSES: Final = ("UNSPECIFIED", "ACTIVE", "PAUSED", "CANCEL_ONLY", "POST_ONLY", "INITIALIZING", "FINAL_SETTLEMENT")
_CLOB_PAIR: Final[Schema] = {
    1: ("id", UINT32),
    2: ("perpetual_clob_metadata", message({1: ("perpetual_id", UINT32)})),
    4: ("step_base_quantums", UINT64),
    5: ("subticks_per_tick", UINT32),
    6: ("quantum_conversion_exponent", SINT32),
    7: ("status", enum(*(f"STATUS_{name}" for name in _STATUSES))),
}
CLOB_PAIR: Final[Schema] = {1: ("clob_pair", message(_CLOB_PAIR))}
CLOB_PAIRS: Final[Schema] = {1: ("clob_pair", repeated(message(_CLOB_PAIR))), 2: ("pagination", message(PAGE))}
_TIER: Final[Schema] = {1: ("usd_tnc_required", BIG), 2: ("limit", UINT32)}
_TIERS: Final[Schema] = {
    1: ("short_term_order_equity_tiers", repeated(message(_TIER))),
    2: ("stateful_order_equity_tiers", repeated(message(_TIER))),
}
EQUITY_TIERS: Final[Schema] = {1: ("equity_tier_limit_config", message(_TIERS))}
_RATES: Final = repeated(message({1: ("num_blocks", UINT32), 2: ("limit", UINT32)}))
_RATE_CONFIG: Final[Schema] = {
    1: ("max_short_term_orders_per_n_blocks", _RATES),
    2: ("max_stateful_orders_per_n_blocks", _RATES),
    3: ("max_short_term_order_cancellations_per_n_blocks", _RATES),
    4: ("max_short_term_orders_and_cancels_per_n_blocks", _RATES),
    5: ("max_leverage_updates_per_n_blocks", _RATES),
}
BLOCK_RATE: Final[Schema] = {1: ("block_rate_limit_config", message(_RATE_CONFIG))}
STATEFUL_ORDER_REQUEST: Final[Schema] = {1: ("order_id", message(ORDER_ID))}
_PLACEMENT: Final[Schema] = {
    1: ("order", message(ORDER)),
    2: ("placement_index", message({1: ("block_height", UINT32), 2: ("transaction_index", UINT32)})),
}
STATEFUL_ORDER: Final[Schema] = {
    1: ("order_placement", message(_PLACEMENT)),
    2: ("fill_amount", UINT64),
    3: ("triggered", BOOL),
}
SUBACCOUNT_REQUEST: Final[Schema] = {1: ("owner", STRING), 2: ("number", UINT32)}
_PAIR_LEVERAGE: Final[Schema] = {1: ("clob_pair_id", UINT32), 2: ("custom_imf_ppm", UINT32)}
LEVERAGE: Final[Schema] = {1: ("clob_pair_leverage", repeated(message(_PAIR_LEVERAGE)))}
_ASSET_POSITION: Final[Schema] = {1: ("asset_id", UINT32), 2: ("quantums", BIG), 3: ("index", UINT64)}
_PERPETUAL_POSITION: Final[Schema] = {
    1: ("perpetual_id", UINT32),
    2: ("quantums", BIG),
    3: ("funding_index", BIG),
    4: ("quote_balance", BIG),
}
_SUBACCOUNT: Final[Schema] = {
    1: ("id", message(SUBACCOUNT_ID)),
    2: ("asset_positions", repeated(message(_ASSET_POSITION))),
    3: ("perpetual_positions", repeated(message(_PERPETUAL_POSITION))),
    4: ("margin_enabled", BOOL),
}
SUBACCOUNT: Final[Schema] = {1: ("subaccount", message(_SUBACCOUNT))}
SUBACCOUNTS: Final[Schema] = {1: ("subaccount", repeated(message(_SUBACCOUNT))), 2: ("pagination", message(PAGE))}

# --- markets ---

_MARKET_TYPES: Final = tuple(f"PERPETUAL_MARKET_TYPE_{name}" for name in ("UNSPECIFIED", "CROSS", "ISOLATED"))
_PERPETUAL_PARAMS: Final[Schema] = {
    1: ("id", UINT32),
    2: ("ticker", STRING),
    3: ("market_id", UINT32),
    4: ("atomic_resolution", SINT32),
    5: ("default_funding_ppm", SINT32),
    6: ("liquidity_tier", UINT32),
    7: ("market_type", enum(*_MARKET_TYPES)),
}
_PERPETUAL: Final[Schema] = {
    1: ("params", message(_PERPETUAL_PARAMS)),
    2: ("funding_index", BIG),
    3: ("open_interest", BIG),
}
PERPETUAL: Final[Schema] = {1: ("perpetual", message(_PERPETUAL))}
PERPETUALS: Final[Schema] = {1: ("perpetual", repeated(message(_PERPETUAL))), 2: ("pagination", message(PAGE))}
_LIQUIDITY_TIER: Final[Schema] = {
    1: ("id", UINT32),
    2: ("name", STRING),
    3: ("initial_margin_ppm", UINT32),
    4: ("maintenance_fraction_ppm", UINT32),
    7: ("open_interest_lower_cap", UINT64),
    8: ("open_interest_upper_cap", UINT64),
}
LIQUIDITY_TIERS: Final[Schema] = {
    1: ("liquidity_tiers", repeated(message(_LIQUIDITY_TIER))),
    2: ("pagination", message(PAGE)),
}
_PRICE: Final[Schema] = {1: ("id", UINT32), 2: ("exponent", SINT32), 3: ("price", UINT64)}
PRICE: Final[Schema] = {1: ("market_price", message(_PRICE))}
PRICES: Final[Schema] = {1: ("market_prices", repeated(message(_PRICE))), 2: ("pagination", message(PAGE))}
_PARAM: Final[Schema] = {
    1: ("id", UINT32),
    2: ("pair", STRING),
    3: ("exponent", SINT32),
    5: ("min_price_change_ppm", UINT32),
}
PARAM: Final[Schema] = {1: ("market_param", message(_PARAM))}
PARAMS: Final[Schema] = {1: ("market_params", repeated(message(_PARAM))), 2: ("pagination", message(PAGE))}

# --- fees and permissions ---

_FEE_TIER: Final[Schema] = {
    1: ("name", STRING),
    2: ("absolute_volume_requirement", UINT64),
    3: ("total_volume_share_requirement_ppm", UINT32),
    4: ("maker_volume_share_requirement_ppm", UINT32),
    5: ("maker_fee_ppm", SINT32),
    6: ("taker_fee_ppm", SINT32),
}
FEE_PARAMS: Final[Schema] = {1: ("params", message({1: ("tiers", repeated(message(_FEE_TIER)))}))}
FEE_TIER_REQUEST: Final[Schema] = {1: ("user", STRING)}
FEE_TIER: Final[Schema] = {1: ("index", UINT32), 2: ("tier", message(_FEE_TIER))}
AUTHENTICATORS_REQUEST: Final[Schema] = {1: ("account", STRING)}
_AUTHENTICATOR: Final[Schema] = {1: ("id", UINT64), 2: ("type", STRING), 3: ("config", BYTES)}
AUTHENTICATORS: Final[Schema] = {1: ("account_authenticators", repeated(message(_AUTHENTICATOR)))}
