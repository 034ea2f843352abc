"""What a node says by gRPC, and what the connection to it does: held against recorded bytes and a server that obeys."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.certificate import self_signed

from latentspeed.connectors.addresses import InsecureAddress
from latentspeed.connectors.dydx_v4 import config as config_module
from latentspeed.connectors.dydx_v4 import grpc_node
from latentspeed.connectors.dydx_v4.config import LOCAL, MAINNET, DydxConfig
from latentspeed.connectors.dydx_v4.grpc_node import BROADCAST, LATEST_BLOCK, SYNCING, GrpcMissing, GrpcNode
from latentspeed.connectors.dydx_v4.messages import TxResult
from latentspeed.connectors.dydx_v4.node_line import UnknownAccount, check_node_address
from latentspeed.connectors.dydx_v4.nodes import ACCOUNT_QUERY, ChainAccount, Nodes
from latentspeed.connectors.dydx_v4.protobuf import data, text, uint
from latentspeed.connectors.errors import InvalidOption
from latentspeed.connectors.transport import NotSent, TransportError

TIMEOUT_S = 60.0
ACCEPTED = data(1, text(2, "AB" * 32))


class Server:
    """Answers each method with bytes, or ends the call with a status; keeps what it was asked."""

    def __init__(self):
        self.answers = {}
        self.asked = []
        self.url = ""

    def service(self, details):
        method = details.method

        async def answer(request, context):
            self.asked.append((method, request))
            found = self.answers.get(method, grpc.StatusCode.UNIMPLEMENTED)
            if isinstance(found, asyncio.Event):
                await found.wait()
                return ACCEPTED
            if isinstance(found, grpc.StatusCode):
                await context.abort(found, "as it was told to")
            return found

        return grpc.unary_unary_rpc_method_handler(answer)


@asynccontextmanager
async def serving(credentials=None):
    rules = Server()

    class Methods(grpc.GenericRpcHandler):
        def service(self, details):
            return rules.service(details)

    server = grpc.aio.server(handlers=[Methods()])
    if credentials is None:
        rules.url = f"grpc://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    else:
        rules.url = f"grpcs://localhost:{server.add_secure_port('localhost:0', credentials)}"
    await server.start()
    try:
        yield rules
    finally:
        await server.stop(0.1)


@asynccontextmanager
async def talking(timeout_s=TIMEOUT_S):
    async with serving() as server:
        node = GrpcNode(server.url, timeout_s=timeout_s)
        try:
            yield server, node
        finally:
            await node.close()


def run(scenario):
    asyncio.run(asyncio.wait_for(scenario(), 60))


@pytest.fixture
def recorded(reference):
    return json.loads((reference / "vectors" / "dydx_v4.json").read_text())["grpc_messages"]


def test_broadcasts_are_asked_and_understood_byte_for_byte_as_recorded(recorded):
    cases = [case for case in recorded if case["path"] == BROADCAST]
    expected = [("", 0, ""), ("sdk", 32, "account sequence mismatch, expected 8, got 7"), ("clob", 10, "detail: Next")]

    async def scenario():
        async with talking() as (server, node):
            for case, (codespace, code, log) in zip(cases, expected, strict=True):
                request = bytes.fromhex(case["request_hex"])
                server.answers[BROADCAST] = bytes.fromhex(case["response_hex"])
                # Field 1 is the transaction, its length in two bytes; field 2 the mode.
                result = await node.broadcast(request[3:-2])
                assert server.asked[-1] == (BROADCAST, request)
                assert (result.codespace, result.code, result.log[: len(log)]) == (codespace, code, log)

    run(scenario)


def test_accounts_are_asked_and_understood_byte_for_byte_as_recorded(recorded):
    cases = [case for case in recorded if case["path"] == ACCOUNT_QUERY]
    expected = [ChainAccount(42, 7), ChainAccount(42, 0)]

    async def scenario():
        async with serving() as server:
            nodes = Nodes([server.url], timeout_s=TIMEOUT_S)
            for case, account in zip(cases, expected, strict=True):
                request = bytes.fromhex(case["request_hex"])
                server.answers[ACCOUNT_QUERY] = bytes.fromhex(case["response_hex"])
                assert await nodes.account(request[2:].decode()) == account
                assert server.asked[-1] == (ACCOUNT_QUERY, request)
            await nodes.close()

    run(scenario)


@pytest.mark.parametrize("place", [2, 3])
def test_the_last_block_has_a_height_and_a_time(place):
    header = data(1, uint(3, 24_000_017) + data(4, uint(1, 1_735_600_000) + uint(2, 219_000_000)))

    async def scenario():
        async with talking() as (server, node):
            server.answers[LATEST_BLOCK] = data(place, header)
            assert await node.block() == (24_000_017, 1_735_600_000_219), "a gateway need not say whether it syncs"
            server.answers[SYNCING] = b""
            assert await node.block() == (24_000_017, 1_735_600_000_219)
            server.answers[SYNCING] = uint(1, 1)
            with pytest.raises(TransportError, match="catching up at 24000017"):
                await node.block()

    run(scenario)


@pytest.mark.parametrize("status", ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "INTERNAL", "UNIMPLEMENTED", "CANCELLED"])
def test_no_status_proves_that_a_transaction_was_not_taken(status):
    async def scenario():
        async with talking() as (server, node):
            server.answers[BROADCAST] = grpc.StatusCode[status]
            with pytest.raises(TransportError, match=status) as failed:
                await node.broadcast(b"transaction")
            assert not isinstance(failed.value, NotSent)
            assert len(server.asked) == 1, "it was sent once"

    run(scenario)


def test_a_transaction_that_was_there_already_is_taken():
    async def scenario():
        async with talking() as (server, node):
            server.answers[BROADCAST] = data(1, text(2, "AB") + text(3, "sdk") + uint(4, 19))
            assert await node.broadcast(b"transaction") == TxResult()
            server.answers[BROADCAST] = data(1, text(2, "AB") + text(3, "clob") + uint(4, 19))
            assert (await node.broadcast(b"transaction")).code == 19, "numbers collide across codespaces"

    run(scenario)


@pytest.mark.parametrize(
    "answer", [b"", data(1, b""), data(1, uint(2, 5)), b"\xff", data(1, data(2, b"AB") + data(4, b""))]
)
def test_an_answer_without_a_hash_is_no_success(answer):
    async def scenario():
        async with talking() as (server, node):
            server.answers[BROADCAST] = answer
            with pytest.raises(TransportError, match="broadcast"):
                await node.broadcast(b"transaction")

    run(scenario)


def test_a_passed_deadline_leaves_the_fate_open_and_the_connection_behind():
    async def scenario():
        async with talking(timeout_s=1.0) as (server, node):
            await node.open()
            first = node._channel
            server.answers[BROADCAST] = never = asyncio.Event()
            with pytest.raises(TransportError, match=r"no answer in 1.0 s") as failed:
                await node.broadcast(b"transaction")
            assert not isinstance(failed.value, NotSent)
            never.set()
            server.answers[BROADCAST] = ACCEPTED
            assert (await node.broadcast(b"another")).code == 0
            assert node._channel is not first

    run(scenario)


def test_whoever_is_waiting_when_the_node_is_closed_is_told():
    async def scenario():
        async with talking() as (server, node):
            server.answers[BROADCAST] = asyncio.Event()
            waiting = asyncio.create_task(node.broadcast(b"transaction"))
            while not server.asked:
                await asyncio.sleep(0.005)
            await node.close()
            with pytest.raises(TransportError) as failed:
                await waiting
            assert not isinstance(failed.value, NotSent)
            with pytest.raises(NotSent):
                await node.broadcast(b"transaction")

    run(scenario)


def test_who_cancels_a_broadcast_is_not_told_that_the_connection_was_at_fault():
    async def scenario():
        async with talking() as (server, node):
            server.answers[BROADCAST] = asyncio.Event()
            waiting = asyncio.create_task(node.broadcast(b"transaction"))
            while not server.asked:
                await asyncio.sleep(0.005)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting

    run(scenario)


def test_where_nobody_listens_nothing_is_sent():
    async def scenario():
        node = GrpcNode("grpc://127.0.0.1:1", timeout_s=TIMEOUT_S)
        await node.open()
        found = await asyncio.gather(*(node.broadcast(b"x") for _ in range(5)), return_exceptions=True)
        assert [type(error) for error in found] == [NotSent] * 5
        await node.close()

    run(scenario)


def test_an_unknown_account_is_told_from_other_things_that_are_not_found():
    async def scenario():
        async with talking() as (server, node):
            server.answers[ACCOUNT_QUERY] = grpc.StatusCode.NOT_FOUND
            with pytest.raises(UnknownAccount, match="dydx1nobody"):
                await node.query(ACCOUNT_QUERY, b"", "dydx1nobody")
            with pytest.raises(TransportError, match="NOT_FOUND"):
                await node.query(ACCOUNT_QUERY, b"")

    run(scenario)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60))
def test_no_answer_breaks_a_question(answer):
    async def ask():
        node = GrpcNode("grpc://127.0.0.1:1", timeout_s=1.0)

        async def say(path, request):
            return answer

        node._call = say
        for question in (node.broadcast(b"x"), node.block()):
            try:
                assert await question is not None
            except TransportError:
                continue

    asyncio.run(ask())


# --- where it may go ---


@pytest.fixture
def certificate(tmp_path):
    return self_signed(tmp_path)


def test_a_certificate_that_nobody_vouches_for_is_refused_and_one_of_a_trusted_root_is_not(certificate, monkeypatch):
    key, chain = certificate

    async def scenario():
        credentials = grpc.ssl_server_credentials([(key.read_bytes(), chain.read_bytes())])
        async with serving(credentials) as server:
            server.answers[BROADCAST] = ACCEPTED
            stranger = GrpcNode(server.url, timeout_s=TIMEOUT_S)
            with pytest.raises(NotSent, match="no connection"):
                await stranger.broadcast(b"transaction")
            assert not server.asked
            await stranger.close()
            monkeypatch.setenv("SSL_CERT_FILE", str(chain))
            friend = GrpcNode(server.url, timeout_s=TIMEOUT_S)
            assert (await friend.broadcast(b"transaction")).code == 0
            await friend.close()
            other = GrpcNode(server.url.replace("localhost", "127.0.0.1"), timeout_s=TIMEOUT_S)
            with pytest.raises(NotSent):
                await other.broadcast(b"the certificate names another host")
            await other.close()

    run(scenario)


@pytest.mark.parametrize(
    "url",
    [
        "grpc://oegs.dydx.trade:443",
        "grpc://192.0.2.1:9090",
        "grpcs://oegs.dydx.trade",
        "grpcs://:443",
        "grpcs://oegs.dydx.trade:443/path",
        "grpcs://oegs.dydx.trade:port",
        "grpcs://user@oegs.dydx.trade:443",
        "http://192.0.2.1:26657",
        "ftp://127.0.0.1:21",
    ],
)
def test_an_address_that_is_plain_text_or_no_address_is_refused(url):
    with pytest.raises(InsecureAddress):
        check_node_address(url)
    with pytest.raises(InvalidOption, match="node_urls"):
        DydxConfig(domain=MAINNET, node_urls=(url,))


def test_encrypted_addresses_and_those_of_this_machine_are_taken():
    for url in ("grpcs://oegs.dydx.trade:443", "grpc://127.0.0.1:9090", "grpc://[::1]:9090", "https://node.example"):
        assert check_node_address(url) == url
    with pytest.raises(InvalidOption, match="this machine only"):
        DydxConfig(
            domain=LOCAL,
            node_urls=("grpcs://oegs.dydx.trade:443",),
            indexer_url="http://127.0.0.1:1",
            ws_url="ws://127.0.0.1:1",
        )


def test_without_the_extra_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setattr(config_module, "find_spec", lambda name: None)
    with pytest.raises(InvalidOption, match=r"pip install latentspeed\[grpc\]"):
        DydxConfig(domain=MAINNET, node_urls=("grpcs://oegs.dydx.trade:443",))
    DydxConfig(domain=MAINNET, node_urls=("https://node.example",))
    monkeypatch.setitem(__import__("sys").modules, "grpc", None)
    with pytest.raises(GrpcMissing, match=r"pip install latentspeed\[grpc\]"):
        grpc_node.import_grpc()
