from __future__ import annotations

from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.page.reading import Reading
from warppool.page.markup import Html, fill, name, path, visible

NASTY = [
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "' onclick='x", "&lt;b&gt;", "{}{0}{name}",
    "two\nlines\r\n\tand\0", "\u202egpj.exe", "\u2066a\u2069", "b\udcffad", "\ufeffx", "a\u2028b",
]


@pytest.mark.parametrize("nasty", NASTY)
def test_a_name_is_text_and_no_markup(nasty):
    reading = Reading(fill('<p title="{}">{}</p>', nasty, name(nasty)).encode())
    assert [element.tag for element in reading.elements] == ["p", "bdi"]
    assert reading.elements[0].attributes == {"title": visible(nasty)}
    assert "".join(reading.texts) == " " + visible(nasty)


@given(st.text(st.characters(codec=None), max_size=60))
def test_whatever_a_name_is_the_page_around_it_stays_whole(text):
    body = fill("<p>{}</p>", text).encode("utf-8")
    assert body.startswith(b"<p>") and body.endswith(b"</p>") and body.count(b"<") == 2
    assert all(each.isprintable() or each == "\u3000" or each.isspace() for each in visible(text))


@pytest.mark.parametrize(("text", "shown"), [
    ("bc1qexample.rig", "bc1qexample.rig"), ("Zürich 山", "Zürich 山"), ("a\nb", r"a\x0ab"), ("\udcff", r"\xff"),
    ("\u202e", r"\u202e"), ("\U000e0001", r"\U000e0001"), ("\x7f", r"\x7f"),
])
def test_what_cannot_be_seen_is_written_out(text, shown):
    assert visible(text) == shown


def test_html_is_not_escaped_again_and_text_is_each_time():
    assert fill("<b>{}</b>", fill("<i>{}</i>", "<")) == "<b><i>&lt;</i></b>"
    assert fill("{a}{}", "&", a=Html("<hr>")) == "<hr>&amp;"


@given(st.text(st.characters(codec=None, exclude_categories=["Cs"]), min_size=1, max_size=30))
def test_a_path_leads_back_to_its_name(text):
    root, folder, encoded = path("user", text).split("/")
    assert (root, folder, unquote_to_bytes(encoded)) == ("", "user", text.encode())


def test_a_path_keeps_bytes_that_are_no_text():
    assert path("user", "a/\udcff?#") == "/user/a%2F%FF%3F%23"
