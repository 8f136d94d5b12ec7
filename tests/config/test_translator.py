"""translator.toml: what is right comes out typed, and every way to get it wrong has one line that says so."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from tests.config.test_pool import POOL, SECRETS, words_of
from warppool.addresses import Address, PoolUrl
from warppool.config.anyfile import read_any
from warppool.config.options import Config
from warppool.config.translator import read_translator_config
from warppool.config.translatoroptions import TranslatorConfig
from warppool.errors import ConfigError

KEY = "07" * 32
URL = f"stratum2+tcp://pool.example:34254/{KEY}"
UPSTREAM = f'[[upstream]]\nurl = "{URL}"\nuser_identity = "farm.unnamed"\n'
SECOND = UPSTREAM.replace("pool.", "second.")
NOTICE = UPSTREAM + "[[notice]]\nname = 'chat'\nevents = ['node.lost']\n"


@pytest.fixture
def read(tmp_path):
    """Write the file, read it as the translator would."""

    def write_and_read(text: str = UPSTREAM, environ: dict[str, str] | None = None) -> TranslatorConfig:
        (tmp_path / "translator.toml").write_text(text, encoding="utf-8")
        return read_translator_config(tmp_path / "translator.toml", environ or {"STATE_DIRECTORY": "/var/lib/w"})

    return write_and_read


def test_the_least_file_gives_every_default(read, tmp_path):
    config = read()
    assert config.stratum.listen == (Address("::", 34255),)
    assert config.stratum.tls_listen == ()
    assert config.stratum.tls_cert == tmp_path / "fullchain.pem"
    assert config.stratum.tls_key == tmp_path / "privkey.pem"
    assert (config.stratum.workers, config.stratum.idle_timeout_s) == (1, 600)
    assert (config.stratum.max_connections, config.stratum.max_per_ip) == (0, -1)
    translator = config.translator
    assert (translator.mode, translator.user_identity_template) == ("connection", "{name}")
    assert translator.data_dir == Path("/var/lib/w")
    assert translator.verdict_timeout_s == Decimal(2)
    assert (translator.grace_s, translator.silence_s) == (60, 180)
    assert (translator.backoff_max_s, translator.return_after_s) == (30, 300)
    (upstream,) = config.upstreams
    assert upstream.url == PoolUrl("pool.example", 34254, bytes.fromhex(KEY))
    assert (upstream.user_identity, upstream.fallback_only) == ("farm.unnamed", False)
    assert config.log.level == "info"


def test_what_the_file_says_is_taken(read, tmp_path):
    config = read(f"""
        [stratum]
        listen = []
        tls_listen = ["127.0.0.1:4333"]
        workers = 3
        [translator]
        mode = "channels"
        verdict_timeout_s = 0.25
        data_dir = "data"
        grace_s = 0
        user_identity_template = "farm.{{name}}"
        {UPSTREAM}
        [[upstream]]
        url = "stratum2+tcp://[::1]:1/{KEY}"
        user_identity = "other"
        fallback_only = true
        [log]
        level = "debug"
    """)
    assert config.stratum.listen == () and config.stratum.tls_listen == (Address("127.0.0.1", 4333),)
    assert config.translator.mode == "channels"
    assert config.translator.verdict_timeout_s == Decimal("0.25")
    assert config.translator.data_dir == tmp_path / "data"
    assert config.translator.user_identity_template == "farm.{name}"
    assert [(upstream.url.host, upstream.fallback_only) for upstream in config.upstreams] == [
        ("pool.example", False), ("::1", True)]


def test_the_environment_wins_over_the_file(read):
    config = read(environ={
        "WARPPOOL__TRANSLATOR__MODE": "channels", "WARPPOOL__TRANSLATOR__GRACE_S": "1.5",
        "WARPPOOL__STRATUM__LISTEN": '["127.0.0.1:1"]', "WARPPOOL__TRANSLATOR__DATA_DIR": "/srv/w",
        "WARPPOOL__UPSTREAM__FALLBACK_ONLY": "true", "WARPPOOL__UPSTREAM__USER_IDENTITY": "7",
    })
    assert (config.translator.mode, config.translator.grace_s) == ("channels", Decimal("1.5"))
    assert config.stratum.listen == (Address("127.0.0.1", 1),)
    assert config.translator.data_dir == Path("/srv/w")
    assert (config.upstreams[0].user_identity, config.upstreams[0].fallback_only) == ("7", True)


@pytest.mark.parametrize(("variable", "value", "words"), [
    ("WARPPOOL__TRANSLATOR__MODE", "both", 'holds "both": it takes connection or channels'),
    ("WARPPOOL__TRANSLATOR__MODES", "both", "is not known: did you mean mode?"),
    ("WARPPOOL__POOL__NETWORK", "main", "is not known: did you mean [log]?"),
])
def test_a_wrong_variable_is_named(read, tmp_path, variable, value, words):
    with pytest.raises(ConfigError) as error:
        read(environ={variable: value})
    assert words_of(error, tmp_path) == f"{variable} {words}"


def test_a_variable_that_could_mean_several_upstreams_is_refused(read):
    with pytest.raises(ConfigError, match=r"WARPPOOL__UPSTREAM__URL could mean any of 2 \[\[upstream\]\]"):
        read(UPSTREAM + SECOND, {"WARPPOOL__UPSTREAM__URL": URL})


IT_TAKES_A_URL = "it takes stratum2+tcp://HOST:PORT/PUBLIC_KEY, with the pool's key as 64 hex digits"


@pytest.mark.parametrize(("text", "words"), [
    ("", "translator.toml: upstream is missing: it takes [[upstream]] with url = "),
    (POOL, "translator.toml: upstream is missing: it looks like a pool's, for `warppool run`"),
    ("upstream = 7", "translator.toml: upstream holds 7: it takes tables, each headed [[upstream]]"),
    ("upstream = []", "translator.toml: upstream holds []: it takes tables, each headed [[upstream]]"),
    (UPSTREAM + "[pool]\n", "translator.toml: pool is not known: did you mean [log]?"),
    (UPSTREAM + "[stratum]\nsv2_listen = []", "stratum.sv2_listen is not known: did you mean tls_listen?"),
    (UPSTREAM + "mode = 'channels'", "translator.toml: upstream.mode is not known: did you mean translator.mode?"),
    (UPSTREAM + "[log]\nurl = 'x'", "translator.toml: log.url is not known: did you mean url in [[upstream]]?"),
    # [stratum]
    (UPSTREAM + "[stratum]\nlisten = []", "stratum.listen holds []: without any listener no machine can come"),
    (UPSTREAM + "[stratum]\ntls_listen = ['[::]:34255']", 'stratum.listen takes "[::]:34255" already'),
    (UPSTREAM + "[stratum]\nworkers = 0", "stratum.workers holds 0: it takes a whole number, 1 to 32"),
    # [translator]
    (UPSTREAM + "[translator]\nmode = 'both'", 'translator.mode holds "both": it takes connection or channels'),
    (UPSTREAM + "[translator]\nverdict_timeout_s = 0", "verdict_timeout_s holds 0: it takes a number, 0.01 to 60"),
    (UPSTREAM + "[translator]\ngrace_s = -1", "translator.grace_s holds -1: it takes a number, 0 to 86400"),
    (UPSTREAM + "[translator]\nsilence_s = 0", "translator.silence_s holds 0: it takes a number, 0.1 to 86400"),
    (UPSTREAM + "[translator]\nbackoff_max_s = 0", "backoff_max_s holds 0: it takes a number, 0.01 to 86400"),
    (UPSTREAM + "[translator]\nreturn_after_s = nan", "return_after_s holds NaN: it takes a number, 0 to 86400"),
    *((UPSTREAM + f"[translator]\nuser_identity_template = {value}",
       "it takes text in which {name} stands for the name that the machine gave")
      for value in ("7", "''", "'{user}'", "'{name}}'", "'{'", '"a\\nb"', f"'{'x' * 256}'")),
    # [[upstream]]
    ("[[upstream]]\n", "upstream.url is missing: it takes stratum2+tcp://HOST:PORT/PUBLIC_KEY"),
    ("[[upstream]]\nurl = 7", f"upstream.url holds 7: {IT_TAKES_A_URL}"),
    *((f"[[upstream]]\nurl = '{url}'", IT_TAKES_A_URL) for url in (
        "stratum+tcp://pool.example:3333", "stratum2+tcp://pool.example:34254", f"stratum2+tcp://pool.example/{KEY}",
        f"http://pool.example:34254/{KEY}", URL[:-1], URL + "00", URL.replace("07", "zz"), URL.replace("07", "00"),
        URL.replace("34254", "0"), URL.replace("34254", "99999"), URL.replace("pool", "po ol"))),
    (f"[[upstream]]\nurl = '{URL}'", "upstream.user_identity is missing: it takes the name of an account there"),
    (f"[[upstream]]\nurl = '{URL}'\nuser_identity = ''", "upstream.user_identity holds \"\": it takes the name"),
    (f"[[upstream]]\nurl = '{URL}'\nuser_identity = '{'x' * 256}'", "it takes the name of an account there"),
    (UPSTREAM + "fallback_only = 1", "upstream.fallback_only holds 1: it takes true or false"),
    (UPSTREAM + SECOND.replace(URL.replace("pool.", "second."), URL.replace("07", "08")),
     "upstream[1].url holds \"stratum2+tcp://pool.example:34254/0808"),
    # [status], [web], [[notice]]
    (UPSTREAM + "[status]\nfolder = '/x'", "status.folder is not known: did you mean dir?"),
    (UPSTREAM + "[web]\nlisten = ['127.0.0.1:34255']", 'web.listen holds "127.0.0.1:34255": stratum.listen takes'),
    (UPSTREAM + "[web]\nlisten = '127.0.0.1:80'", 'web.listen holds "127.0.0.1:80": it takes a list of addresses'),
    (UPSTREAM + "[web]\nhosts = ['http://farm/']", 'web.hosts holds ["http://farm/"]: it takes a list of host names'),
    (UPSTREAM + "password = 'x'", "upstream.password is not known: did you mean user_identity?"),
    (UPSTREAM + "[secrets]\n", "secrets is not known: secrets stand in a file of their own, secrets.toml"),
    (UPSTREAM + "notice_urls = []", "upstream.notice_urls is not known: it belongs into secrets.toml"),
    (UPSTREAM + "[notice]\n", "notice holds a table: it takes tables, each headed [[notice]]"),
    (NOTICE, "secrets.toml: notice_urls holds 0: it takes one for each [[notice]] without a command, and there are 1"),
    (NOTICE + "command = ['cat']", 'notice.command holds "cat" first: no PATH is searched for it'),
    (UPSTREAM + "[[notice]]\nname = 'chat'\nevents = ['upstream.lost']", 'notice.events holds ["upstream.lost"]: it'),
    (UPSTREAM + "[log]\nlevel = 'loud'", 'log.level holds "loud": it takes debug, info, warning or error'),
])
def test_each_mistake_has_its_own_line(read, tmp_path, text, words):
    with pytest.raises(ConfigError) as error:
        read(text)
    assert words in words_of(error, tmp_path)


def test_data_dir_is_systemds_where_the_file_does_not_say_and_else_its_own(read, monkeypatch):
    assert read(environ={"STATE_DIRECTORY": "/var/lib/one:/x"}).translator.data_dir == Path("/var/lib/one")
    monkeypatch.setattr("os.access", lambda path, mode: True)
    assert read(environ={"A": "b"}).translator.data_dir == Path("/var/lib/warppool-translator")
    monkeypatch.setattr("os.access", lambda path, mode: False)
    state = read(environ={"XDG_STATE_HOME": "/home/a/state"})
    assert state.translator.data_dir == Path("/home/a/state/warppool-translator")


def test_either_file_is_known_by_its_upstream(tmp_path):
    (tmp_path / "secrets.toml").write_text(SECRETS)
    (tmp_path / "secrets.toml").chmod(0o600)
    (tmp_path / "a.toml").write_text(UPSTREAM)
    (tmp_path / "b.toml").write_text(POOL)
    assert isinstance(read_any(tmp_path / "a.toml", {}), TranslatorConfig)
    assert isinstance(read_any(tmp_path / "b.toml", {}), Config)
    (tmp_path / "secrets.toml").chmod(0o644)
    assert isinstance(read_any(tmp_path / "a.toml", {}), TranslatorConfig), "it needs no secrets"
    with pytest.raises(ConfigError, match="others may read it"):
        read_any(tmp_path / "b.toml", {})
    assert isinstance(read_any(tmp_path / "b.toml", {}, with_secrets=False), Config)


# --- secrets.toml -----------------------------------------------------------------------------------------------------

def secrets_of(folder: Path, text: str = 'notice_urls = ["https://chat.example/hunter2"]\n', mode: int = 0o600) -> None:
    (folder / "secrets.toml").write_text(text)
    (folder / "secrets.toml").chmod(mode)


def test_a_notice_to_a_url_has_it_from_a_secrets_file_that_is_found_as_the_pools_is(read, tmp_path):
    folder = tmp_path / "credentials"
    folder.mkdir()
    secrets_of(folder, mode=0o644)
    (notice,) = read(NOTICE, {"STATE_DIRECTORY": "/s", "CREDENTIALS_DIRECTORY": str(folder)}).notices
    assert notice.url == "https://chat.example/hunter2" and "hunter2" not in repr(notice)
    (tmp_path / "url").write_text("https://other.example/\n")
    (notice,) = read(NOTICE, {"STATE_DIRECTORY": "/s", "WARPPOOL__SECRETS__NOTICE_URLS_FILE": str(tmp_path / "url")}
                     ).notices
    assert notice.url == "https://other.example/"
    secrets_of(tmp_path)
    assert read_any(tmp_path / "translator.toml", {}).notices[0].url == "https://chat.example/hunter2"
    assert read_any(tmp_path / "translator.toml", {}, with_secrets=False).notices[0].url == ""


@pytest.mark.parametrize(("text", "mode", "words"), [
    ('notice_urls = ["https://chat.example/hunter2"]', 0o640, "others may read it (mode 0640): chmod 600"),
    ('notice_urls = ["ftp://chat.example/hunter2"]', 0o600, "notice_urls holds something else: it takes a list of"),
    ('notice_url = "https://chat.example/hunter2"', 0o600, "notice_url is not known: did you mean notice_urls?"),
    ('password = "hunter2"', 0o600, "password is not known: did you mean notice_urls?"),
    ('sv2_static_priv_key_hex = "hunter2"', 0o600, "sv2_static_priv_key_hex is a secret of a pool, and not known here"),
    ('node_passwords = ["hunter2"]', 0o600, "node_passwords is a secret of a pool, and not known here: give this"),
])
def test_each_mistake_of_a_translators_secrets_has_its_own_line(read, tmp_path, text, mode, words):
    secrets_of(tmp_path, text + "\n", mode)
    with pytest.raises(ConfigError) as error:
        read(NOTICE)
    assert words in str(error.value) and "hunter2" not in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("more", ["", "[[notice]]\nname = 'a'\nevents = ['node.lost']\ncommand = ['/bin/cat']\n"])
def test_the_secrets_of_a_pool_in_the_same_folder_stay_closed_where_no_notice_needs_one(read, tmp_path, more):
    secrets_of(tmp_path, SECRETS, 0o644)
    assert [notice.command for notice in read(UPSTREAM + more).notices] == ([("/bin/cat",)] if more else [])


AUTHORITY = "9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72"       # SRI's own example


def test_the_key_in_the_url_says_which_profile_the_upstream_speaks(read):
    second = f'[[upstream]]\nurl = "stratum2+tcp://sri.example:34333/{AUTHORITY}"\nuser_identity = "b"\n'
    config = read(UPSTREAM + second)
    assert [(each.url.profile, len(each.url.pin)) for each in config.upstreams] == [("warp", 32), ("spec", 32)]
    assert str(config.upstreams[1].url) == f"stratum2+tcp://sri.example:34333/{AUTHORITY}"


@pytest.mark.parametrize(("key", "why"), [
    (AUTHORITY[:-1] + "3", "checksum"), ("mkDLTBBRxdBv998612qipDYoTK3YUrqLe8uWw7gu3iXbSrn2n", "secret"), ("9", ""),
])
def test_a_key_of_an_authority_that_is_none_is_refused_with_the_reason(read, key, why):
    with pytest.raises(ConfigError) as error:
        read(f'[[upstream]]\nurl = "stratum2+tcp://sri.example:34333/{key}"\nuser_identity = "b"\n')
    assert "it takes stratum2+tcp://HOST:PORT/PUBLIC_KEY" in str(error.value) and why in str(error.value)
