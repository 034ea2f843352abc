"""What a node answers to queries of its state: once, for gRPC and for the REST paths.

`QUERIES` names each by its gRPC method, with the REST path that serves it and the schemas of request and answer. The
names of fields are the chain's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from latentspeed.tools.venues.dydx_v4 import query_schemas as schemas
from latentspeed.tools.venues.dydx_v4.accounts import Subaccount
from latentspeed.tools.venues.dydx_v4.chain import Chain
from latentspeed.tools.venues.dydx_v4.gas import USDC_DENOM
from latentspeed.tools.venues.dydx_v4.markets import PPM, STATUSES, Market, MarketTerms
from latentspeed.tools.venues.dydx_v4.memclob import MAKER_FEE_PPM, TAKER_FEE_PPM
from latentspeed.tools.venues.dydx_v4.orders import OrderKey
from latentspeed.tools.venues.dydx_v4.protobuf import Schema

Fields = dict[str, Any]


class NotFound(Exception):
    """The state holds nothing of that name."""


class Query(NamedTuple):
    """One query.

    Attributes:
        path: Where REST serves it, with the request's fields in braces; empty for gRPC only.
        request: Schema of the request.
        answer: Schema of the answer.
        run: Answers from the state; raises NotFound.
    """

    path: str
    request: Schema
    answer: Schema
    run: Callable[[Chain, Mapping[str, Any]], Fields]


def _page(found: Iterable[Fields]) -> Fields:
    return {"next_key": b"", "total": len(list(found))}


def _market(chain: Chain, number: int) -> Market:
    market = chain.by_pair.get(number)
    if market is None:
        raise NotFound("not found")
    return market


# --- money ---


def _coins(chain: Chain, address: str) -> list[Fields]:
    account = chain.enrol(address)
    amounts = {} if account is None else {USDC_DENOM: account.usdc, chain.config.native_denom: account.native}
    return [{"denom": denom, "amount": str(amount)} for denom, amount in amounts.items() if amount]


def _balances(chain: Chain, asked: Mapping[str, Any]) -> Fields:
    coins = _coins(chain, asked["address"])
    return {"balances": coins, "pagination": _page(coins)}


def _balance(chain: Chain, asked: Mapping[str, Any]) -> Fields:
    denom = asked["denom"]
    found = [coin for coin in _coins(chain, asked["address"]) if coin["denom"] == denom]
    return {"balance": found[0] if found else {"denom": denom, "amount": "0"}}


# --- the node ---


def _latest_block(chain: Chain, asked: Mapping[str, Any]) -> Fields:
    moment = {"seconds": chain.time_ms // 1000, "nanos": chain.time_ms % 1000 * 1_000_000}
    return {"block": {"header": {"chain_id": chain.config.chain_id, "height": chain.height, "time": moment}}}


def _node_info(chain: Chain, asked: Mapping[str, Any]) -> Fields:
    return {
        "default_node_info": {"network": chain.config.chain_id, "moniker": "latentspeed-local"},
        "application_version": {"name": "dydxprotocol", "app_name": "dydxprotocold", "version": "9.6.0"},
    }


def _syncing(chain: Chain, asked: Mapping[str, Any]) -> Fields:
    return {"syncing": False}


# --- the order books' terms ---


def _clob_pair_row(market: Market) -> Fields:
    terms = market.terms
    return {
        "id": terms.clob_pair_id,
        "perpetual_clob_metadata": {"perpetual_id": terms.clob_pair_id},
        "step_base_quantums": terms.step_quantums,
        "subticks_per_tick": terms.subticks_per_tick,
        "quantum_conversion_exponent": terms.conversion_exponent,
        "status": STATUSES.index(terms.status),
    }


def _clob_pair(chain: Chain, asked: Mapping[str, Any]) -> Fields:
    return {"clob_pair": _clob_pair_row(_market(chain, asked["id"]))}


def _clob_pairs(chain: Chain, asked: Mapping[str, Any]) -> Fields:
    found = [_clob_pair_row(market) for market in chain.markets.values()]
    return {"clob_pair": found, "pagination": _page(found)}


def _equity_tiers(chain: Chain, asked: Mapping[str, Any]) -> Fields:
    tiers = [{"usd_tnc_required": floor * PPM, "limit": count} for floor, count in chain.config.equity_tiers]
    return {"equity_tier_limit_config": {"stateful_order_equity_tiers": tiers}}


def _block_rate(chain: Chain, asked: Mapping[str, Any]) -> Fields:
    config = chain.config
    found: Fields = {
        "max_stateful_orders_per_n_blocks": [
            {"num_blocks": blocks, "limit": limit} for blocks, limit in config.stateful_limits
        ]
    }
    if config.short_term_limit:
        short_term = {"num_blocks": config.short_term_blocks, "limit": config.short_term_limit}
        found["max_short_term_orders_and_cancels_per_n_blocks"] = [short_term]
    return {"block_rate_limit_config": found}


def _stateful_order(chain: Chain, asked: Mapping[str, Any]) -> Fields:
    order = chain.stateful.get(OrderKey.of(asked["order_id"])) if asked["order_id"] is not None else None
    if order is None:
        raise NotFound("not found")
    return {
        "order_placement": {
            "order": order.fields,
            "placement_index": {"block_height": order.created_height, "transaction_index": 0},
        },
        "fill_amount": order.confirmed,
        "triggered": order.is_triggered,
    }


# --- subaccounts ---


def _subaccount_row(chain: Chain, owner: str, number: int, subaccount: Subaccount | None) -> Fields:
    found: Fields = {"id": {"owner": owner, "number": number}, "asset_positions": [], "perpetual_positions": []}
    if subaccount is None:
        return found
    if subaccount.quote:
        found["asset_positions"] = [{"asset_id": 0, "quantums": subaccount.quote, "index": 0}]
    for ticker, position in subaccount.positions.items():
        index = position.funding_index * PPM
        row = {
            "perpetual_id": chain.markets[ticker].terms.clob_pair_id,
            "quantums": position.quantums,
            "funding_index": index.numerator // index.denominator,
            "quote_balance": 0,
        }
        found["perpetual_positions"].append(row)
    found["margin_enabled"] = True
    return found


def _subaccount(chain: Chain, asked: Mapping[str, Any]) -> Fields:
    owner, number = asked["owner"], asked["number"]
    chain.enrol(owner)
    return {"subaccount": _subaccount_row(chain, owner, number, chain.ledger.subaccounts.get((owner, number)))}


def _subaccounts(chain: Chain, asked: Mapping[str, Any]) -> Fields:
    found = [
        _subaccount_row(chain, owner, number, subaccount)
        for (owner, number), subaccount in sorted(chain.ledger.subaccounts.items())
        if subaccount.quote or subaccount.positions
    ]
    return {"subaccount": found, "pagination": _page(found)}


def _leverage(chain: Chain, asked: Mapping[str, Any]) -> Fields:
    subaccount = chain.ledger.subaccounts.get((asked["owner"], asked["number"]))
    own = subaccount.own_margin_ppm if subaccount is not None else {}
    pairs = sorted((chain.markets[ticker].terms.clob_pair_id, ppm) for ticker, ppm in own.items())
    return {"clob_pair_leverage": [{"clob_pair_id": pair, "custom_imf_ppm": ppm} for pair, ppm in pairs]}


# --- markets ---


def _tier(terms: MarketTerms) -> tuple[int, int, int, int]:
    """Initial margin, the share of it for maintenance, both in millionths, and the caps of open interest in dollars."""
    return terms.initial_ppm, terms.maintenance_ppm * PPM // terms.initial_ppm, terms.lower_cap, terms.upper_cap


def _tiers(chain: Chain) -> list[tuple[int, int, int, int]]:
    """The margin terms that markets have."""
    return sorted({_tier(market.terms) for market in chain.markets.values()})


def _perpetual_row(chain: Chain, market: Market) -> Fields:
    terms = market.terms
    index = market.funding_index * PPM
    return {
        "params": {
            "id": terms.clob_pair_id,
            "ticker": terms.ticker,
            "market_id": terms.clob_pair_id,
            "atomic_resolution": terms.atomic_resolution,
            "liquidity_tier": _tiers(chain).index(_tier(terms)),
            "market_type": 2 if terms.is_isolated else 1,
        },
        "funding_index": index.numerator // index.denominator,
        "open_interest": market.open_interest,
    }


def _perpetual(chain: Chain, asked: Mapping[str, Any]) -> Fields:
    return {"perpetual": _perpetual_row(chain, _market(chain, asked["id"]))}


def _perpetuals(chain: Chain, asked: Mapping[str, Any]) -> Fields:
    found = [_perpetual_row(chain, market) for market in chain.markets.values()]
    return {"perpetual": found, "pagination": _page(found)}


def _liquidity_tiers(chain: Chain, asked: Mapping[str, Any]) -> Fields:
    found = [
        {
            "id": number,
            "name": f"{number}",
            "initial_margin_ppm": initial,
            "maintenance_fraction_ppm": fraction,
            "open_interest_lower_cap": lower * PPM,
            "open_interest_upper_cap": upper * PPM,
        }
        for number, (initial, fraction, lower, upper) in enumerate(_tiers(chain))
    ]
    return {"liquidity_tiers": found, "pagination": _page(found)}


def _price_row(market: Market) -> Fields:
    # A subtick is a market price's own unit: the exponents of all recorded markets agree.
    return {"id": market.terms.clob_pair_id, "exponent": -market.price_exponent, "price": market.oracle_subticks}


def _price(chain: Chain, asked: Mapping[str, Any]) -> Fields:
    return {"market_price": _price_row(_market(chain, asked["id"]))}


def _prices(chain: Chain, asked: Mapping[str, Any]) -> Fields:
    found = [_price_row(market) for market in chain.markets.values()]
    return {"market_prices": found, "pagination": _page(found)}


def _param_row(market: Market) -> Fields:
    return {
        "id": market.terms.clob_pair_id,
        "pair": market.ticker,
        "exponent": -market.price_exponent,
        "min_price_change_ppm": market.terms.min_price_change_ppm,
    }


def _param(chain: Chain, asked: Mapping[str, Any]) -> Fields:
    return {"market_param": _param_row(_market(chain, asked["id"]))}


def _params(chain: Chain, asked: Mapping[str, Any]) -> Fields:
    found = [_param_row(market) for market in chain.markets.values()]
    return {"market_params": found, "pagination": _page(found)}


# --- fees and permissions ---

_ONLY_TIER: Final[Fields] = {"name": "1", "maker_fee_ppm": MAKER_FEE_PPM, "taker_fee_ppm": TAKER_FEE_PPM}


def _fee_params(chain: Chain, asked: Mapping[str, Any]) -> Fields:
    return {"params": {"tiers": [_ONLY_TIER]}}


def _fee_tier(chain: Chain, asked: Mapping[str, Any]) -> Fields:
    return {"index": 0, "tier": _ONLY_TIER}


def _authenticators(chain: Chain, asked: Mapping[str, Any]) -> Fields:
    rules = chain.authenticators.of(asked["account"])
    return {"account_authenticators": [{"id": rule.id, "type": rule.type, "config": rule.data} for rule in rules]}


_BANK, _CLOB = "cosmos.bank.v1beta1.Query", "dydxprotocol.clob.Query"
_TENDERMINT = "cosmos.base.tendermint.v1beta1.Service"
_PERPETUALS, _PRICES = "dydxprotocol.perpetuals.Query", "dydxprotocol.prices.Query"
_SUBACCOUNTS, _FEES = "dydxprotocol.subaccounts.Query", "dydxprotocol.feetiers.Query"

QUERIES: Final[dict[str, Query]] = {
    f"/{_BANK}/AllBalances": Query(
        "/cosmos/bank/v1beta1/balances/{address}", schemas.BALANCES_REQUEST, schemas.BALANCES, _balances
    ),
    f"/{_BANK}/Balance": Query(
        "/cosmos/bank/v1beta1/balances/{address}/by_denom", schemas.BALANCE_REQUEST, schemas.BALANCE, _balance
    ),
    # The REST path of a block writes its time as text, so it is served apart.
    f"/{_TENDERMINT}/GetLatestBlock": Query("", schemas.NOTHING, schemas.LATEST_BLOCK, _latest_block),
    f"/{_TENDERMINT}/GetNodeInfo": Query(
        "/cosmos/base/tendermint/v1beta1/node_info", schemas.NOTHING, schemas.NODE_INFO, _node_info
    ),
    f"/{_TENDERMINT}/GetSyncing": Query(
        "/cosmos/base/tendermint/v1beta1/syncing", schemas.NOTHING, schemas.SYNCING, _syncing
    ),
    f"/{_CLOB}/ClobPair": Query("/dydxprotocol/clob/clob_pair/{id}", schemas.BY_ID, schemas.CLOB_PAIR, _clob_pair),
    f"/{_CLOB}/ClobPairAll": Query("/dydxprotocol/clob/clob_pair", schemas.PAGED, schemas.CLOB_PAIRS, _clob_pairs),
    f"/{_CLOB}/EquityTierLimitConfiguration": Query(
        "/dydxprotocol/clob/equity_tier", schemas.NOTHING, schemas.EQUITY_TIERS, _equity_tiers
    ),
    f"/{_CLOB}/BlockRateLimitConfiguration": Query(
        "/dydxprotocol/clob/block_rate", schemas.NOTHING, schemas.BLOCK_RATE, _block_rate
    ),
    f"/{_CLOB}/StatefulOrder": Query("", schemas.STATEFUL_ORDER_REQUEST, schemas.STATEFUL_ORDER, _stateful_order),
    f"/{_CLOB}/Leverage": Query(
        "/dydxprotocol/clob/leverage/{owner}/{number}", schemas.SUBACCOUNT_REQUEST, schemas.LEVERAGE, _leverage
    ),
    f"/{_SUBACCOUNTS}/Subaccount": Query(
        "/dydxprotocol/subaccounts/subaccount/{owner}/{number}",
        schemas.SUBACCOUNT_REQUEST,
        schemas.SUBACCOUNT,
        _subaccount,
    ),
    f"/{_SUBACCOUNTS}/SubaccountAll": Query(
        "/dydxprotocol/subaccounts/subaccount", schemas.PAGED, schemas.SUBACCOUNTS, _subaccounts
    ),
    f"/{_PERPETUALS}/Perpetual": Query(
        "/dydxprotocol/perpetuals/perpetual/{id}", schemas.BY_ID, schemas.PERPETUAL, _perpetual
    ),
    f"/{_PERPETUALS}/AllPerpetuals": Query(
        "/dydxprotocol/perpetuals/perpetual", schemas.PAGED, schemas.PERPETUALS, _perpetuals
    ),
    f"/{_PERPETUALS}/AllLiquidityTiers": Query(
        "/dydxprotocol/perpetuals/liquidity_tiers", schemas.PAGED, schemas.LIQUIDITY_TIERS, _liquidity_tiers
    ),
    f"/{_PRICES}/MarketPrice": Query("/dydxprotocol/prices/market/{id}", schemas.BY_ID, schemas.PRICE, _price),
    f"/{_PRICES}/AllMarketPrices": Query("/dydxprotocol/prices/market", schemas.PAGED, schemas.PRICES, _prices),
    f"/{_PRICES}/MarketParam": Query("/dydxprotocol/prices/params/market/{id}", schemas.BY_ID, schemas.PARAM, _param),
    f"/{_PRICES}/AllMarketParams": Query("/dydxprotocol/prices/params/market", schemas.PAGED, schemas.PARAMS, _params),
    f"/{_FEES}/PerpetualFeeParams": Query(
        "/dydxprotocol/v4/feetiers/perpetual_fee_params", schemas.NOTHING, schemas.FEE_PARAMS, _fee_params
    ),
    f"/{_FEES}/UserFeeTier": Query(
        "/dydxprotocol/v4/feetiers/user_fee_tier", schemas.FEE_TIER_REQUEST, schemas.FEE_TIER, _fee_tier
    ),
    "/dydxprotocol.accountplus.Query/GetAuthenticators": Query(
        "/dydxprotocol/accountplus/authenticators/{account}",
        schemas.AUTHENTICATORS_REQUEST,
        schemas.AUTHENTICATORS,
        _authenticators,
    ),
}
"""Every query of the state but an account's, whose answer is packed differently."""
