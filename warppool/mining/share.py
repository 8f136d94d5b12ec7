"""What is asked of a share: its weight, which any thread may find, and the words for a refusal."""

from __future__ import annotations

from enum import Enum
from hashlib import sha256
from typing import NamedTuple


class Reject(Enum):
    """Why a share is refused: the V1 code, the V1 words that firmware shows, the Sv2 code.

    Source: what firmware expects of V1 (one text per reason); Sv2 Mining Protocol, SubmitShares.Error, in the spelling
    of the reference implementation.
    """

    v1_code: int
    v1_words: str
    sv2_code: str

    INVALID_CHANNEL = (25, "Not subscribed", "invalid-channel-id")
    MALFORMED = (20, "Malformed submit", "malformed-submit")        # V1 alone: in Sv2 it closes the connection
    UNAUTHORIZED = (24, "Unauthorized worker", "unknown-user")
    INVALID_JOB = (21, "Job not found", "invalid-job-id")
    STALE = (21, "Stale", "stale-share")
    BAD_EXTRANONCE_SIZE = (20, "Invalid nonce2 length", "bad-extranonce-size")
    NTIME_OUT_OF_RANGE = (20, "Ntime out of range", "invalid-share")
    BAD_VERSION_BITS = (20, "Invalid version mask", "invalid-non-rollable-version-bit")
    VERSION_ROLLING_NOT_ALLOWED = (20, "Invalid version mask", "version-rolling-not-allowed")
    DIFFICULTY_TOO_LOW = (23, "Difficulty too low", "difficulty-too-low")
    DUPLICATE = (22, "Duplicate share", "duplicate-share")
    NOT_RECORDED = (20, "Not recorded", "not-recorded")

    def __init__(self, v1_code: int, v1_words: str, sv2_code: str) -> None:
        self.v1_code = v1_code
        self.v1_words = v1_words
        self.sv2_code = sv2_code


class Weight(NamedTuple):
    """What hashing a header says: the hash (32 bytes, header order), its value, and whether it is a block."""

    share_hash: bytes
    value: int
    is_block: bool


def weigh(header: bytes, network_target: int) -> Weight:
    """Hash one 80-byte header; pure arithmetic, so any thread may do it.

    A hash at or under the network target is a block, whatever becomes of the share. `is_block` is known before any
    other question is asked, so that a late block still reaches the node.
    """
    share_hash = sha256(sha256(header).digest()).digest()
    value = int.from_bytes(share_hash, "little")
    return Weight(share_hash, value, value <= network_target)
