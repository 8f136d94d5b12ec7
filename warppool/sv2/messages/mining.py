"""The messages of the Mining Protocol: channels, jobs, targets and shares.

"Header order" means the bytes as they stand in a block header. Targets are little-endian. A hash rate is in hashes a
second and may be any float on the wire: NaN, an infinity and less than nothing are the session's to refuse.

Source: Sv2 Mining Protocol §5.3; docs/sv2-wire.rst#messages-mining. Numbers on the wire are the profile's.
"""

from __future__ import annotations

from dataclasses import dataclass

from warppool.sv2.types import (
    B0_32,
    B0_64K,
    B0_255,
    BOOL,
    F32,
    OPTION_U32,
    SEQ0_64K_U32,
    SEQ0_255_U256,
    STR0_255,
    TAIL_U32,
    U16,
    U32,
    U64,
    U256,
    Message,
)


@dataclass(frozen=True, slots=True)
class OpenStandardMiningChannel(Message):
    """Wants a channel whose only work is the header (miner to pool)."""

    request_id: U32                     # the miner's, echoed in the answer
    user_identity: STR0_255
    nominal_hash_rate: F32
    max_target: U256                    # the easiest target that the device stands


@dataclass(frozen=True, slots=True)
class OpenStandardMiningChannelSuccess(Message):
    """The standard channel is open; its first job follows at once (pool to miner)."""

    request_id: U32
    channel_id: U32                     # for the life of the connection
    target: U256
    extranonce_prefix: B0_32            # the whole extranonce: nothing of it can be rolled
    group_channel_id: U32               # 0 for none


@dataclass(frozen=True, slots=True)
class OpenMiningChannelError(Message):
    """Refuses an open of either kind (pool to miner)."""

    request_id: U32
    error_code: STR0_255


@dataclass(frozen=True, slots=True)
class OpenExtendedMiningChannel(Message):
    """Wants a channel whose last bytes of extranonce are the miner's (miner to pool)."""

    request_id: U32                     # the miner's, echoed in the answer
    user_identity: STR0_255
    nominal_hash_rate: F32              # of all that is behind the channel
    max_target: U256                    # the easiest target that the device stands
    min_extranonce_size: U16            # bytes to roll that it needs


@dataclass(frozen=True, slots=True)
class OpenExtendedMiningChannelSuccess(Message):
    """The extended channel is open (pool to miner)."""

    request_id: U32
    channel_id: U32                     # for the life of the connection
    target: U256
    extranonce_size: U16                # bytes to roll, exactly
    extranonce_prefix: B0_32            # stands before them
    group_channel_id: TAIL_U32 = None   # since 2025-11; older peers end before it


@dataclass(frozen=True, slots=True)
class NewMiningJob(Message):
    """A job with its merkle root ready, for a standard channel (pool to miner)."""

    channel_id: U32
    job_id: U32
    min_ntime: OPTION_U32               # None: a future job, to be held until SetNewPrevHash names it
    version: U32
    merkle_root: U256                   # header order


@dataclass(frozen=True, slots=True)
class UpdateChannel(Message):
    """The hash rate changed, or the miner wants another bound (miner to pool); answered only if it is refused."""

    channel_id: U32
    nominal_hash_rate: F32
    maximum_target: U256                # the easiest target from now on


@dataclass(frozen=True, slots=True)
class UpdateChannelError(Message):
    """The UpdateChannel was refused and nothing changed (pool to miner)."""

    channel_id: U32
    error_code: STR0_255


@dataclass(frozen=True, slots=True)
class CloseChannel(Message):
    """Ends a channel, or all channels of a group (either side)."""

    channel_id: U32
    reason_code: STR0_255


@dataclass(frozen=True, slots=True)
class SetExtranoncePrefix(Message):
    """Another prefix for all jobs that come after this (pool to miner)."""

    channel_id: U32                     # never a group
    extranonce_prefix: B0_32


@dataclass(frozen=True, slots=True)
class SubmitSharesStandard(Message):
    """A share of a standard channel (miner to pool)."""

    channel_id: U32
    sequence_number: U32                # the miner's counter, echoed in the answers
    job_id: U32
    nonce: U32
    ntime: U32                          # Unix seconds
    version: U32                        # the header's, whole


@dataclass(frozen=True, slots=True)
class SubmitSharesExtended(Message):
    """A share of an extended channel (miner to pool)."""

    channel_id: U32
    sequence_number: U32                # the miner's counter, echoed in the answers
    job_id: U32
    nonce: U32
    ntime: U32                          # Unix seconds
    version: U32                        # the header's, whole
    extranonce: B0_32                   # the rolled bytes, without the prefix


@dataclass(frozen=True, slots=True)
class SubmitSharesSuccess(Message):
    """Acknowledges all shares since the last one of these (pool to miner)."""

    channel_id: U32
    last_sequence_number: U32           # of the newest accepted share
    new_submits_accepted_count: U32     # of this batch
    new_shares_sum: U64                 # of this batch, in difficulty, whole


@dataclass(frozen=True, slots=True)
class SubmitSharesError(Message):
    """Refuses one share (pool to miner)."""

    channel_id: U32
    sequence_number: U32
    error_code: STR0_255


@dataclass(frozen=True, slots=True)
class NewExtendedMiningJob(Message):
    """A job as the halves of its coinbase and its merkle path (pool to miner)."""

    channel_id: U32                     # an extended channel or a group
    job_id: U32
    min_ntime: OPTION_U32               # None: a future job, to be held until SetNewPrevHash names it
    version: U32
    version_rolling_allowed: BOOL
    merkle_path: SEQ0_255_U256          # deepest first, header order
    coinbase_tx_prefix: B0_64K          # stripped of its witness, up to the extranonce
    coinbase_tx_suffix: B0_64K          # and from behind it


@dataclass(frozen=True, slots=True)
class SetNewPrevHash(Message):
    """The chain tip moved: drop other jobs and mine `job_id` on `prev_hash` (pool to miner)."""

    channel_id: U32                     # a channel or a group of channels
    job_id: U32                         # a future job that this channel already holds
    prev_hash: U256                     # header order
    min_ntime: U32                      # Unix seconds
    nbits: U32                          # compact target of the network


@dataclass(frozen=True, slots=True)
class SetTarget(Message):
    """Another target for later jobs and for future ones already held (pool to miner)."""

    channel_id: U32                     # a channel or a group of channels
    maximum_target: U256                # a share counts at or under it


@dataclass(frozen=True, slots=True)
class SetCustomMiningJob(Message):
    """The miner announces work of its own making (miner to pool)."""

    channel_id: U32                     # an extended channel or a group
    request_id: U32
    mining_job_token: B0_255
    version: U32
    prev_hash: U256                     # header order
    min_ntime: U32                      # Unix seconds
    nbits: U32                          # compact target of the network
    coinbase_tx_version: U32
    coinbase_prefix: B0_255             # where the scriptSig begins
    coinbase_tx_input_n_sequence: U32
    coinbase_tx_outputs: B0_64K         # CompactSize count, then all outputs
    coinbase_tx_locktime: U32
    merkle_path: SEQ0_255_U256          # deepest first, header order


@dataclass(frozen=True, slots=True)
class SetCustomMiningJobSuccess(Message):
    """The pool will pay for the custom job (pool to miner)."""

    channel_id: U32
    request_id: U32
    job_id: U32                         # what its shares will name


@dataclass(frozen=True, slots=True)
class SetCustomMiningJobError(Message):
    """The pool refuses the custom job (pool to miner)."""

    channel_id: U32
    request_id: U32
    error_code: STR0_255


@dataclass(frozen=True, slots=True)
class SetGroupChannel(Message):
    """Puts channels into a group, which exists from then on (pool to miner)."""

    group_channel_id: U32               # no channel's own
    channel_ids: SEQ0_64K_U32
