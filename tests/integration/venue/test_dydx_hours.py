"""What the local chain does when an hour of its clock ends: funding is paid, and profit and loss are written down."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal

import aiohttp
import pytest

from latentspeed.connectors.dydx_v4 import wire
from latentspeed.connectors.dydx_v4.keys import DydxKey
from latentspeed.connectors.dydx_v4.margin import TRANSFER_FEE
from latentspeed.connectors.dydx_v4.transactions import TransactionSigner
from latentspeed.connectors.dydx_v4.wire import OrderFlags, OrderId, Side, WireOrder, WireTimeInForce
from latentspeed.tools.venues.dydx_v4.config import VenueConfig
from latentspeed.tools.venues.dydx_v4.venue import DydxVenue

KEY = DydxKey(bytes(range(2, 34)))
HOUR_MS = 3_600_000
START_MS = 1_767_225_600_000 + 15 * 60_000
"""A quarter past midnight of a day."""


class Desk:
    """A venue whose clock and blocks are moved by hand, and one trader there."""

    def __init__(self, venue, session, clock):
        self.venue, self.session, self.clock = venue, session, clock
        account = venue.chain.enrol(KEY.address)
        self.signer = TransactionSigner(KEY, "localdydxprotocol", account.number)

    async def get(self, path, status=200, **query):
        async with self.session.get(f"{self.venue.rest_url}/v4/{path}", params=query) as answer:
            assert answer.status == status
            return await answer.json()

    async def rows(self, path, name, **query):
        who = {} if "parentSubaccountNumber" in query else {"subaccountNumber": 0}
        found = await self.get(path, address=KEY.address, **who, **query)
        return found[name]

    def block(self, after_ms=600):
        self.clock[0] += after_ms
        return self.venue.chain.make_block()

    def buy(self, quantums, subticks):
        name = OrderId(KEY.address, 0, self.venue.chain.height, OrderFlags.SHORT_TERM, 0)
        until = self.venue.chain.height + 5
        order = WireOrder(name, Side.BUY, quantums, subticks, good_til_block=until, time_in_force=WireTimeInForce.IOC)
        self.venue.chain.broadcast(self.signer.transaction([wire.place_order(order)]))
        self.block()

    def transfer(self, number, quantums):
        message = wire.create_transfer(KEY.address, 0, KEY.address, number, quantums)
        now_ms = self.venue.chain.time_ms
        self.venue.chain.broadcast(self.signer.transaction([message], sequence=now_ms, fee=TRANSFER_FEE))
        self.block()

    def next_hour(self):
        """Makes the first block of the next hour."""
        return self.block(HOUR_MS - self.clock[0] % HOUR_MS + 219)


def run(scenario):
    async def main():
        clock = [START_MS]
        settings = VenueConfig(block_interval_ms=0, market="none")
        async with DydxVenue(settings, lambda: clock[0]) as venue, aiohttp.ClientSession() as session:
            venue.outside.set_quotes("BTC", [(63_990 * 10**8, 10**8)], [(64_010 * 10**8, 10**8)])
            desk = Desk(venue, session, clock)
            desk.block()
            await scenario(desk)

    asyncio.run(asyncio.wait_for(main(), 60))


def test_each_interval_is_paid_by_a_block_of_its_own_also_after_a_long_gap():
    async def scenario(desk):
        desk.buy(100_000_000, 6_401_000_000)
        await desk.venue.control("set_funding", ticker="BTC-USD", rate="0.00001")
        desk.block(3 * HOUR_MS)
        fundings = [desk.venue.chain.block_maker.make().fundings for _ in range(4)]
        assert [bool(found) for found in fundings] == [True, True, False, False], "with the first: three hours"
        subaccount = desk.venue.chain.ledger.subaccount(KEY.address, 0)
        market = desk.venue.chain.markets["BTC-USD"]
        owed = market.funding_owed(subaccount.positions["BTC-USD"].quantums, 0)
        assert owed == 3 * 6_400, "ten millionths of 640 dollars, three times"

    run(scenario)


def test_payments_are_listed_with_their_signs_and_fields(reference):
    schema = json.loads((reference / "payloads/dydx_v4/chain/comlink_swagger.json").read_text())["components"][
        "schemas"
    ]

    async def scenario(desk):
        desk.buy(100_000_000, 6_401_000_000)
        await desk.venue.control("set_funding", ticker="BTC-USD", rate="0.00001")
        block = desk.next_hour()
        (row,) = await desk.rows("fundingPayments", "fundingPayments")
        assert set(row) == set(schema["FundingPaymentResponseObject"]["properties"])
        assert (row["payment"], row["rate"], row["size"], row["side"]) == ("-0.0064", "0.00001", "0.01", "LONG")
        assert row["createdAtHeight"] == str(block.height)
        assert row["createdAt"].endswith(":00:00.219Z"), "the block that crossed the hour"
        (again,) = await desk.rows("fundingPayments/parentSubaccount", "fundingPayments", parentSubaccountNumber=0)
        assert again == row

    run(scenario)


def test_profit_and_loss_are_equity_less_what_was_paid_in(reference):
    schema = json.loads((reference / "payloads/dydx_v4/chain/comlink_swagger.json").read_text())["components"][
        "schemas"
    ]

    async def scenario(desk):
        (first,) = await desk.rows("historical-pnl", "historicalPnl")
        assert set(first) == set(schema["PnlTicksResponseObject"]["properties"])
        assert (first["equity"], first["totalPnl"]) == ("100000.000000", "0.000000")
        assert first["netTransfers"] == "100000.000000"
        desk.buy(1_000_000_000, 6_401_000_000)
        desk.transfer(128, 250_000_000)
        await desk.venue.control("set_price", ticker="BTC-USD", price="64500")
        block = desk.next_hour()
        subaccount = desk.venue.chain.ledger.subaccount(KEY.address, 0)
        second, *others = await desk.rows("historical-pnl", "historicalPnl")
        assert others == [first]
        assert (second["blockHeight"], second["netTransfers"]) == (str(block.height), "-250.000000")
        equity = Decimal(subaccount.equity(desk.venue.chain.markets)).scaleb(-6)
        assert Decimal(second["equity"]) == equity
        assert Decimal(second["totalPnl"]) == equity - Decimal(100_000) + 250
        # 0.1 BTC bought ten dollars above the oracle price, which then rose by 500; the fee is five basis points.
        assert Decimal(second["totalPnl"]) == Decimal("49") - Decimal("3.2005")
        (row, _) = await desk.rows("pnl", "pnl")
        assert set(row) == set(schema["PnlResponseObject"]["properties"])
        assert Decimal(row["netTransfers"]) == 99_750, "since the beginning"
        assert Decimal(row["equity"]) == Decimal(row["netTransfers"]) + Decimal(row["totalPnl"])
        assert row["createdAt"] == "2026-01-01T01:00:00.000Z"

    run(scenario)


def test_a_parent_has_made_what_it_and_its_children_have_made():
    async def scenario(desk):
        desk.transfer(128, 250_000_000)
        desk.next_hour()
        desk.next_hour()
        asked = {"parentSubaccountNumber": 0}
        together = await desk.rows("historical-pnl/parentSubaccountNumber", "historicalPnl", **asked)
        # In the hour of the transfer the parent's tick is older than its child's: what moved is in both.
        equities = ["100000.000000", "100000.000000", "100250.000000"]
        assert [(row["equity"], row["totalPnl"]) for row in together] == [(one, "0.000000") for one in equities]
        assert [row["netTransfers"] for row in together] == ["0.000000", "-250.000000", "100250.000000"]
        (row, *_) = await desk.rows("pnl/parentSubaccountNumber", "pnl", **asked)
        assert (row["equity"], row["netTransfers"]) == ("100000", "100000")

    run(scenario)


def test_ticks_are_chosen_by_height_time_and_page():
    async def scenario(desk):
        heights = [desk.next_hour().height for _ in range(5)]
        found = await desk.rows("historical-pnl", "historicalPnl", createdBeforeOrAtHeight=heights[2])
        assert [int(row["blockHeight"]) for row in found][:3] == heights[2::-1]
        found = await desk.rows("historical-pnl", "historicalPnl", createdOnOrAfter="2026-01-01T04:00:00.000Z")
        assert [int(row["blockHeight"]) for row in found] == heights[:2:-1]
        found = await desk.rows("historical-pnl", "historicalPnl", limit=2, page=2)
        assert [int(row["blockHeight"]) for row in found] == heights[2:0:-1]
        (day,) = await desk.rows("pnl", "pnl", daily="true")
        assert day["createdAt"] == "2026-01-01T00:00:00.000Z"
        await desk.get("historical-pnl", 404, address=KEY.address, subaccountNumber=77)

    run(scenario)


@pytest.mark.parametrize("path", ["historical-pnl", "pnl"])
def test_an_address_without_money_has_made_nothing(path):
    async def scenario(desk):
        desk.venue.chain.ledger.subaccounts.pop((KEY.address, 0))
        nobody = await desk.get(path, 404, address=f"dydx1{'q' * 38}", subaccountNumber=5)
        assert "No subaccount found" in nobody["errors"][0]["msg"]

    run(scenario)
