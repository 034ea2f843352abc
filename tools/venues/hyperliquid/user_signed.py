"""The actions that a wallet signs as typed data, which only the account's own key may do.

Their fields' order does not matter here: the typed-data struct of each one is in `signing.py`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from latentspeed.tools.venues.hyperliquid.wire import WireError, address_text

Natural = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class UserSigned(Struct, rename="camel", omit_defaults=True):
    """What every typed-data action carries besides its own fields."""

    signature_chain_id: str
    hyperliquid_chain: Literal["Mainnet", "Testnet"]


class ApproveAgent(UserSigned, tag_field="type", tag="approveAgent"):
    agent_address: str
    nonce: Natural
    agent_name: str | None = None


class ApproveBuilderFee(UserSigned, tag_field="type", tag="approveBuilderFee"):
    max_fee_rate: str
    builder: str
    nonce: Natural


class UsdClassTransfer(UserSigned, tag_field="type", tag="usdClassTransfer"):
    amount: str
    to_perp: bool
    nonce: Natural


class UsdSend(UserSigned, tag_field="type", tag="usdSend"):
    destination: str
    amount: str
    time: Natural


class Withdraw(UserSigned, tag_field="type", tag="withdraw3"):
    destination: str
    amount: str
    time: Natural


class SpotSend(UserSigned, tag_field="type", tag="spotSend"):
    destination: str
    token: str
    amount: str
    time: Natural


class SendAsset(UserSigned, tag_field="type", tag="sendAsset"):
    destination: str
    source_dex: str
    destination_dex: str
    token: str
    amount: str
    from_sub_account: str
    nonce: Natural


class UserSetAbstraction(UserSigned, tag_field="type", tag="userSetAbstraction"):
    user: str
    abstraction: Literal["disabled", "unifiedAccount", "portfolioMargin"]
    nonce: Natural


class UserDexAbstraction(UserSigned, tag_field="type", tag="userDexAbstraction"):
    user: str
    enabled: bool
    nonce: Natural


UserAction = (
    ApproveAgent
    | ApproveBuilderFee
    | UsdClassTransfer
    | UsdSend
    | Withdraw
    | SpotSend
    | SendAsset
    | UserSetAbstraction
    | UserDexAbstraction
)


def normalise_user_signed(action: UserSigned) -> None:
    """Check what the typed-data digest needs; `destination` is hashed as the text that came, so it stays."""
    try:
        chain_id = int(action.signature_chain_id, 16)
    except ValueError:
        raise WireError("signatureChainId is not hex") from None
    if not 0 <= chain_id < 2**256:
        raise WireError("signatureChainId is out of range")
    if isinstance(action, ApproveAgent):
        action.agent_address = address_text(action.agent_address)
    elif isinstance(action, ApproveBuilderFee):
        action.builder = address_text(action.builder)
    elif isinstance(action, UserSetAbstraction | UserDexAbstraction):
        action.user = address_text(action.user)
