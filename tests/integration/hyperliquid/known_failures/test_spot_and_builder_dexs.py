"""Failures of real connectors with names, ids and fees of spot and builder dexs, each under its number in the list."""

from __future__ import annotations

import asyncio

import orjson
from connected import MAKER_KEY, TAKER_KEY, connected, ended, resting, run, until, venue_orders
from eth_account import Account
from hyperliquid.exchange import Exchange

from latentspeed.connectors import OrderParams, OrderState, OrderType, TimeInForce, TradeType
from latentspeed.tools.venues.hyperliquid.spot_listing import load_spot

SPOT = {"USDC": "10000", "USDH": "10000", "HYPE": "100", "PURR": "5000", "UBTC": "1"}
TAKER_SECRET = "0x" + "02" * 32


def fund_dexs(venue, *dexs):
    """Collateral for maker and taker in builder dexs, each given as (name, token)."""
    for dex, token in dexs:
        for key in (MAKER_KEY, TAKER_KEY):
            venue.account(key.address)
            venue.give(key.address, token, "5000", place=dex)


def shown(connector):
    """Total and available of every balance of a connector."""
    balances = {balance.asset: balance for balance in connector._market.balances.values()}
    return {name: (balance.total, balance.available) for name, balance in balances.items()}


async def agree_on_balances(venue, connector, key):
    """Waits until every balance, and what is available of it, is the venue's to the last decimal."""

    def wanted():
        state = venue.state.spot
        account = venue.account(key.address)
        scale = {state.token(index).name: 10 ** state.token(index).wei_decimals for index in account.balances}
        return {
            state.token(index).name: (
                balance.total / scale[state.token(index).name],
                (balance.total - state.held(account, state.token(index))) / scale[state.token(index).name],
            )
            for index, balance in account.balances.items()
        }

    await until(lambda: shown(connector) == wanted(), what=lambda: (shown(connector), wanted()))


async def trade(maker, taker, pair, amount, price):
    """The taker's order, filled against a maker's in one market."""
    resting_id = maker.sell(OrderParams(pair, amount, price))
    await resting(maker, resting_id)
    order = await ended(taker, taker.buy(OrderParams(pair, amount, price, time_in_force=TimeInForce.IOC)))
    assert order.state is OrderState.FILLED, (order.reason, taker.heard.errors)
    (trade,) = [trade for known, trade in taker.heard.trades if known is order]
    assert (trade.trading_pair, trade.trade_type, trade.amount, trade.price) == (pair, TradeType.BUY, amount, price)
    await ended(maker, resting_id)
    return order, trade


def test_06_a_fill_is_counted_whatever_its_market_is_called():
    async def scenario(venue):
        fund_dexs(venue, ("xyz", "USDC"))
        families = {"kPEPE-USD": (2000.0, 0.0125), "xyz:SILVER-USD": (2.0, 80.5)}
        options = {"pairs": tuple(families), "dexs": ("xyz",)}
        async with connected(venue, **options) as maker, connected(venue, TAKER_KEY, **options) as taker:
            for pair, (amount, price) in families.items():
                await trade(maker, taker, pair, amount, price)
                assert taker.get_position(pair).amount == amount
            assert taker.heard.errors == maker.heard.errors == []
        options = {"pairs": ("PURR-USDC", "HYPE-USDC"), "spot": True}
        async with connected(venue, **options) as maker, connected(venue, TAKER_KEY, **options) as taker:
            assert [taker.get_trading_rule(pair).symbol for pair in options["pairs"]] == ["PURR/USDC", "@1"]
            await trade(maker, taker, "PURR-USDC", 100.0, 0.2)
            await trade(maker, taker, "HYPE-USDC", 2.0, 31.5)
            assert taker.heard.errors == maker.heard.errors == []

    run(scenario, initial_spot=SPOT)


def test_06_names_that_differ_in_case_alone_stay_apart():
    async def scenario(venue):
        async with connected(venue, pairs=("kPEPE-USD",)) as trader:
            assert trader.get_trading_rule("KPEPE-USD") is None
            assert trader.get_trading_rule("kPEPE-USD").symbol == "kPEPE"

    run(scenario)


def test_07_a_spot_buy_pays_its_fee_in_the_base_token_and_the_balance_says_so():
    async def scenario(venue):
        options = {"pairs": ("HYPE-USDC", "UBTC-USDC"), "spot": True}
        async with connected(venue, **options) as maker, connected(venue, TAKER_KEY, **options) as taker:
            bought, trade_ = await trade(maker, taker, "HYPE-USDC", 4.01, 31.5)
            assert (bought.fee_asset, trade_.fee_asset) == ("HYPE", "HYPE")
            assert bought.fee_units == 280_700  # 4.01 * 0.0007 of HYPE, in 10^-8
            (sold,) = [told for order, told in maker.heard.trades if order is not None]
            assert (sold.fee_asset, sold.fee_units) == ("USDC", 5_052_600)  # 4.01 * 31.5 * 0.0004
            await agree_on_balances(venue, taker, TAKER_KEY)
            await agree_on_balances(venue, maker, MAKER_KEY)
            assert taker.get_balance("HYPE").total == 100 + 4.01 - 0.002807
            assert maker.get_balance("USDC").total == 10_000 + 4.01 * 31.5 - 0.050526
            # The dust of the fee cannot be sold: what can be is the balance cut to whole lots.
            sellable = taker.quantize_order_amount("HYPE-USDC", taker.get_available_balance("HYPE"))
            assert sellable == 104.0
            await resting(taker, taker.sell(OrderParams("HYPE-USDC", sellable, 40.0)))
            await agree_on_balances(venue, taker, TAKER_KEY)
            assert taker.get_available_balance("HYPE") == 0.007193
            await trade(maker, taker, "UBTC-USDC", 0.00123, 64000.0)
            await agree_on_balances(venue, taker, TAKER_KEY)
            await agree_on_balances(venue, maker, MAKER_KEY)

    run(scenario, initial_spot=SPOT)


def test_09_the_id_of_a_market_counts_every_dex_also_those_that_are_not_traded():
    async def scenario(venue):
        fund_dexs(venue, ("hed", "USDH"), ("xyz", "USDC"))
        pairs = ("hed:OIL-USDH", "xyz:GOLD-USD")
        options = {"pairs": pairs, "dexs": ("hed", "xyz")}  # neither the venue's order, nor all of them
        async with connected(venue, **options) as maker, connected(venue, TAKER_KEY, **options) as taker:
            assert [taker.get_trading_rule(pair).asset_id for pair in pairs] == [130_001, 110_001]
            assert taker.get_trading_rule("gone:TEA-USD") is None
            await trade(maker, taker, "xyz:GOLD-USD", 0.01, 4050.0)
            _, trade_ = await trade(maker, taker, "hed:OIL-USDH", 2.0, 62.4)
            assert trade_.fee_asset == "USDH"
            assert taker.get_position("hed:OIL-USDH").amount == 2.0
            await until(lambda: taker.get_balance("hed:USDH").total == 5000 - trade_.fee)
            await taker.resync()
            assert (taker.get_position("hed:OIL-USDH").amount, taker.get_position("xyz:GOLD-USD").amount) == (2.0, 0.01)
            order = maker.sell(OrderParams("hed:OIL-USDH", 1.0, 70.0))
            await resting(maker, order)
            await maker.resync()  # each dex lists its own open orders
            assert maker.get_order(order).state is OrderState.OPEN
            assert [order.market.instrument.name for order in venue_orders(venue)] == ["hed:OIL"]

    run(scenario)


def test_11_a_token_is_found_by_its_number_and_not_by_its_place(tmp_path):
    whole = load_spot(None, {}).meta
    wanted = {"@107", "@5"}
    pairs = [pair for pair in whole["universe"] if pair["name"] in wanted][::-1]
    used = {index for pair in pairs for index in pair["tokens"]}
    trimmed = {"universe": pairs, "tokens": [token for token in whole["tokens"] if token["index"] in used][::-1]}
    assert [token["index"] for token in trimmed["tokens"]] != list(range(len(used)))
    path = tmp_path / "spot_meta.json"
    path.write_bytes(orjson.dumps(trimmed))

    async def scenario(venue):
        options = {"pairs": ("HYPE-USDH",), "spot": True}
        async with connected(venue, **options) as maker, connected(venue, TAKER_KEY, **options) as taker:
            rule = taker.get_trading_rule("HYPE-USDH")
            assert (rule.asset_id, rule.symbol, str(rule.lot_size)) == (10_107, "@107", "0.01")
            bought, _ = await trade(maker, taker, "HYPE-USDH", 1.25, 31.5)
            assert bought.fee_asset == "HYPE"
            await agree_on_balances(venue, taker, TAKER_KEY)

    tokens = {"USDC", "USDH", "HYPE"}
    initial = {name: amount for name, amount in SPOT.items() if name in tokens}
    run(scenario, initial_spot=initial, spot_meta_file=path, prices={"@107": "31.5", "@5": "1"})


def test_31_a_market_order_on_a_builder_dex_is_rounded_as_a_perpetual_although_its_number_is_high():
    async def scenario(venue):
        fund_dexs(venue, ("xyz", "USDC"))
        pair = "xyz:YEN-USD"  # 0.0671: five decimals as a perpetual, and seven if it were spot
        options = {"pairs": (pair,), "dexs": ("xyz",)}
        async with connected(venue, **options) as maker, connected(venue, TAKER_KEY, **options) as taker:
            assert taker.get_trading_rule(pair).price_decimals == 5
            await resting(maker, maker.sell(OrderParams(pair, 1000.0, 0.0671)))
            await until(lambda: taker.get_quote(pair).ask == 0.0671)
            bought = await ended(taker, taker.buy(OrderParams(pair, 300.0, order_type=OrderType.MARKET)))
            assert (bought.state, bought.average_price) == (OrderState.FILLED, 0.0671)

            def official():
                client = Exchange(Account.from_key(TAKER_SECRET), venue.base_url, perp_dexs=["xyz"])
                return client.market_open("xyz:YEN", True, 300.0, px=0.0671)

            (status,) = (await asyncio.to_thread(official))["response"]["data"]["statuses"]
            assert "tick size" in status["error"]  # what the venue says to who takes it for spot

    run(scenario)
