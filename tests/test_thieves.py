"""Machines that try everything with names and sessions: nobody is credited for a header twice, and each share and block
is its account's.

The coinbases of all accounts are equal in one half of the runs, as they can be in pplns: there only prefix and counter
keep the headers of two accounts apart.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.manynames import NETWORK
from tests.sv1.pairs import Jobs, Pair
from tests.sv1.test_accounts import ALICE, BOB, CAROL, Accounts, SoloJobs, channel_of, session_of
from warppool.bitcoin.address import script_of
from warppool.bitcoin.transaction import outputs_of
from warppool.events import BlockFound, ShareAccepted

STEPS = 400
ACCOUNT_OF = {f"{ALICE}.1": ALICE, f"{ALICE}_2": ALICE, f"sri/solo/{ALICE}": ALICE, f"{BOB}.1": BOB, BOB.upper(): BOB,
              f"{CAROL}.{ALICE}": CAROL, "thief": "", ALICE[:-1]: ""}
NAMES = list(ACCOUNT_OF)


class Thieves(Accounts):
    """Machines of one owner, at workers that hear of jobs and of each other when chance lets them."""

    def __init__(self, seed: int, jobs: Jobs) -> None:
        super().__init__(3)
        self.dice = random.Random(seed)
        self.jobs, self.made = jobs, [jobs.make()]
        self.heard = [0] * len(self.pools)                  # by worker: the newest job that it has
        self.live: list[Pair] = []
        self.sessions_known: list[str] = []
        self.shares_known: list[list[str]] = []
        self.names: dict[int, list[str]] = {}               # by conn_id: the names that were let in
        self.credited: dict[bytes, str] = {}                # by the hash of the share
        self.asked = 0
        self.asking: dict[str, str] = {}                    # by the id of a request: a name that has no answer yet
        self.resumed = self.taken_over = self.blocks = 0

    def step(self) -> None:
        dice = self.dice
        acts = [self.come, self.say_name, self.work, self.work, self.replay, self.go, self.new_job, self.hear_of_job,
                self.hear_of_sessions]
        dice.choice(acts)()
        for pair in self.live:
            self.look(pair)

    def come(self) -> None:
        dice = self.dice
        worker = dice.randrange(len(self.pools))
        self.job = self.made[self.heard[worker]]
        pair = self.pair(worker)
        self.live.append(pair)
        self.names[pair.server.conn_id] = []
        session = dice.choice(self.sessions_known[-4:] or [""]) if dice.random() < 0.8 else None
        calls = [lambda: pair.call("mining.subscribe", "agent", session), lambda: self.name(pair)]
        for call in dice.sample(calls, 2) if dice.random() < 0.7 else calls[:1]:
            call()

    def say_name(self) -> None:
        if self.live:
            self.name(self.dice.choice(self.live))

    def name(self, pair: Pair) -> None:
        self.asked += 1
        name = f"name{self.asked}"
        self.asking[name] = self.dice.choice(NAMES)
        pair.call("mining.authorize", self.asking[name], "x", request_id=name)

    def hear_answers(self, pair: Pair) -> None:
        """Names that were let in or refused; the answer may have waited for a session, or for a share."""
        names = self.names[pair.server.conn_id]
        for line in pair.said:
            name = self.asking.pop(line.get("id"), None)
            if name is not None and line["result"] is True:
                names.append(name)
                assert len({ACCOUNT_OF[each] for each in names}) == 1, "one connection, one account"
            elif name is not None:
                assert line["result"] is False and line["error"][0] == 24

    def notifies(self, pair: Pair) -> list[list[Any]]:
        return [line["params"] for line in pair.said if line.get("method") == "mining.notify"]

    def mining(self) -> list[Pair]:
        return [pair for pair in self.live if self.notifies(pair)]

    def work(self) -> None:
        """A share on the newest work; its fields are known to all from now on."""
        if self.mining():
            pair = self.dice.choice(self.mining())
            fields = pair.mine(start=self.dice.randrange(64))
            self.shares_known.append(fields)
            self.submit(pair, fields)

    def replay(self) -> None:
        """A share that somebody had, on any job that this machine was ever told of."""
        if self.mining() and self.shares_known:
            pair = self.dice.choice(self.mining())
            fields = self.dice.choice(self.shares_known[-20:])
            for notify in self.notifies(pair)[-3:]:
                self.submit(pair, [notify[0], *fields[1:]])

    def submit(self, pair: Pair, fields: list[str]) -> None:
        names = self.names[pair.server.conn_id]
        pair.submit(*fields, user=self.dice.choice(names) if names and self.dice.random() < 0.8 else
                    self.dice.choice(NAMES))
        if self.dice.random() < 0.8:
            pair.judge()

    def go(self) -> None:
        if self.live and self.dice.random() < 0.7:
            pair = self.live.pop(self.dice.randrange(len(self.live)))
            if any(isinstance(line.get("result"), list) for line in pair.said):
                self.sessions_known.append(session_of(pair))
            pair.drop()
            pair.judge()
            self.look(pair)

    def new_job(self) -> None:
        self.made.append(self.jobs.make(1 + len(self.made) // 12))

    def hear_of_job(self) -> None:
        """One worker hears of the next job; the others may be behind."""
        worker = self.dice.randrange(len(self.pools))
        if self.heard[worker] + 1 < len(self.made):
            self.heard[worker] += 1
            for pair in self.live:
                if pair.worker == worker:
                    pair.deliver(pair.server.offer(self.made[self.heard[worker]], pair.now))

    def hear_of_sessions(self) -> None:
        if self.dice.random() < 0.7:
            self.hear_all()
        else:
            self.wait(1.5)                                  # somebody waits no longer
            for pair in self.live:
                pair.tick()

    def look(self, pair: Pair) -> None:
        """What the books and the submitter hear of it."""
        self.hear_answers(pair)
        self.resumed += len(pair.happened("miner.resumed"))
        self.taken_over += len(pair.happened("miner.closed"))
        names = self.names[pair.server.conn_id]
        account = ACCOUNT_OF[names[0]] if names else ""
        for event in pair.events:
            if isinstance(event, BlockFound):
                self.blocks += 1
                assert event.payee is not None and event.terms is not None
                if event.terms.account:
                    assert outputs_of(event.coinbase_tx)[0][1] == script_of(event.payee.account, NETWORK)
            share = event.share if isinstance(event, BlockFound) else event
            if isinstance(share, ShareAccepted):
                assert share.account == account != "", "a share is credited to whom its connection was let in for"
                assert ACCOUNT_OF[share.user] == account
                assert share.share_hash not in self.credited, "credited twice"
                self.credited[share.share_hash] = share.account
                if isinstance(event, BlockFound):
                    assert event.payee.account == account
        pair.record()
        pair.events.clear()
        channel = channel_of(pair)
        if channel is not None and channel.is_open:
            assert channel.payee.account == account
            assert {mine.payee.account for mine in (*channel.jobs.values(), *channel.old_jobs.values())} <= {account}


@pytest.mark.parametrize("jobs", [SoloJobs, Jobs], ids=["a coinbase each", "one coinbase for all"])
def test_whatever_they_try_no_header_counts_twice_and_no_credit_moves(jobs):
    resumed = taken_over = credited = blocks = 0
    accounts: set[str] = set()
    for seed in range(8):
        thieves = Thieves(seed, jobs())
        for _ in range(STEPS):
            thieves.step()
        resumed, taken_over = resumed + thieves.resumed, taken_over + thieves.taken_over
        credited, blocks = credited + len(thieves.credited), blocks + thieves.blocks
        accounts |= set(thieves.credited.values())
    assert resumed > 15 and taken_over > 15 and credited > 400 and blocks > 150 and accounts == {ALICE, BOB, CAROL}
