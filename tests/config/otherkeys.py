"""For each key of the reference another value than its default, so that tests can change every key once."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from warppool.config.declare import Form, options_of

ADDRESS = "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn"              # of regtest and of signet
OTHER_ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
OTHER_KEY = "09" * 32

POOL: dict[str, object] = {
    "pool.network": "signet",
    "pool.payout_address": OTHER_ADDRESS,
    "pool.payout": "solo",
    "pool.fee_percent": Decimal("1.25"),
    "pool.fallback_address": ADDRESS,
    "pool.window": Decimal("4.5"),
    "pool.window_days": 30,
    "pool.window_rampup": False,
    "pool.min_payout_sat": 546,
    "pool.min_paid_ratio": Decimal("0.75"),
    "pool.coinbase_tag": "/other \"tag\" \\ \u00e9/",
    "pool.data_dir": "elsewhere",
    "pool.behind_blocks": 3,
    "pool.behind_s": 20,
    "pool.return_after_s": 100,
    "pool.work_max_age_s": 170,
    "pool.server_id": 7,
    "stratum.listen": ["127.0.0.1:3334"],
    "stratum.tls_listen": ["127.0.0.1:4334"],
    "stratum.tls_cert": "other.pem",
    "stratum.tls_key": "otherkey.pem",
    "stratum.sv2_listen": ["127.0.0.1:3255"],
    "stratum.sv2_spec_listen": ["127.0.0.1:3256"],
    "stratum.any_listen": ["127.0.0.1:3257"],
    "stratum.proxy_from": ["10.0.0.0/8", "2001:db8::/32"],
    "stratum.extranonce2_size": 4,
    "stratum.workers": 2,
    "stratum.max_connections": 100,
    "stratum.max_per_ip": 50,
    "stratum.cert_validity_s": 7200,
    "stratum.serve_templates": True,
    "stratum.idle_timeout_s": 500,
    "difficulty.start": Decimal("2048.5"),
    "difficulty.min": Decimal("0.002"),
    "difficulty.max": Decimal("1e9"),
    "difficulty.shares_per_minute": 6,
    "difficulty.max_shares_per_minute": 700,
    "node.source": "regtest",
    "node.url": "http://127.0.0.1:8335",
    "node.insecure": True,
    "node.profile": "warp",
    "node.cookie_file": "other.cookie",
    "node.user": "operator",
    "ledger.url": "sqlite:///other.db",
    "ledger.durability": "none",
    "ledger.keep_days": 30,
    "log.level": "debug",
    "status.dir": "/srv/status",
    "web.listen": ["127.0.0.1:8081"],
    "web.hosts": ["pool.example"],
    "web.names": "full",
    "web.user_metrics": True,
    "notice.name": "pager",
    "notice.events": ["block.found", "digest.daily"],
    "notice.command": ["/bin/cat", "-n"],
    "notice.format": "discord",
    "notice.gone_min": 30,
    "notice.digest_hour": 20,
}

NOTICE: dict[str, object] = {"name": "chat", "events": ["node.lost"]}
"""A notice to a URL, with every other key at its default."""

TRANSLATOR: dict[str, object] = {
    "stratum.listen": ["127.0.0.1:3334"],
    "stratum.tls_listen": ["127.0.0.1:4334"],
    "stratum.tls_cert": "other.pem",
    "stratum.tls_key": "otherkey.pem",
    "stratum.proxy_from": ["192.0.2.7"],
    "stratum.workers": 2,
    "stratum.max_connections": 100,
    "stratum.max_per_ip": 50,
    "stratum.idle_timeout_s": 500,
    "translator.mode": "channels",
    "translator.verdict_timeout_s": Decimal("1.5"),
    "translator.data_dir": "elsewhere",
    "translator.grace_s": 50,
    "translator.silence_s": 170,
    "translator.backoff_max_s": 20,
    "translator.return_after_s": 200,
    "translator.user_identity_template": "farm.{name}",
    "translator.own_names": False,
    "upstream.url": f"stratum2+tcp://other.example:34254/{OTHER_KEY}",
    "upstream.user_identity": "farm.other",
    "upstream.fallback_only": True,
    "log.level": "debug",
    **{name: value for name, value in POOL.items() if name.startswith(("status.", "web.", "notice."))},
}


PROVIDER: dict[str, object] = {
    "provider.network": "testnet4",
    "provider.data_dir": "elsewhere",
    "provider.fee_delta_sat": 2000,
    "provider.interval_s": 10,
    "provider.max_clients": 8,
    "provider.behind_blocks": 3,
    "provider.behind_s": 20,
    "provider.return_after_s": 100,
    "stratum.sv2_spec_listen": ["127.0.0.1:3256"],
    "stratum.sv2_listen": ["127.0.0.1:3255"],
    "stratum.cert_validity_s": 7200,
    "stratum.proxy_from": ["192.0.2.7"],
    "stratum.max_connections": 100,
    "stratum.max_per_ip": 50,
    **{name: value for name, value in POOL.items() if name.startswith("node.")},
    "log.level": "debug",
}


def keys_of(form: Form) -> Iterator[str]:
    """Every key of the reference, without the secrets."""
    for name, section in form.sections.items():
        for key, _, _ in options_of(section):
            yield f"{name}.{key}"
