"""V1 where names say who is paid: what each name gets, and that no credit moves, whatever a machine does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.manynames import ALICE, BOB, CAROL, NETWORK, Named, each_name, payee_at
from tests.mining.makers import EASY_NBITS, HARD_NBITS, PAYOUT, make_counters, make_factory
from tests.sv1.pairs import Jobs, Pair, make_context
from tests.sv1.test_resume import Workers, session_of
from warppool.bitcoin.address import script_of
from warppool.bitcoin.target import target_from_nbits
from warppool.bitcoin.transaction import outputs_of
from warppool.events import BlockFound
from warppool.mining.account import Account
from warppool.mining.identity import MAX_BAD_NAMES
from warppool.mining.names import PaidNames
from warppool.mining.payrule import ToFinder
from warppool.sv1.jobs import ENCODING, encoder

NO_ADDRESS = [24, "Invalid Bitcoin address", None]
OTHER = [24, "Another address is mined for here", None]
RULE = PaidNames(NETWORK)


def paid_pair(rule: PaidNames = RULE, **given: Any) -> Pair:
    return Pair(replace(make_context(), names=rule), **given)


def authorize(pair: Pair, name: str, password: str = "x") -> tuple[object, object]:
    """Result and error of the answer, and nothing else is said before it."""
    answer = pair.call("mining.authorize", name, password, request_id="a")[0]
    assert answer["id"] == "a"
    return answer["result"], answer["error"]


def notifies(lines: list[dict[str, Any]]) -> int:
    return sum(line.get("method") == "mining.notify" for line in lines)


def channel_of(pair: Pair) -> Any:
    return pair.server._session.machine.channel


# --- names ------------------------------------------------------------------------------------------------------------

@each_name
@pytest.mark.parametrize("is_first", [True, False], ids=["authorize first", "subscribe first"])
def test_a_name_gets_work_for_its_account_or_is_refused(row: Named, is_first: bool):
    pair = paid_pair()
    pair.offer()
    heard: list[dict[str, Any]] = []
    for is_authorize in (is_first, not is_first):
        if not is_authorize:
            heard += pair.call("mining.subscribe", "agent")
        elif row.account:
            assert authorize(pair, row.name) == (True, None)
        else:
            assert authorize(pair, row.name) == (False, NO_ADDRESS)
    if not row.account:
        assert notifies(pair.said) == 0 and notifies(pair.offer()) == 0, "no job before an authorize"
        (refused,) = pair.happened("miner.refused")
        assert refused["reason"] == "invalid-user-identity" and refused["user"] is not None
        return
    assert notifies(pair.said) == 1
    assert channel_of(pair).payee == payee_at(row.account)
    pair.submit(*pair.mine(), user=row.name)
    pair.judge()
    (share,) = pair.unrecorded
    assert share.account == row.account


def test_a_refused_name_may_be_followed_by_a_good_one():
    pair = paid_pair()
    pair.offer()
    pair.call("mining.subscribe", "agent")
    assert authorize(pair, ALICE[:-1]) == (False, NO_ADDRESS)
    (refused,) = pair.happened("miner.refused")
    assert refused["user"] == ALICE[:-1] and "checksum" in str(refused["meaning"]), "the log says why"
    assert authorize(pair, ALICE) == (True, None)
    assert notifies(pair.said) == 1


def test_who_says_bad_names_on_and_on_is_closed_unless_somebody_mines_there():
    pair = paid_pair()
    for number in range(MAX_BAD_NAMES):
        assert pair.close is None
        authorize(pair, f"alice{number}")
    assert pair.close is not None and pair.close.is_peers_fault
    proxy = paid_pair()
    authorize(proxy, ALICE)
    for number in range(3 * MAX_BAD_NAMES):
        assert authorize(proxy, f"alice{number}") == (False, NO_ADDRESS)
    assert proxy.close is None, "the machines of a proxy whose names are good mine on"


@pytest.mark.parametrize("has_rooms", [True, False])
@pytest.mark.parametrize(("agent", "room"), [("NerdMinerV2/1", 255), ("bitaxe/2.6", 755), ("", 755)])
def test_the_room_is_that_of_the_agent_where_the_mode_asks(agent, room, has_rooms):
    for calls in (("mining.subscribe", "mining.authorize"), ("mining.authorize", "mining.subscribe")):
        pair = paid_pair(PaidNames(NETWORK, has_rooms=has_rooms))
        for call in calls:
            pair.call(call, *([agent] if call == "mining.subscribe" else [ALICE, "x"]))
        assert channel_of(pair).payee == payee_at(ALICE, room if has_rooms else 0)


# --- other accounts on one connection ---------------------------------------------------------------------------------

@pytest.mark.parametrize("second", [f"{ALICE}.rig2", f"{ALICE}_rig2", ALICE.upper(), f"sri/solo/{ALICE}/rig2"])
def test_another_worker_of_the_account_is_fine(second):
    pair = paid_pair()
    pair.set_up(user=f"{ALICE}.rig1")
    assert authorize(pair, second) == (True, None)
    pair.submit(*pair.mine(), user=second)
    pair.judge()
    (share,) = pair.unrecorded
    assert (share.user, share.account) == (second, ALICE)


@pytest.mark.parametrize("second", [f"{BOB}.rig1", f"{BOB}_{ALICE}", f"sri/solo/{BOB}/{ALICE}", CAROL])
def test_a_worker_of_another_account_is_refused_and_moves_no_credit(second):
    pair = paid_pair()
    pair.set_up(user=f"{ALICE}.rig1")
    assert authorize(pair, second) == (False, OTHER)
    (refused,) = pair.happened("miner.refused")
    assert (refused["reason"], refused["user"], refused["account"]) == ("other-account", second, ALICE)
    pair.submit(*pair.mine(), user=second)
    assert pair.settle()[-1]["error"] == [24, "Unauthorized worker", None]
    assert channel_of(pair).payee == payee_at(ALICE)
    pair.submit(*pair.mine(start=1 << 12), user=f"{ALICE}.rig1")
    pair.judge()
    assert [share.account for share in pair.unrecorded] == [ALICE]


def test_names_that_lead_to_another_account_end_no_connection_that_mines():
    pair = paid_pair()
    pair.set_up(user=ALICE)
    for number in range(3 * MAX_BAD_NAMES):
        assert authorize(pair, f"{BOB}.{number}") == (False, OTHER)
    assert pair.close is None


# --- fallback ---------------------------------------------------------------------------------------------------------

def fallback_pair() -> Pair:
    said: set[str] = set()

    def is_news(user: str, now: float) -> bool:
        return user not in said and not said.add(user)      # type: ignore[func-returns-value]

    return paid_pair(PaidNames(NETWORK, Account(CAROL, script_of(CAROL, NETWORK)), is_news=is_news))


def test_with_a_fallback_a_name_that_is_clearly_no_address_is_paid_there_and_that_is_said_once():
    pair = fallback_pair()
    pair.set_up(user="alice.rig1")
    assert authorize(pair, "alice.rig2") == authorize(pair, "bob") == authorize(pair, CAROL) == (True, None)
    assert pair.happened("payout.fallback") == [{"user": "alice", "address": CAROL}, {"user": "bob", "address": CAROL}]
    assert channel_of(pair).payee == payee_at(CAROL)
    assert authorize(pair, BOB) == (False, OTHER), "an account is no worker of the fallback"


@pytest.mark.parametrize("name", [
    f"{ALICE[:-1]}q.rig1", "bc1qe2tczyk2rw7u47kzxxee5g7ufkncdmlcpmw3pk", f"sri/donate/50/{ALICE}/rig1", ".rig1",
    "bcrt1pme7skzra3p", f"sri/solo/{ALICE[:-1]}"])
def test_with_a_fallback_who_meant_an_address_is_refused_all_the_same(name):
    assert authorize(fallback_pair(), name) == (False, NO_ADDRESS)


# --- sessions that are taken up ---------------------------------------------------------------------------------------

class Accounts(Workers):
    """Workers whose machines are paid by name. All coinbases are equal, as those of two accounts can be in pplns."""

    def __init__(self, count: int = 2) -> None:
        super().__init__(count)
        self.pools = [replace(pool, names=RULE, counters=make_counters(index, count))
                      for index, pool in enumerate(self.pools)]

    def begin(self, worker: int, session: str | None = None, user: str = ALICE, *, is_first: bool = False,
              password: str = "x") -> Pair:
        pair = self.pair(worker)
        calls = [("mining.subscribe", ["agent", session]), ("mining.authorize", [user, password])]
        for number, (method, params) in enumerate(reversed(calls) if is_first else calls):
            pair.call(method, *params, request_id=number)
        self.hear_all()
        return pair

    def left_by_alice(self, worker: int = 0, password: str = "x") -> Pair:
        """A machine of hers with an accepted share, that is gone."""
        pair = self.begin(worker, password=password)
        pair.submit(*pair.mine(start=next(self._starts) << 12), user=ALICE)
        assert pair.settle()[-1]["result"] is True
        pair.drop()
        return pair


both_orders = pytest.mark.parametrize("is_first", [True, False], ids=["authorize first", "subscribe first"])
both_workers = pytest.mark.parametrize("worker", [0, 1], ids=["at home", "at another worker"])


@both_orders
@both_workers
def test_the_same_account_goes_on_with_its_jobs_and_shares(is_first, worker):
    workers = Accounts()
    first = workers.left_by_alice()
    second = workers.begin(worker, session_of(first), f"{ALICE}.rig2", is_first=is_first)
    assert second.happened("miner.resumed") and second.subscription[1] == first.subscription[1]
    assert first.work.job_id in [f"{key:x}" for key in channel_of(second).jobs]


@both_orders
@both_workers
def test_another_account_gets_the_extranonce_and_nothing_else(is_first, worker):
    workers = Accounts()
    first = workers.left_by_alice(password="d=0.0000000005")
    old, old_fields = channel_of(workers.pairs[0]), first.mine(start=1 << 20)
    second = workers.begin(worker, session_of(first), BOB, is_first=is_first)
    channel = channel_of(second)
    assert old is None and channel.payee == payee_at(BOB)
    assert second.subscription == first.subscription and second.subscription[1] == channel.extranonce_prefix.hex()
    assert second.happened("miner.opened") and not second.happened("miner.resumed")
    (closed,) = second.happened("miner.closed")
    assert closed["user"] == ALICE
    assert channel.accepted == channel.remembered == 0 and list(channel.jobs) == [int(second.work.job_id, 16)]
    assert second.work.target != first.work.target, "nor her difficulty"
    assert second.submit(*old_fields, user=BOB)[-1]["error"] == [21, "Job not found", None]
    second.submit(*second.mine(start=1 << 20), user=BOB)
    second.judge()
    assert [share.account for share in second.unrecorded] == [BOB]


@both_orders
def test_what_the_machine_itself_said_counts_for_its_new_channel(is_first):
    workers = Accounts()
    first = workers.left_by_alice(password="d=0.0000000005")
    second = workers.begin(0, session_of(first), BOB, is_first=is_first, password="d=0.0000000007")
    fresh = workers.begin(0, None, BOB, password="d=0.0000000007")
    assert second.work.target == fresh.work.target != first.work.target


def test_resumed_work_goes_out_after_an_authorize_alone():
    workers = Accounts()
    first = workers.left_by_alice()
    fields = first.mine(start=1 << 20)
    thief = workers.pair(0)
    thief.call("mining.subscribe", "agent", session_of(first))
    assert authorize(thief, "thief") == (False, NO_ADDRESS)
    thief.deliver(thief.server.offer(workers.jobs.make(), thief.now))
    assert notifies(thief.said) == 0
    for user in ("thief", ALICE, ""):
        thief.submit(*fields, user=user)
        assert thief.settle()[-1]["error"][0] == 24, "nobody is authorized there"
    assert thief.unrecorded == []


def test_a_session_that_another_account_took_goes_back_without_its_shares():
    """There and back: whoever is next gets neither the work of the one before nor the one before that."""
    workers = Accounts()
    session = session_of(workers.left_by_alice())
    for user in (BOB, CAROL, ALICE):
        pair = workers.begin(1, session, user)
        assert pair.happened("miner.opened") and channel_of(pair).payee == payee_at(user)
        assert channel_of(pair).accepted == 0
        pair.submit(*pair.mine(start=next(workers._starts) << 12), user=user)
        assert pair.settle()[-1]["result"] is True
        pair.drop()
        workers.hear_all()


@both_orders
def test_no_header_of_one_account_is_work_of_the_next_though_their_coinbases_are_equal(is_first):
    """The session comes to a worker that has not had a job of the first worker yet, and gets that job then.

    In pplns two accounts can have one coinbase. The counter in it keeps their headers apart.
    """
    workers = Accounts()
    first = workers.begin(0)
    first.submit(*first.mine(start=next(workers._starts) << 12), user=ALICE)
    assert first.settle()[-1]["result"] is True
    later = workers.jobs.make()
    first.deliver(first.server.offer(later, first.now))
    hers = first.mine(start=1 << 20)
    first.submit(*hers, user=ALICE)
    assert first.settle()[-1]["result"] is True
    work = first.work
    first.drop()
    second = workers.begin(1, session_of(first), BOB, is_first=is_first)
    before = second.work
    second.deliver(second.server.offer(later, second.now))
    assert second.work.job_id != before.job_id
    headers = {each.header(bytes.fromhex(hers[1]), work.version, int(hers[2], 16), int(hers[3], 16))
               for each in (work, before, second.work)}
    assert len(headers) == 3, "her share is none of his"


def test_a_prefix_that_another_account_left_without_work_rests_as_long_as_her_work_is_fresh():
    workers = Accounts(1)
    first = workers.left_by_alice()
    prefix = first.subscription[1]
    second = workers.begin(0, session_of(first), BOB)
    second.drop()                                       # no share: not worth keeping
    others = {workers.begin(0).subscription[1] for _ in range(3)}
    assert prefix not in others
    workers.jobs = Jobs(nbits=HARD_NBITS)
    workers.job = workers.jobs.make(2)
    assert prefix in {workers.begin(0).subscription[1] for _ in range(3)}, "free at the next tip"


# --- found blocks -----------------------------------------------------------------------------------------------------

def block_of(pair: Pair, fields: list[str], user: str) -> BlockFound:
    """What the worker hears of a share that is a block."""
    pair.submit(*fields, user=user)
    pair.judge()
    (found,) = [event for event in pair.events if isinstance(event, BlockFound)]
    return found


def pays(found: BlockFound) -> str:
    """Whom a block pays, as its coinbase, its payee and its share say alike."""
    (_, script), (_, pool), *_ = outputs_of(found.coinbase_tx)
    assert found.payee is not None and found.share is not None
    assert (script, pool) == (script_of(found.payee.account, NETWORK), PAYOUT)
    assert found.share.account == found.payee.account
    return found.payee.account


class SoloJobs(Jobs):
    """Jobs on which every second hash is a block, that pay who finds it; 1 % is the pool's."""

    def __init__(self) -> None:
        super().__init__()
        self.factory = make_factory({ENCODING: encoder(8)}, ToFinder(PAYOUT, 100))


def solo_accounts() -> Accounts:
    workers = Accounts()
    workers.jobs = SoloJobs()
    workers.job = workers.jobs.make()
    return workers


def test_a_block_pays_the_account_of_its_connection_on_every_tip_whoever_else_was_named_there():
    workers = solo_accounts()
    alice, bob = workers.begin(0, user=f"{ALICE}.1"), workers.begin(0, user=f"{BOB}_1")
    assert authorize(alice, f"{BOB}.1") == authorize(bob, f"{ALICE}.1") == (False, OTHER)
    for tip in (1, 2, 3):
        job = workers.jobs.make(tip)
        for pair, account, user in ((alice, ALICE, f"{ALICE}.1"), (bob, BOB, f"{BOB}_1")):
            pair.deliver(pair.server.offer(job, pair.now))
            assert pays(block_of(pair, pair.mine(at_most=target_from_nbits(EASY_NBITS)), user)) == account
            pair.record()


@both_workers
@pytest.mark.parametrize("user", [f"{ALICE}.9", BOB])
def test_who_takes_up_a_session_is_paid_for_his_own_blocks(user, worker):
    workers = solo_accounts()
    first = workers.left_by_alice()
    second = workers.begin(worker, session_of(first), user)
    fields = second.mine(at_most=target_from_nbits(EASY_NBITS), start=1 << 20)
    assert pays(block_of(second, fields, user)) == user.partition(".")[0]


def test_old_work_of_a_session_pays_whom_it_always_paid():
    """The same account goes on with a job from before the drop: its coinbase is what the machine has hashed."""
    workers = solo_accounts()
    first = workers.left_by_alice()
    fields = first.mine(at_most=target_from_nbits(EASY_NBITS), start=1 << 20)
    second = workers.begin(1, session_of(first), f"{ALICE}.2")
    assert pays(block_of(second, fields, f"{ALICE}.2")) == ALICE


def test_a_session_whose_coinbase_was_not_proved_is_nobody_s_to_go_on_with():
    workers = Accounts()
    first = workers.begin(0)
    first.submit(*first.mine(start=next(workers._starts) << 12), user=ALICE)
    first.settle()
    channel_of(first).payee = None                      # as where a proof has failed
    first.drop()
    second = workers.begin(0, session_of(first), BOB)
    assert second.happened("miner.opened") and channel_of(second).payee == payee_at(BOB)
    assert first.work.job_id not in [f"{key:x}" for key in channel_of(second).jobs]
