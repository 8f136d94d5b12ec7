"""Templates from getblocktemplate: one good answer, and every way in which it can be wrong."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.node.stub import HARD_NBITS, StubNode, display, dsha, make_transaction, merkle_root, target_of
from warppool.errors import NodeError
from warppool.mining.reserve import LARGEST_PLAN, CoinbasePlan
from warppool.node.gbt import MAX_BLOCK_WEIGHT, Reading, check_challenge, read_template, segwit_of_chain

PREV = dsha(b"the block before")


def answer_of(count: int = 3, **changes: Any) -> dict[str, Any]:
    """A good answer with `count` transactions, the last one legacy, and `changes` on top."""
    stub = StubNode(nbits=HARD_NBITS, network="main")
    stub.chain = [PREV]
    stub.transactions = [make_transaction(n, has_witness=n < count - 1) for n in range(count)]
    return stub.template() | {
        "height": 800_001, "coinbasevalue": 625_000_000 + 1000 * count, "curtime": 1_700_000_600} | changes


def read(answer: Any, previous: Reading | None = None, network: str = "main", has_segwit: bool | None = None,
         plan: CoinbasePlan = LARGEST_PLAN) -> Reading:
    return read_template(answer, network=network, source="node-0", template_id=9, has_segwit=has_segwit,
                         previous=previous, plan=plan)


def test_a_good_answer():
    answer = answer_of()
    template = read(answer).template
    assert template.template_id == 9
    assert template.source == "node-0"
    assert template.version == 0x20000000
    assert template.tip.prev_hash == PREV
    assert template.tip.nbits == HARD_NBITS
    assert template.tip.target == target_of(HARD_NBITS)
    assert template.tip.min_ntime == 1_700_000_600
    assert template.tip.height == 800_001
    assert template.coinbase_prefix == b"\x03" + (800_001).to_bytes(3, "little")
    assert (template.coinbase_tx_locktime, template.coinbase_tx_input_sequence) == (800_000, 0xFFFFFFFE)    # BIP54
    assert template.coinbase_tx_value_remaining == answer["coinbasevalue"] == 625_000_000 + 3000
    assert template.coinbase_tx_outputs_count == 1
    assert template.coinbase_tx_outputs == bytes(8) + b"\x26" + bytes.fromhex(answer["default_witness_commitment"])
    assert template.has_witness
    assert template.transactions == tuple(bytes.fromhex(entry["data"]) for entry in answer["transactions"])


@pytest.mark.parametrize("count", [0, 1, 2, 5, 8])
def test_the_merkle_path_leads_from_any_coinbase_to_the_root(count):
    answer = answer_of(count)
    coinbase = dsha(b"coinbase")
    root = coinbase
    for neighbour in read(answer).template.merkle_path:
        root = dsha(root + neighbour)
    assert root == merkle_root([coinbase] + [bytes.fromhex(entry["txid"])[::-1] for entry in answer["transactions"]])


@pytest.mark.parametrize(("changes", "words"), [
    ({"rules": ["csv", "!segwit", "!covenants"]}, "'covenants': update warppool"),
    ({"rules": ["segwit", "!signet"]}, "'signet'"),
    ({"rules": None}, "rules is not a list"),
    ({"rules": [1]}, "rules is not a list"),
    ({"previousblockhash": "00"}, "previousblockhash: 00 is not 64 hex digits"),
    ({"previousblockhash": None}, "previousblockhash"),
    ({"previousblockhash": "é" * 64}, "previousblockhash"),
    ({"bits": "1715a35"}, "bits: 1715a35 is not 8 hex digits"),
    ({"bits": "zz15a35c"}, "bits: zz15a35c is not 8 hex digits"),
    ({"bits": 1}, "bits: 1 is not"),
    ({"bits": "1d80ffff"}, "bits: .* negative"),
    ({"bits": "ff15a35c"}, "bits: .* above 256 bits"),
    ({"bits": "17000000", "target": "00" * 32}, "bits: no hash can meet 17000000"),
    ({"bits": f"{HARD_NBITS + 1:08x}"}, "target: it is not the target of bits"),
    ({"target": "ff" * 32}, "target: it is not the target of bits"),
    ({"target": "xx"}, "target: xx is not 64 hex digits"),
    ({"height": 0}, "height: 0 is not"),
    ({"height": 2**31}, "height"),
    ({"height": "800001"}, "height"),
    ({"height": True}, "height: True is not a whole number"),
    ({"curtime": -1}, "curtime"),
    ({"curtime": 2**32}, "curtime"),
    ({"curtime": 1.5}, "curtime"),
    ({"mintime": None}, "mintime"),
    ({"version": 3}, "version: 3; nodes refuse blocks below 4"),
    ({"version": -1}, "version: -1; nodes refuse"),
    ({"version": 2**31}, "version: 2147483648 is not"),
    ({"vbrequired": 1}, "vbrequired: 00000001"),
    ({"vbrequired": 0x20002000, "version": 0x20002000}, "vbrequired: 20002000"),
    ({"vbrequired": 0x20, "version": 0x20000020}, "vbrequired: 00000020 .* machines roll"),
    ({"vbrequired": 0x1000, "version": 0x20001000}, "vbrequired: 00001000"),        # the last below BIP320's
    ({"coinbasevalue": 625_003_001}, "coinbasevalue: 625003001 sat, but .* are 625003000"),
    ({"coinbasevalue": -1}, "coinbasevalue"),
    ({"coinbasevalue": None}, "coinbasevalue"),
    ({"transactions": None}, "transactions is not a list"),
    ({"transactions": ["00"]}, "transactions is not a list"),
    ({"default_witness_commitment": "6a24aa21a9ed" + "00" * 32}, "does not commit to the transactions"),
    ({"default_witness_commitment": 5}, "does not commit to the transactions"),
    ({"sizelimit": 500}, "sizelimit: .* of 500, .* let the node leave room"),
    ({"weightlimit": 2000}, "weightlimit: .* of 2000, .* let the node leave room"),
    ({"sigoplimit": 6}, "sigoplimit: its transactions take 3 of 6, and header and coinbase need 4"),
    ({"sigoplimit": "80000"}, "sigoplimit"),
])
def test_what_is_wrong_is_named(changes, words):
    with pytest.raises(NodeError, match=f"getblocktemplate: .*{words}"):
        read(answer_of(**changes))


@pytest.mark.parametrize("answer", [None, [], "template", 7])
def test_an_answer_that_is_no_object(answer):
    with pytest.raises(NodeError, match="no JSON object"):
        read(answer)


@pytest.mark.parametrize("name", [
    "rules", "previousblockhash", "bits", "height", "curtime", "version", "coinbasevalue", "transactions",
])
def test_what_must_be_there(name):
    answer = answer_of()
    del answer[name]
    with pytest.raises(NodeError, match=name):
        read(answer)


@pytest.mark.parametrize("name", [
    "target", "mintime", "sizelimit", "weightlimit", "sigoplimit", "vbrequired", "default_witness_commitment",
    "coinbaseaux", "longpollid", "noncerange", "mutable",
])
def test_what_may_be_absent_changes_nothing(name):
    answer = answer_of()
    del answer[name]
    assert read(answer) == read(answer_of())


@pytest.mark.parametrize(("entry", "words"), [
    ({"data": None}, r"transactions\[1\].data is no transaction"),
    ({"data": "zz"}, r"transactions\[1\].data is no transaction"),
    ({"data": "00" * 60}, r"transactions\[1\].data is no transaction"),
    ({"data": make_transaction(77)["data"]}, r"transactions\[1\].hash is not that of its data"),
    ({"data": make_transaction(1)["data"] + "00"}, r"transactions\[1\].data is no transaction: 1 bytes follow"),
    ({"hash": "00" * 32}, r"transactions\[1\].hash is not"),
    ({"hash": None}, r"transactions\[1\].hash is not"),
    ({"hash": make_transaction(1)["hash"].upper()}, r"transactions\[1\].hash is not"),
    ({"txid": make_transaction(1)["hash"]}, r"transactions\[1\].txid is not"),
    ({"txid": None}, r"transactions\[1\].txid is not"),
    ({"depends": [2]}, r"transactions\[1\].depends: 2 does not stand before it"),
    ({"depends": [0]}, r"transactions\[1\].depends: 0 does not stand before it"),
    ({"depends": ["1"]}, "depends is not a list of int"),
    ({"sigops": -1}, "sigops is not a number"),
    ({"sigops": None}, "sigops is not a number"),
    (make_transaction(0), r"transactions\[1\] stands in the list twice"),
])
def test_a_wrong_transaction_is_named(entry, words):
    answer = answer_of()
    answer["transactions"][1] = answer["transactions"][1] | entry
    with pytest.raises(NodeError, match=words):
        read(answer)


def test_a_parent_before_its_child_is_in_order():
    answer = answer_of()
    answer["transactions"][2]["depends"] = [1, 2]
    assert read(answer).template.transactions


def test_two_transactions_that_change_places_break_the_commitment():
    answer = answer_of()
    answer["transactions"][:2] = answer["transactions"][1::-1]
    with pytest.raises(NodeError, match="default_witness_commitment"):
        read(answer)


# A coinbase with the longest tag and extranonce for P2WPKH: 4 version, 1 + 36 + 1 input, 96 scriptSig (4 height, 51
# tag, 41 push of start id, counter and extranonce), 4 sequence, 1 count, 31 + 47 outputs, 4 lock time. Marker, flag and
# witness are 36 bytes more.
PLAN = CoinbasePlan(b"\x00\x14" + bytes(20), b"t" * 50)
COINBASE = 4 + 38 + 96 + 4 + 1 + 31 + 47 + 4
HEAD = 81                   # header and transaction count
P2PKH = b"\x76\xa9\x14" + bytes(20) + b"\x88\xac"


def test_the_limits_count_our_largest_coinbase_once_and_nothing_else():
    needs = 4 * HEAD + 4 * COINBASE + 36
    assert needs < 2000                                     # the least that nodes leave for header and coinbase
    assert read(answer_of(0, weightlimit=needs), plan=PLAN)
    with pytest.raises(NodeError, match=f"weightlimit: .* take 0 of {needs - 1}, .* need {needs}: .*2000"):
        read(answer_of(0, weightlimit=needs - 1), plan=PLAN)
    size = HEAD + COINBASE + 36
    assert read(answer_of(0, sizelimit=size), plan=PLAN)
    with pytest.raises(NodeError, match=f"sizelimit: .* 0 of {size - 1}, .* need {size}"):
        read(answer_of(0, sizelimit=size - 1), plan=PLAN)
    assert read(answer_of(0, weightlimit=needs - 4 * 51), plan=replace(PLAN, tag=b""))     # by the real tag


def test_our_sigops_are_those_of_the_script_that_is_paid():
    assert read(answer_of(3, sigoplimit=3), plan=PLAN)                          # the three transactions' own
    paid = replace(PLAN, payout_script=P2PKH)
    assert read(answer_of(3, sigoplimit=7), plan=paid)
    with pytest.raises(NodeError, match=r"sigoplimit: its transactions take 3 of 6, .* need 4"):
        read(answer_of(3, sigoplimit=6), plan=paid)


def test_before_segwit_sigops_and_sizes_count_in_units_of_their_own():
    answer = answer_of(0, rules=["csv"], sigoplimit=1, sizelimit=HEAD + COINBASE - 47 + 3)     # P2PKH is 3 bytes longer
    assert read(answer, plan=replace(PLAN, payout_script=P2PKH))
    with pytest.raises(NodeError, match="sigoplimit"):
        read(answer | {"sigoplimit": 0}, plan=replace(PLAN, payout_script=P2PKH))


@pytest.mark.parametrize("room", [2000, 4000])
def test_a_block_filled_up_to_the_nodes_reserve_is_mined(room):
    """A node with a full mempool and the smallest reserve, 2,000 with header and coinbase."""
    answer = answer_of(0, coinbasevalue=0)
    bare = make_transaction(1, filler=100_000, has_witness=False)["weight"] - 4 * 100_000
    big = make_transaction(1, filler=(MAX_BLOCK_WEIGHT - room - bare) // 4, has_witness=False)
    assert big["weight"] == MAX_BLOCK_WEIGHT - room
    answer["transactions"] = [big]
    del answer["default_witness_commitment"]
    assert read(answer, plan=PLAN)
    assert read(answer)


def test_the_nodes_limits_do_not_lift_consensus():
    answer = answer_of(0, weightlimit=2**32 - 1, sizelimit=2**32 - 1)
    answer["transactions"] = [make_transaction(n, filler=333_400, has_witness=False) for n in range(3)]
    del answer["default_witness_commitment"]
    answer["coinbasevalue"] = 0
    with pytest.raises(NodeError, match=r"weightlimit: .* of 4000000"):
        read(answer)


def test_fees_that_the_node_keeps_to_itself():
    answer = answer_of(coinbasevalue=700_000_000)
    with pytest.raises(NodeError, match="coinbasevalue"):
        read(answer)
    del answer["transactions"][0]["fee"]
    assert read(answer).template.coinbase_tx_value_remaining == 700_000_000


def test_the_subsidy_is_that_of_the_network():
    answer = answer_of(0, height=300, coinbasevalue=1_250_000_000)
    assert read(answer, network="regtest")                  # two halvings of 150 blocks
    with pytest.raises(NodeError, match="coinbasevalue"):
        read(answer | {"coinbasevalue": 1_250_000_001}, network="regtest")
    assert read(answer | {"coinbasevalue": 5_000_000_000})


def test_the_first_header_time_is_the_nodes_time_and_never_below_its_mintime():
    assert read(answer_of(curtime=1_800_000_000, mintime=1_800_000_000)).template.tip.min_ntime == 1_800_000_000
    with pytest.raises(NodeError, match=r"below mintime.*set the clock"):
        read(answer_of(curtime=1_799_999_999, mintime=1_800_000_000))


def test_required_bits_that_no_machine_rolls_are_kept():
    assert read(answer_of(vbrequired=0x40000011, version=0x60000011)).template.version == 0x60000011


def test_rolled_version_bits_are_left_to_the_job():
    assert read(answer_of(version=0x3FFFE004)).template.version == 0x3FFFE004


def test_before_segwit_no_commitment_and_no_witness():
    answer = answer_of(rules=["csv"])           # the node gives default_witness_commitment all the same
    with pytest.raises(NodeError, match="one has a witness, but segwit is not among the rules"):
        read(answer)
    answer["transactions"] = answer["transactions"][2:]
    answer["coinbasevalue"] = 625_001_000
    template = read(answer).template
    assert not template.has_witness
    assert (template.coinbase_tx_outputs, template.coinbase_tx_outputs_count) == (b"", 0)


BTCD_SAYS = {"bip9_softforks": {"csv": {"status": "active"}, "segwit": {"status": "active", "bit": 1}}}


@pytest.mark.parametrize(("info", "is_active"), [
    (BTCD_SAYS, True),
    ({"bip9_softforks": {"segwit": {"status": "defined"}}}, False),
    ({"softforks": {"segwit": {"type": "buried", "active": True, "height": 0}}}, True),      # Core 0.19 to 22
    ({"softforks": {"segwit": {"type": "buried", "active": False}}}, False),
    ({"softforks": [{"id": "bip34"}], "bip9_softforks": {"segwit": {"status": "active"}}}, True),    # Core before
    ({"softforks": {"segwit": "active"}}, None),
    ({"softforks": []}, None),
    ({}, None),
])
def test_the_chain_says_whether_segwit_is_active(info, is_active):
    assert segwit_of_chain(info) is is_active


def test_a_template_without_rules_is_read_by_what_the_chain_says():
    """btcd lists no rules, and gives no commitment where no transaction has a witness."""
    answer = answer_of()
    del answer["rules"]
    answer["transactions"] = answer["transactions"][2:]
    answer["coinbasevalue"] = 625_001_000
    del answer["default_witness_commitment"]
    assert read(answer, has_segwit=True).template.has_witness
    assert not read(answer, has_segwit=False).template.has_witness
    with pytest.raises(NodeError, match="rules is not a list"):
        read(answer)
    with pytest.raises(NodeError, match="rules is not a list"):         # null is not absent
        read(answer | {"rules": None}, has_segwit=True)
    assert not read(answer | {"rules": ["csv"]}, has_segwit=True).template.has_witness


def test_the_commitment_alone_is_taken_too():
    """btcd gives the 32 bytes without the script around them."""
    answer = answer_of()
    script = answer["default_witness_commitment"]
    assert read(answer_of(default_witness_commitment=script[12:])) == read(answer)
    with pytest.raises(NodeError, match="does not commit"):
        read(answer_of(default_witness_commitment=script[14:]))


@pytest.mark.parametrize("rule", ["segwit", "!segwit"])
def test_segwit_is_active_with_and_without_the_mark(rule):
    assert read(answer_of(rules=[rule])).template.has_witness


def test_a_signet_that_anyone_may_mine():
    rules = ["!segwit", "taproot", "!signet"]
    assert read(answer_of(rules=rules, signet_challenge="51"), network="signet")
    for challenge in ("5121" + "02" * 33 + "51ae", None):
        with pytest.raises(NodeError, match="the blocks of this signet need a signature"):
            read(answer_of(rules=rules, signet_challenge=challenge), network="signet")


def test_what_the_node_says_of_its_chain_refuses_a_signed_signet_at_once():
    signed = {"chain": "signet", "signet_challenge": "5121" + "02" * 33 + "51ae"}
    with pytest.raises(NodeError, match=r"need a signature.*'5121"):
        check_challenge(signed, "signet")
    check_challenge(signed | {"signet_challenge": "51"}, "signet")
    check_challenge({"chain": "signet"}, "signet")                  # Core up to 27: the template tells it
    check_challenge(signed, "main")


def test_the_height_does_not_change_on_one_parent():
    before = read(answer_of())
    with pytest.raises(NodeError, match="height: 800002, but 800001"):
        read(answer_of(height=800_002), before)
    assert read(answer_of(height=800_002, previousblockhash=display(dsha(b"new"))), before)


def test_a_transaction_is_read_once_and_its_bytes_are_shared():
    before = read(answer_of())
    answer = answer_of()
    for entry in answer["transactions"][:2]:
        entry["data"] = "not even looked at"
    answer["transactions"] = [answer["transactions"][1], make_transaction(50), answer["transactions"][0]]
    del answer["default_witness_commitment"]
    after = read(answer, before)
    assert after.template.transactions[0] is before.template.transactions[1]
    assert after.template.transactions[2] is before.template.transactions[0]
    assert set(after.transactions) == {entry["hash"] for entry in answer["transactions"]}       # and no more than these
    answer["transactions"][0]["txid"] = "00" * 32
    with pytest.raises(NodeError, match="txid"):
        read(answer, before)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=70),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.data())
def test_any_value_anywhere_is_refused_or_read_and_nothing_else(data):
    answer = copy.deepcopy(GOOD)
    place = data.draw(st.sampled_from([answer, answer["transactions"][0], answer["transactions"][2]]))
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(JSON)
    try:
        reading = read(answer)
    except NodeError:
        return
    assert isinstance(reading, Reading)


GOOD = answer_of()
