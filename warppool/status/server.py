"""Thread `status`: answers programs of this machine on a Unix socket, one line of JSON each way.

It has a thread and descriptors of its own, so it answers while the web is stormed. A peer is served for one second at
most, from its connection to the last byte of its answer. Eight are served at once; more wait in the kernel's queue.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import queue
import selectors
import socket
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from warppool.loop import AFTER_FAULT_S, PROMPT_LIMIT_S, Ask, HangLimits, Reconfigure, Report, unawaited
from warppool.net.mailbox import Mailbox
from warppool.say import say
from warppool.status.place import address_of, known_path
from warppool.threads import STOP, Stop

log = logging.getLogger("warppool")

MAX_PEERS: Final = 8
PEER_S: Final = 1.0
MAX_REQUEST: Final = 4_096
"""Bytes of a request, with the newline at its end."""

SOCKET_MODE: Final = 0o660
PEERS_A_SECOND: Final = 40
"""More wait: a program that asks without end must not take the interpreter from those who serve machines."""

_SEND_SIZE: Final = 65_536
_BACKLOG: Final = 64

TOO_LONG: Final = b'{"error": "a request has at most 4096 bytes"}\n'


@dataclass(frozen=True, slots=True)
class StatusSocketReport(Report):
    """Questions that were `answered` since the start."""

    answered: int


class _Peer:
    """One connection: what it asked so far, and what is left to be sent."""

    def __init__(self, sock: socket.socket, ends_at: float) -> None:
        self.sock = sock
        self.ends_at = ends_at              # monotonic seconds
        self.asked = b""
        self.answer: memoryview | None = None


class StatusSocket:
    """Serves `listener`; `answer` makes the line for a request, without the newline, and raises nothing on purpose.

    A thread that serves (`loop.ServingThread`), with a selector in place of a queue, as the reactor.
    """

    name = "status"
    limits: HangLimits = unawaited(PROMPT_LIMIT_S)

    def __init__(self, listener: socket.socket, answer: Callable[[bytes], bytes],
                 monotonic: Callable[[], float] = time.monotonic) -> None:
        self.beat = math.inf
        self._mailbox: Mailbox[Ask | Reconfigure | Stop] = Mailbox()
        self._listener = listener
        self._answer = answer
        self._monotonic = monotonic
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._mailbox, selectors.EVENT_READ, None)
        self._peers: list[_Peer] = []
        self._accepts_at = 0.0              # monotonic: not before
        self._answered = 0
        self._is_stopping = False
        self._is_over = False

    # --- any thread ---------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """End now: whoever waits for an answer asks again."""
        self._mailbox.post(STOP)

    def ask(self, reply: queue.SimpleQueue[Report]) -> None:
        """Have a report put into `reply`."""
        if self._is_over:
            reply.put(self.report())
        else:
            self._mailbox.post(Ask(reply))

    def report(self) -> StatusSocketReport:
        """What this thread says of itself."""
        return StatusSocketReport(self.name, self.beat, self._mailbox.waiting, answered=self._answered)

    def close(self) -> None:
        """Close every socket; `run` does it, so this is for one that was never started."""
        for peer in list(self._peers):
            self._lose(peer)
        self._selector.close()
        self._listener.close()
        self._mailbox.close()

    # --- the thread ---------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until `stop`."""
        try:
            while not self._is_stopping:
                try:
                    self._turn()
                except Exception:           # the unforeseen must not end the daemon: only who asks waits
                    log.exception("event=thread.failed thread=%s", self.name)
                    time.sleep(AFTER_FAULT_S)
        finally:
            self.beat, self._is_over = math.inf, True
            for item in self._mailbox.drain():
                self._obey(item)
            self.close()

    def _turn(self) -> None:
        now = self._monotonic()
        due = min((peer.ends_at for peer in self._peers), default=math.inf)
        if len(self._peers) < MAX_PEERS:
            if now >= self._accepts_at:
                self._watch_listener(True)
            else:
                due = min(due, self._accepts_at)
        self.beat = math.inf
        ready = self._selector.select(None if due == math.inf else max(0.0, due - now))
        self.beat = now = self._monotonic()
        for key, _ in ready:
            owner = key.data
            if isinstance(owner, _Peer):
                self._serve(owner)
            elif owner is self._listener:
                self._accept(now)
            else:
                for item in self._mailbox.drain():
                    self._obey(item)
        for peer in [peer for peer in self._peers if peer.ends_at <= now]:
            self._lose(peer)

    def _obey(self, item: Ask | Reconfigure | Stop) -> None:
        if item is STOP:
            self._is_stopping = True
        elif isinstance(item, Ask):
            item.reply.put(self.report())

    def _watch_listener(self, is_wanted: bool) -> None:
        is_watched = self._listener in self._selector.get_map()
        if is_wanted and not is_watched:
            self._selector.register(self._listener, selectors.EVENT_READ, self._listener)
        elif is_watched and not is_wanted:
            self._selector.unregister(self._listener)

    def _accept(self, now: float) -> None:
        self._accepts_at = now + 1 / PEERS_A_SECOND
        self._watch_listener(False)
        try:
            sock, _ = self._listener.accept()
        except OSError:                     # the peer is gone again, or no descriptor is free: later
            return
        peer = _Peer(sock, now + PEER_S)
        try:
            sock.setblocking(False)
            self._selector.register(sock, selectors.EVENT_READ, peer)
        except OSError:                     # the system can watch no more
            sock.close()
            return
        self._peers.append(peer)

    def _serve(self, peer: _Peer) -> None:
        try:
            if peer.answer is None:
                self._read(peer)
            if peer.answer is not None:
                self._write(peer)
        except BlockingIOError:
            pass
        except OSError:                     # it hung up
            self._lose(peer)
        except Exception:                   # the unforeseen costs this peer alone
            log.exception("event=thread.failed thread=%s", self.name)
            self._lose(peer)

    def _read(self, peer: _Peer) -> None:
        received = peer.sock.recv(MAX_REQUEST + 1 - len(peer.asked))
        peer.asked += received
        line, newline, _ = peer.asked.partition(b"\n")
        if newline:
            peer.answer = memoryview(self._answer(line) + b"\n")
            self._answered += 1
        elif len(peer.asked) > MAX_REQUEST:
            peer.answer = memoryview(TOO_LONG)
        elif not received:
            self._lose(peer)
            return
        if peer.answer is not None:
            self._selector.modify(peer.sock, selectors.EVENT_WRITE, peer)

    def _write(self, peer: _Peer) -> None:
        assert peer.answer is not None
        peer.answer = peer.answer[peer.sock.send(peer.answer[:_SEND_SIZE]):]
        if not peer.answer:
            self._lose(peer)

    def _lose(self, peer: _Peer) -> None:
        self._peers.remove(peer)
        self._selector.unregister(peer.sock)
        peer.sock.close()


# --- the socket as a file ---------------------------------------------------------------------------------------------

def open_socket(path: Path, data_dir: Path) -> socket.socket | None:
    """Listen at `path`, 0660, and let `data_dir` lead there; None if that cannot be, which the log says.

    A pool must not fail to start because nobody could ask how it is.
    """
    try:
        listener = _listen(path)
    except OSError as exc:
        say(log, logging.WARNING, "status.unserved", path=str(path), reason=exc.strerror or str(exc),
            consequence="warppool status cannot ask this daemon", cure=_cure(exc))
        return None
    known = known_path(data_dir)
    if known != path:
        _link(known, path)
    return listener


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        with address_of(path) as address:
            _remove_old(path, address)
            listener.bind(address)
        path.chmod(SOCKET_MODE)             # bind obeys the umask, which gives no more than this
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def _remove_old(path: Path, address: str) -> None:
    """Make room for the socket. One that a killed daemon left goes, a link too; what answers or is no socket stays."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISSOCK(mode):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            if probe.connect_ex(address) != errno.ECONNREFUSED:
                raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    elif not stat.S_ISLNK(mode):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    path.unlink(missing_ok=True)


def _link(known: Path, path: Path) -> None:
    """Let `known` lead to the socket at `path`. What is no link or socket there stays."""
    new = known.with_name(known.name + ".new")
    try:
        if os.path.lexists(known) and not (known.is_symlink() or known.is_socket()):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        new.unlink(missing_ok=True)
        new.symlink_to(path)
        os.replace(new, known)
    except OSError as exc:
        with suppress(OSError):
            new.unlink(missing_ok=True)
        say(log, logging.WARNING, "status.unserved", path=str(known), reason=exc.strerror or str(exc),
            consequence="warppool status does not find the socket of this daemon", cure=_cure(exc))


def _cure(error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return "another program answers there: give each pool a data_dir, and each unit a RuntimeDirectory="
        case errno.EEXIST:
            return "something else has that name: move it away, then restart"
        case _:
            return "let this user write in that folder, then restart"


def remove_socket(path: Path, data_dir: Path) -> None:
    """The daemon ends: take the socket away, and what leads there."""
    for each in {path, known_path(data_dir)}:
        with suppress(OSError):
            if each.is_symlink() or each.is_socket():
                each.unlink()
