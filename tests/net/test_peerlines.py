"""What connections say of machines: to the journal, and to whoever counts them."""

from __future__ import annotations

from typing import Any

from warppool.events import Close, Happened
from warppool.mining.identity import MAX_AGENT
from warppool.net.clients import Client, Stack, Undecided
from warppool.net.loglimit import LogLimit
from warppool.net.peerlines import PeerLines
from warppool.stats.items import MachineCame, MachineGone, PeerDropped
from warppool.transport import PLAIN


def opened(channel: int, user: str = "bob.a", agent: str = "cgminer") -> Happened:
    return Happened(7, "info", "miner.opened", (("channel", channel), ("user", user), ("kind", "v1"),
                                                ("prefix", b"\1\2"), ("agent", agent)))


def test_machines_come_and_go_and_nothing_of_their_session_or_address_is_told(caplog):
    told: list[Any] = []
    lines, client = PeerLines(LogLimit(), told.append), Client(Stack(PLAIN, Undecided(7)), "192.0.2.1:999", "sv1")
    with caplog.at_level("INFO", "warppool"):
        lines.parted(client)
        assert told == [], "there was no machine"
        for channel in (1, 2, 3):
            lines.happened(opened(channel), client, 100.0)
        closed = (("channel", 1), ("user", "bob.a"), ("channels", 2))
        lines.happened(Happened(7, "info", "miner.closed", closed, channels=(1, 2)), client, 101.0)
        client.end = "closed by the peer"
        lines.parted(client)
        lines.gone(client, 12, 3, 160.4)
    assert [item._replace(at=0.0) for item in told] == [
        *(MachineCame(7, channel, "bob.a", "cgminer", "sv1", 0.0, "v1") for channel in (1, 2, 3)),
        MachineGone(7, 1, 0.0), MachineGone(7, 2, 0.0), MachineGone(7, None, 0.0)]
    assert "192.0.2" not in repr(told) and "\\x01" not in repr(told)
    assert caplog.records[-1].getMessage() == (
        "event=miner.gone conn=7 peer=192.0.2.1:999 user=bob.a agent=cgminer seconds=60 accepted=12 refused=3 "
        'reason="closed by the peer"')


def test_a_template_client_and_a_stranger_are_no_machines():
    told: list[Any] = []
    lines, client = PeerLines(LogLimit(), told.append), Client(Stack(PLAIN, Undecided(7)), "192.0.2.1:999", "sv2")
    lines.happened(Happened(7, "info", "miner.refused", (("reason", "x"),)), client, 100.0)
    lines.happened(Happened(7, "info", "miner.opened", (("upstream", "pool"),)), client, 100.0)
    lines.parted(client)
    assert told == []


def test_a_translators_machine_counts_from_its_first_name_and_has_one_channel_at_a_time():
    told: list[Any] = []
    lines, client = PeerLines(LogLimit(), told.append), Client(Stack(PLAIN, Undecided(7)), "192.0.2.1:999", "sv1")
    lines.happened(opened(1, user=""), client, 100.0)
    lines.parted(client)
    assert told == [] and client.name == "", "it gets no work before it has a name"
    for level, name, channel in (("info", "miner.named", 1), ("info", "miner.reopened", 2)):
        lines.happened(Happened(7, level, name, (("channel", channel), ("user", "bob.a"), ("agent", "x"))), client, 1e3)
    assert [item._replace(at=0.0) for item in told] == [
        MachineCame(7, 1, "bob.a", "x", "sv1", 0.0), MachineGone(7, None, 0.0),
        MachineCame(7, 2, "bob.a", "x", "sv1", 0.0)]
    assert client.name == "bob.a"


def test_of_what_a_machine_calls_itself_no_more_is_kept_than_anybody_reads():
    told: list[Any] = []
    lines, client = PeerLines(LogLimit(), told.append), Client(Stack(PLAIN, Undecided(7)), "192.0.2.1:999", "sv1")
    lines.happened(opened(1, agent="x" * 16_000), client, 100.0)
    assert told[0].agent == client.agent == "x" * MAX_AGENT


def test_a_machine_whose_connection_we_close_has_one_line_and_that_says_why(caplog):
    told: list[Any] = []
    lines, client = PeerLines(LogLimit(), told.append), Client(Stack(PLAIN, Undecided(7)), "192.0.2.1:999", "sv1")
    stranger = Client(Stack(PLAIN, Undecided(8)), "192.0.2.2:999", "sv1")
    with caplog.at_level("INFO", "warppool"):
        lines.happened(opened(1), client, 100.0)
        caplog.clear()
        for each in (client, stranger):
            each.end = "too long a line"
            lines.closed(Close(each.connection.conn_id, each.end, True), each, 101.0)
        lines.gone(client, 12, 3, 160.4)
    closed, gone = caplog.messages
    assert closed.startswith("event=conn.closed conn=8") and gone.startswith("event=miner.gone conn=7")
    assert all('reason="too long a line"' in line for line in (closed, gone))
    assert told.count(PeerDropped("fault")) == 2
