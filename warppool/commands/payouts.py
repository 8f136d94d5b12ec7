"""`warppool payouts`: who is owed what and who got what, from the books; and what is paid by hand.

It only reads, while the daemon runs or not. What is to be booked (`claim`, `paid`) is left for the daemon, which alone
writes the books (`warppool/claimfiles.py`).
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final, TextIO

from warppool import claimfiles
from warppool.bitcoin.hashes import from_display, to_display
from warppool.config.anyfile import read_any
from warppool.config.options import Config, PoolConfig
from warppool.errors import ConfigError, WarppoolError
from warppool.ledger.database import Reader
from warppool.ledger.opening import open_reader
from warppool.ledger.payoutrows import BlockPosition
from warppool.mining.account import NoAccount, account_of
from warppool.payout.moves import PayoutState, Purse
from warppool.rewards.balances import purses_of
from warppool.rewards.export import export_lines
from warppool.rewards.parts import block_outputs, division_of, parts_of
from warppool.service.lock import holder

COLUMNS: Final = ("what", "account", "payable", "maturing", "claimed", "by_hand", "held", "height", "hash", "time",
                  "state", "mode", "finder", "value", "fee", "fair", "balance", "paid")
"""Of CSV; a line of JSON has those that belong to what it is: a `balance`, a `block`, an account's `part` of one, or
the `total` of all balances. Its `held` is what payout_address has got of the blocks beyond the fee and its own fair
share, by the coinbases; that is what the four before it are together.
"""

ANSWER_S: Final = 10.0
"""How long the daemon's answer is waited for: the daemon looks for requests each second."""

_LOOK_EVERY_S: Final = 0.1
_HASH: Final = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
_HEIGHT: Final = re.compile(r"[0-9]{1,9}", re.ASCII)

Row = dict[str, object]


def payouts(args: argparse.Namespace) -> int:
    """List, export, or leave a request for the daemon; 1 where the daemon refuses it."""
    config = read_any(args.config, with_secrets=False)
    if not isinstance(config, Config):
        raise ConfigError(f"{args.config} is no pool's: name the pool's warppool.toml")
    if args.action is not None or args.confirm_restore:
        return _ask_daemon(config.pool, args)
    with open_reader(config.ledger.url, config.pool.data_dir) as reader:
        if args.export is not None:
            for line in export_lines(reader, _only(_blocks_of(reader, args.export), args.export)):
                print(line)
        else:
            account = None if args.user is None else _account(args.user, config.pool)
            _write(_rows(reader, config.pool.network, account, args.block), sys.stdout, args.format)
    return 0


# --- what the books say -----------------------------------------------------------------------------------------------

def _rows(reader: Reader, network: str, account: str | None, block: str | None) -> Iterator[Row]:
    """Balances and blocks; of one block, its parts; of one account, its balance and its parts of all blocks."""
    if block is None:
        yield from (row for row in balances(reader) if account in (None, row["account"]))
    for position in reader.payout_blocks() if block is None else _blocks_of(reader, block):
        if account is None:
            yield _block_row(position)
        if account is not None or block is not None:
            yield from (row for row in parts(reader, position, network) if account in (None, row["account"]))
    if account is None and block is None:
        yield _total(reader)


def balances(reader: Reader) -> Iterator[Row]:
    """A row for each account that is owed something, by address."""
    sums = purses_of(reader)
    for account in sorted({account for account, _ in sums}):
        purses = {purse.value: sums[account, purse] for purse in (Purse.PAYABLE, Purse.MATURING, Purse.CLAIMED)}
        if any(purses.values()):
            yield {"what": "balance", "account": account, **purses}


def _total(reader: Reader) -> Row:
    """All balances, and what they must be together."""
    sums: Counter[str] = Counter()
    for (_, purse), sat in purses_of(reader).items():
        sums[purse] += sat
    held = sum(_held(reader, position) for position in reader.payout_blocks((PayoutState.FOUND, PayoutState.SETTLED)))
    return {"what": "total", "payable": sums[Purse.PAYABLE], "maturing": sums[Purse.MATURING],
            "claimed": sums[Purse.CLAIMED], "by_hand": sums[Purse.PAID], "held": held}


def _held(reader: Reader, position: BlockPosition) -> int:
    """What payout_address got of this block for others, by its coinbase; below 0 where it gave back what it held."""
    division = division_of(reader, position)
    if division is None:
        return sum(entry.sat for entry in reader.entries(position.block.hash))
    got = sum(sat for sat, script in block_outputs(position) if script == division.payout_script)
    return got - division.fee_sat - division.payout_fair_sat


def parts(reader: Reader, position: BlockPosition, network: str) -> Iterator[Row]:
    """A row for each who got something of a block, or should have."""
    block = position.block
    for part in parts_of(reader, position, network):
        row: Row = {"what": "part", "height": block.height, "hash": to_display(block.hash),
                    "state": position.state, "account": part.account}
        if part.fair is not None:
            row["fair"], row["balance"] = part.fair, part.balance
        yield row | {"paid": part.paid}


def _block_row(position: BlockPosition) -> Row:
    block = position.block
    moment = datetime.fromtimestamp(int(block.time), UTC)
    return {"what": "block", "height": block.height, "hash": to_display(block.hash),
            "time": f"{moment:%Y-%m-%dT%H:%M:%SZ}", "state": position.state, "mode": block.mode,
            "finder": block.finder, "value": block.value, "fee": block.fee}


def _blocks_of(reader: Reader, text: str) -> list[BlockPosition]:
    """The blocks that an operator means by a height or a hash; ConfigError for other text, or if there is none."""
    if _HASH.fullmatch(text):
        found = reader.payout_block(from_display(text.lower()))
        blocks = [] if found is None else [found]
    elif _HEIGHT.fullmatch(text):
        blocks = [each for each in reader.payout_blocks() if each.block.height == int(text)]
    else:
        raise ConfigError(f"{text!r} is neither a height nor a block's hash")
    if not blocks:
        raise ConfigError(f"the books have no block {text} that was paid by name")
    return blocks


def _only(blocks: list[BlockPosition], text: str) -> BlockPosition:
    if len(blocks) > 1:
        raise ConfigError(f"the books have {len(blocks)} blocks of height {text}: name one by its hash, "
                          f"{' or '.join(to_display(each.block.hash) for each in blocks)}")
    return blocks[0]


def _write(rows: Iterable[Row], out: TextIO, format: str) -> None:  # noqa: A002
    if format == "csv":
        writer = csv.DictWriter(out, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return
    encode = json.JSONEncoder(separators=(",", ":")).encode
    for row in rows:
        out.write(encode(row) + "\n")


# --- what is paid by hand ---------------------------------------------------------------------------------------------

def _account(text: str, pool: PoolConfig) -> str:
    """The account of an address as an operator writes it; ConfigError for any other text."""
    try:
        return account_of(text, pool.network).address
    except NoAccount as exc:
        raise ConfigError(str(exc)) from exc


def _ask_daemon(pool: PoolConfig, args: argparse.Namespace) -> int:
    """Leave the request, and print the daemon's answer if it comes soon."""
    if pool.payout == "pool":
        raise ConfigError('pool.payout is "pool": such a pool books no balances, and takes no request')
    account = _account(args.address, pool) if args.action is not None else ""
    if args.action is None:
        if holder(pool.data_dir) is None:
            raise WarppoolError("no warppool runs with this data_dir, and what is confirmed now would hold for any "
                                "books that the next start finds: start the pool, and confirm what its journal says")
        request = claimfiles.ClaimRequest(claimfiles.CONFIRM)
    elif args.action == claimfiles.PAID:
        if not claimfiles.TXID.fullmatch(args.txid):
            raise ConfigError(f"--txid is {args.txid!r}: it takes the 64 hex digits of a transaction's id")
        request = claimfiles.ClaimRequest(claimfiles.PAID, account, args.sat, args.txid)
    else:
        request = claimfiles.ClaimRequest(claimfiles.CLAIM, account)
    folder = claimfiles.folder_of(pool.data_dir)
    try:
        name = claimfiles.ask(folder, request)
    except FileNotFoundError:
        raise WarppoolError(f"{folder} is not there: a pool whose pool.payout is not \"pool\" makes it when it starts"
                            ) from None
    except OSError as exc:
        raise WarppoolError(f"{folder}: {exc.strerror}: run this as root, or as the daemon's user") from exc
    until = time.monotonic() + ANSWER_S
    while (answer := claimfiles.take_answer(folder, name)) is None:
        if time.monotonic() > until:
            print(f"no answer yet: the request waits for the daemon in {folder}, and is taken when the daemon runs")
            return 0
        time.sleep(_LOOK_EVERY_S)
    print(answer.sentence)
    return 0 if answer.is_done else 1
