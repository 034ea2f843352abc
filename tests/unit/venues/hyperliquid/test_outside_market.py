"""The outside market meets users honestly: it trades with what it crosses, and users trade with what it shows."""

from __future__ import annotations

import gzip
import json

import pytest

from latentspeed.tools.venues.market import SCALE, SyntheticCoin, SyntheticMarket
from latentspeed.tools.venues.tape import TapeError, TapePlayer, scaled

START_NS = 1_700_000_000_000_000_000


def e8(text: str) -> int:
    return scaled(text)


@pytest.fixture
def outside(desk):
    """The venue's outlet, with quotes one dollar around 64,000."""
    desk.venue.outside.set_quotes("BTC", [(e8("63999"), e8("0.5"))], [(e8("64001"), e8("0.5"))])
    return desk.venue.outside


def test_a_taker_trades_with_outside_quotes_and_finds_less_afterwards(desk, outside):
    trader = desk.trader()
    assert trader.order("BTC", "buy", "0.3", "64001", "Ioc")["filled"]["totalSz"] == "0.3"
    assert trader.order("BTC", "buy", "0.3", "64001", "Ioc")["filled"]["totalSz"] == "0.2"
    assert "error" in trader.order("BTC", "buy", "0.3", "64001", "Ioc")
    outside.set_quotes("BTC", [(e8("63999"), e8("0.5"))], [(e8("64001"), e8("0.5"))])
    assert "filled" in trader.order("BTC", "buy", "0.3", "64001", "Ioc")


def test_a_market_that_moves_through_a_resting_order_fills_it_at_its_own_price(desk, outside):
    trader = desk.trader()
    oid = trader.order("BTC", "buy", "0.3", "63990")["resting"]["oid"]
    outside.set_quotes("BTC", [(e8("63970"), e8("1"))], [(e8("63980"), e8("0.2"))])
    assert [(row["px"], row["sz"], row["crossed"]) for row in trader.info("userFills")] == [("63990.0", "0.2", False)]
    assert trader.status_of(oid) == "open"
    outside.set_quotes("BTC", [(e8("63970"), e8("1"))], [(e8("63980"), e8("0.2"))])
    assert trader.status_of(oid) == "filled"
    assert desk.venue.market("BTC").touch()[1] == (639800, 10_000, 1)


def test_a_print_at_or_through_an_order_fills_it_by_the_printed_size(desk, outside):
    at, beyond = desk.trader(), desk.trader()
    at.order("BTC", "sell", "0.1", "64000")
    at.order("BTC", "sell", "0.2", "64001")
    beyond.order("BTC", "sell", "0.3", "64002")
    outside.print_trade("BTC", True, e8("64001"), e8("0.25"))
    assert [(row["px"], row["sz"]) for row in at.info("userFillsByTime", startTime=0)] == [
        ("64000.0", "0.1"),
        ("64001.0", "0.15"),
    ]
    assert beyond.info("userFills") == []


def test_a_print_shows_publicly_what_users_did_not_take(desk, outside):
    trader = desk.trader()
    trader.order("BTC", "buy", "0.1", "63999")
    outside.print_trade("BTC", False, e8("63999"), e8("0.4"))
    trades = desk.venue.info.answer({"type": "recentTrades", "coin": "BTC"})
    assert [(row["side"], row["sz"]) for row in trades] == [("A", "0.3"), ("A", "0.1")]
    assert trades[1]["users"][0] == trader.address


def test_quotes_between_ticks_round_outward_and_merge(desk):
    bids = [(e8("61800.20"), e8("1")), (e8("61800.10"), e8("2")), (e8("61799.90"), e8("4"))]
    asks = [(e8("61800.30"), e8("1")), (e8("61800.90"), e8("2")), (e8("61801.10"), e8("4"))]
    desk.venue.outside.set_quotes("BTC", bids, asks)
    book = desk.venue.info.answer({"type": "l2Book", "coin": "BTC"})["levels"]
    assert [(level["px"], level["sz"]) for level in book[0]] == [("61800.0", "3.0"), ("61799.0", "4.0")]
    assert [(level["px"], level["sz"]) for level in book[1]] == [("61801.0", "3.0"), ("61802.0", "4.0")]


def test_a_print_rounds_like_the_quote_that_it_hit(desk):
    trader = desk.trader()
    trader.order("BTC", "sell", "0.1", "61801")
    desk.venue.outside.print_trade("BTC", True, e8("61800.30"), e8("0.05"))
    assert [row["px"] for row in trader.info("userFills")] == ["61801.0"]


def test_the_synthetic_market_repeats_itself_for_a_seed_and_never_crosses():
    def run(seed):
        coin = SyntheticCoin("BTC", 64_000 * SCALE, seed)
        seen = []
        for _ in range(300):
            coin.walk()
            bids, asks = coin.quotes()
            assert bids[0][0] < asks[0][0]
            assert [price for price, _ in bids] == sorted((price for price, _ in bids), reverse=True)
            assert [price for price, _ in asks] == sorted(price for price, _ in asks)
            assert all(size > 0 for _, size in bids + asks)
            seen.append((bids, asks, coin.taker()))
        return seen

    assert run(3) == run(3)
    assert run(3) != run(4)


def test_synthetic_takers_hit_a_makers_resting_orders(make_desk):
    desk = make_desk(market="synthetic", seed=5)
    trader = desk.trader()
    for _ in range(200):
        desk.venue.tick()
        bid, ask = desk.venue.market("BTC").touch()
        if ask[0] - bid[0] > 10:
            trader.order(
                "BTC", "buy", "0.001", desk.venue.market("BTC").price_text(bid[0] + 10).removesuffix(".0"), "Alo"
            )
        if trader.info("userFills"):
            break
    assert trader.info("userFills"), "no taker came in 200 steps"


def test_every_synthetic_market_is_two_sided_and_has_twenty_levels(make_desk):
    desk = make_desk(market="synthetic")
    for _ in range(5):
        desk.venue.tick()
    for coin, market in desk.venue.state.by_coin.items():
        levels = desk.venue.info.answer({"type": "l2Book", "coin": coin})["levels"]
        if market.instrument.is_delisted:
            assert levels == [[], []]
        else:
            assert min(map(len, levels)) >= 10, coin


def test_a_price_can_be_set_and_resting_orders_meet_it(make_desk):
    desk = make_desk(market="synthetic")
    desk.venue.tick()
    trader = desk.trader()
    oid = trader.order("BTC", "buy", "0.01", "62000")["resting"]["oid"]
    desk.venue.set_price("BTC", "61000")
    assert trader.status_of(oid) == "filled"
    assert desk.venue.info.answer({"type": "metaAndAssetCtxs"})[1][0]["markPx"] == "61000.0"


def line(offset_ms: int, data: dict, stream: str = "x") -> bytes:
    """One line of a tape, with invented values in the documented shape."""
    message = {"stream": stream, "data": data} if stream else data
    return b"%d %s\n" % (START_NS + offset_ms * 1_000_000, json.dumps(message).encode())


def ticker(bid: str, bid_size: str, ask: str, ask_size: str, symbol: str = "BTCUSDT") -> dict:
    return {"e": "bookTicker", "s": symbol, "b": bid, "B": bid_size, "a": ask, "A": ask_size}


def depth(bids: list, asks: list) -> dict:
    return {"e": "depthUpdate", "s": "BTCUSDT", "b": bids, "a": asks}


def trade(price: str, size: str, buyer_is_maker: bool) -> dict:
    return {"e": "trade", "s": "BTCUSDT", "p": price, "q": size, "m": buyer_is_maker}


@pytest.fixture
def tape(tmp_path):
    """A second of an invented market: quotes, depth, a snapshot, a sell print, a fall, and an unknown symbol."""
    path = tmp_path / "small.gz"
    lines = [
        line(0, ticker("50000.10", "1.0", "50000.20", "2.0")),
        line(10, {"bids": [["50000.10", "1.0"], ["49998.00", "3.0"]], "asks": [["50000.20", "2.0"]]}, stream=""),
        line(20, depth([["49997.00", "4.0"]], [["50003.00", "5.0"], ["50004.00", "0.000"]])),
        line(300, trade("49999.90", "0.2", True)),
        line(310, ticker("1.0", "1.0", "1.1", "1.0", symbol="NOSUCHUSDT")),
        line(600, ticker("49989.00", "1.0", "49990.00", "0.7")),
        line(1000, ticker("49995.00", "1.0", "49996.00", "0.7")),
    ]
    path.write_bytes(gzip.compress(b"".join(lines)))
    return path


def levels_of(desk) -> list[list[tuple[str, str]]]:
    book = desk.venue.info.answer({"type": "l2Book", "coin": "BTC"})["levels"]
    return [[(level["px"], level["sz"]) for level in side] for side in book]


def play(desk, player, milliseconds: int) -> None:
    desk.venue.state.begin_block()
    player.step(desk.venue.outside, milliseconds * 1_000_000)


def test_a_tape_quotes_prints_and_moves_through_users_orders(desk, tape):
    player = TapePlayer(tape, frozenset({"BTC"}))
    assert player.coins == {"BTC"}
    trader = desk.trader()
    play(desk, player, 25)
    assert levels_of(desk) == [
        [("50000.0", "1.0"), ("49998.0", "3.0"), ("49997.0", "4.0")],
        [("50001.0", "2.0"), ("50003.0", "5.0")],
    ]
    assert desk.venue.market("BTC").oracle == 500_001
    oid = trader.order("BTC", "buy", "0.3", "49999")["resting"]["oid"]
    play(desk, player, 299)
    assert trader.info("userFills") == []
    play(desk, player, 400)
    assert [(row["px"], row["sz"]) for row in trader.info("userFills")] == [("49999.0", "0.2")]
    play(desk, player, 700)
    assert trader.status_of(oid) == "filled"
    assert levels_of(desk)[0][0] == ("49989.0", "1.0")
    assert levels_of(desk)[1][0] == ("49990.0", "0.6")


def test_a_tape_plays_faster_and_begins_again(desk, tape):
    player = TapePlayer(tape, frozenset({"BTC"}), speed=10.0)
    play(desk, player, 99)
    assert levels_of(desk)[1][0] == ("49990.0", "0.7")
    play(desk, player, 100)
    assert levels_of(desk)[1][0] == ("50001.0", "2.0"), "the end of the tape is its beginning"
    play(desk, player, 165)
    assert levels_of(desk)[1][0] == ("49990.0", "0.7")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (gzip.compress(b"", mtime=0), "empty"),
        (b"not gzip", "line 0"),
        (gzip.compress(b"1 {}\nrubbish\n", mtime=0), "line 2"),
        (gzip.compress(line(0, ticker("1.0", "1.0", "1.1", "1.0", symbol="NOSUCHUSDT")), mtime=0), "no symbol"),
    ],
)
def test_a_tape_that_cannot_be_played_says_where(tmp_path, content, complaint):
    path = tmp_path / "bad.gz"
    path.write_bytes(content)
    with pytest.raises(TapeError, match=complaint):
        TapePlayer(path, frozenset({"BTC"})).step(None, 10**12)


def test_the_recorded_tape_plays_and_fills_a_maker(make_desk, reference):
    path = reference / "market" / "btcusdt_20240808.gz"
    desk = make_desk()
    trader = desk.trader()
    player = TapePlayer(path, frozenset({"BTC"}))
    for step in range(1, 200):
        play(desk, player, step * 50)
        bid, ask = desk.venue.market("BTC").book.best_bid(), desk.venue.market("BTC").book.best_ask()
        assert bid is None or ask is None or bid < ask
        if bid is not None and step % 10 == 0:
            trader.order("BTC", "buy", "0.001", desk.venue.market("BTC").price_text(bid).removesuffix(".0"), "Alo")
    assert 50_000 < float(desk.venue.info.answer({"type": "allMids"})["BTC"]) < 70_000
    assert len(trader.info("userFills")) >= 3


def test_coins_without_a_tape_keep_the_synthetic_market(make_desk, tape):
    desk = make_desk(market="synthetic", tapes=(tape,))
    taped, *synthetic = desk.venue.sources
    assert isinstance(taped, TapePlayer)
    assert taped.coins == {"BTC"}
    assert all(isinstance(source, SyntheticMarket) for source in synthetic)
    coins = frozenset().union(*(source.coins for source in synthetic))
    assert "BTC" not in coins
    assert {"ETH", "PURR/USDC", "xyz:SILVER"} <= coins
