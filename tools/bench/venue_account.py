"""What the local venue itself says became of every order, asked one by one over its public API after the load."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import aiohttp
import orjson

from latentspeed.connectors import OrderState

QUESTIONS_AT_ONCE: Final = 16
UNKNOWN: Final = "unknownOid"


def ask_every_order(
    url: str, account: str, cloids: Iterable[str], progress: Callable[[int], None] = lambda done: None
) -> dict[str, str]:
    """The venue's status of each order by its cloid; `unknownOid` where it knows none.

    `progress` is called with the number of answers so far. Raises aiohttp.ClientError where the venue does not answer.
    """
    return asyncio.run(_ask_all(url, account, list(cloids), progress))


def lift_limits(control_url: str) -> None:
    """Let the venue answer as many questions as there are from now on. Raises OSError where it does not answer."""
    for setting in ("ip_limits", "address_limits"):
        body = orjson.dumps({"do": "set", "setting": setting, "value": False})
        request = urllib.request.Request(control_url, data=body, headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            answer.read()


async def _ask_all(url: str, account: str, cloids: list[str], progress: Callable[[int], None]) -> dict[str, str]:
    statuses: dict[str, str] = {}
    waiting = iter(cloids)
    async with aiohttp.ClientSession() as session:

        async def ask() -> None:
            for cloid in waiting:
                answer = await post_info(session, url, type="orderStatus", user=account, oid=cloid)
                statuses[cloid] = answer["order"]["status"] if answer["status"] == "order" else answer["status"]
                progress(len(statuses))

        await asyncio.gather(*(ask() for _ in range(QUESTIONS_AT_ONCE)))
    return statuses


def count_fills(url: str, account: str) -> int:
    """How many fills the venue has of an account, page by page until nothing new comes."""
    return asyncio.run(_count_fills(url, account))


async def _count_fills(url: str, account: str) -> int:
    seen: set[tuple[int, int]] = set()
    start = 0
    async with aiohttp.ClientSession() as session:
        while True:
            page = await post_info(session, url, type="userFillsByTime", user=account, startTime=start)
            before = len(seen)
            seen |= {(fill["tid"], fill["oid"]) for fill in page}
            if len(seen) == before:
                return len(seen)
            start = max(int(fill["time"]) for fill in page)


async def post_info(session: aiohttp.ClientSession, url: str, **request: object) -> Any:
    """One question to `/info`."""
    headers = {"Content-Type": "application/json"}
    async with session.post(f"{url}/info", data=orjson.dumps(request), headers=headers) as answer:
        answer.raise_for_status()
        return orjson.loads(await answer.read())


def disagreement(state: int | None, status: str) -> str | None:
    """Why an order counts as lost, or None where gateway and venue agree on its end.

    `state` is the last one that the gateway published (None: it never spoke of the order), `status` the venue's.
    """
    if state is None:
        return f"the gateway never spoke of it; the venue says {status}"
    name = OrderState(state).name
    if not OrderState(state).is_final:
        return f"the gateway left it {name}; the venue says {status}"
    if status == "open":
        return f"the gateway says {name}; it is open at the venue"
    if (state == OrderState.FILLED) != (status == "filled"):
        return f"the gateway says {name}; the venue says {status}"
    return None


def lost_orders(sent: Mapping[int, str], states: Mapping[int, int], statuses: Mapping[str, str]) -> dict[int, str]:
    """The orders whose end is not known or not agreed on, and why; `sent` maps ids to cloids."""
    found = {}
    for identifier, cloid in sent.items():
        why = disagreement(states.get(identifier), statuses.get(cloid, UNKNOWN))
        if why is not None:
            found[identifier] = why
    return found
