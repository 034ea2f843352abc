"""A subaccount's own initial margins: what the owner may set them to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from latentspeed.tools.venues.dydx_v4.accounts import Subaccount
from latentspeed.tools.venues.dydx_v4.markets import PPM
from latentspeed.tools.venues.dydx_v4.order_rules import check_subaccount
from latentspeed.tools.venues.dydx_v4.refusals import CLOB, SUBACCOUNTS, TxRefused

if TYPE_CHECKING:
    from latentspeed.tools.venues.dydx_v4.chain import Chain


def checked_leverage(chain: Chain, fields: dict[str, Any]) -> tuple[Subaccount, dict[str, int]]:
    """Whose margins a message sets, and to what, in millionths by ticker. The chain checks it before its mempool, too.

    Raises:
        TxRefused: The chain does not take it.
    """
    holder = fields["subaccount_id"]
    if holder is None:
        raise TxRefused(CLOB, 11001, "subaccount ID cannot be nil")
    check_subaccount((holder["owner"], holder["number"]))
    pairs = fields["clob_pair_leverage"]
    if not pairs:
        raise TxRefused(CLOB, 11002, "clob pair leverage entries cannot be empty")
    wanted: dict[str, int] = {}
    for pair in pairs:
        number, ppm = pair["clob_pair_id"], pair["custom_imf_ppm"]
        if not 0 < ppm <= PPM:
            raise TxRefused(CLOB, 11002, f"imf ppm for clob pair {number} must be between (0, 1,000,000]")
        market = chain.by_pair.get(number)
        if market is None:
            raise TxRefused(CLOB, 8, f"clob pair ID {number} does not exist")
        if market.ticker in wanted:
            raise TxRefused(CLOB, 11002, f"duplicate clob pair ID {number}")
        least = market.terms.initial_ppm
        if ppm < least:
            raise TxRefused(
                SUBACCOUNTS, 701, f"{ppm} is less than minimum allowed imf ({least}) for perpetual {number}"
            )
        wanted[market.ticker] = ppm
    subaccount = chain.ledger.subaccount(holder["owner"], holder["number"])
    needed = subaccount.requirement(chain.markets, initial=True, own={**subaccount.own_margin_ppm, **wanted})
    if subaccount.equity(chain.markets) < needed:
        raise TxRefused(SUBACCOUNTS, 703, f"subaccount {holder} violates margin requirements with new leverage")
    return subaccount, wanted
