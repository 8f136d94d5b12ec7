"""What an operator asks of the running daemon's balances, as files: `warppool payouts claim` and `paid`.

The command puts one file into `data_dir/requests/`, the daemon takes it, books it, and leaves its answer beside it,
which the command prints and removes. So the books keep one writer, and a request that comes while no daemon runs waits
for the next start. A daemon that was killed between its booking and its answer finds the file again: so what is asked a
second time must change nothing.
"""

from __future__ import annotations

import json
import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from warppool.files import replace_file, replacing

CLAIM, PAID, CONFIRM = "claim", "paid", "confirm-restore"

TXID: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
"""A transaction's id as a request gives it."""

MAX_SIZE: Final = 4_096                     # bytes of a request: it holds an address, a number and a txid
MAX_AT_ONCE: Final = 64                     # requests that one look takes
ANSWER_AGE_S: Final = 86_400.0              # an answer that nobody has read for so long is removed

_REQUEST, _ANSWER = ".request", ".answer"
_NAME: Final = re.compile(r"[0-9]{1,20}-[0-9]{1,10}", re.ASCII)
_MOST_SAT: Final = 21_000_000 * 100_000_000


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """One thing that is asked.

    `kind` is CLAIM, PAID or CONFIRM (which has no address), or empty where the file holds no request: `trouble` then
    says why. `address` is as the operator wrote it. `sat` and `txid` (64 hex digits, display order) belong to PAID.
    `name` names the file.
    """

    kind: str
    address: str = ""
    sat: int = 0
    txid: str = ""
    name: str = ""
    trouble: str = ""


class Answer(NamedTuple):
    """What the daemon says: whether it was done, and a sentence for the operator."""

    is_done: bool
    sentence: str


def folder_of(data_dir: Path) -> Path:
    """Where the files lie; the daemon makes the folder, since it must own it to remove what is in it."""
    return data_dir / "requests"


# --- the command's side -----------------------------------------------------------------------------------------------

def ask(folder: Path, request: ClaimRequest) -> str:
    """Leave `request` for the daemon; the name of its file. OSError.

    The file belongs to the owner of the folder, who must be able to read it: a command is often run by root.
    """
    values: dict[str, object] = {"request": request.kind, "address": request.address}
    if request.kind == PAID:
        values |= {"sat": request.sat, "txid": request.txid}
    name = f"{time.time_ns() // 1_000_000}-{os.getpid()}"
    with replacing(folder / (name + _REQUEST)) as file:
        owner = folder.stat()
        if os.geteuid() == 0:
            os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
        file.write(json.dumps(values).encode("ascii"))
    return name


def take_answer(folder: Path, name: str) -> Answer | None:
    """The daemon's answer to the request of this name, which is removed; None while there is none. OSError."""
    path = folder / (name + _ANSWER)
    try:
        values = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    with suppress(OSError):
        path.unlink()
    return Answer(bool(values["is_done"]), str(values["sentence"]))


# --- the daemon's side ------------------------------------------------------------------------------------------------

def waiting(folder: Path) -> list[ClaimRequest]:
    """What is asked, the oldest first, MAX_AT_ONCE at most. OSError: the folder cannot be read.

    Answers that nobody reads are removed here.
    """
    names = []
    for path in sorted(folder.iterdir()):
        if path.suffix == _REQUEST and _NAME.fullmatch(path.stem):
            names.append(path.stem)
        elif path.suffix == _ANSWER:
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > ANSWER_AGE_S:
                    path.unlink()
    names.sort(key=lambda name: tuple(map(int, name.split("-"))))
    return [_read(folder, name) for name in names[:MAX_AT_ONCE]]


def answer(folder: Path, request: ClaimRequest, is_done: bool, sentence: str) -> None:
    """Say what became of `request` and take its file away, in this order; OSError."""
    content = json.dumps({"is_done": is_done, "sentence": sentence}).encode("ascii")
    replace_file(folder / (request.name + _ANSWER), content)
    (folder / (request.name + _REQUEST)).unlink(missing_ok=True)


def _read(folder: Path, name: str) -> ClaimRequest:
    try:
        with open(folder / (name + _REQUEST), "rb") as file:
            content = file.read(MAX_SIZE + 1)
    except OSError as exc:
        return ClaimRequest("", name=name, trouble=f"the file cannot be read: {exc.strerror}")
    try:
        return _parse(content, name)
    except (ValueError, RecursionError) as exc:
        return ClaimRequest("", name=name, trouble=f"the file holds no request: {exc}")


def _parse(content: bytes, name: str) -> ClaimRequest:
    if len(content) > MAX_SIZE:
        raise ValueError("it is too long")
    values = json.loads(content)
    if not isinstance(values, dict):
        raise ValueError("it is no JSON object")
    kind, address = values.get("request"), values.get("address")
    if kind == CONFIRM and values.keys() == {"request", "address"}:
        return ClaimRequest(CONFIRM, name=name)
    if kind not in (CLAIM, PAID) or not isinstance(address, str):
        raise ValueError("it asks for nothing that is known")
    wanted = {"request", "address", "sat", "txid"} if kind == PAID else {"request", "address"}
    if values.keys() != wanted:
        raise ValueError(f"it has other fields than {', '.join(sorted(wanted))}")
    if kind == CLAIM:
        return ClaimRequest(CLAIM, address, name=name)
    sat, txid = values["sat"], values["txid"]
    if type(sat) is not int or not 0 < sat <= _MOST_SAT:
        raise ValueError("its amount is no whole number of satoshi")
    if not isinstance(txid, str) or not TXID.fullmatch(txid):
        raise ValueError("its txid has not 64 hex digits")
    return ClaimRequest(PAID, address, sat, txid, name)
