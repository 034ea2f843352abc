"""The fields of the trading records, byte for byte: what `engine/records.py` makes its record types of.

Rules of layout: fields are naturally aligned; prices and amounts are float64 with their exact integers beside them;
venue times are nanoseconds since the epoch (`_utc_ns`), local ones CLOCK_MONOTONIC nanoseconds (`_mono_ns`); text is
fixed-width ASCII; enums are uint8 with the values of `latentspeed.connectors.types`.

    table record    | fields ... padding |   payload + 8-byte sequence is a multiple of 64
    ring record     | record_kind u4 | record_epoch u4 | fields ... padding |   a multiple of 64
    queue record    | command_index u8 | generation u4 | fields ... padding |   a multiple of 64

Changing any field changes the layout hash, and a process built with another layout refuses to attach.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Fields = list[tuple[str, str]]

CACHE_LINE = 64

PAIR = "S24"
ASSET = "S12"
DECIMAL = "S16"
VENUE_ID = "S40"
TRADE_ID = "S40"
REASON = "S64"
BOOK_DEPTH = 20


def padded_dtype(fields: Fields, *, multiple: int = CACHE_LINE, tail: int = 0) -> np.dtype[Any]:
    """A naturally aligned structured dtype whose itemsize plus `tail` is a multiple of `multiple` bytes.

    Parameters: `fields` (name, numpy format) in order of declaration; `tail` the bytes that follow each record in its
    section (8 for a cell's sequence). Raises ValueError when declaration order would need padding inside the record,
    so that a layout is what its source shows.
    """
    offset = 0
    offsets = []
    for name, spec in fields:
        kind = np.dtype(spec)
        alignment = kind.base.alignment
        if offset % alignment:
            raise ValueError(f"field {name} ({spec}) at offset {offset} is not aligned to {alignment} bytes")
        offsets.append(offset)
        offset += kind.itemsize
    size = -(-(offset + tail) // multiple) * multiple - tail
    return np.dtype(
        {"names": [n for n, _ in fields], "formats": [f for _, f in fields], "offsets": offsets, "itemsize": size}
    )


def table_dtype(fields: Fields) -> np.dtype[Any]:
    """The dtype of a record that lives in cells: payload plus sequence fill whole cache lines."""
    return padded_dtype(fields, tail=8)


def ring_dtype(fields: Fields) -> np.dtype[Any]:
    """The dtype of a record that lives in a broadcast ring, with the leading words that the ring stamps."""
    return padded_dtype([("record_kind", "u4"), ("record_epoch", "u4"), *fields])


INSTRUMENT_FIELDS: Fields = [
    ("asset_id", "u4"),
    ("max_leverage", "u4"),
    ("trading_pair", PAIR),
    ("symbol", PAIR),
    ("lot_size", DECIMAL),
    ("tick_size", DECIMAL),
    ("min_amount", DECIMAL),
    ("min_notional", DECIMAL),
    ("base_asset", ASSET),
    ("quote_asset", ASSET),
    ("significant_figures", "u1"),
    ("is_active", "?"),
    ("only_isolated", "?"),
    ("is_subscribed", "?"),
]

QUOTE_FIELDS: Fields = [
    ("trading_pair", PAIR),
    *[(name, "f8") for name in ("bid", "bid_size", "ask", "ask_size", "mark", "index", "oracle", "mid", "last")],
    ("funding_rate", "f8"),
    ("open_interest", "f8"),
    ("next_funding_utc_ns", "i8"),
    ("venue_utc_ns", "i8"),
    ("received_mono_ns", "i8"),
    ("published_mono_ns", "i8"),
    ("is_stale", "?"),
]

BOOK_FIELDS: Fields = [
    ("trading_pair", PAIR),
    ("venue_utc_ns", "i8"),
    ("received_mono_ns", "i8"),
    ("published_mono_ns", "i8"),
    ("bid_count", "u2"),
    ("ask_count", "u2"),
    ("is_stale", "?"),
    ("reserved", "(3,)u1"),
    ("bids", f"({BOOK_DEPTH},2)f8"),
    ("asks", f"({BOOK_DEPTH},2)f8"),
]

MARKET_EVENT_FIELDS: Fields = [
    ("instrument", "u4"),
    ("change", "u1"),
    ("side", "u1"),
    ("reserved", "u2"),
    ("price", "f8"),
    ("amount", "f8"),
    ("trade_id", "u8"),
    ("venue_utc_ns", "i8"),
    ("received_mono_ns", "i8"),
    ("published_mono_ns", "i8"),
]

# What a strategy must know of an order to rebuild it, and what a new gateway must know to settle it.
ORDER_IDENTITY_FIELDS: Fields = [
    ("client_order_id", "u8"),
    ("command_index", "u8"),
    ("generation", "u4"),
    ("instrument", "u4"),
    ("trading_pair", PAIR),
    ("exchange_order_id", VENUE_ID),
]

ORDER_TERMS_FIELDS: Fields = [
    ("trade_type", "u1"),
    ("order_type", "u1"),
    ("position_action", "u1"),
    ("time_in_force", "u1"),
    ("strategy_tag", "u2"),
    ("leverage", "u2"),
    ("order_price", "f8"),
    ("order_amount", "f8"),
    ("trigger_price", "f8"),
    ("order_price_units", "i8"),
    ("order_amount_lots", "i8"),
    ("trigger_price_units", "i8"),
    ("replaces_order_id", "u8"),
    ("parent_order_id", "u8"),
]

ORDER_PROGRESS_FIELDS: Fields = [
    ("state", "u1"),
    ("is_unknown", "?"),
    ("cancel_requested", "?"),
    ("has_open_size", "?"),
    ("revision", "u4"),
    ("fill_count", "u4"),
    ("epoch", "u4"),
    ("filled_lots", "i8"),
    ("filled_amount", "f8"),
    ("filled_value", "i8"),
    ("fill_digest", "u8"),
    ("average_price", "f8"),
    ("total_fee_units", "i8"),
    ("nonce", "u8"),
    ("venue_expiry_utc_ms", "i8"),
    ("reason", REASON),
    ("total_fee_asset", ASSET),
    ("filler", "u4"),
    ("command_written_mono_ns", "i8"),
    ("command_read_mono_ns", "i8"),
    ("signed_mono_ns", "i8"),
    ("sent_mono_ns", "i8"),
    ("acknowledged_mono_ns", "i8"),
    ("venue_utc_ns", "i8"),
    ("published_mono_ns", "i8"),
    ("published_utc_ns", "i8"),
]

# Of a row's latest fill: the ring cursor at which its event was to be published, and what to take away again where it
# never was; all 0 before the first fill.
LATEST_FILL_FIELDS: Fields = [
    ("fill_cursor", "u8"),
    ("latest_fill_lots", "i8"),
    ("latest_fill_value", "i8"),
    ("latest_fill_fee_units", "i8"),
    ("latest_fill_digest", "u8"),
]

FILL_FIELDS: Fields = [
    ("event_index", "u8"),
    # The venue time of the newest fill that was published before this one: what a reader of a ring that has wrapped
    # knows of the fills that are gone.
    ("newest_fill_before_utc_ns", "i8"),
    ("price", "f8"),
    ("amount", "f8"),
    ("fee", "f8"),
    ("price_units", "i8"),
    ("amount_lots", "i8"),
    ("fee_units", "i8"),
    ("trade_id", TRADE_ID),
    ("fee_asset", ASSET),
    ("event", "u1"),
    ("is_taker", "?"),
    ("command_kind", "u1"),
    ("command_ok", "?"),
]

POSITION_FIELDS: Fields = [
    ("trading_pair", PAIR),
    *[(name, "f8") for name in ("amount", "entry_price", "unrealized_pnl", "liquidation_price", "margin_used")],
    ("amount_lots", "i8"),
    ("opening_lots", "i8"),
    ("leverage", "u4"),
    ("margin_mode", "u1"),
    ("reserved", "(3,)u1"),
    ("venue_utc_ns", "i8"),
    ("received_mono_ns", "i8"),
    ("published_mono_ns", "i8"),
]

BALANCE_FIELDS: Fields = [
    ("asset", ASSET),
    ("reserved", "u4"),
    ("total", "f8"),
    ("available", "f8"),
    ("venue_utc_ns", "i8"),
    ("received_mono_ns", "i8"),
    ("published_mono_ns", "i8"),
]

# A MODIFY names the order that it replaces; a BRACKET places up to three orders, of which 0 as an id means none.
COMMAND_FIELDS: Fields = [
    ("command_index", "u8"),
    ("generation", "u4"),
    ("instrument", "u4"),
    ("client_order_id", "u8"),
    ("kind", "u1"),
    ("trade_type", "u1"),
    ("order_type", "u1"),
    ("position_action", "u1"),
    ("time_in_force", "u1"),
    ("margin_mode", "u1"),
    ("leverage", "u2"),
    ("price", "f8"),
    ("amount", "f8"),
    ("trigger_price", "f8"),
    ("expire_mono_ns", "i8"),
    ("written_mono_ns", "i8"),
    ("replaces_order_id", "u8"),
    ("take_profit_order_id", "u8"),
    ("stop_loss_order_id", "u8"),
    ("take_profit_trigger", "f8"),
    ("take_profit_price", "f8"),
    ("stop_loss_trigger", "f8"),
    ("stop_loss_price", "f8"),
    ("extra_params", "S96"),
]

# One book: fills by integers, so that two books agree exactly or not at all. `digest` is the sum of a hash of each
# fill, independent of order, so that a fill altered, dropped or doubled shows although the totals might hide it.
BOOK_ROW_FIELDS: Fields = [
    ("fill_count", "u8"),
    ("bought_lots", "i8"),
    ("sold_lots", "i8"),
    ("bought_value", "i8"),
    ("sold_value", "i8"),
    ("fee_units", "i8"),
    ("digest", "u8"),
    ("through_cursor", "u8"),
    ("generation", "u4"),
    ("instrument", "u4"),
]

# How far a session's client has read: cursors of the rings, how often it was lapped, what it lost by that.
READER_FIELDS: Fields = [
    ("events_cursor", "u8"),
    ("market_cursor", "u8"),
    ("events_laps", "u8"),
    ("market_laps", "u8"),
    ("records_lost", "u8"),
    ("updated_mono_ns", "i8"),
    ("generation", "u4"),
]

CONNECTOR_FIELDS: Fields = [
    ("name", "S32"),
    ("domain", "S48"),
    ("account_address", "S64"),
    ("extra_param_keys", "S128"),
    ("state", "u1"),
    ("is_ready", "?"),
    ("order_types", "u2"),
    ("instrument_count", "u4"),
    ("balance_count", "u4"),
    ("subscription_count", "u4"),
    ("connected_count", "u8"),
    ("book_cursor", "u8"),
    ("started_utc_ns", "i8"),
    ("last_message_mono_ns", "i8"),
    ("newest_fill_utc_ns", "i8"),
    # By how much the venue's clock is ahead of ours, by how much that may be off, and when it was measured (0 never).
    ("venue_skew_ns", "i8"),
    ("venue_skew_error_ns", "i8"),
    ("venue_skew_mono_ns", "i8"),
    ("replaceable_types", "u2"),
    ("has_brackets", "?"),
    ("connector_type", "u1"),
]


CANDLE_FIELDS: Fields = [
    ("trading_pair", PAIR),
    ("interval", "S8"),
    *[(name, "f8") for name in ("open", "high", "low", "close", "volume")],
    ("start_utc_ns", "i8"),
    ("end_utc_ns", "i8"),
    ("received_mono_ns", "i8"),
    ("published_mono_ns", "i8"),
    ("trade_count", "u4"),
    ("is_closed", "?"),
]

# One candle of an answer: who asked, and in which command (`engine/candle_history.py`).
HISTORY_CANDLE_FIELDS: Fields = [
    ("requester", "u8"),
    ("command_index", "u8"),
    *[(name, "f8") for name in ("open", "high", "low", "close", "volume")],
    ("start_utc_ns", "i8"),
    ("end_utc_ns", "i8"),
    ("trade_count", "u4"),
    ("is_closed", "?"),
]

# What the account has paid and received for one instrument since the segment was made: the latest payment and the sum.
FUNDING_FIELDS: Fields = [
    ("trading_pair", PAIR),
    ("asset", ASSET),
    ("count", "u4"),
    ("rate", "f8"),
    ("amount", "f8"),
    ("amount_units", "i8"),
    ("total_units", "i8"),
    ("position_amount", "f8"),
    ("venue_utc_ns", "i8"),
    ("published_mono_ns", "i8"),
]

CHANNEL_FIELDS: Fields = [
    ("name", PAIR),
    ("trading_pair", PAIR),
    ("state", "u1"),
    ("is_regular", "?"),
    ("reserved", "(6,)u1"),
    ("messages", "u8"),
    ("heard_mono_ns", "i8"),
    ("checked_mono_ns", "i8"),
    ("published_mono_ns", "i8"),
]

LIMIT_FIELDS: Fields = [
    ("name", "S32"),
    ("used", "f8"),
    ("capacity", "f8"),
    ("reserve", "f8"),
    ("blocked_s", "f8"),
    ("refused", "u8"),
    ("published_mono_ns", "i8"),
]
