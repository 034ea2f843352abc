"""The `/exchange` endpoint behind its socket: who acts, whether they may, and what their action does.

Checks come in this order: account, nonce, expiry, batch weight, address budget, then the rules of each order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import UNSET

from latentspeed.tools.venues.hyperliquid import actions
from latentspeed.tools.venues.hyperliquid.account_actions import AccountActions
from latentspeed.tools.venues.hyperliquid.accounts import Account
from latentspeed.tools.venues.hyperliquid.actions import Envelope, OrderWire
from latentspeed.tools.venues.hyperliquid.limits import AddressBudget
from latentspeed.tools.venues.hyperliquid.nonces import NonceBook, NonceError
from latentspeed.tools.venues.hyperliquid.order_rules import TAKING
from latentspeed.tools.venues.hyperliquid.orders import Order
from latentspeed.tools.venues.hyperliquid.placing import Placing, Status
from latentspeed.tools.venues.hyperliquid.refusals import ActionRefused, OrderRefused
from latentspeed.tools.venues.hyperliquid.signing import Network, SignatureError, recover_signer
from latentspeed.tools.venues.hyperliquid.state import VenueState
from latentspeed.tools.venues.hyperliquid.transfers import Transfers
from latentspeed.tools.venues.hyperliquid.twap import Twaps
from latentspeed.tools.venues.hyperliquid.user_signed import UserSigned
from latentspeed.tools.venues.hyperliquid.wire import RATE, units_from_text

WEIGHT_LIMIT = 200
TENTH_BASIS_POINT = RATE // 100_000
NEVER_PLACED = "Order was never placed, already canceled, or filled."
OK = {"status": "ok", "response": {"type": "default"}}

Reply = dict[str, Any]


def error_reply(text: str) -> Reply:
    """A refusal of the whole action."""
    return {"status": "err", "response": text}


def block_class(action: actions.Action) -> int:
    """Where an action goes inside its block: 0 places neither GTC nor IOC, 1 cancels, 2 contains GTC or IOC."""
    orders: list[OrderWire]
    if isinstance(action, actions.Cancel | actions.CancelByCloid):
        return 1
    if isinstance(action, actions.PlaceOrders):
        orders = action.orders
    elif isinstance(action, actions.Modify):
        orders = [action.order]
    elif isinstance(action, actions.BatchModify):
        orders = [modify.order for modify in action.modifies]
    else:
        return 0
    return 2 if any(order.t.limit is not UNSET and order.t.limit.tif != "Alo" for order in orders) else 0


class Exchange:
    """Executes signed actions on a venue's state.

    Attributes:
        orders_sent: how many orders were sent by users, refused ones included.
    """

    def __init__(self, state: VenueState) -> None:
        self.state = state
        self.config = state.config
        self.network: Network = state.config.network
        self.orders_sent = 0
        self.nonces = NonceBook()
        self.placing = Placing(state)
        self.twaps = Twaps(state, self.placing)
        self.budget = AddressBudget(state.clock)
        self.account_actions = AccountActions(state, self.placing)
        self._handlers: dict[type, Callable[[Account, Any], Reply]] = {
            actions.PlaceOrders: self._place,
            actions.Cancel: self._cancel,
            actions.CancelByCloid: self._cancel_by_cloid,
            actions.Modify: self._modify,
            actions.BatchModify: self._batch_modify,
            actions.TwapOrder: self.twaps.start,
            actions.TwapCancel: self.twaps.cancel,
            **self.account_actions.handlers,
            **Transfers(state).handlers,
        }

    def execute(self, envelope: Envelope) -> Reply:
        """Run one decoded request and return its reply; refusals are replies too."""
        try:
            signer, account = self._who(envelope)
            self.nonces.use(signer, envelope.nonce, self.state.block.time_ms)
            if envelope.expires_after is not None and envelope.expires_after < self.state.block.time_ms:
                account.actions_used += 5
                raise ActionRefused("Action already expired")
            count = self._admit(account, envelope.action)
            self.state.block.next_action()
            reply = self._handlers[type(envelope.action)](account, envelope.action)
            account.actions_used += count
            return reply
        except (ActionRefused, NonceError, SignatureError) as refusal:
            return error_reply(str(refusal))

    def _who(self, envelope: Envelope) -> tuple[str, Account]:
        """The signing address and the account it acts for.

        Raises:
            ActionRefused: nobody known signed this, or not for this vault.
            SignatureError: the signature belongs to no key.
        """
        state, action = self.state, envelope.action
        signer = recover_signer(envelope, self.network)
        if isinstance(action, UserSigned):
            account = state.accounts.get(signer) or self._newcomer(envelope, signer)
            if account is None:
                raise ActionRefused(f"Must deposit before performing actions. User: {signer}")
            if action.hyperliquid_chain.lower() != self.network and not self.config.lenient_network:
                raise ActionRefused(f"Invalid hyperliquidChain: {action.hyperliquid_chain}")
            return signer, account
        account = self._acting_for(signer)
        if account is None and self.config.lenient_network:
            other = recover_signer(envelope, _other(self.network))
            account = self._acting_for(other)
            signer = signer if account is None else other
        account = account or self._newcomer(envelope, signer)
        if account is None:
            raise ActionRefused(self._unknown(signer))
        if envelope.vault_address is not None:
            account = self.state.controlled(account, envelope.vault_address)
            if account is None:
                raise ActionRefused(f"Vault not registered: {envelope.vault_address}")
        return signer, account

    def _unknown(self, signer: str) -> str:
        """What a signer is told that nobody knows; the real venue has two texts for an agent that was revoked."""
        master = self.state.agents.former_master_of(signer)
        if master is not None and self.config.revoked_agent_error == "deposit":
            return f"Must deposit before performing actions. User: {master}"
        return f"User or API Wallet {signer} does not exist."

    def _acting_for(self, signer: str) -> Account | None:
        master = self.state.agents.master_of(signer, self.state.block.time_ms)
        return self.state.accounts.get(signer if master is None else master)

    def _newcomer(self, envelope: Envelope, signer: str) -> Account | None:
        """An account for an address that nobody has seen, where the config lets a signature alone make one.

        Never for an agent, nor when the signature was plainly made by somebody known for the other network.
        """
        if self.config.enrol != "signed" or self.state.agents.is_or_was_agent(signer):
            return None
        if not isinstance(envelope.action, UserSigned) and not self.config.lenient_network:
            try:
                if self._acting_for(recover_signer(envelope, _other(self.network))) is not None:
                    return None
            except SignatureError:
                pass
        return self.state.mentioned(signer)

    def _admit(self, account: Account, action: actions.Action) -> int:
        """Hold an action to the batch limit and the address budget; returns what it costs once it is not refused.

        Raises:
            ActionRefused: a batch of more than 200, or the address is over its budget.
        """
        count = 1
        if isinstance(action, actions.PlaceOrders):
            count = len(action.orders)
        elif isinstance(action, actions.Cancel | actions.CancelByCloid):
            count = len(action.cancels)
        elif isinstance(action, actions.BatchModify):
            count = len(action.modifies)
        if self.config.batch_limit and count > WEIGHT_LIMIT:
            raise ActionRefused(f"Signed action over weight limit of {WEIGHT_LIMIT}.")
        if not count:
            raise ActionRefused("Action has no items.")
        if self.config.address_limits:
            is_cancel = isinstance(action, actions.Cancel | actions.CancelByCloid)
            refusal = self.budget.refusal(account, is_cancel)
            if refusal is not None:
                raise ActionRefused(refusal)
        return count

    # -- orders --------------------------------------------------------------------------------------------------------

    def _place(self, account: Account, action: actions.PlaceOrders) -> Reply:
        builder, rate = None, 0
        if action.builder is not UNSET and action.builder.f:
            builder = action.builder.b
            if action.builder.f > self.state.builder_fee_limit(account, builder):
                raise ActionRefused("Builder fee has not been approved")
            rate = action.builder.f * TENTH_BASIS_POINT
        self.orders_sent += len(action.orders)
        statuses: list[Status]
        if isinstance(action.grouping, actions.Priority):
            raise ActionRefused("Insufficient delegatable balance for priority order")
        if action.grouping == "na":
            place = self.placing.place
            statuses = [place(account, order, builder, rate) for order in action.orders]
        else:
            of_position = action.grouping == "positionTpsl"
            statuses = self.placing.place_group(account, action.orders, of_position, builder, rate)
        return {"status": "ok", "response": {"type": "order", "data": {"statuses": statuses}}}

    def _cancel(self, account: Account, action: actions.Cancel) -> Reply:
        is_fast = action.f is True
        statuses = [
            self._cancel_one(account, cancel.a, account.open_orders.get(cancel.o), is_fast) for cancel in action.cancels
        ]
        return {"status": "ok", "response": {"type": "cancel", "data": {"statuses": statuses}}}

    def _cancel_by_cloid(self, account: Account, action: actions.CancelByCloid) -> Reply:
        is_fast = action.f is True
        statuses = [self._cancel_one(account, c.asset, account.live_cloid(c.cloid), is_fast) for c in action.cancels]
        return {"status": "ok", "response": {"type": "cancel", "data": {"statuses": statuses}}}

    def _cancel_one(self, account: Account, asset: int, order: Order | None, is_fast: bool) -> Status:
        if order is None or order.market.instrument.asset != asset:
            return self.placing.error(asset, OrderRefused(NEVER_PLACED))
        if is_fast and order.waits is not None:
            return self.placing.error(asset, OrderRefused("Fast cancel is not for trigger orders."))
        self.placing.cancel(order, "canceled")
        return "success"

    def _modify(self, account: Account, action: actions.Modify) -> Reply:
        status = self._modify_one(account, action.oid, action.order, action.a is True)
        return error_reply(status["error"]) if isinstance(status, dict) and "error" in status else OK

    def _batch_modify(self, account: Account, action: actions.BatchModify) -> Reply:
        statuses = [self._modify_one(account, m.oid, m.order, action.a is True) for m in action.modifies]
        return {"status": "ok", "response": {"type": "order", "data": {"statuses": statuses}}}

    def _modify_one(self, account: Account, oid: int | str, wire: OrderWire, always: bool) -> Status:
        """Cancel and replace; unless told to place always, the old order must be live and the new one not trade."""
        old = account.open_orders.get(oid) if isinstance(oid, int) else account.live_cloid(oid)
        if not always:
            if old is None:
                return {"error": "Cannot modify canceled or filled order"}
            if not self._is_valid_replacement(old, wire):
                return {"error": "Attempted to modify to invalid new order"}
        return self.placing.replace(account, old, wire)

    def _is_valid_replacement(self, old: Order, wire: OrderWire) -> bool:
        if wire.t.limit is UNSET or wire.a != old.market.instrument.asset or wire.b != old.is_buy:
            return False
        if wire.t.limit.tif in TAKING:
            return False
        price = units_from_text(wire.p, old.market.instrument.price_decimals)
        return wire.t.limit.tif == "Alo" or price is None or not old.market.book.crosses(wire.b, price)


def _other(network: Network) -> Network:
    return "testnet" if network == "mainnet" else "mainnet"
