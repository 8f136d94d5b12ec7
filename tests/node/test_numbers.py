"""The numbers of the nodes: one URL, one number, for good."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warppool.node.numbers import FILE_NAME, NodeNumbers

A, B, C = "http://a:8332", "http://b:8332", "regtest"


def test_at_the_first_start_the_numbers_are_the_places_in_the_file(tmp_path: Path) -> None:
    assert NodeNumbers(tmp_path).of([A, B, C]) == {A: 0, B: 1, C: 2}
    assert (tmp_path / FILE_NAME).read_text() == f"0 {A}\n1 {B}\n2 {C}\n"
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o640


def test_a_number_is_never_given_twice_and_a_url_that_comes_back_has_its_own(tmp_path: Path) -> None:
    NodeNumbers(tmp_path).of([A, B])
    assert NodeNumbers(tmp_path).of([B]) == {B: 1}
    numbers = NodeNumbers(tmp_path)
    assert numbers.of([C, B]) == {C: 2, B: 1}
    assert numbers.of([A, C]) == {A: 0, C: 2}
    assert NodeNumbers(tmp_path).of(["http://d:1", A]) == {"http://d:1": 3, A: 0}


def test_a_disk_that_refuses_gives_no_new_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = NodeNumbers(tmp_path)
    numbers.of([A])

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space"):
        numbers.of([A, B])
    assert numbers.of([A]) == {A: 0}
    assert (tmp_path / FILE_NAME).read_text() == f"0 {A}\n"
    assert numbers.of_this_run([A, B]) == {A: 0, B: 1}


@given(st.binary(max_size=100), st.lists(st.sampled_from([A, B, C]), unique=True))
def test_whatever_stands_in_the_file_numbers_are_whole_and_apart(tmp_path_factory: pytest.TempPathFactory,
                                                                 content: bytes, urls: list[str]) -> None:
    folder = tmp_path_factory.mktemp("data")
    (folder / FILE_NAME).write_bytes(b"5 http://old:1\n" + content)
    numbers = NodeNumbers(folder).of([*urls, "http://old:1"])
    assert numbers["http://old:1"] == 5 and len(set(numbers.values())) == len(numbers)
    assert NodeNumbers(folder).of(urls) == {url: numbers[url] for url in urls}
