"""A template provider beside or in front of the pool under measurement, on the same node, a process of its own."""

from __future__ import annotations

from contextlib import ExitStack

from bench.server import AUTHORITY, PYTHON, RPC_NODE, Server, wait_until_ready, write_secrets
from warppool.authority import authority_key_text
from warppool.noise.secp256k1 import xonly_of_secret

PROVIDER = """
[provider]
network = "main"
data_dir = "data"
[stratum]
sv2_listen = []
sv2_spec_listen = ["127.0.0.1:0"]
{node}
[log]
level = "info"
"""
TDP_NODE = '''[[node]]
source = "tdp"
url = "stratum2+tcp://127.0.0.1:{port}/{key}"'''


class WithProvider(Server):
    """As `Server`, with a provider on the same node, at `provider_port`, which has the key `provider_key`."""

    provider_port = 0
    provider_key = authority_key_text(xonly_of_secret(AUTHORITY))

    def _node(self, closing: ExitStack) -> str:
        folder = self._folder / "provider"
        folder.mkdir()
        write_secrets(folder, ["bench"])
        config = folder / "template-provider.toml"
        config.write_text(PROVIDER.format(node=RPC_NODE.format(port=self._node_port)))
        process = self._start(closing, [*PYTHON, "warppool", "template-provider", "-c", str(config)], folder / "log")
        self.provider_port = wait_until_ready(process, folder / "log")[-1]
        return super()._node(closing)

class ProvidedServer(WithProvider):
    """The pool's only node is that provider."""

    _has_rpc = False

    def _node(self, closing: ExitStack) -> str:
        super()._node(closing)
        return TDP_NODE.format(port=self.provider_port, key=self.provider_key)
