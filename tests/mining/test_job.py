import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.mining.makers import PAYOUT, SHUFFLE, make_factory, make_template, make_tip
from warppool.bitcoin.coinbase import MAX_SCRIPT_SIG, height_push
from warppool.bitcoin.hashes import double_sha256
from warppool.bitcoin.merkle import fold_merkle_path
from warppool.bitcoin.transaction import parse_outputs, serialize_output, whole_transaction
from warppool.mining.assignment import Assignment
from warppool.mining.channeljob import ChannelJob
from warppool.mining.counter import ASSIGNED_AGAIN
from warppool.mining.job import MAX_TAG_SIZE, JobFactory
from warppool.mining.payrule import ToPool
from warppool.mining.template import Template, Tip

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "vectors.json").read_text())


def test_job_ids_are_unique_and_count_up(factory, template):
    ids = [factory.make(template, now=1_700_000_000.0).job_id for _ in range(5)]
    assert ids == [1, 2, 3, 4, 5]


def test_job_ids_begin_anew_below_the_bit_of_what_is_given_again(factory, template):
    factory._next_id = 2**31 - 1
    jobs = [factory.make(template, now=0.0) for _ in range(3)]
    assert [job.job_id for job in jobs] == [2**31 - 1, 1, 2]
    assert [job.counter for job in jobs] == [SHUFFLE(2**31 - 1), SHUFFLE(1), SHUFFLE(2)]
    assert all(job.counter < ASSIGNED_AGAIN for job in jobs)


def test_versions_go_out_with_zeros_under_all_that_any_machine_rolls(factory):
    job = factory.make(make_template(version=0x3FFFFFFF), now=1_700_000_000.0)
    assert job.version == 0x3FFFFFFF & ~0x1FFFFFE0          # BIP320's bits and BIP323's


def test_header_time_is_now_but_never_before_the_tips_first(factory):
    template = make_template(make_tip(min_ntime=1_700_000_500))
    assert factory.make(template, now=1_700_000_900.7).ntime == 1_700_000_900
    assert factory.make(template, now=1_600_000_000.0).ntime == 1_700_000_500


def test_jobs_of_one_tip_share_one_tip_object(factory):
    first = factory.make(make_template(make_tip(min_ntime=5)), now=10.0)
    second = factory.make(make_template(make_tip(min_ntime=9), template_id=2), now=10.0)
    assert second.tip is first.tip
    third = factory.make(make_template(make_tip(number=2)), now=10.0)
    assert third.tip is not first.tip


def test_a_change_of_nbits_on_one_parent_is_a_new_tip():
    assert make_tip(nbits=0x207FFFFF) != make_tip(nbits=0x1D00FFFF)


@pytest.mark.parametrize("size", [4, 5, 12, 32])
def test_coinbase_is_a_transaction_that_pays_us_and_names_the_height(factory, template, size):
    job = factory.make(template, now=1_700_000_000.0)
    prefix, suffix = job.coinbase_halves(size)
    extranonce = bytes(range(size))
    transaction = whole_transaction(prefix + extranonce + suffix)
    assert transaction.txid == double_sha256(prefix + extranonce + suffix)
    script_length = prefix[41]
    script = (prefix + extranonce + suffix)[42:42 + script_length]
    counter = job.counter.to_bytes(4, "big")
    assert script == (height_push(840_000) + b"\x0a/warppool/" + bytes([8 + size]) + b"\xaa\xbb\xcc\xdd" + counter
                      + extranonce)
    outputs = suffix[4 + 1:-4]
    assert parse_outputs(outputs, 2)[0] == (312_500_000, PAYOUT)
    assert outputs.endswith(template.coinbase_tx_outputs)


def test_longest_tag_and_extranonce_fill_the_script_to_its_bound():
    factory = JobFactory(payer=ToPool(PAYOUT), tag=b"t" * MAX_TAG_SIZE, start_id=bytes(4), shuffle=SHUFFLE, encoders={})
    tip = make_tip()
    template = make_template(tip)
    wide = Template(**{**{name: getattr(template, name) for name in Template.__slots__},
                       "coinbase_prefix": b"\x07" + bytes(7)})
    prefix, _suffix = factory.make(wide, now=0.0).coinbase_halves(32)
    assert prefix[41] == MAX_SCRIPT_SIG


def test_a_tag_over_its_bound_is_refused():
    with pytest.raises(ValueError, match="51 bytes"):
        JobFactory(payer=ToPool(PAYOUT), tag=b"t" * (MAX_TAG_SIZE + 1), start_id=bytes(4), shuffle=SHUFFLE, encoders={})


def test_encodings_are_made_once_for_each_job(template):
    calls = []
    factory = make_factory({"wire": lambda job: calls.append(job.job_id) or f"job {job.job_id}"})
    job = factory.make(template, now=0.0)
    assert dict(job.encodings) == {"wire": "job 1"}
    assert calls == [1]
    with pytest.raises(TypeError):
        job.encodings["other"] = 1


def test_worked_share_of_the_vectors_holds_to_the_byte():
    """The halves are given there, so a job is made that returns them; everything after is ours."""
    v = VECTORS["share"]
    tip = Tip(bytes.fromhex(v["prev_hash"]), v["nbits"], 1, v["ntime"], v["height"])
    template = make_template(tip, path=tuple(bytes.fromhex(h) for h in v["merkle_path"]), version=v["job_version"])
    job = make_factory().make(template, now=float(v["ntime"]))
    halves = (bytes.fromhex(v["coinbase_tx_prefix"]), bytes.fromhex(v["coinbase_tx_suffix"]))
    given = type(job)(**{**{name: getattr(job, name) for name in type(job).__slots__}, "halves": {8: halves}})
    assignment = Assignment(1, given.counter, 1, v["ntime"], 1)
    channel_job = ChannelJob(given, assignment, bytes.fromhex(v["extranonce_prefix"]), 1.0, is_standard=False)
    extranonce = bytes.fromhex(v["extranonce"])
    assert channel_job.coinbase(extranonce).hex() == v["coinbase_stripped"]
    assert channel_job.coinbase_tx(extranonce).hex() == v["coinbase_segwit"]
    txid = double_sha256(channel_job.coinbase(extranonce))
    assert txid.hex() == v["coinbase_txid_raw"]
    assert fold_merkle_path(txid, job.merkle_path).hex() == v["merkle_root_raw"]
    version = (v["job_version"] & ~v["version_mask"]) | (v["version_bits"] & v["version_mask"])
    assert version == v["version"]
    header = channel_job.header(extranonce, version, v["ntime"], v["nonce"])
    assert header.hex() == v["header"]
    assert double_sha256(header).hex() == v["header_hash_raw"]


def test_a_template_has_witnesses_only_by_an_output_that_is_a_commitment():
    template = make_template()
    assert template.has_witness
    look_alike = serialize_output(0, b"\x04\x00" + template.coinbase_tx_outputs)
    assert not replace(template, coinbase_tx_outputs=look_alike).has_witness


def test_halves_are_made_once_for_the_sizes_that_channels_have(template):
    factory = JobFactory(payer=ToPool(PAYOUT), tag=b"", start_id=bytes(4), shuffle=SHUFFLE, encoders={},
                         extranonce_sizes=(8, 4, 8))
    job = factory.make(template, now=1.0)
    assert sorted(job.halves) == [4, 8]
    assert job.coinbase_halves(8) is job.coinbase_halves(8)
    assert job.coinbase_halves(12) is not job.coinbase_halves(12)


def test_another_tag_stands_in_later_jobs_alone():
    factory = JobFactory(payer=ToPool(PAYOUT), tag=b"/old/", start_id=bytes(4), shuffle=SHUFFLE, encoders={})
    before = factory.make(make_template(make_tip()), 0)
    factory.set_tag(b"/new/")
    after = factory.make(make_template(make_tip()), 0)
    assert b"/old/" in before.coinbase_halves(12)[0] and b"/new/" in after.coinbase_halves(12)[0]
    with pytest.raises(ValueError, match="tag of 51 bytes"):
        factory.set_tag(b"t" * (MAX_TAG_SIZE + 1))
    assert b"/new/" in factory.make(make_template(make_tip()), 0).coinbase_halves(12)[0]
