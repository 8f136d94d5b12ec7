"""Blocks made with this package alone, judged by the node's own validation code on a regtest chain."""

import hashlib
from contextlib import suppress
from dataclasses import dataclass, field, replace

import pbk
import pytest

from warppool.bitcoin.block import assemble_block, block_hash, block_subsidy
from warppool.bitcoin.coinbase import (
    INPUT_SEQUENCE,
    MAX_SCRIPT_SIG,
    coinbase_halves,
    commitment_output,
    find_commitment,
    height_push,
    locktime_of,
    restore_witness,
    tag_push,
    witness_commitment,
)
from warppool.bitcoin.compactsize import encode_compact_size
from warppool.bitcoin.hashes import double_sha256, to_display
from warppool.bitcoin.header import Header, pack_header
from warppool.bitcoin.merkle import fold_merkle_path, merkle_path
from warppool.bitcoin.target import target_from_nbits
from warppool.bitcoin.transaction import serialize_output, transaction_ids, transaction_weight

REGTEST_NBITS = 0x207FFFFF
GENESIS_TIME = 1296688602
MATURITY = 100                                                  # blocks until a coinbase may be spent
ANYONE = b"\x00\x20" + hashlib.sha256(b"\x51").digest()         # P2WSH of OP_TRUE
ANYONE_BARE = b"\x51"                                           # OP_TRUE itself, spent without a witness
EXTRANONCE = b"\x00\x00\x00\x01" + b"\xa1\xb2\xc3\xd4" * 2


class Kernel:
    """A regtest chain that says of each block what the node would."""

    def __init__(self, directory):
        self._reason = self._said = None
        self._coins_taken = 0
        pbk.logging_set_options(pbk.LoggingOptions(log_timestamps=False, always_print_category_levels=True))
        pbk.set_log_level_category(pbk.LogCategory.VALIDATION, pbk.LogLevel.DEBUG)
        pbk.enable_log_category(pbk.LogCategory.VALIDATION)
        self._log = pbk.LoggingConnection(cb=self._heard)
        callbacks = pbk.ValidationInterfaceCallbacks(block_checked=self._judged)
        options = pbk.ChainstateManagerOptions(
            pbk.make_context(pbk.ChainType.REGTEST, callbacks), str(directory), str(directory / "blocks"))
        options.set_worker_threads_num(0)
        options.update_block_tree_db_in_memory(True)
        options.update_chainstate_db_in_memory(True)
        self._manager = pbk.ChainstateManager(options)
        self.chain = self._manager.get_active_chain()

    def _heard(self, line: str) -> None:
        _, found, rest = line.partition("BlockChecked: block hash=")
        if found:
            self._said = rest.partition(" state=")[2].split(",")[0].strip()

    def _judged(self, user_data, block, state) -> None:
        is_valid = state.validation_mode is pbk.ValidationMode.VALID
        self._reason = "valid" if is_valid else self._said

    def submit(self, raw: bytes) -> str:
        """`valid` if the block is the new tip, else the node's reason, from the callback and not the return value."""
        self._reason = self._said = None
        with suppress(pbk.ProcessBlockException):
            self._manager.process_block(pbk.Block(raw))
        if self._reason == "valid":
            assert bytes(self.chain.block_tree_entries[-1].block_hash) == block_hash(raw[:80])
        return self._reason

    def tip(self):
        return self.chain.block_tree_entries[-1]

    def coinbase_txid(self, height: int) -> bytes:
        raw = bytes(self._manager.blocks[self.chain.block_tree_entries[height]])
        return bytes(pbk.Block(raw).transactions[0].txid)

    def take_coin(self) -> tuple[bytes, int]:
        """A ripe coinbase that nobody has taken before, from the oldest on: (txid, sat)."""
        self._coins_taken += 1
        assert self._coins_taken <= self.tip().height - MATURITY
        return self.coinbase_txid(self._coins_taken), block_subsidy(self._coins_taken, "regtest")

    def close(self) -> None:
        self.chain = self._manager = self._log = None


@dataclass
class Draft:
    """A block to be; every field may be spoilt before it is built. What is None is made as it should be."""

    height: int
    prev_hash: bytes
    transactions: list[bytes] = field(default_factory=list)
    fees_sat: int = 0
    version: int = 0x2000_0000
    nbits: int = REGTEST_NBITS
    locktime: int | None = None
    script_prefix: bytes | None = None
    value_sat: int | None = None
    commitments: list[bytes] | None = None
    path: tuple[bytes, ...] | None = None
    is_segwit: bool = True
    meets_target: bool = True

    def coinbase(self) -> bytes:
        """Its stripped form, with the extranonce in place."""
        ids = [transaction_ids(raw) for raw in self.transactions]
        commitments = self.commitments
        if commitments is None:
            commitments = [commitment_output(witness_commitment([wtxid for _, wtxid in ids]))]
        value = self.value_sat
        if value is None:
            value = block_subsidy(self.height, "regtest") + self.fees_sat
        outputs = [serialize_output(value, ANYONE), *commitments]
        script = self.script_prefix
        if script is None:
            script = height_push(self.height) + tag_push(b"/warppool/") + bytes((len(EXTRANONCE),))
        locktime = locktime_of(self.height) if self.locktime is None else self.locktime
        prefix, suffix = coinbase_halves(
            version=2, input_sequence=INPUT_SEQUENCE, locktime=locktime, script_prefix=script,
            extranonce_size=len(EXTRANONCE), outputs=b"".join(outputs), outputs_count=len(outputs),
        )
        return prefix + EXTRANONCE + suffix

    def build(self) -> bytes:
        coinbase = self.coinbase()
        path = self.path
        if path is None:
            path = merkle_path([transaction_ids(raw)[0] for raw in self.transactions])
        root = fold_merkle_path(double_sha256(coinbase), path)
        target = target_from_nbits(self.nbits)
        for nonce in range(10_000):
            header = pack_header(self.version, self.prev_hash, root, GENESIS_TIME + self.height, self.nbits, nonce)
            if (int.from_bytes(block_hash(header), "little") <= target) is self.meets_target:
                break
        return assemble_block(header, restore_witness(coinbase) if self.is_segwit else coinbase, self.transactions)


def draft(kernel: Kernel, **fields) -> Draft:
    tip = kernel.tip()
    return Draft(tip.height + 1, bytes(tip.block_hash), **fields)


def spend(txid: bytes, index: int, outputs: list[tuple[int, bytes]], *, witness: bytes = b"\x01\x01\x51") -> bytes:
    """Spend one output that anyone may spend; an empty `witness` gives the legacy form."""
    body = b"\x01" + txid + index.to_bytes(4, "little") + b"\x00" + b"\xff\xff\xff\xff"
    body += encode_compact_size(len(outputs)) + b"".join(serialize_output(*output) for output in outputs)
    return b"\x02\0\0\0" + (b"\0\1" if witness else b"") + body + witness + bytes(4)


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """A chain of 152 blocks made here: past every form of small height, past the first halving, with ripe coins."""
    node = Kernel(tmp_path_factory.mktemp("kernel"))
    for height in range(1, 153):
        assert node.submit(draft(node).build()) == "valid", height
    yield node
    node.close()


def test_the_kernel_reads_our_header_as_we_do(kernel):
    block = draft(kernel).build()
    header = Header.unpack(block[:80])
    theirs = pbk.Block(block)
    assert str(theirs.block_hash) == to_display(block_hash(block[:80]))
    assert (theirs.block_header.bits, bytes(theirs.block_header)) == (header.nbits, header.pack())


def test_a_chain_of_empty_blocks_through_heights_and_halving_is_valid(kernel):
    assert kernel.tip().height >= 152


def test_every_path_length_up_to_nine_transactions_is_valid(kernel):
    for count in range(1, 9):
        txid, value = kernel.take_coin()
        transactions = []
        for _ in range(count):              # each spends the one before, so their order counts too
            value -= 100
            transactions.append(spend(txid, 0, [(value, ANYONE)]))
            txid = transaction_ids(transactions[-1])[0]
        assert kernel.submit(draft(kernel, transactions=transactions, fees_sat=100 * count).build()) == "valid", count


def test_legacy_and_segwit_transactions_beside_each_other_are_valid(kernel):
    txid, value = kernel.take_coin()
    first = spend(txid, 0, [(value // 2, ANYONE_BARE), (value // 2, ANYONE)])
    txid = transaction_ids(first)[0]
    legacy = spend(txid, 0, [(1000, ANYONE)], witness=b"")
    segwit = spend(txid, 1, [(1000, ANYONE)])
    assert transaction_weight(legacy) == 4 * len(legacy)
    fees = value - 2000
    assert kernel.submit(draft(kernel, transactions=[first, segwit, legacy], fees_sat=fees).build()) == "valid"


def test_more_than_252_transactions_are_valid(kernel):
    txid, value = kernel.take_coin()
    first = spend(txid, 0, [(value // 300, ANYONE)] * 300)
    txid = transaction_ids(first)[0]
    others = [spend(txid, index, [(value // 300, ANYONE)]) for index in range(300)]
    assert kernel.submit(draft(kernel, transactions=[first, *others]).build()) == "valid"


def test_a_block_without_witness_needs_no_commitment(kernel):
    assert kernel.submit(draft(kernel, commitments=[], is_segwit=False).build()) == "valid"


def test_the_node_takes_the_last_commitment_as_we_do(kernel):
    right, wrong = commitment_output(witness_commitment([])), commitment_output(b"\x07" * 32)
    assert kernel.submit(draft(kernel, commitments=[right, wrong]).build()) == "bad-witness-merkle-match"
    assert find_commitment(right + wrong, 2) == b"\x07" * 32
    assert kernel.submit(draft(kernel, commitments=[wrong, right]).build()) == "valid"
    assert find_commitment(wrong + right, 2) == witness_commitment([])


def test_the_script_may_fill_its_hundred_bytes(kernel):
    start = height_push(kernel.tip().height + 1)
    push = bytes((len(EXTRANONCE),))
    room = MAX_SCRIPT_SIG - len(start) - len(push) - len(EXTRANONCE)
    script = start + tag_push(b"t" * (room - 2)) + push
    assert len(script) + len(EXTRANONCE) == MAX_SCRIPT_SIG
    assert kernel.submit(draft(kernel, script_prefix=script).build()) == "valid"


def test_one_byte_more_is_what_the_node_refuses(kernel):
    """The budget is the node's: `coinbase_halves` refuses such a script, so the byte is put in behind its back."""
    whole = draft(kernel, script_prefix=height_push(kernel.tip().height + 1) + bytes(85))
    coinbase = whole.coinbase()
    assert coinbase[41] == MAX_SCRIPT_SIG
    longer = coinbase[:41] + bytes((MAX_SCRIPT_SIG + 1,)) + b"\x51".join((coinbase[42:45], coinbase[45:]))
    whole.coinbase = lambda: longer
    assert kernel.submit(whole.build()) == "bad-cb-length"


def test_less_than_the_subsidy_may_be_claimed(kernel):
    assert kernel.submit(draft(kernel, value_sat=0).build()) == "valid"


def one_spend(kernel: Kernel, **fields) -> Draft:
    """A draft with one good transaction in it."""
    height = kernel.tip().height - MATURITY + 1         # the youngest coin that is ripe in the next block
    txid, value = kernel.coinbase_txid(height), block_subsidy(height, "regtest")
    return draft(kernel, transactions=[spend(txid, 0, [(value - 1000, ANYONE)])], fees_sat=1000, **fields)


# Each spoils one thing; that the same block is valid without it is shown above.
SPOILT = {
    "a commitment to other witnesses": (
        lambda k: replace(one_spend(k), commitments=[commitment_output(witness_commitment([]))]),
        "bad-witness-merkle-match"),
    "witnesses without a commitment": (lambda k: replace(one_spend(k), commitments=[]), "unexpected-witness"),
    "a commitment without the reserved value": (
        lambda k: replace(one_spend(k), is_segwit=False), "bad-witness-nonce-size"),
    "a path without the transaction": (lambda k: replace(one_spend(k), path=()), "bad-txnmrklroot"),
    "a path too long": (lambda k: replace(draft(k), path=(bytes(32),)), "bad-txnmrklroot"),
    "a hash above the target": (lambda k: replace(draft(k), meets_target=False), "high-hash"),
    "other bits": (lambda k: replace(draft(k), nbits=0x207FFFFE), "bad-diffbits"),
    "an old version": (lambda k: replace(draft(k), version=1), "bad-version(0x00000001)"),
    "another height": (lambda k: replace(draft(k), script_prefix=height_push(5) + b"\x0c"), "bad-cb-height"),
    "a height in a longer form": (
        lambda k: replace(draft(k), script_prefix=b"\x03" + (k.tip().height + 1).to_bytes(3, "little") + b"\x0c"),
        "bad-cb-height"),
    "a lock time of its own height": (lambda k: replace(draft(k), locktime=k.tip().height + 1), "bad-txns-nonfinal"),
    "a sat above subsidy and fees": (lambda k: replace(one_spend(k), fees_sat=1001), "bad-cb-amount"),
    "a sat above the subsidy": (lambda k: replace(draft(k), fees_sat=1), "bad-cb-amount"),
    "a witness that does not fit": (
        lambda k: replace(one_spend(k), transactions=[
            raw.replace(b"\x01\x01\x51" + bytes(4), b"\x01\x01\x52" + bytes(4))
            for raw in one_spend(k).transactions]),
        "block-script-verify-flag-failed (Witness program hash mismatch)"),
    "a coin that is not ripe": (
        lambda k: draft(k, transactions=[spend(k.coinbase_txid(k.tip().height - MATURITY + 2), 0, [(1, ANYONE)])]),
        "bad-txns-premature-spend-of-coinbase"),
    "a coin that is not there": (
        lambda k: draft(k, transactions=[spend(bytes(31) + b"\x01", 0, [(1, ANYONE)])]),
        "bad-txns-inputs-missingorspent"),
}


@pytest.mark.parametrize("what", SPOILT)
def test_a_spoilt_block_is_refused_for_that_and_the_chain_goes_on(kernel, what):
    spoil, reason = SPOILT[what]
    before = bytes(kernel.tip().block_hash)
    assert kernel.submit(spoil(kernel).build()) == reason
    assert bytes(kernel.tip().block_hash) == before


def test_the_block_that_was_spoilt_above_is_valid_unspoilt(kernel):
    assert kernel.submit(one_spend(kernel).build()) == "valid"


def test_one_sat_above_the_subsidy_is_refused_on_both_sides_of_the_halving(tmp_path):
    node = Kernel(tmp_path)
    while node.tip().height < 148:
        assert node.submit(draft(node).build()) == "valid"
    for height in (149, 150, 151):
        assert node.submit(draft(node, fees_sat=1).build()) == "bad-cb-amount", height
        assert node.submit(draft(node).build()) == "valid", height
    assert node.tip().height == 151
    node.close()
