"""V2 where names say who is paid: what each name gets, whose a share is, and how large a coinbase may be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.manynames import ALICE, BOB, CAROL, NETWORK, Named, each_name, payee_at
from tests.mining.makers import EASY_NBITS, HARD_NBITS, PAYOUT, make_factory, make_template, make_tip
from tests.sv2.pairs import MAX_TARGET, START, Pair, dialect, make_context, make_jobs
from tests.sv2.profiles import profile  # noqa: F401
from tests.sv2.test_server import code_of, messages, only, open_extended, open_standard, setup
from warppool.bitcoin.address import script_of
from warppool.bitcoin.base58 import encode_base58check
from warppool.bitcoin.target import target_from_nbits
from warppool.bitcoin.transaction import outputs_of
from warppool.events import BlockFound, Close, Happened, ShareAccepted, ShareSubmitted
from warppool.mining.account import Account
from warppool.mining.job import Job
from warppool.mining.names import PaidNames
from warppool.mining.payrule import ToFinder
from warppool.mining.share import Weight, weigh
from warppool.sv2.client import WorkReady
from warppool.sv2.jobs import EncodedJob
from warppool.sv2.messages import mining
from warppool.sv2.messages.extensions import RequestExtensions
from warppool.sv2.opening import MAX_OPENS
from warppool.sv2.server import MiningServerSession
from warppool.sv2.tlv import MAX_WORKER_SIZE, worker_tlv
from warppool.sv2.work import Work

MAIN = "bc1qe2tczyk2rw7u47kzxxee5g7ufkncdmlcpmw3pk"
SHORT = encode_base58check(bytes(18) + b"abc")          # of the main network: an address that fits a TLV
each_kind = pytest.mark.parametrize("ask", [open_standard, open_extended], ids=["standard", "extended"])


def paid_session(rule: PaidNames | None = None, flags: int = 0, **agent: str) -> MiningServerSession:
    session = MiningServerSession(7, replace(make_context(), names=rule or PaidNames(NETWORK)))
    session.offer(make_jobs(1, nbits=HARD_NBITS)[0], START)
    session.receive(setup(flags=flags, **agent), START)
    return session


def opened(session: MiningServerSession, channel_id: int = 1):
    return session._channels[channel_id].channel


def happened(steps, name: str) -> list[dict[str, object]]:
    return [dict(step.fields) for step in steps if isinstance(step, Happened) and step.name == name]


@each_name
@each_kind
def test_a_name_gets_a_channel_for_its_account_or_is_refused(row: Named, ask):
    session = paid_session()
    steps = session.receive(ask(user=row.name), START)
    if not row.account:
        assert only(steps) == mining.OpenMiningChannelError(1, "invalid-user-identity")
        (refused,) = happened(steps, "miner.refused")
        assert refused["reason"] == "invalid-user-identity" and refused["user"] == row.name
        assert session.channels == 0
        return
    success, *work = messages(steps)
    assert success.channel_id == 1 and work
    assert opened(session).payee == payee_at(row.account)


def test_the_refusal_of_the_published_profile_has_the_same_words():
    assert code_of("invalid-user-identity") == "invalid-user-identity"


def test_bad_addresses_end_no_connection_on_which_others_mine():
    """Behind a translator each machine says a name of its own."""
    session = paid_session()
    session.receive(open_extended(user=ALICE), START)
    for number in range(MAX_OPENS + 1):
        steps = session.receive(open_extended(number, user=f"bob{number}"), START)
        assert not any(isinstance(step, Close) for step in steps)
    assert session.channels == 1


def test_the_channels_of_one_connection_have_an_account_each():
    session = paid_session()
    for number, user in enumerate((f"{ALICE}.1", f"{BOB}_1", ALICE.upper(), "sri/solo/" + CAROL), 1):
        session.receive(open_extended(number, user=user), START)
    assert [opened(session, number).payee.account for number in (1, 2, 3, 4)] == [ALICE, BOB, ALICE, CAROL]


def test_with_a_fallback_that_is_said_once_per_user():
    said: list[str] = []

    def is_news(user: str, now: float) -> bool:
        said.append(user)
        return said.count(user) == 1

    session = paid_session(PaidNames(NETWORK, Account(CAROL, script_of(CAROL, NETWORK)), is_news=is_news))
    steps = []
    for number, user in enumerate(("bob.1", "bob.2", "dora", ALICE, CAROL), 1):
        steps += session.receive(open_extended(number, user=user), START)
    assert happened(steps, "payout.fallback") == [{"user": user, "address": CAROL} for user in ("bob", "dora")]
    assert [opened(session, number).payee.account for number in range(1, 6)] == [CAROL, CAROL, CAROL, ALICE, CAROL]
    assert only(session.receive(open_extended(9, user=ALICE[:-1]), START)).error_code == "invalid-user-identity"


# --- workers of TLVs --------------------------------------------------------------------------------------------------

def share_of(session: MiningServerSession, area: bytes) -> tuple[ShareAccepted, list[dict[str, object]]]:
    """An accepted share of channel 1 with TLVs behind it, and the names that were ignored."""
    channel = opened(session)
    membership = channel.membership
    key = next(iter(channel.jobs or (membership.group._jobs if membership is not None else {})))
    job = channel.find(key).job
    share = mining.SubmitSharesExtended(1, share_of.sequence, key, 0, job.ntime, job.version, bytes(8))
    share_of.sequence += 1
    steps = session.receive_with(share, area, START)
    assert any(isinstance(step, ShareSubmitted) for step in steps)
    (accepted,) = (step for step in session.judged([Weight(share_of.sequence.to_bytes(32, "big"), 5, False)], START)
                   if isinstance(step, ShareAccepted))
    return accepted, happened(steps, "worker.ignored")


share_of.sequence = 0


@pytest.mark.parametrize(("worker", "user"), [
    (b"rig7", f"{MAIN}.rig7"), (SHORT.encode(), f"{MAIN}.1"), (f"{SHORT}.x".encode(), f"{MAIN}.1"),
    (f"{SHORT}_".encode(), f"{MAIN}.1"), (BOB.encode()[:MAX_WORKER_SIZE], f"{MAIN}.{BOB[:MAX_WORKER_SIZE]}"),
    (b"", f"{MAIN}.1")])
def test_a_worker_moves_no_credit_whatever_he_calls_himself(worker, user):
    session = paid_session(PaidNames("main"))
    session.receive(RequestExtensions(1, (2,)), START)
    session.receive(open_extended(user=f"{MAIN}.1"), START)
    for count in (1, 2):
        share, ignored = share_of(session, worker_tlv(worker) if worker else b"")
        assert (share.user, share.account) == (user, MAIN)
        if SHORT.encode() in worker:
            assert [line["count"] for line in ignored] == [count]


def test_the_channels_own_address_is_no_other_account():
    session = paid_session(PaidNames("main"))
    session.receive(RequestExtensions(1, (2,)), START)
    session.receive(open_extended(user=SHORT), START)
    share, ignored = share_of(session, worker_tlv(SHORT.encode()))
    assert (share.account, ignored) == (SHORT, [])


# --- how large a coinbase may be --------------------------------------------------------------------------------------

ROOMS = PaidNames(NETWORK, has_rooms=True)


@pytest.mark.parametrize(("vendor", "firmware", "room"), [("v", "fw", 755), ("NerdMiner", "2", 255),
                                                          ("PowerPlay-BM/", "1", 16_000)])
def test_what_an_extended_channel_sees_must_fit_its_machine(vendor, firmware, room):
    session = paid_session(ROOMS, vendor=vendor, firmware=firmware)
    session.receive(open_extended(1, user=ALICE), START)
    session.receive(open_extended(2, user=ALICE, size=20), START)
    assert opened(session, 1).payee == payee_at(ALICE, room)
    assert opened(session, 2).payee == payee_at(ALICE, max(1, room - 12)), "a longer extranonce takes of the room"


def test_what_a_standard_channel_never_sees_may_be_as_large_as_it_can():
    session = paid_session(ROOMS, flags=1)
    session.receive(open_standard(user=ALICE), START)
    assert opened(session).payee == payee_at(ALICE, 16_000)


def test_a_standard_channel_in_a_group_sees_the_coinbase():
    session = paid_session(ROOMS)
    session.receive(open_standard(user=ALICE), START)
    assert opened(session).payee == payee_at(ALICE, 755 if session.profile.has_groups else 16_000)


# --- found blocks -----------------------------------------------------------------------------------------------------

def solo_jobs(*tips: int) -> list[Job]:
    """Jobs on which every second hash is a block, that pay who finds it; 1 % is the pool's."""
    spoken = dialect()
    factory = make_factory({spoken.name: lambda job: EncodedJob(spoken, job)}, ToFinder(PAYOUT, 100))
    return [factory.make(make_template(make_tip(tip, EASY_NBITS), template_id=tip), now=START.unix) for tip in tips]


def mine_block(pair: Pair, work: Work) -> BlockFound:
    """What the worker hears of a block that is mined on `work` and handed in."""
    extranonce = bytes(work.extranonce_size)
    target = target_from_nbits(EASY_NBITS)
    nonce = next(nonce for nonce in range(1 << 10)
                 if weigh(work.header(extranonce, work.version, work.min_ntime, nonce), target).is_block)
    pair.miner.send(pair.miner.session.submit(work, extranonce, work.version, work.min_ntime, nonce))
    pair.talk()
    (found,) = [event for event in pair.judge() if isinstance(event, BlockFound)]
    return found


def test_on_one_connection_each_channel_is_paid_for_its_own_blocks_over_three_tips():
    """With SRI's pool the payee is the connection's, and the last channel that was opened takes all."""
    pair = Pair(replace(make_context(), names=PaidNames(NETWORK)))
    pair.talk()
    session = pair.miner.session
    jobs = solo_jobs(1, 2, 3)
    pair.offer(jobs[0])
    users = [f"{ALICE}.1", f"{BOB}_1", ALICE.upper(), f"sri/solo/{CAROL}/x", f"{BOB}.2"]
    for number, user in enumerate(users):
        ask = session.open_standard if number % 2 else session.open_extended
        pair.miner.send(ask(user, 0.0, MAX_TARGET, *(() if number % 2 else (4,))))
    pair.talk()
    accounts = dict(enumerate((ALICE, BOB, ALICE, CAROL, BOB), 1))
    for job in jobs:
        if job is not jobs[0]:
            pair.offer(job)
        works = {event.work.channel_id: event.work for event in pair.heard
                 if isinstance(event, WorkReady) and event.work.prev_hash == job.tip.prev_hash}
        assert sorted(works) == [1, 2, 3, 4, 5]
        for number, work in works.items():
            found = mine_block(pair, work)
            (sat, script), (fee, pool), *_ = outputs_of(found.coinbase_tx)
            assert (script, pool) == (script_of(accounts[number], NETWORK), PAYOUT)
            assert (sat, fee) == (312_500_000 - 3_125_000, 3_125_000)
            assert found.payee is not None and found.payee.account == accounts[number] == found.terms.account
            assert found.share is not None and found.share.account == accounts[number]


def test_a_channel_that_is_opened_later_changes_nothing_of_the_work_of_another():
    pair = Pair(replace(make_context(), names=PaidNames(NETWORK)))
    pair.talk()
    pair.offer(solo_jobs(1)[0])
    pair.miner.send(pair.miner.session.open_extended(ALICE, 0.0, MAX_TARGET, 4))
    pair.talk()
    work = next(event.work for event in pair.heard if isinstance(event, WorkReady))
    pair.miner.send(pair.miner.session.open_extended(BOB, 0.0, MAX_TARGET, 4))
    pair.talk()
    assert mine_block(pair, work).payee.account == ALICE
