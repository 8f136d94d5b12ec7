"""The client against a node with every bad habit: a result, or a NodeError with a sentence, and never a hang."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.node.stub import PATIENCE_S, Mood, RpcFault, StubNode
from warppool.addresses import NodeAddress
from warppool.errors import NodeError
from warppool.node import httpline
from warppool.node.jsonrpc import Cookie, JsonRpc, NodeSilent, RpcRefusal, UserPassword


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[StubNode]:
    with StubNode(cookie=tmp_path / ".cookie") as stub:
        yield stub


@pytest.fixture
def rpc(stub: StubNode, tmp_path: Path) -> Iterator[JsonRpc]:
    rpc = JsonRpc(NodeAddress.parse(stub.url), Cookie(tmp_path / ".cookie"))
    yield rpc
    rpc.hang_up()


def call(rpc: JsonRpc, timeout_s: float = PATIENCE_S) -> object:
    return rpc.call("getblockcount", timeout_s=timeout_s)


def test_calls_share_one_connection(stub, rpc):
    stub.hooks["echo"] = lambda params: params
    assert rpc.call("echo", 1, "two", None, timeout_s=PATIENCE_S) == [1, "two", None]
    assert call(rpc) == 0
    assert stub.connections == 1


def test_a_node_that_closes_after_each_answer_is_called_anew(stub, rpc):
    stub.keeps_alive = False
    assert [call(rpc), call(rpc)] == [0, 0]
    assert stub.connections == 2
    assert rpc._line._sock is None                      # nor is it kept for nothing


def test_an_idle_connection_that_the_node_closed_is_replaced(stub, rpc):
    call(rpc)
    stub.stop()
    stub.start()
    assert call(rpc) == 0


def test_so_it_is_before_a_long_call_which_is_not_made_twice(stub, rpc):
    call(rpc)
    stub.stop()
    stub.start()
    rpc.ask("getblockcount", timeout_s=PATIENCE_S)
    assert rpc.answer(PATIENCE_S) == 0


def test_a_call_on_a_connection_that_ends_just_then_is_made_once_more(stub, rpc):
    call(rpc)
    stub.moods["getblockcount"] = Mood.CLOSE            # the request arrives and the connection ends
    before = stub.count("getblockcount")
    with pytest.raises(NodeError, match="no answer from"):
        call(rpc)
    assert stub.count("getblockcount") == before + 2    # on the old connection, then on a new one, then no more


def test_a_new_cookie_is_read_after_401(stub, rpc):
    call(rpc)
    stub.new_login()
    assert call(rpc) == 0


def test_the_cookie_is_not_read_without_need(stub, rpc, tmp_path):
    call(rpc)
    (tmp_path / ".cookie").unlink()
    assert call(rpc) == 0


def test_a_wrong_cookie_is_refused_after_one_more_look(stub, rpc, tmp_path):
    (tmp_path / ".cookie").write_bytes(b"__cookie__:wrong")
    with pytest.raises(NodeError, match=r"refuses the cookie of .*\.cookie \(HTTP 401\)"):
        call(rpc)
    assert stub.count("getblockcount") == 1             # the same login is not tried twice


def test_user_and_password(stub):
    stub.login = "bob:söme:thing".encode()
    with closing(JsonRpc(NodeAddress.parse(stub.url), UserPassword("bob", "söme:thing"))) as rpc:
        assert call(rpc) == 0


def test_a_wrong_password_is_refused_and_not_shown(stub):
    rpc = JsonRpc(NodeAddress.parse(stub.url), UserPassword("bob", "sesame"))
    with closing(rpc), pytest.raises(NodeError, match="user 'bob' and its password") as caught:
        call(rpc)
    assert "sesame" not in str(caught.value) + repr(UserPassword("bob", "sesame"))


def test_a_missing_cookie_asks_whether_the_node_runs(stub, tmp_path):
    with pytest.raises(NodeError, match=r"no cookie at .*: is the node running"):
        call(JsonRpc(NodeAddress.parse(stub.url), Cookie(tmp_path / "none")))
    with pytest.raises(NodeError, match="cannot be read: Is a directory"):
        call(JsonRpc(NodeAddress.parse(stub.url), Cookie(tmp_path)))


@pytest.mark.parametrize(("mood", "words"), [
    (Mood.FORBIDDEN, r"HTTP 403\): let this machine in by rpcallowip, and where it has an rpcwhitelist, add "),
    (Mood.BUSY, r"HTTP 503\): 'Work queue depth exceeded'"),
    (Mood.WARM_UP, "the node is starting: Loading block index"),
    (Mood.GARBAGE, "is not HTTP"),
    (Mood.NOT_JSON, "getblockcount: its answer is not JSON: 'hello'"),
    (Mood.HALF, "hung up in the middle of an answer"),
    (Mood.CLOSE, "no answer from 127.0.0.1"),
    (Mood.WRONG_ID, "the answer to another call"),
    (Mood.UNAUTHORIZED, "HTTP 401"),
])
def test_every_failure_has_its_sentence_and_the_next_call_works(stub, rpc, mood, words):
    stub.mood = mood
    with pytest.raises(NodeError, match=words):
        call(rpc)
    stub.mood = Mood.WELL
    assert call(rpc) == 0


@pytest.mark.parametrize("mood", [Mood.HANG, Mood.DRIBBLE])
def test_the_deadline_is_for_the_whole_answer(stub, rpc, mood):
    stub.mood = mood            # dribbled, the answer takes half a second and no single read takes 0.2
    with pytest.raises(NodeSilent, match="no whole answer"):
        call(rpc, timeout_s=0.2)
    stub.mood = Mood.WELL
    assert call(rpc) == 0


def test_a_node_that_is_not_there(stub, rpc):
    stub.stop()
    with pytest.raises(NodeError, match=r"cannot connect to 127.0.0.1:.*: Connection refused"):
        call(rpc)
    stub.start()
    assert call(rpc) == 0


def test_a_name_that_no_one_knows(monkeypatch):
    def unknown(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(NodeError, match=r"cannot look up node\.invalid: Name or service not known: mend"):
        call(JsonRpc(NodeAddress.parse("http://node.invalid:1"), UserPassword("a", "b")))


def test_the_nodes_own_errors_keep_their_number(stub, rpc):
    def fail(params: object) -> object:
        raise RpcFault(-22, "Block decode failed")

    stub.hooks["submitblock"] = fail
    with pytest.raises(RpcRefusal, match=r"submitblock: the node says 'Block decode failed' \(error -22\)") as caught:
        rpc.call("submitblock", "00", timeout_s=PATIENCE_S)
    assert caught.value.code == -22


@pytest.mark.parametrize(("body", "words"), [
    (b"[]", "no JSON object"),
    (b"{}", "neither result nor error"),
    (b'{"result": 1, "error": null}', "another call"),
    (b'{"result": NaN, "error": null, "id": 1}', "NaN is not JSON|not JSON"),
    (b'{"result": ' + b"[" * 100_000, "not JSON"),
    (b'{"result": null, "error": "plain words", "id": 1}', "plain words"),
    (b'{"result": null, "error": {"message": "' + b"x" * 1000 + b'"}, "id": 1}', r"x{200}\.\.\.'"),
    (b"\xff\xfe\xff", "not JSON"),
])
def test_odd_bodies(body, words):
    wire = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    with one_answer(wire) as rpc, pytest.raises(NodeError, match=words):
        call(rpc)


@pytest.mark.parametrize(("wire", "words"), [
    (b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", "HTTP 404 and no JSON: 'no'"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", "99999999999 bytes; at most"),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "middle of an answer"),
    (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000, "not HTTP"),
    (b"HTTP/1.1 abc\r\n\r\n", "not HTTP"),
    (b"", "no answer from"),
])
def test_odd_wires(wire, words):
    with one_answer(wire) as rpc, pytest.raises(NodeError, match=words):
        call(rpc)


def test_chunks_and_a_body_up_to_the_end_are_understood():
    body = b'{"result": 7, "error": null, "id": 1}'
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    with one_answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks) as rpc:
        assert call(rpc) == 7
    with one_answer(b"HTTP/1.0 200 OK\r\n\r\n" + body) as rpc:
        assert call(rpc) == 7


def test_an_answer_without_length_stops_at_the_cap(monkeypatch):
    monkeypatch.setattr(httpline, "MAX_ANSWER", 1000)
    with one_answer(b"HTTP/1.0 200 OK\r\n\r\n" + b" " * 5000) as rpc, pytest.raises(NodeError, match="more than 1000"):
        call(rpc)


def test_a_long_call_in_three_parts(stub, rpc):
    rpc.ask("getblocktemplate", {"longpollid": stub.template()["longpollid"]}, timeout_s=PATIENCE_S)
    stub.wait_until(lambda: stub.count("getblocktemplate") == 1)
    assert not rpc.is_answered(0)
    stub.grow()
    assert rpc.is_answered(PATIENCE_S)
    assert rpc.answer(PATIENCE_S)["height"] == 2


def test_a_request_says_its_version(monkeypatch, stub, rpc):
    """btcd answers one that does not with an empty line."""
    sent = []
    post = httpline.HttpLine.post
    monkeypatch.setattr(httpline.HttpLine, "post", lambda line, body, *more: (
        sent.append(body) or post(line, body, *more)))
    call(rpc)
    assert json.loads(sent[0]) == {"jsonrpc": "1.0", "id": 1, "method": "getblockcount", "params": []}


def test_an_answer_without_a_question(stub, rpc):
    with pytest.raises(NodeError, match="no request"):
        rpc.answer(1.0)


def test_a_changed_cookie_in_a_call_of_three_parts_is_read_for_the_next(stub, rpc):
    call(rpc)
    stub.new_login()
    rpc.ask("getblockcount", timeout_s=PATIENCE_S)
    with pytest.raises(NodeError, match="401"):
        rpc.answer(PATIENCE_S)
    rpc.ask("getblockcount", timeout_s=PATIENCE_S)
    assert rpc.answer(PATIENCE_S) == 0


def test_close_from_another_thread_ends_the_call_at_once(stub, rpc):
    stub.mood = Mood.HANG
    caught = in_thread(lambda: call(rpc, timeout_s=1000))
    stub.wait_until(lambda: stub.count("getblockcount") == 1)
    rpc.close()
    assert "is closed" in caught()
    with pytest.raises(NodeError, match="is closed"):
        call(rpc)


def test_close_ends_a_connect_that_hangs(tmp_path):
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.socket() as first, socket.socket() as second:
        first.connect(full.getsockname())
        second.setblocking(False)
        second.connect_ex(full.getsockname())           # from here on the kernel drops what knocks
        rpc = JsonRpc(NodeAddress("127.0.0.1", full.getsockname()[1], "/"), UserPassword("a", "b"))
        caught = in_thread(lambda: call(rpc, timeout_s=1000))
        while rpc._line._sock is None:
            time.sleep(0.001)
        rpc.close()
        assert "closed" in caught()


def test_close_without_a_call_leaves_no_socket(stub, rpc):
    call(rpc)
    rpc.close()
    assert rpc._line._sock is None
    rpc.close()


class one_answer:
    """A server that reads one request, answers with fixed bytes and hangs up; inside `with` a client for it."""

    def __init__(self, wire: bytes) -> None:
        self._wire = wire
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)
        self._rpc = JsonRpc(NodeAddress("127.0.0.1", self._listener.getsockname()[1], "/"), UserPassword("a", "b"))

    def _serve(self) -> None:
        sock, _ = self._listener.accept()
        with sock:
            sock.recv(65536)
            sock.sendall(self._wire)
            sock.shutdown(socket.SHUT_WR)
            sock.recv(65536)                # until the client has hung up, lest a reset overtakes the answer

    def __enter__(self) -> JsonRpc:
        self._thread.start()
        return self._rpc

    def __exit__(self, *_: object) -> None:
        self._rpc.hang_up()
        self._thread.join()
        self._listener.close()


def in_thread(run):
    """Start `run`, which must raise NodeError; what is returned waits for that and gives its sentence."""
    sentences: list[str] = []

    def body() -> None:
        try:
            run()
        except NodeError as exc:
            sentences.append(str(exc))

    thread = threading.Thread(target=body)
    thread.start()

    def caught() -> str:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
        return sentences[0]

    return caught


@pytest.mark.parametrize("page", [
    "<!DOCTYPE html><html><head><style>b{}</style></head>\n<body><h1>502 Bad Gateway</h1>\n</body></html>",
    "<p>502 Bad\n   <b class='x'>Gateway</b></p><script>alert(1)</script><!-- nothing -->",
])
def test_of_a_page_only_its_words_are_said(stub, rpc, page):
    """As a proxy before the node answers, or a node whose error carries one."""
    def fails(params):
        raise RpcFault(-1, page)

    stub.hooks["getblockcount"] = fails
    with pytest.raises(RpcRefusal) as caught:
        rpc.call("getblockcount", timeout_s=PATIENCE_S)
    assert "'502 Bad Gateway'" in str(caught.value)
