"""The node's interfaces over HTTP: CometBFT's JSON-RPC and the REST paths (LCD) that clients read."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any

import orjson
from aiohttp import web

from latentspeed.tools.venues.dydx_v4 import query_schemas, schemas
from latentspeed.tools.venues.dydx_v4.accounts import Account
from latentspeed.tools.venues.dydx_v4.chain import Chain
from latentspeed.tools.venues.dydx_v4.node_queries import QUERIES, NotFound, Query
from latentspeed.tools.venues.dydx_v4.protobuf import DecodeError, as_json, decode, encode
from latentspeed.tools.venues.dydx_v4.refusals import SDK, TxRefused
from latentspeed.tools.venues.dydx_v4.rows import iso

Reply = dict[str, Any]


class Node:
    """One full node's front."""

    def __init__(self, chain: Chain, on_broadcast: Callable[[], None] = lambda: None, number: int = 0) -> None:
        self.chain = chain
        self.number = number
        self.is_up = True
        """Whether it can be reached."""
        self._on_broadcast = on_broadcast
        self.broadcasts = 0
        """Transactions that came here."""
        self.delay_s = 0.0
        """A fault: answers to broadcasts come so much later, after the node has acted."""
        self.lost_answers = 0
        """A fault: so many broadcasts are taken and their connection is cut."""
        self.broken_answers = 0
        """A fault: so many broadcasts are taken, and their connection is reset in the middle of the answer."""
        self.lag_blocks = 0
        """A fault: by how many blocks this node is behind."""
        self.failures: list[int] = []
        """A fault: statuses with which the next requests are answered, before the node acts."""
        self.broadcast_failures: list[int] = []
        """The same for broadcasts alone."""

    def routes(self) -> list[web.RouteDef]:
        """All paths."""
        get = web.get
        return [
            web.post("/", self._rpc),
            get("/status", self._status),
            web.post("/cosmos/tx/v1beta1/txs", self._broadcast_lcd),
            get("/cosmos/tx/v1beta1/txs/{hash}", self._transaction),
            get("/cosmos/auth/v1beta1/accounts/{address}", self._account),
            get("/cosmos/base/tendermint/v1beta1/blocks/latest", self._latest_block),
            web.post("/cosmos/tx/v1beta1/simulate", self._simulate),
            *(get(query.path, self._answer(query)) for query in QUERIES.values() if query.path),
        ]

    # --- JSON-RPC ---

    async def _rpc(self, request: web.Request) -> web.StreamResponse:
        if self.failures:
            return web.Response(status=self.failures.pop(0), text="upstream error")
        try:
            call = orjson.loads(await request.read())
            method, number, parameters = call["method"], call.get("id"), call.get("params") or {}
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return _json({"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "Parse error"}})
        found: Reply
        if method == "broadcast_tx_sync":
            if self.broadcast_failures:
                return web.Response(status=self.broadcast_failures.pop(0), text="upstream error")
            found = self._broadcast(str(parameters.get("tx", "")))
            if self.takes_lost_answer():
                if request.transport is not None:
                    request.transport.close()
                return web.Response()
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            if self.takes_broken_answer():
                return await _half(request, {"jsonrpc": "2.0", "id": number, **found})
        elif method == "status":
            found = {"result": self._status_row()}
        elif method == "abci_query":
            found = {"result": {"response": self._abci_query(parameters)}}
        elif method == "health":
            found = {"result": {}}
        else:
            found = {"error": {"code": -32601, "message": "Method not found"}}
        return _json({"jsonrpc": "2.0", "id": number, **found})

    def broadcast(self, raw: bytes) -> TxRefused | None:
        """Gives a transaction to the chain; why it refuses, or None."""
        self.broadcasts += 1
        try:
            self.chain.broadcast(raw, behind=self.lag_blocks, node=self.number)
        except TxRefused as refused:
            return refused
        finally:
            self._on_broadcast()
        return None

    @property
    def height(self) -> int:
        """The last block that this node has."""
        return self.chain.height - self.lag_blocks

    def takes_lost_answer(self) -> bool:
        """Whether the answer to this broadcast is lost; that fault is then used up once."""
        if not self.lost_answers:
            return False
        self.lost_answers -= 1
        return True

    def takes_broken_answer(self) -> bool:
        """Whether the answer to this broadcast breaks off; that fault is then used up once."""
        if not self.broken_answers:
            return False
        self.broken_answers -= 1
        return True

    def _broadcast(self, text: str) -> Reply:
        try:
            raw = base64.b64decode(text, validate=True)
        except binascii.Error as error:
            return {"error": {"code": -32602, "message": "Invalid params", "data": str(error)}}
        result: Reply = {"code": 0, "data": "", "log": "", "codespace": ""}
        result["hash"] = sha256(raw).hexdigest().upper()
        refused = self.broadcast(raw)
        if refused is not None:
            if (refused.codespace, refused.code) == (SDK, 19):
                return {"error": {"code": -32603, "message": "Internal error", "data": "tx already exists in cache"}}
            if (refused.codespace, refused.code) == (SDK, 20):
                return {"error": {"code": -32603, "message": "Internal error", "data": "mempool is full"}}
            result |= {"code": refused.code, "codespace": refused.codespace, "log": refused.log}
        return {"result": result}

    def _abci_query(self, parameters: Reply) -> Reply:
        empty = {"log": "", "info": "", "index": "0", "key": None, "proofOps": None, "codespace": ""}
        height = str(self.height)
        path = str(parameters.get("path"))
        query = QUERIES.get(path)
        if query is None and path != "/cosmos.auth.v1beta1.Query/Account":
            return {**empty, "code": 6, "log": f"unknown query path: {path}", "value": None, "height": height}
        try:
            request = bytes.fromhex(str(parameters.get("data", "")).removeprefix("0x"))
            asked = decode(request, query_schemas.ACCOUNT_REQUEST if query is None else query.request)
        except (ValueError, DecodeError) as error:
            return {**empty, "code": 1, "log": str(error), "value": None, "height": height}
        if query is not None:
            try:
                value = base64.b64encode(encode(query.run(self.chain, asked), query.answer)).decode()
            except NotFound as error:
                return {**empty, "code": 22, "codespace": SDK, "log": str(error), "value": None, "height": height}
            return {**empty, "code": 0, "value": value, "height": height}
        account = self.chain.enrol(asked["address"])
        if account is None:
            text = f"account {asked['address']} not found: key not found"
            return {**empty, "code": 22, "codespace": SDK, "log": text, "value": None, "height": height}
        value = base64.b64encode(self.account_response(account)).decode()
        return {**empty, "code": 0, "value": value, "height": height}

    @staticmethod
    def account_response(account: Account) -> bytes:
        """The answer to the query of an account."""
        fields: dict[str, Any] = {
            "address": account.address,
            "account_number": account.number,
            "sequence": account.sequence,
        }
        if account.public_key:
            key = encode({"key": account.public_key}, schemas.PUBLIC_KEY)
            fields["pub_key"] = {"type_url": schemas.PUBLIC_KEY_URL, "value": key}
        packed = {"type_url": query_schemas.BASE_ACCOUNT_URL, "value": encode(fields, query_schemas.BASE_ACCOUNT)}
        return encode({"account": packed}, query_schemas.ACCOUNT)

    def _status_row(self) -> Reply:
        chain = self.chain
        return {
            "node_info": {"network": chain.config.chain_id, "moniker": "latentspeed-local"},
            "sync_info": {
                "latest_block_height": str(self.height),
                "latest_block_time": iso(chain.time_ms),
                "catching_up": False,
            },
        }

    async def _status(self, request: web.Request) -> web.Response:
        return _json({"jsonrpc": "2.0", "id": -1, "result": self._status_row()})

    # --- REST ---

    async def _broadcast_lcd(self, request: web.Request) -> web.Response:
        asked = orjson.loads(await request.read())
        answer = self._broadcast(str(asked.get("tx_bytes", "")))
        if "error" in answer:
            row = {"code": 19, "codespace": SDK, "txhash": "", "raw_log": answer["error"]["data"]}
            return _json({"tx_response": row})
        result = answer["result"]
        row = {"height": "0", "txhash": result["hash"], "codespace": result["codespace"], "code": result["code"]}
        return _json({"tx_response": {**row, "raw_log": result["log"], "data": ""}})

    async def _transaction(self, request: web.Request) -> web.Response:
        identifier = request.match_info["hash"].upper()
        found = self.chain.results.get(identifier)
        if found is None:
            return _not_found(f"tx not found: {identifier}")
        row = {"height": str(found.height), "txhash": identifier, "codespace": found.codespace, "code": found.code}
        return _json({"tx_response": {**row, "raw_log": found.log}})

    async def _account(self, request: web.Request) -> web.Response:
        address = request.match_info["address"]
        account = self.chain.enrol(address)
        if account is None:
            return _not_found(f"account {address} not found")
        key = None
        if account.public_key:
            key = {"@type": schemas.PUBLIC_KEY_URL, "key": base64.b64encode(account.public_key).decode()}
        return _json(
            {
                "account": {
                    "@type": query_schemas.BASE_ACCOUNT_URL,
                    "address": address,
                    "pub_key": key,
                    "account_number": str(account.number),
                    "sequence": str(account.sequence),
                }
            }
        )

    async def _latest_block(self, request: web.Request) -> web.Response:
        chain = self.chain
        header = {"chain_id": chain.config.chain_id, "height": str(self.height), "time": iso(chain.time_ms)}
        return _json({"block": {"header": header}})

    def _answer(self, query: Query) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(request: web.Request) -> web.Response:
            given = {**request.query, **request.match_info}
            asked: Reply = {}
            try:
                for name, kind in query.request.values():
                    asked[name] = given.get(name, "") if kind.name == "string" else int(given.get(name, 0))
                return _json(as_json(query.run(self.chain, asked), query.answer))
            except NotFound as error:
                return _not_found(str(error))
            except ValueError as error:
                return _json({"code": 3, "message": str(error), "details": []}, 400)

        return answer

    async def _simulate(self, request: web.Request) -> web.Response:
        try:
            raw = base64.b64decode(str(orjson.loads(await request.read()).get("tx_bytes", "")), validate=True)
            gas = self.chain.simulate(raw)
        except TxRefused as refused:
            return _json({"code": 2, "message": refused.log, "details": []}, 500)
        except (binascii.Error, orjson.JSONDecodeError, AttributeError) as error:
            return _json({"code": 3, "message": str(error), "details": []}, 400)
        return _json({"gas_info": {"gas_wanted": "0", "gas_used": str(gas)}, "result": None})


def _json(found: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(found), status=status, content_type="application/json")


async def _half(request: web.Request, found: Any) -> web.StreamResponse:
    """Half of an answer, and a reset."""
    whole = orjson.dumps(found)
    answer = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(whole))})
    with contextlib.suppress(ConnectionError):
        await answer.prepare(request)
        await answer.write(whole[: len(whole) // 2])
    if request.transport is not None:
        request.transport.abort()
    return answer


def _not_found(text: str) -> web.Response:
    return _json({"code": 5, "message": text, "details": []}, 404)
