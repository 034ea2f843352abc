"""The messages of the chain, by field number, and the type URLs that name them in transactions."""

from __future__ import annotations

from typing import Final

from latentspeed.tools.venues.dydx_v4.protobuf import (
    BOOL,
    BYTES,
    FIXED32,
    STRING,
    UINT32,
    UINT64,
    Schema,
    message,
    repeated,
)

ANY: Final[Schema] = {1: ("type_url", STRING), 2: ("value", BYTES)}
COIN: Final[Schema] = {1: ("denom", STRING), 2: ("amount", STRING)}

# --- transactions ---

TX_RAW: Final[Schema] = {
    1: ("body", BYTES),
    2: ("auth_info", BYTES),
    3: ("signatures", repeated(BYTES)),
}
TX_BODY: Final[Schema] = {
    1: ("messages", repeated(message(ANY))),
    2: ("memo", STRING),
    3: ("timeout_height", UINT64),
    1023: ("extension_options", repeated(message(ANY))),
    2047: ("non_critical_extension_options", repeated(message(ANY))),
}
_MODE: Final[Schema] = {1: ("single", message({1: ("mode", UINT32)}))}
SIGNER_INFO: Final[Schema] = {
    1: ("public_key", message(ANY)),
    2: ("mode_info", message(_MODE)),
    3: ("sequence", UINT64),
}
FEE: Final[Schema] = {
    1: ("amount", repeated(message(COIN))),
    2: ("gas_limit", UINT64),
    3: ("payer", STRING),
    4: ("granter", STRING),
}
AUTH_INFO: Final[Schema] = {1: ("signer_infos", repeated(message(SIGNER_INFO))), 2: ("fee", message(FEE))}
SIGN_DOC: Final[Schema] = {
    1: ("body", BYTES),
    2: ("auth_info", BYTES),
    3: ("chain_id", STRING),
    4: ("account_number", UINT64),
}
PUBLIC_KEY: Final[Schema] = {1: ("key", BYTES)}
TX_EXTENSION: Final[Schema] = {1: ("selected_authenticators", repeated(UINT64))}
PUBLIC_KEY_URL: Final = "/cosmos.crypto.secp256k1.PubKey"
TX_EXTENSION_URL: Final = "/dydxprotocol.accountplus.TxExtension"

# --- trading ---

SUBACCOUNT_ID: Final[Schema] = {1: ("owner", STRING), 2: ("number", UINT32)}
ORDER_ID: Final[Schema] = {
    1: ("subaccount_id", message(SUBACCOUNT_ID)),
    2: ("client_id", FIXED32),
    3: ("order_flags", UINT32),
    4: ("clob_pair_id", UINT32),
}
_TWAP: Final[Schema] = {1: ("duration", UINT32), 2: ("interval", UINT32), 3: ("price_tolerance", UINT32)}
_BUILDER: Final[Schema] = {1: ("builder_address", STRING), 2: ("fee_ppm", UINT32)}
ORDER: Final[Schema] = {
    1: ("order_id", message(ORDER_ID)),
    2: ("side", UINT32),
    3: ("quantums", UINT64),
    4: ("subticks", UINT64),
    5: ("good_til_block", UINT32),
    6: ("good_til_block_time", FIXED32),
    7: ("time_in_force", UINT32),
    8: ("reduce_only", BOOL),
    9: ("client_metadata", UINT32),
    10: ("condition_type", UINT32),
    11: ("trigger_subticks", UINT64),
    12: ("twap_parameters", message(_TWAP)),
    13: ("builder_code", message(_BUILDER)),
    14: ("order_router_address", STRING),
}
PLACE_ORDER: Final[Schema] = {1: ("order", message(ORDER))}
CANCEL_ORDER: Final[Schema] = {
    1: ("order_id", message(ORDER_ID)),
    2: ("good_til_block", UINT32),
    3: ("good_til_block_time", FIXED32),
}
_BATCH: Final[Schema] = {1: ("clob_pair_id", UINT32), 2: ("client_ids", repeated(UINT32))}
BATCH_CANCEL: Final[Schema] = {
    1: ("subaccount_id", message(SUBACCOUNT_ID)),
    2: ("short_term_cancels", repeated(message(_BATCH))),
    3: ("good_til_block", UINT32),
}
_PAIR_LEVERAGE: Final[Schema] = {1: ("clob_pair_id", UINT32), 2: ("custom_imf_ppm", UINT32)}
UPDATE_LEVERAGE: Final[Schema] = {
    1: ("subaccount_id", message(SUBACCOUNT_ID)),
    2: ("clob_pair_leverage", repeated(message(_PAIR_LEVERAGE))),
}
_TRANSFER: Final[Schema] = {
    1: ("sender", message(SUBACCOUNT_ID)),
    2: ("recipient", message(SUBACCOUNT_ID)),
    3: ("asset_id", UINT32),
    4: ("amount", UINT64),
}
CREATE_TRANSFER: Final[Schema] = {1: ("transfer", message(_TRANSFER))}
DEPOSIT: Final[Schema] = {
    1: ("sender", STRING),
    2: ("recipient", message(SUBACCOUNT_ID)),
    3: ("asset_id", UINT32),
    4: ("quantums", UINT64),
}
WITHDRAW: Final[Schema] = {
    2: ("sender", message(SUBACCOUNT_ID)),
    1: ("recipient", STRING),
    3: ("asset_id", UINT32),
    4: ("quantums", UINT64),
}
ADD_AUTHENTICATOR: Final[Schema] = {1: ("sender", STRING), 2: ("authenticator_type", STRING), 3: ("data", BYTES)}
REMOVE_AUTHENTICATOR: Final[Schema] = {1: ("sender", STRING), 2: ("id", UINT64)}
BANK_SEND: Final[Schema] = {
    1: ("from_address", STRING),
    2: ("to_address", STRING),
    3: ("amount", repeated(message(COIN))),
}

MESSAGES: Final[dict[str, Schema]] = {
    "/dydxprotocol.clob.MsgPlaceOrder": PLACE_ORDER,
    "/dydxprotocol.clob.MsgCancelOrder": CANCEL_ORDER,
    "/dydxprotocol.clob.MsgBatchCancel": BATCH_CANCEL,
    "/dydxprotocol.clob.MsgUpdateLeverage": UPDATE_LEVERAGE,
    "/dydxprotocol.sending.MsgCreateTransfer": CREATE_TRANSFER,
    "/dydxprotocol.sending.MsgDepositToSubaccount": DEPOSIT,
    "/dydxprotocol.sending.MsgWithdrawFromSubaccount": WITHDRAW,
    "/dydxprotocol.accountplus.MsgAddAuthenticator": ADD_AUTHENTICATOR,
    "/dydxprotocol.accountplus.MsgRemoveAuthenticator": REMOVE_AUTHENTICATOR,
    "/cosmos.bank.v1beta1.MsgSend": BANK_SEND,
}
