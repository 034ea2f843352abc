"""The official dYdX client at work on a local venue; run by an interpreter that has it, never imported by tests.

python official_dydx_client.py SCENARIO URLS      URLS as JSON; prints one JSON object with what the client saw
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import threading
import time
import urllib.request

import grpc
from dydx_v4_client.faucet_client import FaucetClient
from dydx_v4_client.indexer.candles_resolution import CandlesResolution
from dydx_v4_client.indexer.rest.constants import OrderExecution, OrderType
from dydx_v4_client.indexer.rest.indexer_client import IndexerClient
from dydx_v4_client.indexer.socket.websocket import Channel, IndexerSocket
from dydx_v4_client.key_pair import KeyPair
from dydx_v4_client.network import local_node, make_insecure
from dydx_v4_client.node.authenticators import Authenticator, AuthenticatorType
from dydx_v4_client.node.builder import TxOptions
from dydx_v4_client.node.client import NodeClient
from dydx_v4_client.node.market import Market
from dydx_v4_client.wallet import Wallet
from google.protobuf.json_format import MessageToDict
from v4_proto.cosmos.base.tendermint.v1beta1 import query_pb2, query_pb2_grpc
from v4_proto.dydxprotocol.clob import query_pb2 as clob_query
from v4_proto.dydxprotocol.clob import query_pb2_grpc as clob_grpc
from v4_proto.dydxprotocol.clob.order_pb2 import Order
from v4_proto.dydxprotocol.clob.tx_pb2 import OrderBatch
from v4_proto.dydxprotocol.subaccounts.subaccount_pb2 import SubaccountId

DEADLINE_S = 60
MNEMONICS = {
    "alice": "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about",
    "bob": "legal winner thank year wave sausage worth useful legal winner thank yellow",
    "carol": "letter advice cage absurd amount doctor acoustic avoid letter advice cage above",
}
GOOD_TIL, IOC = Order.TIME_IN_FORCE_UNSPECIFIED, Order.TIME_IN_FORCE_IOC
SHORT, CONDITIONAL, LONG = 0, 32, 64


class ParentSubaccounts(Channel):
    """A channel that the client has no class for."""

    channel = "v4_parent_subaccounts"


class Desk:
    """The client's parts, pointed at the venue."""

    def __init__(self, urls):
        self.urls = urls
        self.network = make_insecure(local_node, urls["rest_url"], urls["ws_url"], urls["grpc_url"])
        self.rest = IndexerClient(self.network.rest_indexer)
        self.heard = []

    async def open(self):
        self.node = await NodeClient.connect(self.network.node)
        self.btc = Market((await self.rest.markets.get_perpetual_markets("BTC-USD"))["markets"]["BTC-USD"])
        return self

    async def wallet(self, name):
        address = Wallet(KeyPair.from_mnemonic(MNEMONICS[name]), 0, 0).address
        return await Wallet.from_mnemonic(self.node, MNEMONICS[name], address)

    def stream(self, *wallets, parents=()):
        """Listens in a thread of its own, as the client means it to be done."""

        def on_message(socket, message):
            self.heard.append(message)
            if message["type"] == "connected":
                socket.markets.subscribe()
                socket.order_book.subscribe("BTC-USD")
                socket.trades.subscribe("BTC-USD", batched=False)
                socket.candles.subscribe("BTC-USD", CandlesResolution.ONE_MINUTE)
                for wallet in wallets:
                    socket.subaccounts.subscribe(wallet.address, 0)
                for wallet in parents:
                    ParentSubaccounts(socket).subscribe(id=f"{wallet.address}/0")

        self.socket = IndexerSocket(self.urls["ws_url"], on_message=on_message)
        threading.Thread(target=lambda: asyncio.run(self.socket.connect()), daemon=True).start()
        return self.until(lambda: sum(m["type"] == "subscribed" for m in self.heard) == 4 + len(wallets) + len(parents))

    def contents(self, channel):
        found = []
        for message in self.heard:
            if message.get("channel") == channel and message["type"] in ("channel_data", "channel_batch_data"):
                contents = message["contents"]
                found += contents if isinstance(contents, list) else [contents]
        return found

    def statuses(self, client_id):
        rows = [row for told in self.contents("v4_subaccounts") for row in told.get("orders", ())]
        return [row["status"] for row in rows if row["clientId"] == str(client_id)]

    async def until(self, condition):
        """Waits until something holds; conditions may be coroutines."""
        until = time.monotonic() + DEADLINE_S
        while True:
            found = condition()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return found
            if time.monotonic() > until:
                raise TimeoutError(f"{condition} after {self.heard[-3:]}")
            await asyncio.sleep(0.05)

    async def order(self, wallet, client_id, side, price, size=0.001, *, kind=OrderType.LIMIT, tif=GOOD_TIL, **more):
        flags = more.pop("flags", SHORT)
        if flags == SHORT:
            more["good_til_block"] = more.get("good_til_block", await self.node.latest_block_height() + 15)
        else:
            more["good_til_block_time"] = int(time.time()) + 600
        name = self.btc.order_id(wallet.address, 0, client_id, flags)
        made = self.btc.order(
            name,
            kind,
            side,
            size=size,
            price=price,
            time_in_force=tif,
            reduce_only=more.pop("reduce_only", False),
            **more,
        )
        return name, made

    async def place(self, wallet, *what, **more):
        tx_options = more.pop("tx_options", None)
        name, order = await self.order(wallet, *what, **more)
        answer = await self.node.place_order(wallet, order, tx_options)
        return name, order, verdict(answer)

    async def orders(self, wallet):
        found = await self.rest.account.get_subaccount_orders(wallet.address, 0)
        return {int(row["clientId"]): row for row in found}

    def control(self, **command):
        request = urllib.request.Request(self.urls["control_url"], json.dumps(command).encode())
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())


def verdict(answer):
    return [answer.tx_response.codespace, answer.tx_response.code]


async def trade(desk):
    """Two wallets trade with each other; streams, REST and gRPC tell of it."""
    alice, bob = await desk.wallet("alice"), await desk.wallet("bob")
    await desk.stream(alice)
    placed = [(await desk.place(alice, 1, Order.SIDE_SELL, 64_010))[2]]
    await desk.until(lambda: "BEST_EFFORT_OPENED" in desk.statuses(1))
    book = await desk.rest.markets.get_perpetual_market_orderbook("BTC-USD")
    placed.append((await desk.place(bob, 2, Order.SIDE_BUY, 65_000, kind=OrderType.MARKET, tif=IOC))[2])
    await desk.until(lambda: "FILLED" in desk.statuses(1))
    await desk.until(lambda: desk.contents("v4_trades") and desk.contents("v4_candles"))
    await desk.until(lambda: [c for c in desk.contents("v4_orderbook") if ["64010", "0"] in c.get("asks", [])])

    async def is_told():
        return (await desk.rest.account.get_subaccount_fills(bob.address, 0))["fills"]

    fills = await desk.until(is_told)
    subaccount = (await desk.rest.account.get_subaccount(bob.address, 0))["subaccount"]
    on_chain = await desk.node.get_subaccount(bob.address, 0)
    return {
        "placed": placed,
        "book": book,
        "statuses": desk.statuses(1),
        "fills": fills,
        "fills_told": [fill for told in desk.contents("v4_subaccounts") for fill in told.get("fills", ())],
        "position": subaccount["openPerpetualPositions"]["BTC-USD"],
        "on_chain": on_chain.perpetual_positions[0].quantums.hex(),
        "trades": desk.contents("v4_trades"),
        "candles": desk.contents("v4_candles"),
    }


async def cancel(desk):
    """Short-term orders end singly and in a batch."""
    alice = await desk.wallet("alice")
    await desk.stream(alice)
    name, order, first = await desk.place(alice, 11, Order.SIDE_BUY, 50_000)
    ended = await desk.node.cancel_order(alice, name, good_til_block=order.good_til_block)
    again = await desk.node.cancel_order(alice, name, good_til_block=order.good_til_block)
    last = 0
    for client_id in (12, 13, 14):
        _, order, _ = await desk.place(alice, client_id, Order.SIDE_BUY, 50_000 - client_id)
        last = max(last, order.good_til_block)
    await desk.until(lambda: all("BEST_EFFORT_OPENED" in desk.statuses(number) for number in (12, 13, 14)))
    batch = await desk.node.batch_cancel_orders(
        alice, SubaccountId(owner=alice.address, number=0), [OrderBatch(clob_pair_id=0, client_ids=[12, 13, 14])], last
    )
    await desk.until(lambda: all("BEST_EFFORT_CANCELED" in desk.statuses(number) for number in (11, 12, 13, 14)))
    late = (await desk.place(alice, 15, Order.SIDE_BUY, 50_000, good_til_block=5))[2]
    return {
        "verdicts": [first, verdict(ended), verdict(again), verdict(batch), late],
        "statuses": {number: desk.statuses(number) for number in (11, 12, 13, 14)},
    }


async def stateful(desk):
    """Long-term orders come, are found on the chain, and go; conditional ones wait for the oracle."""
    alice = await desk.wallet("alice")
    await desk.stream(alice)
    name, order, placed = await desk.place(alice, 21, Order.SIDE_BUY, 60_000, flags=LONG)
    await desk.until(lambda: "OPEN" in desk.statuses(21))
    found = clob_grpc.QueryStub(desk.node.channel).StatefulOrder(clob_query.QueryStatefulOrderRequest(order_id=name))
    same = found.order_placement.order == order
    ended = await desk.node.cancel_order(alice, name, good_til_block_time=order.good_til_block_time)
    await desk.until(lambda: "CANCELED" in desk.statuses(21))
    stop = await desk.place(
        alice,
        22,
        Order.SIDE_SELL,
        60_000,
        kind=OrderType.STOP_LIMIT,
        execution=OrderExecution.DEFAULT,
        condition_type=Order.CONDITION_TYPE_STOP_LOSS,
        conditional_order_trigger_subticks=desk.btc.calculate_subticks(63_000),
        flags=CONDITIONAL,
    )
    await desk.until(lambda: "UNTRIGGERED" in desk.statuses(22))
    shown = (await desk.orders(alice))[22]
    desk.control(do="set_price", ticker="BTC-USD", price="62900")
    await desk.until(lambda: "OPEN" in desk.statuses(22))
    desk.control(do="set_price", ticker="BTC-USD", price="64000")
    gone = await desk.node.cancel_order(alice, stop[0], good_til_block_time=stop[1].good_til_block_time)
    await desk.until(lambda: "CANCELED" in desk.statuses(22))
    return {
        "verdicts": [placed, verdict(ended), stop[2], verdict(gone)],
        "same": same,
        "shown": shown,
        "statuses": {number: desk.statuses(number) for number in (21, 22)},
    }


async def money(desk):
    """Transfers, deposits, withdrawals and the faucet, all with simulated gas and its fee."""
    carol = await desk.wallet("carol")
    usdc, native = desk.network.node.usdc_denom, desk.network.node.chaintoken_denom

    async def balances():
        return {coin.denom: int(coin.amount) for coin in (await desk.node.get_account_balances(carol.address)).balances}

    async def equity(number):
        found = (await desk.rest.account.get_subaccounts(carol.address))["subaccounts"]
        return {row["subaccountNumber"]: row["equity"] for row in found}.get(number)

    before = await balances()
    main, side = SubaccountId(owner=carol.address, number=0), SubaccountId(owner=carol.address, number=1)
    verdicts = []
    for sent, done in (
        (lambda: desk.node.transfer(carol, main, side, 0, 25_000_000), lambda: equity(1)),
        (lambda: desk.node.deposit(carol, carol.address, side, 0, 5_000_000), lambda: equals(equity(1), "30")),
        (lambda: desk.node.withdraw(carol, side, carol.address, 0, 10_000_000), lambda: equals(equity(1), "20")),
    ):
        # The client reads no sequence for these: it has to be asked to.
        carol.sequence = (await desk.node.get_account(carol.address)).sequence
        verdicts.append(verdict(await sent()))
        await desk.until(done)
    bob = await desk.wallet("bob")
    held = int((await desk.node.get_account_balance(bob.address, native)).balance.amount)
    carol.sequence = (await desk.node.get_account(carol.address)).sequence
    verdicts.append(verdict(await desk.node.send_token(carol, carol.address, bob.address, 777, native)))

    async def arrived():
        return int((await desk.node.get_account_balance(bob.address, native)).balance.amount) == held + 777

    await desk.until(arrived)
    faucet = FaucetClient(desk.urls["rpc_url"])
    statuses = [
        (await faucet.fill(carol.address, 2, 12)).status_code,
        (await faucet.fill_native(carol.address)).status_code,
    ]
    await desk.until(lambda: equals(equity(2), "12"))
    after = await balances()
    moved = (await desk.rest.account.get_subaccount_transfers(carol.address, 1))["transfers"]
    return {
        "verdicts": verdicts,
        "faucet": statuses,
        "usdc": after[usdc] - before[usdc],
        "native": after[native] - before[native],
        "transfers": [row["type"] for row in moved],
    }


async def children(desk):
    """A child is funded from its parent, trades an isolated market, and is told of with its parent."""
    bob = await desk.wallet("bob")
    await desk.stream(parents=[bob])
    market = Market((await desk.rest.markets.get_perpetual_markets("ISO-USD"))["markets"]["ISO-USD"])
    bob.sequence = (await desk.node.get_account(bob.address)).sequence
    main, child = SubaccountId(owner=bob.address, number=0), SubaccountId(owner=bob.address, number=128)
    verdicts = [verdict(await desk.node.transfer(bob, main, child, 0, 50_000_000))]

    async def parent():
        return (await desk.rest.account.get_parent_subaccount(bob.address, 0))["subaccount"]

    async def is_funded():
        return len((await parent())["childSubaccounts"]) == 2

    await desk.until(is_funded)
    last = await desk.node.latest_block_height() + 15
    order = market.order(
        market.order_id(bob.address, 128, 51, SHORT),
        OrderType.LIMIT,
        Order.SIDE_BUY,
        size=10,
        price=2.0,
        time_in_force=GOOD_TIL,
        reduce_only=False,
        good_til_block=last,
    )
    verdicts.append(verdict(await desk.node.place_order(bob, order)))

    def told(kind):
        frames = [one for one in desk.heard if one.get("channel") == ParentSubaccounts.channel]
        found = []
        for one in frames:
            contents = one["contents"] if isinstance(one["contents"], list) else [one["contents"]]
            found += [(one.get("subaccountNumber"), row) for part in contents for row in part.get(kind, ())]
        return found

    await desk.until(lambda: [row for _, row in told("orders") if row["status"] == "BEST_EFFORT_OPENED"])
    snapshot = next(one for one in desk.heard if one.get("channel") == ParentSubaccounts.channel)
    return {
        "verdicts": verdicts,
        "snapshot": snapshot["contents"]["subaccount"],
        "orders": [(number, row["clientId"], row["status"]) for number, row in told("orders")],
        "listed": [
            (row["subaccountNumber"], row["clientId"])
            for row in await desk.rest.account.list_parent_orders(bob.address, 0)
            if row["status"] == "BEST_EFFORT_OPENED"
        ],
        "equities": {str(row["subaccountNumber"]): row["equity"] for row in (await parent())["childSubaccounts"]},
    }


async def equals(found, wanted):
    return await found == wanted


async def permission(desk):
    """A key of somebody else trades for an owner who has allowed it."""
    owner, trader = await desk.wallet("carol"), await desk.wallet("alice")
    rule = Authenticator.compose(
        AuthenticatorType.AllOf,
        [
            Authenticator.signature_verification(trader.public_key.key),
            Authenticator.message_filter("/dydxprotocol.clob.MsgPlaceOrder"),
            Authenticator.subaccount_filter([0]),
        ],
    )
    owner.sequence = (await desk.node.get_account(owner.address)).sequence
    added = verdict(await desk.node.add_authenticator(owner, rule))

    async def rules():
        return (await desk.node.get_authenticators(owner.address)).account_authenticators

    (found,) = await desk.until(rules)
    options = TxOptions(authenticators=[found.id], sequence=0, account_number=owner.account_number)
    name, order = await desk.order(owner, 41, Order.SIDE_BUY, 50_000)
    placed = verdict(await desk.node.place_order(trader, order, options))
    until = order.good_til_block
    refused = verdict(await desk.node.cancel_order(trader, name, good_til_block=until, tx_options=options))
    owner.sequence = (await desk.node.get_account(owner.address)).sequence
    removed = verdict(await desk.node.remove_authenticator(owner, found.id))

    async def none():
        return not await rules()

    await desk.until(none)
    _, order = await desk.order(owner, 42, Order.SIDE_BUY, 50_000)
    late = verdict(await desk.node.place_order(trader, order, options))
    return {"added": added, "placed": placed, "refused": refused, "removed": removed, "late": late}


async def queries(desk):
    """Every query of the node client and of the indexer client that a trader has."""
    alice = await desk.wallet("alice")
    node, address = desk.node, alice.address
    account, markets, utility = desk.rest.account, desk.rest.markets, desk.rest.utility
    await desk.place(await desk.wallet("bob"), 51, Order.SIDE_SELL, 64_010)
    await desk.place(alice, 52, Order.SIDE_BUY, 65_000, kind=OrderType.MARKET, tif=IOC)

    async def is_told():
        return (await account.get_subaccount_fills(address, 0))["fills"]

    # Whoever asks before the indexer has it is told nothing.
    await desk.until(is_told)
    found = {}
    asked = {
        "node_info": lambda: node.get_node_info(),
        "clob_pair": lambda: node.get_clob_pair(1),
        "clob_pairs": lambda: node.get_clob_pairs(),
        "price": lambda: node.get_price(0),
        "prices": lambda: node.get_prices(),
        "perpetual": lambda: node.get_perpetual(28),
        "perpetuals": lambda: node.get_perpetuals(),
        "equity_tiers": lambda: node.get_equity_tier_limit_config(),
        "fee_tiers": lambda: node.get_fee_tiers(),
        "user_fee_tier": lambda: node.get_user_fee_tier(address),
        "subaccounts": lambda: node.get_subaccounts(),
        "latest_block": lambda: node.latest_block(),
        "authenticators": lambda: node.get_authenticators(address),
    }
    for name, ask in asked.items():
        found[name] = MessageToDict(await ask(), preserving_proto_field_name=True)
    syncing = query_pb2_grpc.ServiceStub(node.channel).GetSyncing(query_pb2.GetSyncingRequest())
    found["syncing"] = syncing.syncing
    try:
        await node.get_all_validators()
    except grpc.RpcError as error:
        found["validators"] = error.code().name
    tiers = found["equity_tiers"]["stateful_order_equity_tiers"]
    found["equity_tiers"] = [[base64.b64decode(tier["usd_tnc_required"]).hex(), tier.get("limit", 0)] for tier in tiers]
    rest = {
        "time": lambda: utility.get_time(),
        "height": lambda: utility.get_height(),
        "screen": lambda: utility.screen(address),
        "compliance": lambda: utility.compliance_screen(address),
        "markets": lambda: markets.get_perpetual_markets(),
        "trades": lambda: markets.get_perpetual_market_trades("BTC-USD"),
        "candles": lambda: markets.get_perpetual_market_candles("BTC-USD", "1MIN"),
        "funding": lambda: markets.get_perpetual_market_historical_funding("BTC-USD"),
        "sparklines": lambda: markets.get_perpetual_market_sparklines(),
        "parent": lambda: account.get_parent_subaccount(address, 0),
        "positions": lambda: account.get_subaccount_perpetual_positions(address, 0),
        "parent_positions": lambda: account.get_parent_subaccount_positions(address, 0),
        "assets": lambda: account.get_subaccount_asset_positions(address, 0),
        "parent_assets": lambda: account.get_parent_subaccount_asset_positions(address, 0),
        "transfers": lambda: account.get_subaccount_transfers(address, 0),
        "parent_transfers": lambda: account.get_parent_transfers(address, 0),
        "orders": lambda: account.get_subaccount_orders(address, 0),
        "parent_orders": lambda: account.list_parent_orders(address, 0),
        "fills": lambda: account.get_subaccount_fills(address, 0),
        "parent_fills": lambda: account.get_parent_fills(address, 0),
        "pnl": lambda: account.get_subaccount_historical_pnls(address, 0),
        "parent_pnl": lambda: account.get_parent_historical_pnls(address, 0),
        "funding_payments": lambda: account.get_funding_payments(address, 0),
        "parent_funding_payments": lambda: account.get_funding_payments_for_parent_subaccount(address, 0),
    }
    for name, ask in rest.items():
        found[f"rest_{name}"] = await ask()
    return found


async def main():
    desk = await Desk(json.loads(sys.argv[2])).open()
    return await globals()[sys.argv[1]](desk)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main())))
