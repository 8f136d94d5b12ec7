"""The reactor: one thread that owns every connection's socket, and moves bytes between them and the workers.

It knows no protocol. It accepts miners' connections, and dials others where a worker asks for them. What it reads goes
to the inbox of the worker that owns the connection, one item a worker and wake-up; what a worker wants sent comes
through the mailbox, one item a wake-up of that worker. It never blocks but in `select`.
"""

from __future__ import annotations

import itertools
import logging
import math
import queue
import selectors
import socket
import struct
import time
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from selectors import EVENT_READ, EVENT_WRITE
from typing import Any

from warppool.loop import Ask, Reconfigure, Report, prompt
from warppool.net.acceptor import Accepted, Acceptor
from warppool.net.dialler import Attempt, Dialler, Missed, Reached
from warppool.net.gather import Bags
from warppool.net.inbox import Connected, ConnectFailed, Emptied, Ended, Full, Gone, Opened, Received
from warppool.net.limits import AcceptLimits
from warppool.net.listener import Listener
from warppool.net.mailbox import Mailbox
from warppool.net.outbox import ConnectTo, Output, ReactorItem, StopAccepting, TurnAway
from warppool.net.peers import UNREAD_LIMIT, DialledPeer, Peer, Watcher
from warppool.net.reports import ReactorReport
from warppool.net.slowpeers import UNSENT_BUDGET, SlowPeers

log = logging.getLogger(__name__)

READ_SIZE = 64 * 1024
"""Bytes of one read; a share has 50, and a longer burst of one peer waits behind the others."""

LINGER_S = 3.0
"""From a wanted close to the end: time for the last answers to arrive, and no more, since a peer may never hang up."""

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Reactor:
    """Serves `listeners` for the workers behind `inboxes`; `run` is the body of its thread.

    Those that are accepted, within `accept_limits`, go round the workers. Those that are dialled belong to the worker
    that asked. `mailbox` takes orders from any thread; `beat` is when the wake-up that runs began
    (`loop.ServingThread`). The workers end before it does.
    """

    def __init__(self, listeners: Sequence[Listener], inboxes: Sequence[queue.Queue[Any]], *,
                 accept_limits: AcceptLimits, unsent_budget: int = UNSENT_BUDGET) -> None:
        self.mailbox: Mailbox[ReactorItem] = Mailbox()
        self.name, self.limits = "reactor", prompt()
        self.drops: Counter[str] = Counter()        # connections that were closed here, by reason; any thread reads it
        self.beat = time.monotonic()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self.mailbox, EVENT_READ)
        self._acceptor = Acceptor(listeners, self._selector, accept_limits, self.drops)
        self._dialler = Dialler(self._selector)
        self._bags = Bags(inboxes)
        self._peers: dict[int, Peer] = {}
        self._conn_ids = itertools.count(1)
        self._accepted = itertools.count(1)     # apart from the ids, of which dialled ones take some
        self._lingering: deque[tuple[float, Peer]] = deque()       # by deadline; may have ended before
        self._slow = SlowPeers(unsent_budget, self.drops)
        self._watcher = Watcher(self._selector)
        self._stops_at = math.inf
        self._is_over = False

    def run(self) -> None:
        """Turn until `FlushAndStop` is done; every socket is closed at the end."""
        try:
            while self._stops_at == math.inf or (self._peers and self.beat < self._stops_at):
                self._turn()
        finally:
            self.beat, self._is_over = math.inf, True
            self.close()

    def ask(self, reply: queue.SimpleQueue[Report]) -> None:
        """Any thread: have a report put into `reply`, soon, unless the reactor hangs."""
        if self._is_over:
            reply.put(self.report())
        else:
            self.mailbox.post(Ask(reply))

    def report(self) -> ReactorReport:
        """What is held now; called on the thread, or once it is over."""
        return ReactorReport(
            self.name, self.beat, self.mailbox.waiting, connections=len(self._peers), unsent=self._slow.unsent,
            dialled=sum(peer.is_dialled for peer in self._peers.values()), rounds=self.mailbox.rounds)

    def close(self) -> None:
        """Close every socket at once; `run` does it, so this is for a reactor that was never started."""
        for peer in list(self._peers.values()):
            self._forget(peer)
        self._acceptor.close()
        self._dialler.close()
        self._selector.close()
        self.mailbox.close()

    # --- one wake-up --------------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        patience_s = self._patience()
        self.mailbox.rounds += 1
        self.mailbox.is_reader_asleep = True
        self.beat = math.inf
        rest_s = self._bags.rest_until - time.monotonic()
        if rest_s > 0:
            self.mailbox.wait(rest_s)           # for mail alone: what the sockets have is gathered meanwhile
        ready = self._selector.select(patience_s)
        self.mailbox.is_reader_asleep = False
        self.beat = now = time.monotonic()
        has_mail = False
        for key, events in ready:
            owner = key.data
            if isinstance(owner, Peer):
                try:
                    if events & EVENT_WRITE:
                        self._flush(owner)
                    if events & EVENT_READ:
                        self._read(owner)
                except Exception:               # the unforeseen costs that connection alone
                    log.exception("event=conn.failed conn=%d", owner.conn_id)
                    self._lose(owner, "reactor failed")
            elif owner is None:
                has_mail = True
            elif isinstance(owner, Attempt):
                self._conclude(self._dialler.proceed(owner, now))
            else:
                for accepted in self._acceptor.accept(owner, now):
                    self._open(accepted, owner.kind)
        if has_mail:
            for item in self.mailbox.drain():
                self._obey(item)
        if now >= self._acceptor.due:
            self._acceptor.turn(now)
        if now >= self._dialler.deadlines.first:
            for missed in self._dialler.expire(now):
                self._conclude(missed)
        while self._lingering and self._lingering[0][0] <= now:
            self._forget(self._lingering.popleft()[1])
        if now >= self._slow.due:
            for peer, reason in self._slow.look(self._peers, now):
                self._drop(peer, reason)
        self._bags.hand_on(now)       # last, so that the reactor sleeps when the workers wake

    def _patience(self) -> float | None:
        """Seconds until something is to be done that no socket tells of; None for never."""
        until = min(self._stops_at, self._acceptor.due, self._dialler.deadlines.first, self._slow.due,
                    self._lingering[0][0] if self._lingering else math.inf)
        return None if until == math.inf else max(0.0, until - time.monotonic())

    # --- in -----------------------------------------------------------------------------------------------------------

    def _open(self, accepted: Accepted, kind: str) -> None:
        conn_id = next(self._conn_ids)
        bag = self._bags[next(self._accepted) % len(self._bags)]
        bag.append(Opened(conn_id, kind, accepted.peer, accepted.origin is None))
        self._adopt(Peer(conn_id, accepted.sock, accepted.ip, bag, accepted.origin))

    def _conclude(self, outcome: Reached | Missed | None) -> None:
        """Tell the worker what became of its dial, if that is known."""
        if outcome is None:
            return
        bag = self._bags[outcome.order.worker]
        if isinstance(outcome, Missed):
            bag.append(ConnectFailed(outcome.order.dial_id, outcome.reason))
            return
        conn_id = next(self._conn_ids)
        bag.append(Connected(outcome.order.dial_id, conn_id, outcome.peer))
        self._adopt(DialledPeer(conn_id, outcome.sock, outcome.ip, bag))

    def _adopt(self, peer: Peer) -> None:
        self._peers[peer.conn_id] = peer
        try:
            self._watcher.update(peer)
        except OSError as exc:                  # the kernel's own bound on what epoll watches
            self._lose(peer, exc.strerror or "cannot be watched")

    def _read(self, peer: Peer) -> None:
        try:
            data = peer.sock.recv(READ_SIZE)
        except BlockingIOError:
            return
        except OSError as exc:
            self._lose(peer, exc.strerror or "read failed")
            return
        if not data:
            self._ended(peer)
        elif not peer.is_closing:
            peer.bag.append(Received(peer.conn_id, data))
            peer.unread += len(data)
            if peer.unread > UNREAD_LIMIT:
                self._watcher.update(peer)

    def _ended(self, peer: Peer) -> None:
        """The peer sends no more.

        A machine that came to us may have shut down only its sending side, as health checks do: its worker closes once
        all that it asked is answered. An upstream that ends is gone.
        """
        peer.is_ended = True
        if not peer.is_dialled and not peer.is_closing:
            peer.bag.append(Ended(peer.conn_id))
            self._watcher.update(peer)
            return
        if not peer.unsent:
            self._lose(peer, "closed by the peer")
            return
        if not peer.is_closing:
            peer.bag.append(Gone(peer.conn_id, "closed by the peer"))
            self._close(peer)
        self._watcher.update(peer)

    def _lose(self, peer: Peer, reason: str) -> None:
        """It is over: close first, tell its worker later, unless that knows."""
        if self._forget(peer) and not peer.is_closing:
            peer.bag.append(Gone(peer.conn_id, reason))

    def _forget(self, peer: Peer) -> bool:
        """Close the socket; False if that was done before."""
        if self._peers.pop(peer.conn_id, None) is None:
            return False
        self._watcher.forget(peer)
        peer.sock.close()
        if peer.unsent is not None:
            self._slow.settle(peer, len(peer.unsent))
        if not peer.is_dialled:
            self._acceptor.release(peer.origin)
        return True

    # --- out ----------------------------------------------------------------------------------------------------------

    def _obey(self, item: ReactorItem) -> None:
        """Do what the mailbox says; what is unforeseen costs that item alone."""
        try:
            if isinstance(item, Output):
                self._put_out(item)
            elif isinstance(item, ConnectTo):
                self._conclude(self._dialler.begin(item, self.beat))
            elif isinstance(item, TurnAway):
                self._acceptor.turns_away, self._acceptor.let_past = item.is_wanted, item.let_past
            elif isinstance(item, Ask):
                item.reply.put(self.report())
            elif isinstance(item, Reconfigure):
                assert isinstance(item.value, AcceptLimits)
                self._acceptor.limit(item.value)
            elif isinstance(item, StopAccepting):
                self._stop_accepting()
            else:
                self._stop(item.deadline)
        except Exception:
            log.exception("event=reactor.failed item=%s", type(item).__name__)

    def _put_out(self, output: Output) -> None:
        peers = self._peers
        for conn_id, ip in output.announced:
            peer = peers.get(conn_id)
            if peer is not None and peer.origin is None:
                self._announce(peer, ip)
        for conn_id, data in output.sends:
            peer = peers.get(conn_id)
            if peer is not None and not peer.is_closing:
                self._send(peer, data)
        for conn_id, room in output.rooms:
            peer = peers.get(conn_id)
            if peer is not None:
                peer.room = room
        for conn_id, count in output.consumed:
            peer = peers.get(conn_id)
            if peer is not None:
                peer.unread -= count
                self._watcher.update(peer)
        for conn_id in output.closes:
            peer = peers.get(conn_id)
            if peer is not None and not peer.is_closing:
                self._close(peer)

    def _announce(self, peer: Peer, ip: str) -> None:
        """The connection is that of `ip`, for whom a proxy made it; "" where it is the proxy's own."""
        origin = self._acceptor.announce(ip, self.beat)
        peer.origin = origin or ""
        peer.ip = ip or peer.ip
        if origin is None:
            self._lose(peer, "max_per_ip reached")

    def _send(self, peer: Peer, data: bytes) -> None:
        """Send what the kernel takes and keep the rest, in order."""
        if peer.unsent is not None:
            peer.unsent += data
            self._slow.unsent += len(data)
        else:
            try:
                sent = peer.sock.send(data)
            except BlockingIOError:
                sent = 0
            except OSError as exc:
                self._lose(peer, exc.strerror or "send failed")
                return
            if sent == len(data):
                return
            self._slow.add(peer, data[sent:], self.beat)
            self._watcher.update(peer)
        if len(peer.unsent or b"") > peer.room and not peer.is_full and not peer.is_closing:
            peer.is_full = True
            peer.bag.append(Full(peer.conn_id))
            self._watcher.update(peer)
        if self._slow.is_over_budget:
            for slow, reason in self._slow.excess():
                self._drop(slow, reason)

    def _flush(self, peer: Peer) -> None:
        """There is room in the kernel again."""
        unsent = peer.unsent
        if unsent is None:
            return
        try:
            sent = peer.sock.send(unsent)
        except BlockingIOError:
            return
        except OSError as exc:
            self._lose(peer, exc.strerror or "send failed")
            return
        peer.moved_at = self.beat
        self._slow.settle(peer, sent)
        if peer.unsent is not None:
            del unsent[:sent]
        if peer.is_full and len(peer.unsent or b"") <= peer.room // 2:
            peer.is_full = False
            peer.bag.append(Emptied(peer.conn_id))
            self._watcher.update(peer)
        if peer.unsent is not None:
            return
        if peer.is_closing:
            self._hang_up(peer)
        else:
            self._watcher.update(peer)

    def _drop(self, peer: Peer, reason: str) -> None:
        """The peer does not read: an end without goodbye."""
        self._slow.say_dropped(peer, reason, self.beat)
        with suppress(OSError):                 # the kernel too shall forget what it holds for this one
            peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._lose(peer, "too slow")

    # --- the end ------------------------------------------------------------------------------------------------------

    def _close(self, peer: Peer) -> None:
        """Close once all is out, at the latest after LINGER_S."""
        peer.is_closing = True
        self._lingering.append((self.beat + LINGER_S, peer))
        if peer.unsent:
            self._watcher.update(peer)
        else:
            self._hang_up(peer)

    def _hang_up(self, peer: Peer) -> None:
        """All is out: say goodbye and wait for the peer's.

        To close with bytes unread would be a reset, at which some systems throw the last answers away unread.
        """
        try:
            peer.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._forget(peer)
            return
        if peer.is_ended:
            self._forget(peer)
        else:
            self._watcher.update(peer)

    def _stop_accepting(self) -> None:
        self._acceptor.close()
        for missed in self._dialler.give_up():
            self._conclude(missed)
        self._watcher.is_reading = False
        for peer in list(self._peers.values()):
            self._watcher.update(peer)

    def _stop(self, deadline: float) -> None:
        self._stop_accepting()
        self._stops_at = deadline
        for peer in list(self._peers.values()):
            if not peer.is_closing:
                self._close(peer)
