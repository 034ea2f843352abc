"""The socket keeps its subscriptions through every kind of loss, and a posted request never hangs."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

import pytest
from scripted_venue import scripted_venue, until

from latentspeed.connectors.hyperliquid.streams import Streams
from latentspeed.connectors.transport import HttpClient, NotSent, SocketTiming, TransportError

QUICK = SocketTiming(heartbeat_s=0.1, silence_s=0.4, first_delay_s=0.02, longest_delay_s=0.05)
BBO = {"type": "bbo", "coin": "BTC"}
BOOK = {"type": "l2Book", "coin": "kPEPE"}
FILLS = {"type": "userFills", "user": "0x14791697260E4c9A71f18484C9f997B308e59325"}


class Log:
    def __init__(self):
        self.ups = 0
        self.downs = []
        self.errors = []

    def up(self):
        self.ups += 1


@asynccontextmanager
async def running(venue, timing=QUICK, subscriptions=(BBO, BOOK, FILLS), **options):
    http = HttpClient(venue.url, timeout_s=2.0)
    log = Log()
    streams = Streams(
        venue.ws_url,
        http,
        on_up=log.up,
        on_down=log.downs.append,
        on_error=lambda code, text: log.errors.append((code, text)),
        timing=timing,
        **options,
    )
    streams.subscribe(subscriptions)
    task = asyncio.ensure_future(streams.link.run())
    try:
        yield streams, log
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await http.close()


def run(scenario):
    async def main():
        async with scripted_venue() as venue:
            await scenario(venue)

    asyncio.run(asyncio.wait_for(main(), 60))


def subscribed(frames):
    return [frame["subscription"]["type"] for frame in frames if frame["method"] == "subscribe"]


def test_it_is_up_once_every_subscription_is_confirmed():
    async def scenario(venue):
        async with running(venue) as (streams, log):
            await until(lambda: log.ups)
            assert streams.is_up
            assert subscribed(venue.frames[0]) == ["bbo", "l2Book", "userFills"]
            assert log.errors == []

    run(scenario)


@pytest.mark.parametrize("how", ["close frame", "cut"])
def test_every_subscription_is_restored_once_after_a_loss(how):
    async def scenario(venue):
        async with running(venue) as (_, log):
            await until(lambda: log.ups == 1)
            if how == "cut":
                venue.sockets[0]._req.transport.abort()
            else:
                await venue.sockets[0].close()
            await until(lambda: log.ups == 2)
            assert len(log.downs) == 1
            assert subscribed(venue.frames[1]) == ["bbo", "l2Book", "userFills"]

    run(scenario)


def test_a_silent_socket_is_closed_and_opened_again():
    async def scenario(venue):
        venue.answers_pings = False
        async with running(venue) as (_, log):
            await until(lambda: log.ups == 2)
            assert "silent for" in log.downs[0]

    run(scenario)


def test_pongs_keep_a_quiet_socket_open():
    async def scenario(venue):
        async with running(venue) as (streams, log):
            await until(lambda: log.ups and sum(frame["method"] == "ping" for frame in venue.frames[0]) >= 8)
            assert (log.ups, streams.link.opened) == (1, 1)

    run(scenario)


def test_a_subscription_that_is_never_confirmed_opens_the_socket_again():
    async def scenario(venue):
        venue.confirms = False
        async with running(venue, confirm_timeout_s=0.1) as (_, log):
            await until(lambda: log.downs)
            assert "not confirmed" in log.downs[0]
            assert "l2Book/kPEPE" in log.downs[0]

    run(scenario)


def test_already_subscribed_counts_as_subscribed():
    async def scenario(venue):
        venue.confirms = False
        async with running(venue) as (streams, log):
            await until(lambda: venue.frames and len(subscribed(venue.frames[0])) == 3)
            for frame in venue.frames[0]:
                await venue.push("error", "Already subscribed: " + json.dumps(frame["subscription"]))
            await until(lambda: streams.is_up)
            assert log.errors == []

    run(scenario)


def test_a_pair_that_is_wanted_again_while_it_is_left_is_subscribed_again():
    async def scenario(venue):
        async with running(venue) as (streams, log):
            await until(lambda: log.ups)
            venue.confirms = False
            streams.unsubscribe([BBO])
            await until(lambda: venue.frames[0][-1]["method"] == "unsubscribe")
            streams.subscribe([BBO])
            await venue.confirm(venue.frames[0][-1])
            await until(lambda: venue.frames[0][-1]["method"] == "subscribe")
            assert venue.frames[0][-1]["subscription"] == BBO

    run(scenario)


def test_messages_reach_the_handler_of_their_channel_and_others_are_reported():
    async def scenario(venue):
        async with running(venue) as (streams, log):
            got = []
            streams.set_handler("bbo", lambda data, mono_ns: got.append((json.loads(bytes(data)), mono_ns)))
            streams.set_handler("trades", lambda data, mono_ns: 1 / 0)
            await until(lambda: log.ups)
            await venue.push("bbo", {"coin": "BTC"})
            await venue.push("brandNew", [1])
            await venue.sockets[-1].send_str("not json")
            await venue.push("trades", [])
            await venue.push("bbo", 2)
            await until(lambda: len(got) == 2)
            assert got[0][0] == {"coin": "BTC"}
            assert [code for code, _ in log.errors] == ["unknown_channel", "malformed_message", "stream_handler"]
            assert log.downs == []

    run(scenario)


def test_a_frame_that_is_no_text_is_reported_and_the_next_one_is_taken():
    async def scenario(venue):
        async with running(venue) as (streams, log):
            heard = []
            streams.set_handler("bbo", lambda data, mono_ns: heard.append(bytes(data)))
            await until(lambda: log.ups)
            await venue.sockets[-1].send_bytes(b"\x00\xff")
            await venue.push("bbo", {"coin": "BTC"})
            await until(lambda: heard, 25.0)
            assert [code for code, _ in log.errors] == ["stream_handler"]
            assert "2 bytes" in log.errors[0][1]

    run(scenario)


def action_reply(number, payload):
    return {"id": number, "response": {"type": "action", "payload": payload}}


def test_posted_requests_are_answered_in_any_order():
    async def scenario(venue):
        async with running(venue) as (streams, log):
            await until(lambda: log.ups)
            tasks = [asyncio.ensure_future(streams.post_action(b'{"n":%d}' % n)) for n in (1, 2)]
            await until(lambda: sum(frame["method"] == "post" for frame in venue.frames[0]) == 2)
            posts = [frame for frame in venue.frames[0] if frame["method"] == "post"]
            assert posts[0]["request"] == {"type": "action", "payload": {"n": 1}}
            for post in reversed(posts):
                await venue.push(
                    "post", action_reply(post["id"], {"status": "ok", "n": post["request"]["payload"]["n"]})
                )
            answers = [json.loads(bytes(answer)) for answer in await asyncio.gather(*tasks)]
            assert [answer["n"] for answer in answers] == [1, 2]
            assert streams.posts_in_flight == 0

    run(scenario)


def test_a_post_fails_as_unknown_when_the_socket_is_lost_or_the_answer_does_not_come():
    async def scenario(venue):
        async with running(venue, request_timeout_s=0.1) as (streams, log):
            await until(lambda: log.ups)
            with pytest.raises(TransportError, match="no answer"):
                await streams.post_action(b"{}")
            task = asyncio.ensure_future(streams.post_action(b"{}"))
            await until(lambda: streams.posts_in_flight)
            await venue.sockets[-1].close()
            with pytest.raises(TransportError, match="lost"):
                await task
            assert not isinstance(task.exception(), NotSent)
            await until(lambda: log.ups == 2)
            await venue.push("post", action_reply(1, {}))
            await until(lambda: log.errors)
            assert log.errors[0][0] == "late_reply"

    run(scenario)


def test_a_post_without_a_socket_is_known_not_to_be_sent():
    async def scenario(venue):
        http = HttpClient(venue.url, timeout_s=1.0)
        streams = Streams(
            venue.ws_url, http, on_up=lambda: None, on_down=lambda reason: None, on_error=lambda code, text: None
        )
        with pytest.raises(NotSent):
            await streams.post_action(b"{}")
        await http.close()

    run(scenario)
