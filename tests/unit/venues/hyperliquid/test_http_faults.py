"""A reply that is cut off in the middle costs the client its connection, and never the venue a traceback."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
import uvloop

from latentspeed.tools.venues.hyperliquid import http_faults


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("is_gone", [False, True])
def test_half_a_reply_is_sent_and_reset_also_where_the_client_has_gone_before_the_reset(monkeypatch, new_loop, is_gone):
    got = bytearray()
    pause = asyncio.sleep

    async def main():
        served = asyncio.Event()

        async def serve(reader, writer):
            transport = writer.transport

            async def instead_of_sleeping(seconds):
                while not got:
                    await pause(0.001)
                if is_gone:
                    transport.abort()
                    while transport.get_extra_info("socket").fileno() != -1:
                        await pause(0.001)

            monkeypatch.setattr(http_faults.asyncio, "sleep", instead_of_sleeping)
            try:
                await http_faults._send_half(transport, b"x" * 100)
            finally:
                monkeypatch.setattr(http_faults.asyncio, "sleep", pause)
            assert transport.is_closing()
            served.set()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        with contextlib.suppress(ConnectionResetError):
            while data := await reader.read(1000):
                got.extend(data)
        await asyncio.wait_for(served.wait(), 20)
        writer.close()
        server.close()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())
    assert got.endswith(b"\r\n\r\n" + b"x" * 50)
