"""What auditors found in another implementation of Template Distribution, asked of ours, as in `test_audit.py`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.mining.makers import make_template, make_tip
from tests.sv2 import templates
from tests.sv2.templatepairs import SETUP, SMALL, Client, Jobs, coinbase_of, easy_template, make_serving, served, solve
from warppool.bitcoin.coinbase import commitment_output, strip_witness, witness_commitment
from warppool.bitcoin.transaction import outputs_of, serialize_output, whole_transaction
from warppool.errors import RemoteProtocolError
from warppool.mining.reserve import LARGEST_PLAN, CoinbasePlan
from warppool.sv2.messages.common import SetupConnectionSuccess
from warppool.sv2.messages.template import CoinbaseOutputConstraints
from warppool.sv2.profile import SPEC, WARP
from warppool.sv2.templateclient import TemplateClientSession


@pytest.fixture(params=[WARP, SPEC], ids=lambda profile: profile.name)
def profile(request):
    return request.param


# --- the provider -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("size", [0x40000000, 0x40000001, 0x7FFFFFFF, 2**32 - 1])
def test_constraints_beyond_any_block_are_refused_and_never_wrap(profile, size):
    """sv2-apps 676: four times the size does not fit 32 bits, where it became little or nothing."""
    client = Client(profile, make_serving())
    client.offer(Jobs()())
    assert client.say(SETUP, CoinbaseOutputConstraints(size, 0))[1:] == []
    assert client.close is not None and "kWU" in client.close.reason


def spoil(coinbase, *, how):
    """A coinbase in segwit form, with one thing wrong."""
    stripped = strip_witness(coinbase)
    witness = b"\x01\x20" + bytes(32)
    one_more_input = stripped[5:5 + 36 + 1 + stripped[41] + 4]
    return {
        "two inputs": stripped[:4] + b"\x00\x01\x02" + stripped[5:5 + len(one_more_input)] + one_more_input
        + stripped[5 + len(one_more_input):-4] + witness * 2 + stripped[-4:],
        "another flag": coinbase[:5] + b"\x02" + coinbase[6:],
        "two items of witness": coinbase[:-38] + b"\x02\x20" + bytes(32) + b"\x00" + coinbase[-4:],
        "a shorter item": coinbase[:-38] + b"\x01\x1f" + bytes(31) + coinbase[-4:],
        "another reserved value": coinbase[:-5] + b"\x01" + coinbase[-4:],
        "bytes behind it": coinbase + b"\x00",
        "an input that spends": coinbase[:7] + b"\x01" + coinbase[8:],
    }[how]


@pytest.mark.parametrize("how", ["two inputs", "another flag", "two items of witness", "a shorter item",
                                 "another reserved value", "bytes behind it", "an input that spends"])
def test_a_solution_whose_coinbase_is_none_is_refused(profile, how):
    """2331, 2397, 2300, sv2-apps 791: framing of the witness, count of inputs, every byte accounted for."""
    client, new, prev = served(profile, Jobs()(easy_template()))
    good = coinbase_of(new)
    assert whole_transaction(good).size == len(good)
    for start in range(0, 40, 4):           # some of these have a good hash, whatever is hashed of them
        solution = solve(new, prev, good, start=start)
        client.say(replace(solution, coinbase_tx=spoil(good, how=how)))
    assert client.blocks == [] and client.happened("solution.refused")


@pytest.mark.parametrize("values", [(2**63, 2**63), (2**64 - 1, 2), (312_500_000, 1)])
def test_values_are_summed_without_a_wrap(profile, values):
    """sv2-apps 791: what two outputs claim is more than the template has, though its sum in 64 bits may not be."""
    client, new, prev = served(profile, Jobs()(easy_template()))
    marks = (1_111_111, 2_222_222)
    extra = serialize_output(marks[1], b"\x51") + new.coinbase_tx_outputs
    coinbase = coinbase_of(new, value=marks[0], outputs=extra, count=new.coinbase_tx_outputs_count + 1)
    for mark, value in zip(marks, values, strict=True):
        coinbase = coinbase.replace(mark.to_bytes(8, "little"), value.to_bytes(8, "little"))
    client.say(solve(new, prev, coinbase))
    (refused,) = client.happened("solution.refused")
    assert client.blocks == [] and "sat" in str(refused["reason"])


# --- the pool ---------------------------------------------------------------------------------------------------------

def session():
    given = TemplateClientSession(CoinbaseOutputConstraints(31, 0), network="regtest", source="node-0")
    given.receive(SetupConnectionSuccess(2, 0), templates.UNIX)
    return given


def test_a_tip_activates_the_template_that_it_names_and_not_the_last_one():
    """sv2-apps 754."""
    given = session()
    for template_id in (1, 2, 3):
        assert given.receive(templates.new_template(template_id), templates.UNIX) == []
    (event,) = given.receive(templates.new_tip(2), templates.UNIX)
    assert event.template.template_id == 2
    with pytest.raises(RemoteProtocolError):            # the others were of the tip that never came
        given.receive(templates.new_tip(3, b"\x06" * 32), templates.UNIX)


def test_an_id_that_comes_twice_is_refused():
    """2265."""
    given = session()
    given.receive(templates.new_template(5), templates.UNIX)
    with pytest.raises(RemoteProtocolError, match="template_id"):
        given.receive(templates.new_template(5), templates.UNIX)


def test_what_is_left_to_the_pool_is_claimed_whole_by_every_job():
    """sv2-apps 810: of a future template that its tip activates, and of one that is work at once."""
    given = session()
    given.receive(templates.new_template(1), templates.UNIX)
    activated = given.receive(templates.new_tip(1), templates.UNIX)[0].template
    value = activated.coinbase_tx_value_remaining + 7
    better = templates.new_template(2, future=False, coinbase_tx_value_remaining=value)
    at_once = given.receive(better, templates.UNIX)[0].template
    for template in (activated, at_once):
        job = Jobs()(template)
        values = [value for value, _ in outputs_of(b"".join(job.coinbase_halves(0)))]
        assert sum(values) == template.coinbase_tx_value_remaining == values[0] > 0


@pytest.mark.parametrize("plan", [LARGEST_PLAN, CoinbasePlan(b"\x00\x14" + bytes(20), b"/warppool/")])
@pytest.mark.parametrize("outputs", [0, 1, 251, 252, 253])
def test_no_coinbase_grows_beyond_what_was_reserved_where_the_count_of_outputs_takes_more_bytes(plan, outputs):
    """sv2-apps 782, 790: the largest coinbase is measured with the template's own outputs, their count included."""
    own = commitment_output(witness_commitment([])) * outputs
    template = replace(make_template(make_tip()), coinbase_tx_outputs=own, coinbase_tx_outputs_count=outputs)
    needs = plan.largest(template)
    job = Jobs()(template)
    prefix, suffix = job.coinbase_halves(32)
    assert len(outputs_of(prefix + bytes(32) + suffix)) == outputs + 1
    assert len(prefix) + 32 + len(suffix) <= needs.size + 2 * len(plan.tag)
    assert needs.weight >= 4 * (len(own) + 100)
    assert SMALL.coinbase_output_max_additional_size == len(serialize_output(0, b"\x00\x14" + bytes(20)))
