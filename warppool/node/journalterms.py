"""Whom a found block pays, as its journal entry says it: fields of the entry's JSON.

An entry has them in modes that pay accounts. One of mode `pool`, or of an earlier release, has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from warppool.mining.payee import Terms


def payment_fields(finder: str, terms: Terms | None) -> Mapping[str, object]:
    """The fields of an entry; none where there is nothing to say."""
    if terms is None:
        return {}
    return {"finder": finder, "terms": {
        "account": terms.account,
        "snapshot": terms.snapshot_id.hex(),
        "room": terms.room,
        "value": terms.value,
        "fee": terms.fee,
        "payout_script": terms.payout_script.hex(),
        "pays_balances": terms.pays_balances,
    }}


def terms_of(field: Any) -> Terms | None:
    """What `payment_fields` wrote under `terms`; None for None. ValueError, KeyError or TypeError for anything else."""
    if field is None:
        return None
    return Terms(
        account=str(field["account"]),
        snapshot_id=bytes.fromhex(field["snapshot"]),
        room=int(field["room"]),
        value=int(field["value"]),
        fee=int(field["fee"]),
        payout_script=bytes.fromhex(field["payout_script"]),
        pays_balances=bool(field["pays_balances"]),
    )
