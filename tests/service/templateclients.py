"""A template provider in this process or as a process, and a client that speaks to it over a socket."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.patience import PATIENCE_S
from tests.service.process import write_secrets, write_tables
from warppool.config.provider import read_provider_config
from warppool.config.provideroptions import TemplateProviderConfig
from warppool.events import Now
from warppool.noise.ends import initiator
from warppool.noise.primitives import new_buffer, public_key
from warppool.noise.secp256k1 import xonly_of_secret
from warppool.service.templateprovider import TemplateProvider
from warppool.sv2.frame import FrameReader
from warppool.sv2.messages.common import SetupConnection
from warppool.sv2.messages.template import CoinbaseOutputConstraints
from warppool.sv2.profile import SPEC, WARP, Profile, Subprotocol
from warppool.sv2.types import Message

SECRET = bytes(range(1, 33))
AUTHORITY_SECRET = bytes(range(2, 34))
PINS = {WARP: public_key(SECRET), SPEC: xonly_of_secret(AUTHORITY_SECRET)}
KINDS = {WARP: "sv2", SPEC: "sv2-spec"}


def write_provider_config(folder: Path, node: dict[str, object], *, stratum: dict[str, object] | None = None,
                          **provider: object) -> Path:
    """A template-provider.toml for regtest on free ports of loopback, and secrets.toml beside it."""
    document: dict[str, dict[str, object]] = {
        "provider": {"network": "regtest", "data_dir": "provider"} | provider,
        "stratum": stratum or {"sv2_listen": ["127.0.0.1:0"], "sv2_spec_listen": ["127.0.0.1:0"]},
    }
    path = folder / "template-provider.toml"
    write_tables(path, document, [node])
    write_secrets(folder, sv2_static_priv_key_hex=SECRET, sv2_spec_static_priv_key_hex=SECRET,
                  sv2_spec_authority_priv_key_hex=AUTHORITY_SECRET)
    return path


@contextmanager
def providing(config: TemplateProviderConfig, *, is_ready: bool = True, **more: Any) -> Iterator[TemplateProvider]:
    """Run one; when the test is through, no thread of it has failed."""
    provider = TemplateProvider(config, **more)
    provider.service.start()
    try:
        if is_ready:
            assert provider.service.is_ready.wait(PATIENCE_S)
        yield provider
        assert not provider.service.has_failed.is_set()
    finally:
        provider.service.stop()


def config_of(folder: Path, node: dict[str, object], **more: Any) -> TemplateProviderConfig:
    return read_provider_config(write_provider_config(folder, node, **more), {})


def port_of(provider: Any, profile: Profile = WARP) -> int:
    return next(listener.port for listener in provider.ports.listeners if listener.kind == KINDS[profile])


class TemplateClient:
    """Blocks until what it waits for has come."""

    def __init__(self, port: int, profile: Profile = WARP) -> None:
        self.profile = profile
        self.heard: list[Message] = []
        self._taken = 0
        self._sock = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        self._transport = initiator(profile.suite, PINS[profile], os.urandom(32), new_buffer(), self._now())
        self._frames = FrameReader(profile.max_payload, profile.longer_numbers(Subprotocol.TEMPLATE_DISTRIBUTION))
        self._sock.sendall(self._transport.seal(b""))

    def __enter__(self) -> TemplateClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()

    @staticmethod
    def _now() -> Now:
        return Now(time.monotonic(), time.time())

    def say(self, *messages: Message) -> None:
        data = self._transport.seal(b"".join(map(self.profile.encode, messages)))
        if data:
            self._sock.sendall(data)

    def begin(self, size: int = 31, sigops: int | None = 0, protocol: int = 2) -> None:
        self.say(SetupConnection(protocol, 2, 2, 0, "127.0.0.1", 8442, "", "", "", ""),
                 *([CoinbaseOutputConstraints(size, sigops)] if protocol == 2 else []))

    def next(self, kind: type[Message]) -> Any:
        """The next message of that kind that has not been asked for; those before it are passed over."""
        while True:
            while self._taken < len(self.heard):
                message = self.heard[self._taken]
                self._taken += 1
                if isinstance(message, kind):
                    return message
            assert self.read(), f"closed before a {kind.__name__}"

    def read(self) -> bool:
        """Take in what comes next; False at the end."""
        data = self._sock.recv(1 << 16)
        if not data:
            return False
        for frame in self._frames.feed(self._transport.open(data, time.monotonic())):
            message = self.profile.decode(Subprotocol.TEMPLATE_DISTRIBUTION, frame)
            assert message is not None
            self.heard.append(message)
        if more := self._transport.seal(b""):
            self._sock.sendall(more)
        assert self._transport.end is None, self._transport.end
        return True

    def ends(self) -> None:
        """Read until the other side hangs up."""
        try:
            while self.read():
                pass
        except ConnectionError:
            pass
