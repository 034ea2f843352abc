"""Whether the books are still the indexer's: asked for over REST soon after each snapshot, and at intervals.

The stream has no sequence numbers and no checksums. What is told between a snapshot and the subscription behind it is
lost, and what comes first may be older than the snapshot. So every book is compared with the one that REST answers:

    differs at first      may be on its way to either side
    differs again, by the same size, and the stream has not touched the level in between: wrong here, and set right
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from latentspeed.connectors.dydx_v4.book import RawBook
from latentspeed.connectors.dydx_v4.decoding import finite
from latentspeed.connectors.dydx_v4.indexer import IndexerRest
from latentspeed.connectors.dydx_v4.messages import BookSnapshot

FIRST_AFTER_S = 2.0
"""How long after a snapshot: answers of REST may be a second old."""
AGAIN_AFTER_S = 1.5
REST_LEVELS = 100
"""Levels a side that REST answers at most."""

Difference = dict[tuple[bool, float], float]
"""Sizes at the indexer by side, True for bids, and price; 0 for a level that it does not have."""


class BookCheck:
    """Compares the books of one session in turn. Used in the loop's thread."""

    def __init__(
        self,
        rest: IndexerRest,
        *,
        every_s: float,
        on_checked: Callable[[str, int], None],
        on_problem: Callable[[str, str], None],
    ) -> None:
        """Compares nothing yet.

        Args:
            rest: Asks the indexer.
            every_s: How often each book is compared; 0 for after each snapshot only.
            on_checked: Called with the ticker and how many levels were set right.
            on_problem: Called with a code and a text.
        """
        self.corrected = 0
        """Levels that were wrong, since the start."""
        self._rest = rest
        self._every_s = every_s
        self._on_checked = on_checked
        self._on_problem = on_problem
        self._books: dict[str, RawBook] = {}
        self._due: dict[str, float] = {}

    def snapshot_taken(self, ticker: str, book: RawBook) -> None:
        """A book begins anew."""
        self._books[ticker] = book
        self._due[ticker] = time.monotonic() + FIRST_AFTER_S

    def forget(self) -> None:
        """The socket was lost: every book will begin anew."""
        self._books.clear()
        self._due.clear()

    async def run(self) -> None:
        """Compares whatever is due until it is cancelled."""
        while True:
            await asyncio.sleep(0.25)
            for ticker in [ticker for ticker, due in self._due.items() if due <= time.monotonic()]:
                if self._every_s:
                    self._due[ticker] = time.monotonic() + self._every_s
                else:
                    del self._due[ticker]
                try:
                    await self.check(ticker)
                except Exception as error:
                    # Whatever it was: the other books are compared all the same, and this one again.
                    self._on_problem("book_check_failed", f"{ticker}: {str(error) or repr(error)}")

    async def check(self, ticker: str) -> int:
        """Compares one book and sets right what is wrong; how many levels that were.

        Raises:
            TransportError: The indexer did not answer.
            ValueError: It answered with what is no book.
        """
        book = self._books.get(ticker)
        if book is None:
            return 0
        with book.watched() as touched:
            wrong = differences(book, await self._rest.book(ticker))
            if wrong:
                await asyncio.sleep(AGAIN_AFTER_S)
                again = differences(book, await self._rest.book(ticker))
                wrong = {key: size for key, size in again.items() if wrong.get(key) == size and key not in touched}
        if self._books.get(ticker) is not book:
            return 0  # It began anew meanwhile.
        for (is_bid, price), size in wrong.items():
            book.correct(is_bid, price, size)
        if wrong:
            self.corrected += len(wrong)
            self._on_problem("book_corrected", f"{ticker}: {len(wrong)} levels were not those of the indexer")
        self._on_checked(ticker, len(wrong))
        return len(wrong)


def differences(book: RawBook, answer: BookSnapshot) -> Difference:
    """Where a book is not what REST says. Raises ValueError for text that is no number.

    REST leaves out what crosses, so a level of ours that crosses is no difference; nor is one beyond what REST shows.
    An answer without any level says nothing: it is what an indexer answers that has just been started.
    """
    if not answer.bids and not answer.asks:
        return {}
    found: Difference = {}
    for is_bid, rows in ((True, answer.bids), (False, answer.asks)):
        told = {finite(row.price): finite(row.size) for row in rows}
        ours = book.levels(is_bid)
        for price, size in told.items():
            if ours.get(price, 0.0) != size:
                found[is_bid, price] = size
        sign = 1 if is_bid else -1
        worst = min(sign * price for price in told) if len(told) >= REST_LEVELS else float("-inf")
        opposite = max((-sign * price for price in book.levels(not is_bid)), default=float("-inf"))
        for price in ours.keys() - told.keys():
            is_crossing = sign * price >= -opposite
            if sign * price > worst and not is_crossing:
                found[is_bid, price] = 0.0
    return found
