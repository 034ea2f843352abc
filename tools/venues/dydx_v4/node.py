"""The node's interfaces over HTTP: CometBFT's JSON-RPC and the REST paths (LCD) that clients read."""

from __future__ import annotations

import asyncio
import base64
import binascii
from hashlib import sha256
from typing import Any, Final

import orjson
from aiohttp import web

from latentspeed.tools.venues.dydx_v4 import schemas
from latentspeed.tools.venues.dydx_v4.accounts import Account
from latentspeed.tools.venues.dydx_v4.chain import Chain
from latentspeed.tools.venues.dydx_v4.markets import STATUSES
from latentspeed.tools.venues.dydx_v4.protobuf import DecodeError, decode, encode
from latentspeed.tools.venues.dydx_v4.refusals import SDK, TxRefused
from latentspeed.tools.venues.dydx_v4.rows import iso

USDC_DENOM: Final = "ibc/8E27BA2D5493AF5636760E354E46004562C46AB7EC0CC4C1CA14E9E20E2545B5"
NATIVE_DENOM: Final = "adv4tnt"
Reply = dict[str, Any]


class Node:
    """One full node's front."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self.delay_s = 0.0
        """A fault: answers to broadcasts come so much later, after the node has acted."""
        self.lost_answers = 0
        """A fault: so many broadcasts are taken and their connection is cut."""
        self.failures: list[int] = []
        """A fault: statuses with which the next requests are answered, before the node acts."""

    def routes(self) -> list[web.RouteDef]:
        """All paths."""
        get = web.get
        clob = "/dydxprotocol/clob"
        return [
            web.post("/", self._rpc),
            get("/status", self._status),
            web.post("/cosmos/tx/v1beta1/txs", self._broadcast_lcd),
            get("/cosmos/tx/v1beta1/txs/{hash}", self._transaction),
            get("/cosmos/auth/v1beta1/accounts/{address}", self._account),
            get("/cosmos/bank/v1beta1/balances/{address}", self._balances),
            get("/cosmos/base/tendermint/v1beta1/blocks/latest", self._latest_block),
            get("/cosmos/base/tendermint/v1beta1/node_info", self._node_info),
            get("/cosmos/base/tendermint/v1beta1/syncing", self._syncing),
            get(f"{clob}/clob_pair", self._clob_pairs),
            get(f"{clob}/block_rate", self._block_rate),
            get(f"{clob}/equity_tier", self._equity_tiers),
            get("/dydxprotocol/v4/feetiers/perpetual_fee_params", self._fee_params),
            get("/dydxprotocol/v4/feetiers/user_fee_tier", self._fee_tier),
            get("/dydxprotocol/subaccounts/subaccount/{owner}/{number}", self._subaccount),
            get("/dydxprotocol/accountplus/authenticators/{address}", self._authenticators),
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
            found = self._broadcast(str(parameters.get("tx", "")))
            if self.lost_answers:
                self.lost_answers -= 1
                if request.transport is not None:
                    request.transport.close()
                return web.Response()
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
        elif method == "status":
            found = {"result": self._status_row()}
        elif method == "abci_query":
            found = {"result": {"response": self._abci_query(parameters)}}
        elif method == "health":
            found = {"result": {}}
        else:
            found = {"error": {"code": -32601, "message": "Method not found"}}
        return _json({"jsonrpc": "2.0", "id": number, **found})

    def _broadcast(self, text: str) -> Reply:
        try:
            raw = base64.b64decode(text, validate=True)
        except binascii.Error as error:
            return {"error": {"code": -32602, "message": "Invalid params", "data": str(error)}}
        result: Reply = {"code": 0, "data": "", "log": "", "codespace": ""}
        try:
            result["hash"] = self._chain.broadcast(raw)
        except TxRefused as refused:
            if (refused.codespace, refused.code) == (SDK, 19):
                return {"error": {"code": -32603, "message": "Internal error", "data": "tx already exists in cache"}}
            if (refused.codespace, refused.code) == (SDK, 20):
                return {"error": {"code": -32603, "message": "Internal error", "data": "mempool is full"}}
            result |= {"code": refused.code, "codespace": refused.codespace, "log": refused.log}
            result["hash"] = sha256(raw).hexdigest().upper()
        return {"result": result}

    def _abci_query(self, parameters: Reply) -> Reply:
        empty = {"log": "", "info": "", "index": "0", "key": None, "proofOps": None, "codespace": ""}
        height = str(self._chain.height)
        path = parameters.get("path")
        if path != "/cosmos.auth.v1beta1.Query/Account":
            return {**empty, "code": 6, "log": f"unknown query path: {path}", "value": None, "height": height}
        try:
            asked = decode(bytes.fromhex(str(parameters.get("data", "")).removeprefix("0x")), schemas.ACCOUNT_REQUEST)
        except (ValueError, DecodeError) as error:
            return {**empty, "code": 1, "log": str(error), "value": None, "height": height}
        account = self._chain.enrol(asked["address"])
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
        packed = {"type_url": schemas.BASE_ACCOUNT_URL, "value": encode(fields, schemas.BASE_ACCOUNT)}
        return encode({"account": packed}, schemas.ACCOUNT_RESPONSE)

    def _status_row(self) -> Reply:
        chain = self._chain
        return {
            "node_info": {"network": chain.config.chain_id, "moniker": "latentspeed-local"},
            "sync_info": {
                "latest_block_height": str(chain.height),
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
        found = self._chain.results.get(identifier)
        if found is None:
            return _not_found(f"tx not found: {identifier}")
        height, code, log = found
        return _json({"tx_response": {"height": str(height), "txhash": identifier, "code": code, "raw_log": log}})

    async def _account(self, request: web.Request) -> web.Response:
        address = request.match_info["address"]
        account = self._chain.enrol(address)
        if account is None:
            return _not_found(f"account {address} not found")
        key = None
        if account.public_key:
            key = {"@type": schemas.PUBLIC_KEY_URL, "key": base64.b64encode(account.public_key).decode()}
        return _json(
            {
                "account": {
                    "@type": schemas.BASE_ACCOUNT_URL,
                    "address": address,
                    "pub_key": key,
                    "account_number": str(account.number),
                    "sequence": str(account.sequence),
                }
            }
        )

    async def _balances(self, request: web.Request) -> web.Response:
        account = self._chain.enrol(request.match_info["address"])
        amounts = {} if account is None else {USDC_DENOM: account.usdc, NATIVE_DENOM: account.native}
        found = [{"denom": denom, "amount": str(amount)} for denom, amount in amounts.items() if amount]
        return _json({"balances": found, "pagination": {"next_key": None, "total": str(len(found))}})

    async def _latest_block(self, request: web.Request) -> web.Response:
        chain = self._chain
        header = {"chain_id": chain.config.chain_id, "height": str(chain.height), "time": iso(chain.time_ms)}
        return _json({"block": {"header": header}})

    async def _node_info(self, request: web.Request) -> web.Response:
        return _json({"default_node_info": {"network": self._chain.config.chain_id}})

    async def _syncing(self, request: web.Request) -> web.Response:
        return _json({"syncing": False})

    async def _clob_pairs(self, request: web.Request) -> web.Response:
        found = [
            {
                "id": market.terms.clob_pair_id,
                "perpetual_clob_metadata": {"perpetual_id": market.terms.clob_pair_id},
                "step_base_quantums": str(market.terms.step_quantums),
                "subticks_per_tick": market.terms.subticks_per_tick,
                "quantum_conversion_exponent": market.terms.conversion_exponent,
                "status": f"STATUS_{market.terms.status}",
            }
            for market in self._chain.markets.values()
            if market.terms.status in STATUSES
        ]
        return _json({"clob_pair": found, "pagination": {"next_key": None, "total": str(len(found))}})

    async def _block_rate(self, request: web.Request) -> web.Response:
        config = self._chain.config
        short_term = []
        if config.short_term_limit:
            short_term = [{"num_blocks": config.short_term_blocks, "limit": config.short_term_limit}]
        stateful = [{"num_blocks": blocks, "limit": limit} for blocks, limit in config.stateful_limits]
        return _json(
            {
                "block_rate_limit_config": {
                    "max_short_term_orders_per_n_blocks": [],
                    "max_stateful_orders_per_n_blocks": stateful,
                    "max_short_term_order_cancellations_per_n_blocks": [],
                    "max_short_term_orders_and_cancels_per_n_blocks": short_term,
                    "max_leverage_updates_per_n_blocks": [],
                }
            }
        )

    async def _equity_tiers(self, request: web.Request) -> web.Response:
        tiers = [
            {"usd_tnc_required": str(floor * 10**6), "limit": count} for floor, count in self._chain.config.equity_tiers
        ]
        return _json(
            {"equity_tier_limit_config": {"short_term_order_equity_tiers": [], "stateful_order_equity_tiers": tiers}}
        )

    async def _fee_params(self, request: web.Request) -> web.Response:
        return _json({"params": {"tiers": [_FEE_TIER]}})

    async def _fee_tier(self, request: web.Request) -> web.Response:
        return _json({"index": 0, "tier": _FEE_TIER})

    async def _subaccount(self, request: web.Request) -> web.Response:
        owner, number = request.match_info["owner"], int(request.match_info["number"])
        subaccount = self._chain.ledger.subaccounts.get((owner, number))
        quote = subaccount.quote if subaccount is not None else 0
        positions = subaccount.positions.items() if subaccount is not None else ()
        return _json(
            {
                "subaccount": {
                    "id": {"owner": owner, "number": number},
                    "asset_positions": [{"asset_id": 0, "quantums": str(quote), "index": "0"}] if quote else [],
                    "perpetual_positions": [
                        {
                            "perpetual_id": self._chain.markets[ticker].terms.clob_pair_id,
                            "quantums": str(position.quantums),
                        }
                        for ticker, position in positions
                    ],
                    "margin_enabled": True,
                }
            }
        )

    async def _authenticators(self, request: web.Request) -> web.Response:
        rules = self._chain.authenticators.of(request.match_info["address"])
        return _json(
            {
                "account_authenticators": [
                    {"id": str(rule.id), "type": rule.type, "config": base64.b64encode(rule.data).decode()}
                    for rule in rules
                ]
            }
        )


_FEE_TIER: Final[Reply] = {
    "name": "1",
    "absolute_volume_requirement": "0",
    "total_volume_share_requirement_ppm": 0,
    "maker_volume_share_requirement_ppm": 0,
    "maker_fee_ppm": 100,
    "taker_fee_ppm": 500,
}


def _json(found: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(found), status=status, content_type="application/json")


def _not_found(text: str) -> web.Response:
    return _json({"code": 5, "message": text, "details": []}, 404)
