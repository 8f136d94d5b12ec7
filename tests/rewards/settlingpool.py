"""A pool without threads for the tests of settlement: a made-up chain, real books, and the steps done at once."""

from __future__ import annotations

import queue
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.ledger.books import opened
from tests.payout.makers import NETWORK, POOL, script
from warppool.bitcoin.coinbase import coinbase_halves, height_push, restore_witness
from warppool.bitcoin.hashes import double_sha256
from warppool.bitcoin.header import pack_header
from warppool.bitcoin.transaction import serialize_output
from warppool.errors import LedgerError
from warppool.events import Now
from warppool.ledger.beginning import Beginning
from warppool.ledger.payoutitems import Booked, Booking, KeepSnapshot, Unbooked
from warppool.ledger.sqlite import SqliteBooks
from warppool.ledger.sqlitereader import SqliteReader
from warppool.mining.payee import Terms
from warppool.node.chainitems import ChainAnswer, OwnBlock, SeenBlock
from warppool.node.steps import LogLine
from warppool.payout.blockeffects import solo_outputs
from warppool.payout.distribution import distribute
from warppool.payout.fee import fee_of
from warppool.payout.moves import Purse
from warppool.payout.settlement import Standing
from warppool.payout.snapshot import Snapshot
from warppool.rewards.past import read_past
from warppool.rewards.settling import Settling, SettlingUse
from warppool.rewards.steps import AskNode, BlocksSettled, ReplaceJobs, SettlingStep, TipCleared, ToBooks

NODE = 3
NBITS = 0x207FFFFF
START_ID = b"wxyz"
VALUE = 500_000_000
COMMITMENT = (0, b"\x6a\x24\xaa\x21\xa9\xed" + bytes(32))
GENESIS = b"\xff" * 32


def coinbase_of(outputs: Sequence[tuple[int, bytes]], height: int, number: int) -> bytes:
    """A whole coinbase with its witness."""
    head, tail = coinbase_halves(
        version=2, input_sequence=0xFFFFFFFE, locktime=height - 1,
        script_prefix=height_push(height) + b"\x10" + START_ID, extranonce_size=12,
        outputs=b"".join(serialize_output(*each) for each in (*outputs, COMMITMENT)), outputs_count=len(outputs) + 1)
    return restore_witness(head + number.to_bytes(12, "big") + tail)


def block_of(terms: Terms, outputs: Sequence[tuple[int, bytes]], parent: bytes, height: int, number: int) -> OwnBlock:
    header = pack_header(0x20000000, parent, number.to_bytes(32, "big"), 1_700_000_000 + number, NBITS, number)
    return OwnBlock(double_sha256(header), height, header, coinbase_of(outputs, height, number), terms, "",
                    1_700_000_000.0 + number)


def paid_by(snapshot: Snapshot, parent: bytes, height: int, number: int, pays_balances: bool = False,
            room: int = 2_000, value: int = VALUE) -> OwnBlock:
    """A block on a job of this snapshot."""
    distribution = distribute(snapshot, value, room, pays_balances)
    terms = Terms("", snapshot.id, room, value, distribution.division.fee_sat, script(POOL), pays_balances)
    return block_of(terms, distribution.outputs, parent, height, number)


def solo_block(account: str, parent: bytes, height: int, number: int, fee_bp: int = 100, snapshot_id: bytes = b""
               ) -> OwnBlock:
    """A block that pays one account."""
    fee = fee_of(VALUE, fee_bp)
    return block_of(Terms(account, snapshot_id, 0, VALUE, fee, script(POOL), False),
                    solo_outputs(script(account), script(POOL), VALUE, fee), parent, height, number)


class PoolBooks:
    """Books, and settlement over them. `chain` has the hashes of the mined chain by height."""

    def __init__(self, path: Path, mode: str = "pplns") -> None:
        self.path = path
        self.mode = mode
        self.chain: list[bytes] = [GENESIS]
        self.seen: dict[bytes, SeenBlock] = {}          # own blocks of the chain that are met on a look along it
        self.kept: dict[bytes, Snapshot] = {}
        self.trouble = ""                               # of reading the books
        self.is_deaf = False                            # the node gives no answers
        self.strange: set[float] = set()                # times of blocks whose loss no sudden end explains
        self.others: set[bytes] = set()                 # blocks in the books that move no money
        self.now = Now(1000.0, 1_700_000_000.0)
        self.done: list[SettlingStep] = []
        self.starts = 0
        self.books: SqliteBooks | None = None
        self.start()

    def start(self) -> None:
        """The daemon starts anew."""
        self.starts += 1
        self.close()
        self.books = opened(self.path)
        self.books.begin(Beginning(self.mode, 0, b"%04d" % self.starts, 1_700_000_000.0, b""))
        with SqliteReader(self.path) as reader:
            past = read_past(reader)
        self.settling = Settling(past, SettlingUse(NETWORK, script(POOL), self.mode == "pplns", frozenset({START_ID}),
                                                   queue.Queue(), self.has_block,
                                                   lambda unix: unix not in self.strange), self)

    # --- what settlement reads ---

    def snapshot(self, snapshot_id: bytes) -> Snapshot | None:
        self.require()
        return self.kept.get(snapshot_id)

    def of_tips(self, tips: Sequence[bytes]) -> Sequence[Snapshot]:
        self.require()
        return [each for tip in tips for each in reversed(self.kept.values()) if each.tip == tip]

    def newest(self) -> Sequence[Snapshot]:
        self.require()
        return list(reversed(self.kept.values()))

    def has_block(self, block_hash: bytes) -> bool:
        self.require()
        return block_hash in self.others

    def require(self) -> None:
        if self.trouble:
            raise LedgerError(self.trouble)

    # --- what happens ---

    def keep(self, snapshot: Snapshot) -> Snapshot:
        self.kept[snapshot.id] = snapshot
        assert self.write(Booking((KeepSnapshot(snapshot.id, snapshot.tip, 1.0, snapshot.blob),))) is None
        return snapshot

    def write(self, booking: Booking) -> Unbooked | None:
        assert self.books is not None
        unwritten = self.books.write([], {}, [booking])
        return unwritten[0] if unwritten else None

    def close(self) -> None:
        if self.books is not None:
            self.books.close()

    def do(self, steps: Iterable[SettlingStep], answers: bool = True) -> list[SettlingStep]:
        """Do the steps at once, the questions too; what there was to do."""
        done: list[SettlingStep] = []
        for step in steps:
            done.append(step)
            if isinstance(step, ToBooks) and isinstance(step.item, Booking):
                answer = self.write(step.item) or Booked(step.item)
                done += self.do(self.settling.booked(answer))
            elif isinstance(step, AskNode) and answers and not self.is_deaf:
                done += self.do(self.settling.answered(self.answer_to(step), self.now))
        self.done += done
        return done

    def answer_to(self, step: AskNode) -> ChainAnswer:
        """What the node of the mined chain says."""
        question, chain = step.question, self.chain
        assert question.tip == chain[-1] and step.node == NODE
        standings = tuple(Standing(block_hash, len(chain) - chain.index(block_hash) if block_hash in chain else
                                   0 if height < len(chain) else None) for block_hash, height in question.blocks)
        looked: list[bytes] = []
        for block_hash in reversed(chain):
            if len(looked) == question.depth or block_hash in question.looked:
                break
            looked.insert(0, block_hash)
        ours = tuple(self.seen[block_hash] for block_hash in looked if block_hash in self.seen)
        return ChainAnswer(step.node, question.tip, len(chain) - 1, standings, tuple(looked), ours)

    def find(self, block: OwnBlock) -> list[SettlingStep]:
        return self.do(self.settling.own_block(block, self.now))

    def extend(self, *hashes: bytes) -> list[SettlingStep]:
        """The chain has these blocks now, and is mined."""
        self.chain += hashes
        return self.mine()

    def grow(self, count: int) -> list[SettlingStep]:
        """So many blocks of others."""
        for _ in range(count):
            self.chain.append(double_sha256(self.chain[-1] + len(self.chain).to_bytes(4, "big")))
        return self.mine()

    def fork(self, height: int, count: int, salt: bytes = b"fork") -> list[SettlingStep]:
        """Another branch is mined, of so many blocks on the one at `height`."""
        del self.chain[height + 1:]
        self.chain.append(double_sha256(self.chain[-1] + salt))
        return self.grow(count - 1)

    def mine(self) -> list[SettlingStep]:
        return self.do(self.settling.mine(NODE, self.chain[-1], len(self.chain) - 1, self.now))

    def wait(self, seconds: float) -> list[SettlingStep]:
        self.now = Now(self.now.monotonic + seconds, self.now.unix + seconds)
        return self.do(self.settling.tick(self.now))

    # --- what is seen ---

    @property
    def tip(self) -> bytes:
        return self.chain[-1]

    def purses(self, account: str) -> tuple[int, int]:
        """(payable, maturing), in memory and in the books alike."""
        balances = self.settling._settlement.balances
        held = balances.of(account, Purse.PAYABLE), balances.of(account, Purse.MATURING)
        with SqliteReader(self.path) as reader:
            again = read_past(reader).settlement.balances
        assert (again.of(account, Purse.PAYABLE), again.of(account, Purse.MATURING)) == held
        return held

    def state_of(self, block: OwnBlock) -> tuple[str, int]:
        with SqliteReader(self.path) as reader:
            found = reader.payout_block(block.block_hash)
        assert found is not None
        return found.state, found.turn


def events(steps: Iterable[SettlingStep]) -> list[str]:
    return [step.event for step in steps if isinstance(step, LogLine)]


def of_kind(steps: Iterable[SettlingStep], *kinds: type[Any]) -> list[Any]:
    return [step for step in steps if isinstance(step, kinds)]


def cleared(steps: Iterable[SettlingStep]) -> list[bytes]:
    return [step.tip for step in steps if isinstance(step, TipCleared)]


def settled(steps: Iterable[SettlingStep]) -> list[bytes]:
    return [block_hash for step in steps if isinstance(step, BlocksSettled) for block_hash in step.hashes]


def replaced(steps: Iterable[SettlingStep]) -> bool:
    return any(isinstance(step, ReplaceJobs) for step in steps)
