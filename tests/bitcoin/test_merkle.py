import json
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warppool.bitcoin.hashes import double_sha256, from_display
from warppool.bitcoin.merkle import fold_merkle_path, merkle_path, merkle_root

SHARE = json.loads((Path(__file__).parents[1] / "vectors" / "vectors.json").read_text())["share"]
BLOCK_100000 = [from_display(txid) for txid in (
    "8c14f0db3df150123e6f3dbbf30f8b955a8249b62ac1d1ff16284aefa3d06d87",
    "fff2525b8931402dd09222c50775608f75787bd2b87e56995a7bdd30f79702c4",
    "6359f0868171b1d194cbee1af2f16ea598ae8fad666d9b012c8ed2b79a236ec4",
    "e9a66845e05d5abc0ad04ec80f774a7e585c6e8db975962d069a522137b80c1d",
)]


def leaves(count: int) -> list[bytes]:
    return [sha256(number.to_bytes(4, "little")).digest() for number in range(count)]


def root_by_definition(hashes: list[bytes]) -> bytes:
    """The tree from the top down, unlike the module: a node hashes its halves, and a missing one repeats the other."""
    height = (len(hashes) - 1).bit_length()

    def node(level: int, index: int) -> bytes:
        if level == 0:
            return hashes[index]
        left = node(level - 1, 2 * index)
        has_right = (2 * index + 1) << level - 1 < len(hashes)
        return double_sha256(left + (node(level - 1, 2 * index + 1) if has_right else left))
    return node(height, 0)


def test_a_real_block_of_four():
    root = from_display("f3e94742aca4b5ef85488dc37c06c3282295ffec960994b2c0d5ac2a25a95766")
    assert merkle_root(BLOCK_100000) == root
    assert fold_merkle_path(BLOCK_100000[0], merkle_path(BLOCK_100000[1:])) == root


def test_worked_share():
    path = [bytes.fromhex(element) for element in SHARE["merkle_path"]]
    assert fold_merkle_path(bytes.fromhex(SHARE["coinbase_txid_raw"]), path).hex() == SHARE["merkle_root_raw"]


def test_a_lone_coinbase_is_its_own_root():
    (leaf,) = leaves(1)
    assert merkle_root([leaf]) == leaf
    assert merkle_path([]) == ()
    assert fold_merkle_path(leaf, ()) == leaf


def test_a_tree_needs_a_leaf():
    with pytest.raises(ValueError, match="at least one leaf"):
        merkle_root([])


@pytest.mark.parametrize("count", [*range(1, 70), 255, 256, 257, 1025])
def test_path_root_and_definition_agree_for_every_shape_of_tree(count):
    coinbase, *others = leaves(count)
    path = merkle_path(others)
    assert len(path) == (count - 1).bit_length()
    assert fold_merkle_path(coinbase, path) == merkle_root([coinbase, *others]) == root_by_definition(leaves(count))


@given(st.integers(1, 400), st.binary(min_size=32, max_size=32))
def test_the_path_is_the_same_for_every_coinbase(count, coinbase):
    others = leaves(count)[1:]
    assert fold_merkle_path(coinbase, merkle_path(others)) == merkle_root([coinbase, *others])


def test_the_order_and_every_leaf_count():
    hashes = leaves(7)
    root = merkle_root(hashes)
    for index in range(7):
        changed = [*hashes]
        changed[index] = bytes(32)
        assert merkle_root(changed) != root
    assert merkle_root(hashes[::-1]) != root


def test_the_input_is_left_as_it_was():
    hashes = leaves(5)
    merkle_root(hashes)
    merkle_path(hashes)
    assert hashes == leaves(5)
