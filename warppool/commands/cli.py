"""The command line: `warppool COMMAND ...`, `warppool-keygen` and `warppool-translator`.

A command is a function from arguments to exit status: 0 done, 1 failed, 2 wrong usage or configuration. Each is
imported when it is called, so that `warppool-keygen` does not pay for the daemon.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from warppool import __version__
from warppool.commands import terminal
from warppool.errors import ConfigError, WarppoolError
from warppool.mining.identity import read_identity
from warppool.service import log

FAILED = 1
USAGE = 2
INTERRUPTED = 130
"""What a shell reports of a program that SIGINT ended: 128 + 2."""

DEFAULT_CONFIG = Path("/etc/warppool/warppool.toml")
DEFAULT_TRANSLATOR_CONFIG = Path("/etc/warppool/translator.toml")
DEFAULT_PROVIDER_CONFIG = Path("/etc/warppool/template-provider.toml")

SPEC_KEYS = ("both", "static", "authority", "certificate")
"""What `warppool-keygen --spec` makes."""

Command = Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """`warppool`: run one command and return its exit status."""
    parser = _Parser(prog="warppool", description="A Bitcoin mining pool server for Stratum V1 and V2.")
    parser.add_argument("--version", action="version", version=f"warppool {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, dest="command")
    for add in (_add_run, _add_translate, _add_provider, _add_demo, _add_check, _add_mine, _add_status, _add_shares,
                _add_lists, _add_payouts, _add_audit, _add_backup):
        add(commands)
    _keygen_arguments(_add(commands, "gen-sv2-key", "make the pool's static key (also: warppool-keygen)", gen_sv2_key))
    return _run(parser, argv)


def keygen(argv: Sequence[str] | None = None) -> int:
    """`warppool-keygen`: `warppool gen-sv2-key` under the name that the README uses."""
    parser = _Parser(prog="warppool-keygen", description="Make the pool's static key.")
    parser.add_argument("--version", action="version", version=f"warppool-keygen {__version__}")
    parser.set_defaults(call=gen_sv2_key)
    _keygen_arguments(parser)
    return _run(parser, argv)


def translator(argv: Sequence[str] | None = None) -> int:
    """`warppool-translator`: `warppool translate` under a name of its own."""
    parser = _Parser(prog="warppool-translator", description="Let Stratum V1 machines mine on a Stratum V2 pool, "
                     "until SIGTERM.")
    parser.add_argument("--version", action="version", version=f"warppool-translator {__version__}")
    parser.set_defaults(call=_translate)
    _with_translator_config(parser)
    return _run(parser, argv)


def gen_sv2_key(args: argparse.Namespace) -> int:
    """Make the pool's static key: secret half to stdout, public half to stderr.

    So `(umask 077; warppool-keygen >> secrets.toml)` keeps the secret and shows the half that miners configure.
    """
    from warppool.commands import keys, speckeys

    speckeys.check_usage(args)
    if args.spec is not None:
        return speckeys.make(args)
    key = keys.generate()
    if args.output is None:
        print(keys.secret_line(key), flush=True)
    else:
        keys.write_new(args.output, key)
    print(f"public key: {key.public.hex()}", file=sys.stderr)
    return 0


def shares(args: argparse.Namespace) -> int:
    """Print the books; the secrets stay closed, since who reads the books need not be the daemon."""
    from warppool.commands.shares import write_shares
    from warppool.config.anyfile import books_of, read_any
    from warppool.ledger.opening import open_reader

    with open_reader(*books_of(read_any(args.config, with_secrets=False))) as books:
        write_shares(books, sys.stdout, args.format, args.since, args.user)
    return 0


class _Parser(argparse.ArgumentParser):
    """Says what is wrong on one line; the usage is for those who ask by -h."""

    def _print_message(self, message: str, file: Any = None) -> None:
        (file or sys.stderr).write(message)         # argparse's own swallows the error of a full disk

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{' '.join(message.split())} ({self.prog} -h shows the usage)")


def _run(parser: _Parser, argv: Sequence[str] | None) -> int:
    """Parse, call, and turn what goes wrong into one line and an exit status."""
    terminal.prepare()
    try:
        return _call(parser, argv)
    except ConfigError as exc:
        return _fail(parser.prog, exc, USAGE)
    except WarppoolError as exc:
        return _fail(parser.prog, exc, FAILED)
    except BrokenPipeError:     # whoever read us has enough
        terminal.abandon_stdout()
        return FAILED
    except OSError as exc:
        terminal.abandon_stdout()
        return _fail(parser.prog, WarppoolError(terminal.words_of(exc)), FAILED)
    except KeyboardInterrupt:
        return INTERRUPTED


def _call(parser: _Parser, argv: Sequence[str] | None) -> int:
    try:
        args = parser.parse_args(argv)
    except SystemExit:          # after -h or --version
        sys.stdout.flush()
        raise
    if getattr(args, "config", None) is None and hasattr(args, "default_config"):
        args.config = _found(args.default_config)
    call: Command = args.call
    status = call(args)
    sys.stdout.flush()          # here, where a closed pipe can still be told from a crash
    return status


def _found(default: Path) -> Path:
    """The file that is meant where none is named, if it is there."""
    if not os.path.exists(default):
        raise ConfigError(f"-c FILE is missing, and there is no {default}: name the configuration")
    return default


def _fail(prog: str, exc: WarppoolError, status: int) -> int:
    log.catch_up()              # the last line of a failed start is the one that names the cure
    with suppress(OSError):     # stderr cannot be written either: the status is all that is left to say
        print(f"{prog}: error: {' '.join(str(exc).split())}", file=sys.stderr)
    return status


# --- the commands' arguments ------------------------------------------------------------------------------------------

Commands = argparse._SubParsersAction
"""What argparse calls the place that commands are added to; it has no public name."""


def _late(name: str, module: str = "") -> Command:
    """The function `name` of `module`, by default the one in this folder that is called the same, imported late."""

    def call(args: argparse.Namespace) -> int:
        status: int = getattr(import_module(f"warppool.{module or f'commands.{name}'}"), name)(args)
        return status

    return call


_translate = _late("translate", "service.translator")


def _add(commands: Commands[_Parser], name: str, sentence: str, call: Command) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=sentence, description=sentence[0].upper() + sentence[1:] + ".")
    parser.set_defaults(call=call)
    return parser


def _with_config(parser: argparse.ArgumentParser, holds: str = "warppool.toml; secrets.toml is looked for beside it",
                 default: Path | None = None) -> argparse.ArgumentParser:
    default = default or DEFAULT_CONFIG
    parser.set_defaults(default_config=default)
    parser.add_argument("-c", "--config", type=Path, metavar="FILE", help=f"{holds} (default: {default}, if it exists)")
    return parser


def _with_translator_config(parser: argparse.ArgumentParser) -> None:
    _with_config(parser, "translator.toml; secrets.toml is looked for beside it where a notice goes to a URL",
                 DEFAULT_TRANSLATOR_CONFIG)


def _add_run(commands: Commands[_Parser]) -> None:
    _with_config(_add(commands, "run", "run the pool until SIGTERM", _late("run", "service.run")))


def _add_translate(commands: Commands[_Parser]) -> None:
    _with_translator_config(_add(
        commands, "translate", "let V1 machines mine on a V2 pool (also: warppool-translator)", _translate))


def _add_provider(commands: Commands[_Parser]) -> None:
    _with_config(_add(commands, "template-provider", "give block templates of a node to pools, over Stratum V2",
                      _late("provide", "service.templateprovider")),
                 "template-provider.toml; secrets.toml is looked for beside it", DEFAULT_PROVIDER_CONFIG)


def _add_demo(commands: Commands[_Parser]) -> None:
    parser = _add(commands, "demo", "show the whole pool on an embedded regtest chain, no node needed", _late("demo"))
    parser.add_argument("--blocks", type=_whole(1, 1000), metavar="N",
                        help="end after N accepted blocks, 1 to 1000 (default: 10; with --payout 20)")
    parser.add_argument("--payout", choices=("pool", "solo", "pplns"), default="pool",
                        help="who is paid: the pool (default), who finds a block (solo), or all by their work (pplns)")
    parser.add_argument("--translator", action="store_true",
                        help="have V1 miners mine through a translator on the pool's V2 port")
    parser.add_argument("--plain", action="store_true", help="plain lines even on a terminal")


def _add_check(commands: Commands[_Parser]) -> None:
    sentence = "read the configuration, ask node or upstreams, ports, certificate, clock and limits"
    parser = _with_config(_add(commands, "check", sentence, _late("check")),
                          "warppool.toml or translator.toml, with secrets.toml beside it")
    parser.add_argument("--diff", action="store_true",
                        help="say of each key that differs from what runs when a reload makes it count")
    parser.add_argument("--no-network", action="store_true",
                        help="read files only: try no port, no lock, no node and no upstream")
    parser.add_argument("--notice", metavar="NAME",
                        help="send a test notice to the [[notice]] of that name, and check nothing else")


def _add_mine(commands: Commands[_Parser]) -> None:
    parser = _add(commands, "mine", "mine on a pool with the CPU, for trying things out", _late("mine"))
    parser.add_argument("url", metavar="URL", help="stratum2+tcp://HOST:PORT/PUBLIC-KEY, stratum+tcp://HOST:PORT or "
                        "stratum+tls://HOST:PORT (also stratum+ssl)")
    parser.add_argument("-u", "--user", required=True, type=_name, metavar="NAME",
                        help="name to mine under, such as alice.rig1")
    parser.add_argument("--channel", choices=("standard", "extended"), default="extended",
                        help="kind of channel to open, V2 (default: extended)")
    parser.add_argument("--trust", type=Path, metavar="FILE",
                        help="PEM file of the certificate to trust, V1 over TLS (default: the system's authorities)")
    parser.add_argument("--hashrate", type=_positive, metavar="H/S",
                        help="hash rate to declare (default: what this machine does)")


def _add_shares(commands: Commands[_Parser]) -> None:
    parser = _with_config(_add(commands, "shares", "print the books: every accepted share", shares),
                          "warppool.toml or translator.toml")
    parser.add_argument("--format", choices=("jsonl", "csv"), default="jsonl", help="(default: jsonl)")
    parser.add_argument("--since", metavar="TIME", help="only from TIME on, such as 2026-11-22T10:00:00Z")
    parser.add_argument("--user", metavar="NAME", help="only of this user, whatever the worker")


def _add_status(commands: Commands[_Parser]) -> None:
    parser = _with_config(_add(commands, "status", "ask a running daemon how it is", _late("status")),
                          "warppool.toml or translator.toml")
    parser.add_argument("--json", action="store_true", help="print a line of JSON")
    parser.add_argument("--watch", action="store_true", help="ask again every two seconds, until SIGINT")


def _add_lists(commands: Commands[_Parser]) -> None:
    """What the books say of workers, blocks and refused shares."""
    for name, sentence in (("workers", "list the workers in the books, and what they did"),
                           ("blocks", "list the blocks that were found"),
                           ("refusals", "count the shares that were refused, by worker and reason")):
        parser = _with_config(_add(commands, name, sentence, _late(name, "commands.lists")),
                              "warppool.toml or translator.toml")
        parser.add_argument("--format", choices=("table", "jsonl", "csv"), default="table", help="(default: table)")
        if name != "blocks":
            parser.add_argument("--user", metavar="NAME", help="only of this user, whatever the worker, or this worker")
        if name == "refusals":
            parser.add_argument("--since", metavar="TIME", help="from TIME on, such as 2026-11-22T10:00:00Z (default: "
                                "the last day)")


def _add_payouts(commands: Commands[_Parser]) -> None:
    parser = _with_config(_add(commands, "payouts", "list who is owed what and who got what, where names are paid",
                               _late("payouts")), "warppool.toml")
    parser.set_defaults(action=None)
    parser.add_argument("--block", metavar="BLOCK", help="who got what of this block: its height, or its hash")
    parser.add_argument("--user", metavar="ADDRESS", help="only of this account")
    parser.add_argument("--format", choices=("jsonl", "csv"), default="jsonl", help="(default: jsonl)")
    parser.add_argument("--export", metavar="BLOCK", help="print what warppool audit reads of this block")
    parser.add_argument("--confirm-restore", action="store_true",
                        help="have the daemon pay balances by books that are a restored copy")
    actions = parser.add_subparsers(metavar="ACTION", dest="action")
    claim = actions.add_parser("claim", help="have the daemon keep a balance out of later blocks, to pay it by hand")
    paid = actions.add_parser("paid", help="have the daemon book that a claimed balance was paid by hand")
    for action in (claim, paid):
        action.add_argument("-c", "--config", type=Path, metavar="FILE", default=argparse.SUPPRESS,
                            help="as before the action")
        action.add_argument("address", metavar="ADDRESS", help="whose balance")
    paid.add_argument("sat", type=_whole(1, 10**12 - 1), metavar="SAT", help="how much was paid, in satoshi")
    paid.add_argument("--txid", required=True, metavar="TXID", help="the transaction that paid it")


def _add_audit(commands: Commands[_Parser]) -> None:
    parser = _add(commands, "audit", "compute a block's distribution anew, from its export alone", _late("audit"))
    parser.add_argument("file", type=Path, metavar="FILE", help="as in data_dir/audits, or from payouts --export")


def _add_backup(commands: Commands[_Parser]) -> None:
    parser = _with_config(_add(commands, "backup", "copy the books into a new file, while the daemon runs or not",
                               _late("backup")), "warppool.toml")
    parser.add_argument("file", type=Path, metavar="FILE", help="the copy, which must not be there yet")


def _keygen_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", type=Path, metavar="FILE",
                        help="create FILE, 0600, for the secret half instead of stdout; never overwrites")
    parser.add_argument("--spec", nargs="?", const="both", choices=SPEC_KEYS, metavar="WHAT",
                        help="for the published profile: both (the static key and its authority's), static, authority, "
                        "or certificate")
    parser.add_argument("--authority", type=Path, metavar="FILE",
                        help="with --spec certificate: the file that holds the authority's secret key")
    parser.add_argument("--static", default="", metavar="HEX", help="with --spec certificate: the server's static key")
    parser.add_argument("--days", type=_whole(1, 3_650), default=90, metavar="N",
                        help="with --spec certificate: how long it is good (default %(default)s)")


def _whole(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit()) or len(text) > 12 or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {low} to {high}")
        return int(text)

    return read


def _name(text: str) -> str:
    name = read_identity(text)
    if name is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no name: 1 to 255 bytes that can be seen, such as alice.rig1")
    return name


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return value
