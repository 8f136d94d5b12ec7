"""What `warppool demo --payout MODE` adds: users with addresses of every kind, and who was paid.

Who was paid is read from the blocks of the chain, by libbitcoinkernel, after the daemon has stopped; what the daemon
has said of its blocks is then held against that, to the satoshi.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from warppool.bitcoin.addresstext import address_of
from warppool.bitcoin.block import block_subsidy
from warppool.bitcoin.hashes import to_display
from warppool.bitcoin.transaction import outputs_of
from warppool.commands.screen import Display
from warppool.config.options import Config
from warppool.ledger.database import Reader
from warppool.ledger.opening import open_reader
from warppool.ledger.payoutrows import BlockPosition
from warppool.miner.cpu import CpuMiner
from warppool.node.kernel import Kernel
from warppool.payout.audit import audit
from warppool.payout.auditheader import AuditError
from warppool.payout.distribution import distribute
from warppool.payout.snapshot import Snapshot
from warppool.rewards.export import export_lines

NETWORK: Final = "regtest"
DEFAULT_BLOCKS: Final = 20
FEE_PERCENT: Final = Decimal("1.5")

OPERATOR: Final = "bcrt1qqmj4kce5s8mmkpef2l4teugse9ewse530cp770"

ADDRESSES: Final[Mapping[str, str]] = MappingProxyType({
    "v2-standard": "bcrt1qxmyyqupkejvctvxdf7hpj77cvefwha2cm6cqwc",
    "v2-extended": "bcrt1pvsuy37d6pfzfv9wwk7atupfhpznsqqe032grfmwfl4ydlv8edxpsalgl5q",
    "v1": "mkz8E7QFx5RWfEJ1nhhLdb5pTxGTgBcJkw",
    "v1-tls": "2MyHXadFhX7sLpv21TJ2UHfoHGH5iBA812w",
    "v1-second": "bcrt1qdfq96kacmj7dwj3gx5dsesxp98xcg7mznnasqu2fnd5sckppz9usujflca",
})
"""Who mines with which miner: one address of each kind. The hashes in them are those of names, so nobody has the keys.
"""

UNNAMED: Final = f"{OPERATOR}.unnamed"
"""Under this a translator mines for machines that have not said their names yet."""

_NAMES: Final[Mapping[str, str]] = MappingProxyType({
    "v2-extended": "sri/solo/{address}/v2-extended",
    "v1-tls": "{address}_v1-tls",
})
"""The ways to write a name; the usual one is `ADDRESS.WORKER`."""


class Coinbase(NamedTuple):
    """What the chain's block at `height` pays: (sat, address) in the order of the outputs, those of 0 sat left out."""

    height: int
    block_hash: bytes
    paid: tuple[tuple[int, str], ...]


Due = dict[bytes, tuple[tuple[int, str], ...]]
"""(sat, address) in the order of the outputs, by the hash of the block."""


def name_of(miner: str) -> str:
    """The name under which that miner mines."""
    return _NAMES.get(miner, "{address}.{miner}").format(address=ADDRESSES[miner], miner=miner)


def pool_keys(mode: str) -> dict[str, object]:
    """What the section [pool] has besides in this mode.

    On regtest nearly every share is a block, so a window of eight blocks would be eight shares.
    """
    keys: dict[str, object] = {"payout_address": OPERATOR, "payout": mode, "fee_percent": FEE_PERCENT}
    return keys if mode == "solo" else keys | {"window": 50, "window_rampup": False}


def coinbases(data_dir: Path) -> list[Coinbase]:
    """Every coinbase of the active chain in `data_dir`, which no daemon uses any more; NodeError."""
    kernel = Kernel(data_dir / "regtest")
    kernel.open()
    try:
        return [_coinbase(kernel, height) for height in range(1, kernel.tip().height + 1)]
    finally:
        kernel.close()


def _coinbase(kernel: Kernel, height: int) -> Coinbase:
    block_hash = kernel.block_at(height)
    outputs = outputs_of(kernel.coinbase_of(block_hash))
    return Coinbase(height, block_hash, tuple((sat, address_of(script, NETWORK)) for sat, script in outputs if sat))


def more_miners(miners: Mapping[str, CpuMiner]) -> dict[str, CpuMiner]:
    """A second user on the port for plain V1, so that there is one for each kind of address."""
    return {"v1-second": CpuMiner(miners["v1"].url, name_of("v1-second"))}


def are_paid(config: Config, miners: Iterable[str], accepted: Collection[str]) -> bool:
    """Whether blocks of these hashes (display hex), which the chain took, have paid each of the miners; any thread."""
    paid: set[str] = set()
    with open_reader(config.ledger.url, config.pool.data_dir) as reader:
        for position in reader.payout_blocks():
            if to_display(position.block.hash) in accepted:
                paid |= {address_of(script, NETWORK) for _, script in outputs_of(position.block.coinbase)}
    return {ADDRESSES[miner] for miner in miners} <= paid


def summary(config: Config, finders: Mapping[str, str], miners: Collection[str], display: Display) -> list[str]:
    """Say who was paid, by the chain; what is wrong with that.

    `finders` are the names of the workers by the hash (display hex) of what they found, as the log has said them.
    """
    chain = coinbases(config.pool.data_dir)
    for line in report(chain, miners):
        display.line(line)
    paid = {address for coinbase in chain for _, address in coinbase.paid}
    problems = [f"no block has paid the {miner} miner" for miner in miners if ADDRESSES[miner] not in paid]
    if config.pool.payout == "solo":
        return [*differences(chain, due_in_solo(chain, finders, config.pool.fee_basis_points)), *problems]
    with open_reader(config.ledger.url, config.pool.data_dir) as reader:
        audited = sum(_by_weight(reader, coinbase) is not None for coinbase in chain)
        display.line(f"warppool audit: {audited} of these blocks were shared by weight, and are computed anew from "
                     "their exports alone; the others were found before there was a share to go by")
        return [*differences(chain, due_in_pplns(chain, reader)), *audit_problems(chain, reader), *problems]


def due_in_solo(chain: Iterable[Coinbase], finders: Mapping[str, str], fee_basis_points: int) -> Due:
    """What each block has to pay: its finder first, then the fee."""
    owners = {name_of(miner): address for miner, address in ADDRESSES.items()} | {UNNAMED: OPERATOR}
    due: Due = {}
    for coinbase in chain:
        finder = owners.get(finders.get(to_display(coinbase.block_hash), ""))
        if finder is not None:
            value = block_subsidy(coinbase.height, NETWORK)
            fee = value * fee_basis_points // 10_000
            due[coinbase.block_hash] = ((value - fee, finder), (fee, OPERATOR))
    return due


def due_in_pplns(chain: Iterable[Coinbase], reader: Reader) -> Due:
    """What each block has to pay by the snapshot that the books have of it; as in solo where it has none."""
    due: Due = {}
    for coinbase in chain:
        position = reader.payout_block(coinbase.block_hash)
        if position is None:
            continue
        block = position.block
        if block.snapshot_id:
            snapshot = Snapshot.of_blob(reader.snapshot(block.snapshot_id) or b"")
            outputs = distribute(snapshot, block.value, block.room, block.pays_balances).outputs
            due[block.hash] = tuple((sat, address_of(script, NETWORK)) for sat, script in outputs if sat)
        else:
            due[block.hash] = ((block.value - block.fee, block.account), (block.fee, OPERATOR))
    return due


def audit_problems(chain: Iterable[Coinbase], reader: Reader) -> Iterator[str]:
    """What the audit says of each block that was shared by weight, from its export alone."""
    for coinbase in chain:
        position = _by_weight(reader, coinbase)
        if position is not None:
            try:
                audit(export_lines(reader, position))
            except AuditError as exc:
                yield f"the audit of block {coinbase.height} finds a difference: {exc}"


def _by_weight(reader: Reader, coinbase: Coinbase) -> BlockPosition | None:
    position = reader.payout_block(coinbase.block_hash)
    return position if position is not None and position.block.snapshot_id else None


def differences(chain: Iterable[Coinbase], due: Due) -> Iterator[str]:
    """What is wrong, where the chain's coinbases are not what was due by the hash of the block."""
    for coinbase in chain:
        wanted = due.get(coinbase.block_hash)
        where = f"block {coinbase.height} ({to_display(coinbase.block_hash)})"
        if wanted is None:
            yield f"{where} is on the chain, and the pool has not said whose it is"
        elif coinbase.paid != wanted:
            yield f"{where} pays {_words(coinbase.paid)}, and was to pay {_words(wanted)}"


def _words(paid: Iterable[tuple[int, str]]) -> str:
    return ", ".join(f"{sat} sat to {address or 'a script without an address'}" for sat, address in paid) or "nobody"


def report(chain: list[Coinbase], miners: Iterable[str]) -> Iterator[str]:
    """Lines for people: who was paid by all blocks together, each user by the name of the miner."""
    yield f"paid by the {len(chain)} blocks of the chain, as libbitcoinkernel reads them:"
    users = {ADDRESSES[miner]: miner for miner in miners} | {OPERATOR: "the pool's operator"}
    sums = dict.fromkeys(users, 0)
    blocks = dict.fromkeys(sums, 0)
    for coinbase in chain:
        for sat, address in coinbase.paid:
            sums[address] = sums.get(address, 0) + sat
            blocks[address] = blocks.get(address, 0) + 1
    for address, sat in sums.items():
        yield f"  {users.get(address, 'nobody we know')}: {sat} sat in {blocks[address]} blocks, to {address}"
    value = sum(block_subsidy(coinbase.height, NETWORK) for coinbase in chain)
    yield f"  together: {sum(sums.values())} sat, and the blocks are worth {value} sat"
