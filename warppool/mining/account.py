"""Accounts: where the coins of a worker go, as the worker's name says it (docs/decisions.rst#decision-account).

An account is an output script, written as its canonical address. Names of other solo pools say it in these forms:

    ADDRESS             ADDRESS.worker          ADDRESS_worker
    sri/solo/ADDRESS    sri/solo/ADDRESS/worker
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from warppool.bitcoin.address import (
    NETWORKS,
    SEGWIT_OPENINGS,
    AddressError,
    canonical,
    is_guarded,
    looks_like_address,
    script_of,
)

MAX_REMEMBERED: Final = 1024
"""Addresses whose accounts are remembered: a farm comes with one address a thousand times, and to read an address takes
as long as all else that a machine's greeting costs.
"""

_SRI = "sri/"
_SOLO = f"{_SRI}solo/"
"""How a name begins that pays a whole block to one address, in SRI's programs. Their other names pay a part of it."""


class Account(NamedTuple):
    """`address` is canonical: bech32 in lower case. Two accounts are one if, and only if, their addresses are equal."""

    address: str
    script: bytes


class NoAccount(ValueError):
    """A name leads to no account; the text says why, in a sentence for the owner of the machine.

    `is_meant`: the owner seems to have meant an address, and would miss coins that went elsewhere.
    """

    def __init__(self, words: str, *, is_meant: bool) -> None:
        super().__init__(words)
        self.is_meant = is_meant


def account_of(name: str, network: str) -> Account:
    """The account on `network` of a worker's name, which `read_identity` gave; NoAccount.

    An address that no rule guards is none: anyone could spend what is paid there.
    """
    words, is_meant = "", name.startswith(_SRI)
    for address in _addresses_in(name):
        try:
            return _account(address, network)
        except AddressError as exc:
            if not words or _is_meant(address):         # the owner is told of what he seems to have meant
                words = str(exc)
            is_meant = is_meant or _is_meant(address)
    raise NoAccount(words, is_meant=is_meant)


def address_in(name: str) -> str:
    """The canonical address of any network in a worker's name, for a program that knows no network; "" where there is
    none.
    """
    return next(filter(None, map(_on_any_network, _addresses_in(name))), "")


@lru_cache(maxsize=MAX_REMEMBERED)
def _account(address: str, network: str) -> Account:
    """The account of an address; AddressError, and NoAccount for one that no rule guards."""
    script = script_of(address, network)
    if not is_guarded(script):
        raise NoAccount(f"{address!r} is an address that no rule guards: anyone could spend what is paid there",
                        is_meant=True)
    return Account(canonical(address), script)


@lru_cache(maxsize=MAX_REMEMBERED)
def _on_any_network(address: str) -> str:
    """The address in its canonical form; "" for what is none on any network."""
    for network in NETWORKS:
        try:
            script_of(address, network)
        except AddressError:
            continue
        return canonical(address)
    return ""


def _is_meant(text: str) -> bool:
    """Whether somebody meant an address: with a letter of another script, or an invisible one, too."""
    return looks_like_address(text) or text.lower().startswith(SEGWIT_OPENINGS)


def _addresses_in(name: str) -> tuple[str, ...]:
    """The parts of a name that may be its address, the most usual first."""
    if name.startswith(_SOLO):
        return (name[len(_SOLO):].partition("/")[0],)
    user = name.partition(".")[0]
    return (user, user.partition("_")[0]) if "_" in user else (user,)
