"""Which machine can hold how large a coinbase."""

from __future__ import annotations

import json

import pytest

from tests.sv1.machines import FOLDER
from warppool.mining.rooms import LARGEST_ROOM, ROOMS, USUAL_ROOM, half_of, room_of_agent
from warppool.payout.blockeffects import MOST_ROOM

AGENTS = [
    ("NerdMinerV2", 255),
    ("NerdMinerV2/1.8.3", 255),
    ("NiceHash/1.0.0", 500),
    ("Antminer S21/Fri Apr 19 2024", 2250),
    ("bosminer-plus-tuner 0.2.0-36c56a9363", 2250),
    ("BOSer/bosminer-plus-tuner 0.2.0", 2250),
    ("whatsminer/v1.0", 6500),
    ("WhatsMiner/v1.1", 6500),
    ("PowerPlay-BM/2.0.1", 16_000),
    ("xminer-1.2.6", 16_000),
    ("bitaxe/BM1370/v2.9.0", 755),
    ("nerdqaxe++/BM1370/v1.0.35", 755),
    ("Antminer S19/Tue Jan 12 2021", 755),
    ("cgminer/4.11.1", 755),
    ("cpuminer/2.5.1", 755),
    ("not a whatsminer/v1", 755),
    ("", 755),
]


@pytest.mark.parametrize(("agent", "room"), AGENTS)
def test_a_machine_is_of_the_class_of_its_agent(agent, room):
    assert room_of_agent(agent) == room


def test_a_machine_that_says_nothing_is_of_the_usual_class():
    assert room_of_agent() == USUAL_ROOM


def test_of_two_words_the_smaller_counts():
    assert room_of_agent("PowerPlay-BM/2", "NerdMiner") == room_of_agent("NerdMiner", "PowerPlay-BM/2") == 255
    assert room_of_agent("bitaxe", "whatsminer/v1") == 6500, "only what is known is compared"


def test_every_class_can_be_had_and_the_classes_rise():
    assert sorted(ROOMS) == list(ROOMS) and ROOMS[-1] == LARGEST_ROOM
    assert {room for _, room in AGENTS} == set(ROOMS)


def test_a_lost_block_of_any_class_can_be_explained():
    assert LARGEST_ROOM == MOST_ROOM, "payout/ does not know the classes"


def test_only_the_usual_class_is_bounded_by_its_halves():
    assert [half_of(room) for room in ROOMS] == [255, 500, 384, 2250, 6500, 16_000]


def test_a_translator_and_a_bitaxe_on_stratum_v2_are_of_the_usual_class():
    bitaxe = json.loads((FOLDER / "sv2" / "bitaxe-extended.json").read_text(encoding="utf-8"))["setup"]
    for vendor, firmware in ((bitaxe["vendor"], bitaxe["firmware"]), ("warppool", "1.0"), ("SRI", "1.4.0")):
        assert room_of_agent(vendor, firmware) == USUAL_ROOM
