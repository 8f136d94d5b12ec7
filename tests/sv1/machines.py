"""Machines of the field as data: how their firmware talks, played against any server, and the README's table of them.

`tests/firmware/*.json` holds one session each; `Player` plays it over a `Transport`, in memory or over a socket. In
what a file expects, `<session>` is the session's id (the same at both places), `<hex:8>` so many hex digits, `<size>`
the size of extranonce2. In what it sends, `$worker`, `$password` and `$session` are filled in, and in its submit `$id`,
`$job`, `$extranonce2`, `$ntime`, `$nonce`, `$bits` and `$short_nonce`, a nonce without its leading zeros. A notify that
brings another difficulty may come at any time and is not asked for.

`python3 -m tests.sv1.machines` in a checkout writes the table of the README anew.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from string import Template
from typing import Any, Protocol

from warppool.bitcoin.target import MAX_TARGET, target_from_difficulty
from warppool.mining.share import weigh
from warppool.sv1.client import Work

FOLDER = Path(__file__).parents[1] / "firmware"
README = Path(__file__).parents[2] / "README.rst"
TABLE_BEGINS = ".. machines table: begin (python3 -m tests.sv1.machines)\n"
TABLE_ENDS = ".. machines table: end\n"
STALE = [21, "Stale", None]
MAX_TRIES = 20

Line = dict[str, Any]


class Transport(Protocol):
    """The way to a server. Where `is_moving`, each share may be a block: then the tip moves of itself."""

    is_moving: bool

    def send(self, data: bytes) -> None:
        """These bytes, in one piece."""

    def receive(self) -> Line:
        """The next line, its numbers with a fraction as text; AssertionError if none comes."""

    def new_job(self, *, is_tip: bool) -> None:
        """Let the server have a fresh job, or a new tip, for all its miners."""

    def reconnect(self) -> None:
        """Drop the connection and make another."""


class Player:
    """Plays the session of one machine; AssertionError says where the server did not do as the machine needs it."""

    def __init__(self, machine: Line, transport: Transport) -> None:
        self._machine = machine
        self._transport = transport
        self._subscription: list[Any] = []
        self._target = target_from_difficulty(1)
        self._works: list[Work] = []            # of this connection, the newest last
        self._tip = ""                          # the previous hash of the newest
        self._notified: list[bool] = []         # clean_jobs of those that nobody has asked for yet
        self._has_new_target = False            # since the last notify
        self._shares: dict[int, list[str]] = {}         # what was sent, by nonce: for duplicates
        self._nonce = 0
        self._old_work: Work | None = None
        self._pending: dict[Any, Line] = {}

    def play(self) -> None:
        """From the first call to the last answer."""
        for step in self._machine["steps"]:
            ((kind, value),) = step.items()
            getattr(self, f"_{kind}")(value)

    def _fill(self, line: str, **more: str) -> str:
        session = self._subscription[0][1][1] if self._subscription else ""
        return Template(line).substitute(worker=self._machine["worker"], password=self._machine["password"],
                                         session=session, **more)

    def _send(self, lines: list[str]) -> None:
        self._transport.send("".join(self._fill(line) + "\n" for line in lines).encode())

    def _job(self, kind: str) -> None:
        self._transport.new_job(is_tip=kind == "tip")

    def _reconnect(self, _: bool) -> None:
        self._transport.reconnect()
        self._works.clear()
        self._notified.clear()
        self._nonce = 0                         # every machine begins to search anew

    # -- what the server says ------------------------------------------------------------------------------------

    def _expect(self, items: list[Line]) -> None:
        for item in items:
            if "answer" in item:
                self._expect_answer(item)
            else:
                self._expect_notify(item["notify"])

    def _expect_answer(self, item: Line) -> None:
        for _ in range(MAX_TRIES):
            line = self._next_answer()
            assert line["id"] == item["answer"] and type(line["id"]) is type(item["answer"]), (item, line)
            if not (self._transport.is_moving and line["error"] == STALE and "result" in item):
                break
            self._share(self._pending[item["answer"]])          # the tip moved under it: once more
        wanted = {"result": item.get("result"), "error": item.get("error")}
        got = {"result": line["result"], "error": line["error"]}
        if self._transport.is_moving and got["error"] == STALE and wanted["error"] is not None:
            return
        assert matches(wanted, got, {}), (wanted, got)
        if isinstance(line["result"], list):
            self._subscription = line["result"]

    def _next_answer(self) -> Line:
        while True:
            line = self._transport.receive()
            if "method" not in line:
                return line
            self._called(line)

    def _called(self, line: Line) -> None:
        """The server calls: new work, or a difficulty for the work to come."""
        params = line["params"]
        if line["method"] == "mining.set_difficulty":
            self._target, self._has_new_target = target_from_difficulty(str(params[0])), True
            return
        assert line["method"] == "mining.notify" and self._subscription, line
        assert len(params) == 9 and len(json.dumps(line)) < 4096, "more than small devices can read"
        assert self._has_new_target or self._works, "work before there is a difficulty"
        if self._works and params[1] != self._tip:
            self._old_work = self._works[-1]
        self._tip = params[1]
        self._works.append(Work.of(params, bytes.fromhex(self._subscription[1]), self._subscription[2], self._target,
                                   int(self._machine["rolls"] or "0", 16)))
        if params[8] or not self._has_new_target:       # the rest brings a difficulty, and comes when it likes
            self._notified.append(params[8])
        self._has_new_target = False

    def _expect_notify(self, is_clean: bool) -> None:
        while not self._notified:
            line = self._transport.receive()
            assert "method" in line, f"a notify expected, and an answer came: {line}"
            self._called(line)
        got = self._notified.pop(0)
        assert got is is_clean or self._transport.is_moving, f"clean_jobs {got}"

    # -- shares --------------------------------------------------------------------------------------------------

    def _share(self, share: Line) -> None:
        """Search and send one; `fault` says what is to be wrong with it."""
        self._pending[share["id"]] = share
        fault = share.get("fault")
        if fault == "duplicate":
            fields = self._shares[max(self._shares)]
        else:
            work = self._old_work if fault == "stale" else self._works[-1]
            assert work is not None
            fields = self._search(work, share.get("bits", ""), is_low=fault == "low")
        job, extranonce2, ntime, nonce, bits = fields
        line = self._fill(self._machine["submit"], id=str(share["id"]), job=job, extranonce2=extranonce2, ntime=ntime,
                          nonce=nonce, bits=bits, short_nonce=nonce.lstrip("0") or "0")
        if "worker" in share:
            line = line.replace(self._machine["worker"], share["worker"])
        self._transport.send(line.encode() + b"\n")

    def _search(self, work: Work, bits: str, *, is_low: bool) -> list[str]:
        mask = work.version_mask
        version = work.version & ~mask | int(bits, 16) & mask if bits else work.version
        extranonce2 = bytes(work.extranonce2_size)
        low, high = (work.target, MAX_TARGET) if is_low else (-1, work.target)
        while True:
            nonce, self._nonce = self._nonce, self._nonce + 1
            assert nonce < 1 << 20, "no share in a million tries"
            if low < weigh(work.header(extranonce2, version, work.ntime, nonce), 0).value <= high:
                fields = [work.job_id, extranonce2.hex(), f"{work.ntime:08x}", f"{nonce:08x}", bits]
                if not is_low:
                    self._shares[nonce] = fields
                return fields


def matches(wanted: Any, got: Any, found: dict[str, Any]) -> bool:
    """True if `got` is what was wanted; `found` keeps what a word in angle brackets stood for."""
    if isinstance(wanted, str) and wanted.startswith("<"):
        if wanted == "<size>":
            return isinstance(got, int) and 4 <= got <= 8
        digits = wanted.removeprefix("<hex:").removesuffix(">")
        if digits.isdigit():
            return isinstance(got, str) and re.fullmatch(f"[0-9a-f]{{{digits}}}", got) is not None
        return isinstance(got, str) and found.setdefault(wanted, got) == got
    if isinstance(wanted, list):
        return isinstance(got, list) and len(wanted) == len(got) and all(
            matches(each, other, found) for each, other in zip(wanted, got, strict=True))
    if isinstance(wanted, dict):
        return isinstance(got, dict) and wanted.keys() == got.keys() and all(
            matches(wanted[key], got[key], found) for key in wanted)
    return type(wanted) is type(got) and bool(wanted == got)


# --- the table --------------------------------------------------------------------------------------------------------

def machines() -> dict[str, Line]:
    """The sessions, by the names of their files."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))}


def table() -> str:
    """The reStructuredText table of the machines."""
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: 24 40 12 12 12", "",
             *_row("Machine", "Its calls (+ joins those sent together)", "Version bits", "Leaves after", "Known from")]
    for machine in machines().values():
        silence = f"{machine['silence_s']} s of silence" if machine["silence_s"] else "not known"
        lines += _row(f"{machine['machine']}, {machine['firmware']}", _calls(machine), machine["rolls"] or "none",
                      silence, machine["evidence"])
    return "".join(f"{line}\n" for line in lines)


def with_machines(readme: str) -> str:
    """`readme` with its table made anew."""
    head, _, rest = readme.partition(TABLE_BEGINS)
    _, _, tail = rest.partition(TABLE_ENDS)
    return f"{head}{TABLE_BEGINS}\n{table()}\n{TABLE_ENDS}{tail}"


def _calls(machine: Line) -> str:
    """The calls of the first connection, in their order."""
    sent = []
    for step in machine["steps"]:
        if "reconnect" in step:
            break
        methods = [json.loads(line).get("method") for line in step.get("send", [])]
        together = [method.removeprefix("mining.") for method in methods if method not in (None, "mining.submit")]
        if together:
            sent.append(" + ".join(together))
    return ", ".join(sent).replace("_", r"\_")


def _row(first: str, *others: str) -> list[str]:
    return [f"   * - {first}", *(f"     - {other}" for other in others)]


def main() -> int:
    """Write the table into the README of the checkout."""
    README.write_text(with_machines(README.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
