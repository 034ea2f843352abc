"""Actions on the account have the form and the signature of the venue's own client."""

from __future__ import annotations

import json
import random

from eth_account import Account
from hyperliquid.utils.signing import sign_l1_action

from latentspeed.connectors.hyperliquid import wire
from latentspeed.connectors.hyperliquid.keys import SigningKey
from latentspeed.connectors.hyperliquid.signing import L1Signer, action_hash

SECRET = "0x0123456789012345678901234567890123456789012345678901234567890123"


def random_action(rng):
    asset = rng.choice([0, 3, 127, 128, 255, 256, 110_003])
    return rng.choice(
        [
            wire.update_isolated_margin_action(asset, rng.choice([-1, 1]) * rng.randrange(1, 10**13)),
            wire.top_up_margin_action(asset, f"{rng.uniform(0.1, 50):.6g}"),
            wire.schedule_cancel_action(rng.choice([None, rng.randrange(1_600_000_000_000, 1_900_000_000_000)])),
            wire.order_action(
                [wire.limit_order(asset, True, "1.5", "2", False, "Gtc", wire.encode_cloid(1, 2, rng.getrandbits(63)))],
                wire.UNGROUPED,
                {"b": "0x" + rng.randbytes(20).hex(), "f": rng.randrange(1, 101)},
            ),
            wire.update_leverage_action(asset, rng.random() < 0.5, rng.randrange(1, 51)),
        ]
    )


def numbers(signature):
    return int(signature["r"], 16), int(signature["s"], 16), signature["v"]


def test_random_actions_with_vault_and_expiry_are_signed_as_the_official_client_signs_them():
    rng = random.Random(11)
    wallet = Account.from_key(SECRET)
    for _ in range(300):
        action, mainnet = random_action(rng), rng.random() < 0.5
        nonce = rng.randrange(1_600_000_000_000, 1_900_000_000_000)
        vault = rng.randbytes(20) if rng.random() < 0.5 else None
        expiry = nonce + 5000 if rng.random() < 0.5 else None
        ours = L1Signer(SigningKey.from_hex(SECRET), mainnet).sign(action, nonce, vault, expiry)
        theirs = sign_l1_action(wallet, action, "0x" + vault.hex() if vault else None, nonce, expiry, mainnet)
        assert numbers(ours) == numbers(theirs), (action, nonce, vault, expiry, mainnet)


def test_the_recorded_forms_are_ours(reference):
    group = json.loads((reference / "vectors" / "hyperliquid_signing.json").read_text())["computed_l1"]
    ours = {
        "update-isolated-margin-add": wire.update_isolated_margin_action(4, 1_000_000),
        "update-isolated-margin-remove": wire.update_isolated_margin_action(4, -2_500_000),
        "order-builder": wire.order_action(
            [{"a": 0, "b": True, "p": "43210", "s": "0.0123", "r": False, "t": {"limit": {"tif": "Gtc"}}}],
            builder={"b": "0x8c967e73e7b15087c42a10d344cff4c96d877f1d", "f": 10},
        ),
        "schedule-cancel": wire.schedule_cancel_action(1_700_000_010_000),
        "schedule-cancel-unset": wire.schedule_cancel_action(None),
        "top-up-isolated-only": wire.top_up_margin_action(4, "2.5"),
    }
    for vector in group["vectors"]:
        if vector["id"] in ours:
            action = ours.pop(vector["id"])
            assert json.dumps(action) == json.dumps(vector["action"])
            assert "0x" + action_hash(action, vector["nonce"]).hex() == vector["computed"]["connection_id"]
    assert not ours
