"""What a stranger calls his machine is never markup, never a mention and never a second line."""

import json

import pytest

from warppool.notices.kinds import MACHINE_GONE, NODE_LOST, TITLES, TRANSLATOR, Notice
from warppool.notices.words import DISCORD, FORMATS, JSON, MAX_BODY, TELEGRAM, TEXT, message_of

NASTY = "<b>x</b> @everyone `code` **bold** [l](https://evil.example) \u202eabc\r\nTitle: forged\x00\udcff\"'&amp;"


def notice(name: str = NASTY, count: int = 1) -> Notice:
    return Notice(MACHINE_GONE, 1_800_000_000.0, (("machine", name), ("minutes", 10)), count)


def sent(form: str, name: str = NASTY) -> dict:
    return json.loads(message_of(notice(name), form, "warppool").body)


def test_telegram_gets_html_in_which_a_name_is_code_and_escaped():
    message = sent(TELEGRAM)
    assert message["parse_mode"] == "HTML"
    assert message["link_preview_options"] == {"is_disabled": True}
    title, _, machine, minutes = message["text"].split("\n")
    assert title == "<b>warppool: Machine gone</b>"
    assert minutes == "minutes: <code>10</code>"
    inner = machine.removeprefix("machine: <code>").removesuffix("</code>")
    assert "<" not in inner and ">" not in inner and "\u202e" not in inner
    assert "&lt;b&gt;x&lt;/b&gt;" in inner and "&amp;amp;" in inner


def test_discord_mentions_nobody_and_shows_a_name_as_code():
    message = sent(DISCORD)
    assert message["allowed_mentions"] == {"parse": []}
    machine = message["content"].split("\n")[2]
    assert machine.startswith("machine: `") and machine.endswith("`")
    assert machine.count("`") == 2
    assert "\u202e" not in machine and "\x00" not in machine


def test_plain_text_has_one_line_for_each_fact():
    message = message_of(notice(), TEXT, "warppool")
    assert message.title == "warppool: Machine gone"
    assert [line.partition(":")[0] for line in message.body.decode().split("\n")] == ["time", "machine", "minutes"]


def test_programs_get_every_value_as_it_is_and_a_text():
    document = sent(JSON, "bc1q.rig")
    assert document["event"] == document["kind"] == MACHINE_GONE and document["title"] == "Machine gone"
    assert document["time"] == "2027-01-15T08:00:00Z" and document["at"] == 1_800_000_000
    assert document["facts"] == {"machine": "bc1q.rig", "minutes": 10}
    assert document["text"].split("\n")[0] == "warppool: Machine gone"
    assert document["count"] == 1


def test_how_often_it_came_is_said():
    assert b"times: 42, of which this is the last" in message_of(notice(count=42), TEXT, "warppool").body


@pytest.mark.parametrize("form", FORMATS)
def test_a_message_is_never_longer_than_a_chat_takes(form):
    long = Notice(MACHINE_GONE, 0.0, tuple((f"fact_{number}", "<&" * 500) for number in range(50)))
    message = message_of(long, form, "warppool")
    text = message.body.decode() if form == TEXT else json.loads(message.body)[
        {JSON: "text", TELEGRAM: "text", DISCORD: "content"}[form]]
    assert len(text) <= MAX_BODY
    if form == TELEGRAM:
        assert text.count("<code>") == text.count("</code>")


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, True, "", 2**80])
def test_whatever_a_fact_holds_is_written(form, value):
    body = message_of(Notice(MACHINE_GONE, 0.0, (("value", value),)), form, "warppool").body
    if form != TEXT:
        json.loads(body, parse_constant=lambda word: pytest.fail(word))


@pytest.mark.parametrize("program", ["warppool", TRANSLATOR])
def test_titles_are_ascii_without_signs_of_any_markup(program):
    for kind in TITLES:
        title = Notice(kind, 0.0).title(program)
        assert title.isascii() and not set("<>&*_`[]\r\n") & set(title)


def test_a_translator_speaks_of_upstreams_to_people_and_of_nodes_to_programs():
    notice = Notice(NODE_LOST, 0.0, (("node", "pool.example:34254"), ("reason", "it is gone")))
    text = message_of(notice, TEXT, TRANSLATOR)
    assert text.title == "warppool-translator: Upstream lost"
    assert "upstream: pool.example:34254" in text.body.decode().split("\n")
    document = json.loads(message_of(notice, JSON, TRANSLATOR).body)
    assert (document["event"], document["title"], document["facts"]["node"]) == (
        "node.lost", "Upstream lost", "pool.example:34254")
    assert "node: pool.example:34254" in message_of(notice, TEXT, "warppool").body.decode().split("\n")
