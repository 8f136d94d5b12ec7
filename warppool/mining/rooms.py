"""How large a coinbase a machine can hold: the size classes, and which machine is of which.

A machine that is given more than it can hold says nothing of that: it cuts the coinbase, hashes garbage, and each of
its shares is refused. So an unknown machine gets what all but the smallest hold, and where two sources differ, the
smaller number counts. A class is known by its room: bytes of the whole stripped coinbase, the extranonce included.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import NamedTuple

ROOMS = (255, 500, 755, 2250, 6500, 16_000)
"""The size classes, the smallest first.

- 255: NerdMiner keeps the lengths of a coinbase in a byte (its issue 809)
- 500: what DATUM Gateway gives to NiceHash
- 755: what it gives to a machine that it does not know, and to an Antminer as it comes from the factory
- 2,250, 6,500, 16,000: what it gives to firmware that is known for larger memory
"""

USUAL_ROOM = 755
"""The class of machines that nothing is known of, of ESP-Miner, and of translators, behind which any machine may be."""

LARGEST_ROOM = ROOMS[-1]
"""The class of standard channels (Stratum V2), whose machines never see a coinbase."""

_HALVES = MappingProxyType({USUAL_ROOM: 384})
"""ESP-Miner keeps either half of a coinbase in 384 bytes, and cuts without a word what is longer (its pull request
1897, 2026). It calls itself by the name of its board, so all of the usual class may be one.
"""


class _Firmware(NamedTuple):
    """A machine whose agent begins with `words`, or has them inside where not `is_front`, can hold `room` bytes."""

    words: str
    room: int
    is_front: bool = True


_FIRMWARE = (
    _Firmware("nerdminer", 255),                            # NerdMiner's issue 809
    _Firmware("nicehash/", 500),                            # DATUM Gateway's table, as all below
    _Firmware("antminer s21/", 2250),
    _Firmware("bosminer-plus-tuner", 2250, is_front=False),
    _Firmware("whatsminer/v1", 6500),
    _Firmware("powerplay-bm/", 16_000),                     # ePIC
    _Firmware("xminer-1.", 16_000),                         # vnish
)
"""DATUM Gateway gives 6,500 bytes to a Bitaxe; ESP-Miner's own code holds less, and the smaller number counts."""


def room_of_agent(*said: str) -> int:
    """The class of a machine that says so of itself: the agent of a V1 subscribe, or vendor and firmware of a V2
    set-up. Where several of the table match, the smallest counts; capitals make no difference.
    """
    rooms = [firmware.room for text in map(str.lower, said) for firmware in _FIRMWARE
             if (text.startswith(firmware.words) if firmware.is_front else firmware.words in text)]
    return min(rooms, default=USUAL_ROOM)


def half_of(room: int) -> int:
    """The most bytes of either half of a coinbase, before and after the extranonce, that a machine of this class holds:
    V1's coinb1 and coinb2, V2's coinbase_tx_prefix and coinbase_tx_suffix.
    """
    return _HALVES.get(room, room)
