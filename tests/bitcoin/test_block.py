import pytest

from warppool.bitcoin.block import assemble_block, block_hash, block_subsidy
from warppool.bitcoin.hashes import from_display

GENESIS = bytes.fromhex(
    "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3"
    "888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c"
)


def test_the_hash_of_the_first_block():
    assert block_hash(GENESIS) == from_display("000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f")


@pytest.mark.parametrize("size", [0, 79, 81])
def test_a_header_has_80_bytes(size):
    with pytest.raises(ValueError, match="80 bytes"):
        block_hash(bytes(size))
    with pytest.raises(ValueError, match="80 bytes"):
        assemble_block(bytes(size), b"c", [])


@pytest.mark.parametrize(("others", "count"), [(0, "01"), (1, "02"), (0xFB, "fc"), (0xFC, "fdfd00"), (2047, "fd0008")])
def test_the_count_includes_the_coinbase(others, count):
    block = assemble_block(GENESIS, b"coin", [b"tx"] * others)
    assert block == GENESIS + bytes.fromhex(count) + b"coin" + b"tx" * others


def test_transactions_keep_their_order():
    assert assemble_block(GENESIS, b"c", (b"1", b"2", b"3"))[-4:] == b"c123"


@pytest.mark.parametrize(("height", "network", "sat"), [
    (0, "main", 5_000_000_000),
    (209_999, "main", 5_000_000_000),
    (210_000, "main", 2_500_000_000),
    (840_000, "main", 312_500_000),
    (840_000, "testnet4", 312_500_000),
    (840_000, "signet", 312_500_000),
    (6_929_999, "main", 1),
    (6_930_000, "main", 0),
    (2**31 - 1, "regtest", 0),
    (149, "regtest", 5_000_000_000),
    (150, "regtest", 2_500_000_000),
    (300, "regtest", 1_250_000_000),
])
def test_subsidies(height, network, sat):
    assert block_subsidy(height, network) == sat


def test_all_coins_there_will_be():
    assert sum(block_subsidy(era * 210_000, "main") for era in range(40)) * 210_000 == 2_099_999_997_690_000


def test_a_subsidy_needs_a_network_and_a_height():
    with pytest.raises(ValueError, match="unknown network 'test'"):
        block_subsidy(1, "test")
    with pytest.raises(ValueError, match="not a block height"):
        block_subsidy(-1, "main")
