"""Replies about accounts, spot and dexs have the keys and the kinds of recorded ones, and recorded metadata its ids."""

from __future__ import annotations

import json

import orjson
import pytest

META, SPOT, DEXS = "http_meta_testnet_2026", "http_spotMeta_testnet_2026_trimmed", "http_perpDexs_testnet_2026"


@pytest.fixture
def recorded(reference):
    """Reads a recorded payload by its name."""
    return lambda name: json.loads((reference / "payloads" / "hyperliquid" / f"{name}.json").read_text())


@pytest.fixture
def path(reference):
    return lambda name: reference / "payloads" / "hyperliquid" / f"{name}.json"


@pytest.fixture
def desk(make_desk):
    return make_desk(initial_spot={"USDC": "10000", "USDH": "0"}, sub_account_volume=0)


@pytest.fixture
def trader(desk):
    return desk.trader()


def ask(desk, kind, **more):
    return json.loads(orjson.dumps(desk.venue.info.answer({"type": kind, **more})))


def kinds(value):
    """Key names with the kind of each value, lists as what their items have in common."""
    if isinstance(value, dict):
        return {key: kinds(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [kinds(value[0])] if value else []
    return type(value).__name__


def keys_of_rows(rows):
    return [set(row) for row in rows]


def test_spot_balances(trader, recorded):
    assert kinds(trader.info("spotClearinghouseState")) == kinds(recorded("http_spotClearinghouseState_2026"))
    assert trader.info("spotClearinghouseState")["balances"][1]["total"] == "0.0"


def test_margin_of_one_cross_position(desk, trader, recorded):
    desk.rest_both_sides(desk.trader())
    trader.order("BTC", "buy", "0.01", "64010", "Ioc")
    mine, theirs = trader.info("clearinghouseState"), recorded("http_clearinghouseState_one_cross_2026")
    for state in (mine, theirs):
        state["assetPositions"][0]["position"]["liquidationPx"] = None
    assert kinds(mine) == kinds(theirs)


def test_agents_roles_and_budgets(desk, trader, recorded):
    desk.venue.state.agents.approve(trader.address, "0x" + "22" * 20, "bot", desk.venue.clock.now_ms())
    assert kinds(trader.info("extraAgents")) == kinds(recorded("http_extraAgents"))
    vault = desk.venue.state.vaults.add(trader.address, "v", "d", 0)
    desk.venue.state.enrol(vault.address, 0)
    assert ask(desk, "userRole", user=vault.address) == recorded("http_userRole_vault")
    budget = recorded("http_userRateLimit_2025")
    mine = kinds(trader.info("userRateLimit"))
    assert mine.pop("nRequestsSurplus") == "int"
    assert mine == kinds(budget)


def test_dexs_begin_with_null_and_have_the_recorded_keys(desk, recorded):
    theirs, mine = recorded(DEXS), ask(desk, "perpDexs")
    assert theirs[0] is mine[0] is None
    newer = {"assetToFundingInterestRate"}
    assert all(set(row) - newer == set(theirs[1]) for row in mine[1:])


def test_tokens_and_pairs_have_the_recorded_keys(desk, recorded):
    theirs, mine = recorded(SPOT), ask(desk, "spotMeta")
    assert set(theirs) == set(mine)
    for part in ("universe", "tokens"):
        assert keys_of_rows(mine[part]) == [set(theirs[part][0])] * len(mine[part])
    assert mine["tokens"][0]["tokenId"] == theirs["tokens"][0]["tokenId"]


def test_contexts_of_every_dex_come_main_first_and_then_by_name(desk, recorded):
    from latentspeed.tools.venues.hyperliquid.subscriptions import parse_subscription

    theirs = recorded("ws_allDexsAssetCtxs_2026")
    subscription = parse_subscription({"type": "allDexsAssetCtxs"}, desk.venue.state)
    channel, data = desk.venue.streams.snapshots.of(subscription)
    assert channel == theirs["channel"]
    names = [dex for dex, _ in data["ctxs"]]
    assert names == ["", "gone", "hed", "xyz"]
    recorded_names = [dex for dex, _ in theirs["data"]["ctxs"]]
    assert recorded_names == sorted(recorded_names)
    assert set(data["ctxs"][0][1][0]) == set(theirs["data"]["ctxs"][0][1][0])


def test_fills_of_spot_and_of_a_dex_have_the_recorded_keys(desk, recorded):
    maker, taker = desk.trader(), desk.trader()
    for trader in (maker, taker):
        desk.venue.give(trader.address, "PURR", "1000")
        desk.venue.give(trader.address, "USDC", "1000", "xyz")
    for asset, size, price in ((10_000, "100", "0.21"), (110_000, "1", "80.5")):
        for trader, is_buy, tif in ((maker, False, "Gtc"), (taker, True, "Ioc")):
            order = {"a": asset, "b": is_buy, "p": price, "s": size, "r": False, "t": {"limit": {"tif": tif}}}
            trader.orders([order])
    dex_fill, spot_fill = taker.info("userFills")
    dust = recorded("http_userFills_dust_conversion_2026")
    assert kinds(spot_fill) == kinds(next(row for row in dust if row["dir"] == "Buy"))
    theirs = recorded("http_userFills_hip3_liquidation_2026")[1]
    assert theirs["coin"] == "xyz:SILVER"
    theirs.pop("cloid")
    assert kinds(dex_fill) == kinds(theirs)


def test_ledger_rows_have_the_recorded_keys(desk, trader, recorded):
    nonce = desk.next_nonce()
    signed = {"signatureChainId": "0x66eee", "hyperliquidChain": "Testnet"}
    trader.act({"type": "usdClassTransfer", "amount": "5", "toPerp": True, "nonce": nonce, **signed}, nonce=nonce)
    mine = {row["delta"]["type"]: row for row in trader.info("userNonFundingLedgerUpdates")}
    theirs = {row["delta"]["type"]: row for row in recorded("http_userNonFundingLedgerUpdates_2024")}
    for kind in ("deposit", "accountClassTransfer"):
        assert set(mine[kind]) == set(theirs[kind])
        assert set(mine[kind]["delta"]) == set(theirs[kind]["delta"])


def test_recorded_metadata_is_served_as_it_is_and_its_ids_are_those_of_the_recording(make_desk, path, recorded):
    desk = make_desk(meta_file=path(META), spot_meta_file=path(SPOT), perp_dexs_file=path(DEXS))
    assert ask(desk, "meta") == recorded(META)
    assert ask(desk, "spotMeta") == recorded(SPOT)
    assert ask(desk, "perpDexs") == recorded(DEXS)
    for pair in recorded(SPOT)["universe"]:
        market = desk.venue.state.by_coin[pair["name"]]
        assert market.instrument.asset == 10_000 + pair["index"]
        base = next(row for row in recorded(SPOT)["tokens"] if row["index"] == pair["tokens"][0])
        assert market.instrument.sz_decimals == base["szDecimals"]
    for index, row in enumerate(recorded(META)["universe"]):
        assert desk.venue.state.by_coin[row["name"]].instrument.asset == index
    assert ask(desk, "meta", dex="volmex") != ask(desk, "meta", dex="nobody")


def test_a_recorded_dex_with_its_meta_trades_under_the_id_of_its_place(make_desk, path, recorded, tmp_path):
    names = [row and row["name"] for row in recorded(DEXS)]
    place = names.index("volmex")
    meta = {"universe": [{"name": "volmex:A", "szDecimals": 2, "maxLeverage": 5}], "collateralToken": 0}
    (tmp_path / "volmex.json").write_text(json.dumps(meta))
    desk = make_desk(perp_dexs_file=path(DEXS), dex_meta_files={"volmex": tmp_path / "volmex.json"})
    assert desk.venue.market("volmex:A").instrument.asset == 100_000 + 10_000 * place
