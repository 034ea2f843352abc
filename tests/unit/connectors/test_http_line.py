"""A request is on the socket when `post` returns, its fate is told exactly, and no answer reaches another's request."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager

import pytest
from support.certificate import self_signed

from latentspeed.connectors.addresses import InsecureAddress
from latentspeed.connectors.http_line import LARGEST_ANSWER, HttpLine
from latentspeed.connectors.transport import HttpStatusError, NotSent, TransportError

OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b"


def ok(body: bytes) -> bytes:
    return OK % (len(body), body)


class Server:
    """Answers each request with what `answer(number, body)` returns; None closes the connection instead."""

    def __init__(self, answer):
        self.answer = answer
        self.requests: list[bytes] = []
        self.heads: list[bytes] = []
        self.connections = 0
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader, writer):
        self.connections += 1
        self.writers.append(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                body = await reader.readexactly(length)
                self.heads.append(head)
                self.requests.append(body)
                reply = self.answer(len(self.requests), body)
                if asyncio.iscoroutine(reply):
                    reply = await reply
                if reply is None:
                    break
                writer.write(reply)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def line_to(answer, *, tls=None, timeout_s=2.0, **options):
    server = Server(answer)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    scheme, host = ("https", "localhost") if tls else ("http", "127.0.0.1")
    line = HttpLine(
        f"{scheme}://{host}:{listener.sockets[0].getsockname()[1]}", "/exchange", timeout_s=timeout_s, **options
    )
    try:
        yield line, server
    finally:
        await line.close()
        for writer in server.writers:
            writer.close()
        listener.close()
        await listener.wait_closed()


class SpyTransport:
    """Takes the place of a connection's transport and notes what is written."""

    def __init__(self, connection):
        self.written: list[bytes] = []
        self._transport = connection._transport
        connection._transport = self

    def write(self, data):
        self.written.append(data)
        self._transport.write(data)

    def abort(self):
        self._transport.abort()


def run(scenario):
    asyncio.run(asyncio.wait_for(scenario(), 60))


async def until(condition):
    while not condition():
        await asyncio.sleep(0.005)


def test_an_answer_comes_back_and_the_connection_serves_again():
    async def scenario():
        async with line_to(lambda number, body: ok(b"%d:" % number + body)) as (line, server):
            assert await line.post(b'{"a":1}') == b'1:{"a":1}'
            assert await line.post(b"") == b"2:"
            assert server.connections == 1
            assert server.heads[0].startswith(b"POST /exchange HTTP/1.1\r\nHost: 127.0.0.1:")
            assert b"Content-Type: application/json\r\n" in server.heads[0]

    run(scenario)


def test_a_warm_line_writes_before_post_returns():
    async def scenario():
        async with line_to(lambda number, body: ok(body)) as (line, server):
            await line.open()
            await until(lambda: server.connections == 2)
            spies = [SpyTransport(connection) for connection in line._idle]
            answer = line.post(b"now")
            (written,) = [data for spy in spies for data in spy.written]
            assert written.endswith(b"\r\n\r\nnow")
            assert await answer == b"now"

    run(scenario)


def test_requests_at_once_each_get_their_own_answer_within_the_bound_of_connections():
    async def scenario():
        async def later(number, body):
            await asyncio.sleep(0.001 * (number % 7))
            return ok(body)

        async with line_to(later, connections=4) as (line, server):
            bodies = [b"%d" % number for number in range(100)]
            assert await asyncio.gather(*(line.post(body) for body in bodies)) == bodies
            assert server.connections <= 4
            assert sorted(server.requests) == sorted(bodies)

    run(scenario)


@pytest.mark.parametrize(("status", "text"), [(429, "null"), (422, "no"), (500, ""), (502, "<html></html>"), (301, "")])
def test_a_status_is_told_with_its_text_and_a_redirect_is_not_followed(status, text):
    async def scenario():
        reply = f"HTTP/1.1 {status} X\r\nLocation: /elsewhere\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()
        async with line_to(lambda number, body: reply) as (line, server):
            with pytest.raises(HttpStatusError) as failed:
                await line.post(b"{}")
            assert (failed.value.status, failed.value.text) == (status, text)
            assert not isinstance(failed.value, NotSent)
            assert len(server.requests) == 1

    run(scenario)


def test_chunked_answers_and_announcements_are_understood():
    async def scenario():
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        early = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        async with line_to(lambda number, body: early + chunked) as (line, server):
            assert await line.post(b"1") == b"abcde"
            assert await line.post(b"2") == b"abcde"
            assert server.connections == 1

    run(scenario)


def test_an_answer_in_single_bytes_is_one_answer():
    async def scenario():
        async def drip(number, body):
            writer = server.writers[-1]
            for byte in ok(body)[:-1]:
                writer.write(bytes([byte]))
                await asyncio.sleep(0)
            return ok(body)[-1:]

        async with line_to(drip) as (line, server):
            assert await line.post(b"dripped") == b"dripped"

    run(scenario)


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (None, "lost"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", "no answer in"),
        (b"nonsense\r\n\r\n", "not HTTP"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (LARGEST_ANSWER + 1) + b"x" * (LARGEST_ANSWER + 1),
            "longer",
        ),
    ],
)
def test_whatever_breaks_after_writing_leaves_the_request_unknown(reply, why):
    async def scenario():
        async with line_to(lambda number, body: reply, timeout_s=0.5) as (line, server):
            with pytest.raises(TransportError, match=why) as failed:
                await line.post(b"{}")
            assert not isinstance(failed.value, NotSent | HttpStatusError)
            assert len(server.requests) == 1, "a request is never written twice"

    run(scenario)


def test_a_second_answer_to_one_request_is_never_taken_for_the_next_ones():
    async def scenario():
        async with line_to(lambda number, body: ok(body) + ok(b"forged"), connections=1) as (line, _):
            first, second = line.post(b"1"), line.post(b"2")
            outcomes = await asyncio.gather(first, second, return_exceptions=True)
            assert b"forged" not in outcomes
            assert isinstance(outcomes[0], TransportError)

    run(scenario)


def test_a_server_that_speaks_unasked_loses_its_connection():
    async def scenario():
        async with line_to(lambda number, body: ok(body)) as (line, server):
            assert await line.post(b"1") == b"1"
            server.writers[0].write(ok(b"unasked"))
            await until(lambda: not line._idle)
            assert await line.post(b"2") == b"2"
            assert server.connections == 2

    run(scenario)


def test_a_connection_closed_while_idle_is_not_used():
    async def scenario():
        async with line_to(lambda number, body: ok(body)) as (line, server):
            assert await line.post(b"1") == b"1"
            server.writers[0].close()
            await until(lambda: not line._idle)
            assert await line.post(b"2") == b"2"

    run(scenario)


def test_a_server_that_keeps_no_connection_is_asked_on_a_new_one():
    async def scenario():
        reply = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n1"
        async with line_to(lambda number, body: reply) as (line, server):
            assert await line.post(b"a") == b"1"
            assert await line.post(b"b") == b"1"
            assert server.connections == 2

    run(scenario)


def test_without_a_connection_nothing_was_sent():
    async def scenario():
        listener = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        listener.close()
        await listener.wait_closed()
        line = HttpLine(f"http://127.0.0.1:{port}", "/exchange", timeout_s=1.0)
        outcomes = await asyncio.gather(*(line.post(b"{}") for _ in range(20)), return_exceptions=True)
        assert all(isinstance(outcome, NotSent) for outcome in outcomes)
        await line.close()
        with pytest.raises(NotSent, match="closed"):
            await line.post(b"{}")

    run(scenario)


def test_closing_tells_waiting_requests_from_written_ones():
    async def scenario():
        async def never(number, body):
            await asyncio.sleep(10)

        async with line_to(never, connections=1) as (line, server):
            written, waiting = line.post(b"1"), line.post(b"2")
            await until(lambda: server.requests)
            await line.close()
            with pytest.raises(TransportError) as failed:
                await written
            assert not isinstance(failed.value, NotSent)
            with pytest.raises(NotSent):
                await waiting

    run(scenario)


def test_a_warm_line_comes_back_when_the_server_has_closed_it():
    async def scenario():
        async with line_to(lambda number, body: ok(body), warm=1) as (line, server):
            await line.open()
            await until(lambda: server.connections == 1)
            server.writers[0].close()
            await until(lambda: server.connections == 2 and line._idle)

    run(scenario)


def test_plain_text_to_another_machine_is_refused():
    with pytest.raises(InsecureAddress):
        HttpLine("http://192.0.2.1", "/exchange", timeout_s=1.0)


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path):
    key, certificate = self_signed(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)

    async def scenario():
        async with line_to(lambda number, body: ok(body), tls=tls) as (line, server):
            with pytest.raises(NotSent, match="certificate"):
                await line.post(b"{}")
            assert not server.requests
            line._tls.load_verify_locations(certificate)
            assert await line.post(b"trusted") == b"trusted"

    run(scenario)
