import json
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warppool.bitcoin.hashes import double_sha256, from_display, to_display
from warppool.bitcoin.header import Header, pack_header

SHARE = json.loads((Path(__file__).parents[1] / "vectors" / "vectors.json").read_text())["share"]
u32 = st.integers(0, 2**32 - 1)
hash32 = st.binary(min_size=32, max_size=32)


def test_the_first_block_of_all():
    root = from_display("4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b")
    header = pack_header(1, bytes(32), root, 1231006505, 0x1D00FFFF, 2083236893)
    assert to_display(double_sha256(header)) == "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"


def test_worked_share():
    fields = (SHARE["version"], bytes.fromhex(SHARE["prev_hash"]), bytes.fromhex(SHARE["merkle_root_raw"]),
              SHARE["ntime"], SHARE["nbits"], SHARE["nonce"])
    assert pack_header(*fields).hex() == SHARE["header"]
    assert Header(*fields).pack().hex() == SHARE["header"]
    assert double_sha256(pack_header(*fields)).hex() == SHARE["header_hash_raw"]


@given(u32, hash32, hash32, u32, u32, u32)
def test_unpack_undoes_pack(version, prev_hash, merkle_root, ntime, nbits, nonce):
    header = Header(version, prev_hash, merkle_root, ntime, nbits, nonce)
    assert Header.unpack(header.pack()) == header
    assert len(header.pack()) == 80


@pytest.mark.parametrize("size", [0, 79, 81])
def test_a_header_has_80_bytes(size):
    with pytest.raises(ValueError, match="80 bytes"):
        Header.unpack(bytes(size))


@pytest.mark.parametrize(("prev_hash", "root"), [(31, 32), (32, 31), (33, 32), (32, 33), (31, 33), (0, 64)])
def test_a_hash_of_another_length_is_refused_and_not_padded(prev_hash, root):
    with pytest.raises(ValueError, match="32 bytes"):
        pack_header(1, bytes(prev_hash), bytes(root), 0, 0, 0)


@pytest.mark.parametrize("place", [0, 3, 4, 5])
@pytest.mark.parametrize("number", [-1, 2**32])
def test_numbers_are_u32(place, number):
    fields = [0, bytes(32), bytes(32), 0, 0, 0]
    fields[place] = number
    with pytest.raises(struct.error):
        pack_header(*fields)
