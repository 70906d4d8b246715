import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubfs.errors import InvalidConfig
from hubfs.fuse.mounting import FuseLibrary
from hubfs.hubs.registry import ENDPOINTS
from hubfs.settings import config
from hubfs.settings.config import SETTINGS, Config, load
from hubfs.settings.secrets import out_of_sight
from hubfs.settings.values import parse_options, parse_size, parse_time
from hubfs.sources.source import Form

SECRET = "s3cr3t"

# For each setting three texts, and what becomes of them.
EXAMPLES: Mapping[str, tuple[tuple[str, Any], ...]] = {  # by field
    "hub": (("https://a.org", "https://a.org"), ("http://b:8/x/", "http://b:8/x"), ("gs://c/p/", "gs://c/p")),
    "form": (("compressed", Form.COMPRESSED), ("UNCOMPRESSED", Form.UNCOMPRESSED), ("AUTO", None)),
    "cache_dir": tuple((f"/c/{name}", Path(f"/c/{name}")) for name in "abc"),
    "shared_cache_url": (("gs://a/b", "gs://a/b"), ("s3://c", "s3://c"), ("memory://d", "memory://d")),
    "extracted_dir": tuple((f"/e/{name}", Path(f"/e/{name}")) for name in "abc"),
    "catalog": tuple((f"/k/{name}.tsv", Path(f"/k/{name}.tsv")) for name in "abc"),
    "cache_size_bytes": (("1GiB", 1 << 30), ("10GB", 10**10), ("7700000", 7_700_000)),
    "memory_size_bytes": (("64MiB", 64 << 20), ("8MiB", 8 << 20), ("1g", 10**9)),
    "inflate_workers": (("3", 3), ("0", 0), ("1", 1)),
    "require_sandbox": (("true", True), ("no", False), ("1", True)),
    "prefetch": (("none", False), ("AUTO", True), ("None", False)),
    "verify_each_read": (("once", False), ("ALWAYS", True), ("Once", False)),
    "offline": (("true", True), ("no", False), ("1", True)),
    "negative_ttl_s": (("1s", 1.0), ("250ms", 0.25), ("2m", 120.0)),
    "failure_ttl_s": (("1s", 1.0), ("250ms", 0.25), ("2m", 120.0)),
    "allow_other": (("true", True), ("no", False), ("1", True)),
    "supervise": (("true", True), ("no", False), ("1", True)),
    "log_file": tuple((f"/l/{name}", Path(f"/l/{name}")) for name in "abc"),
    "log_level": (("debug", "DEBUG"), ("Warning", "WARNING"), ("ERROR", "ERROR")),
    "logs_json": (("json", True), ("TEXT", False), ("Json", True)),
    "metrics_addr": (
        ("127.0.0.1:9464", ("127.0.0.1", 9464)),
        ("[::1]:0", ("::1", 0)),
        ("localhost:80", ("localhost", 80)),
    ),
    "token": (("one", "one"), (" two\n", "two"), ("three", "three")),
    "headers": (("A: b", {"A": "b"}), ("C: d\nE: f:g", {"C": "d", "E": "f:g"}), ("H:i", {"H": "i"})),
    "proxy_headers": (("A: b", {"A": "b"}), ("C: d\nE: f:g", {"C": "d", "E": "f:g"}), ("H:i", {"H": "i"})),
    "verify_certificates": (("true", False), ("0", True), ("yes", False)),
    "private_redirects": (("true", True), ("no", False), ("1", True)),
    "connect_timeout_s": (("5s", 5.0), ("250ms", 0.25), ("2m", 120.0)),
    "hang_timeout_s": (("2m", 120.0), ("20", 20.0), ("0.5s", 0.5)),
    "stall_timeout_s": (("1h", 3600.0), ("7", 7.0), ("1.5s", 1.5)),
    "gcs_token": tuple((name, name) for name in ("anon", "cloud", "/key.json")),
    "gcs_endpoint_url": tuple((f"http://{name}:1", f"http://{name}:1") for name in "abc"),
    "endpoints": tuple((f"https://{name}/", f"https://{name}") for name in "abc"),
    "fuse_library": (
        ("libfuse2", FuseLibrary.LIBFUSE2),
        ("LIBFUSE3", FuseLibrary.LIBFUSE3),
        ("auto", FuseLibrary.AUTO),
    ),
    "profile": (("notebook", "notebook"), ("SERVING", "serving"), ("ci", "ci")),
    "mount_options": (("a=1,b", {"a": "1", "b": True}), ("c", {"c": True}), ("d", {"d": True})),
}
ORDINARY = [setting for setting in SETTINGS if setting.environment]


@pytest.fixture(autouse=True)
def _no_config_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "DEFAULT_CONFIG_FILE", tmp_path / "none.toml")


def written(path: Path, **table: str) -> Path:
    path.write_text("".join(f'{name} = """{text}"""\n' for name, text in table.items()), encoding="utf-8")
    return path


def got(config: Config, setting: config.Setting) -> object:
    """The value of a setting; of an endpoint, the one of its hub."""
    value = getattr(config, setting.field)
    return value.get(setting.name.partition("_")[0]) if setting.field == "endpoints" else value


def test_every_setting_has_an_example_and_a_field_of_its_own() -> None:
    fields = [setting.field for setting in SETTINGS]
    assert len({*fields}) == len(fields) - (len(ENDPOINTS) - 1), "endpoints share a field"
    assert {*fields, "warnings", "hubs"} == set(Config.__dataclass_fields__) == {*EXAMPLES, "warnings", "hubs"}


@pytest.mark.parametrize(
    "table", [{"token": "s3cr3t"}, {"headers": "X-Key: s3cr3t"}, {"hub": "https://me:s3cr3t@hub.example.com"}]
)
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_secret_that_others_can_read_is_warned_of(tmp_path: Path, table: dict[str, str], mode: int) -> None:
    file = written(tmp_path / "c.toml", **table)
    file.chmod(mode)
    (warning,) = load({"config": str(file)}, {}).warnings
    assert f"{file} holds {next(iter(table))}, and other users may read it" in warning
    assert f"chmod 600 {file}" in warning
    assert "s3cr3t" not in warning
    file.chmod(0o600)
    assert load({"config": str(file)}, {}).warnings == ()


def test_a_config_file_without_a_secret_may_be_read_by_everybody(tmp_path: Path) -> None:
    file = written(tmp_path / "c.toml", hub="https://hub.example.com", log_level="debug")
    file.chmod(0o644)
    assert load({"config": str(file)}, {}).warnings == ()


def test_without_anything_the_defaults_hold() -> None:
    assert load({}, {}) == Config()


@pytest.mark.parametrize("setting", ORDINARY, ids=lambda setting: setting.name)
def test_flag_beats_environment_beats_file_beats_default(setting: config.Setting, tmp_path: Path) -> None:
    (flag, from_flag), (variable, from_variable), (line, from_line) = EXAMPLES[setting.field]
    file = written(tmp_path / "c.toml", **{setting.name: line})
    environment = {"HUBFS_CONFIG": str(file)}
    assert got(load({}, {}), setting) == got(Config(), setting)
    assert got(load({}, environment), setting) == from_line
    for name in reversed(setting.environment):
        environment[name] = variable
        assert got(load({}, environment), setting) == from_variable
    assert got(load({setting.name: flag}, environment), setting) == from_flag


@pytest.mark.parametrize("setting", ORDINARY, ids=lambda setting: setting.name)
def test_our_own_variable_beats_those_of_others(setting: config.Setting) -> None:
    for stronger, weaker in zip(setting.environment, setting.environment[1:], strict=False):
        (one, expected), (other, _), _ = EXAMPLES[setting.field]
        assert got(load({}, {weaker: other, stronger: one}), setting) == expected


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: f"{setting.name}-{setting.field}")
def test_a_value_is_written_as_it_is_read(setting: config.Setting) -> None:
    for text, _ in EXAMPLES[setting.field]:
        value = setting.parse(text)
        if setting.name == "hub":  # by name
            (value,) = value.values()
        assert setting.parse(setting.text(value)) in (value, {"": value})


def test_mount_options_come_from_the_flag_or_the_file(tmp_path: Path) -> None:
    file = written(tmp_path / "c.toml", mount_options="max_read=131072,noatime")
    assert load({"config": str(file)}, {}).mount_options == {"max_read": "131072", "noatime": True}
    assert load({"config": str(file), "mount_options": ("a=b", "c,d")}, {}).mount_options == {
        "a": "b",
        "c": True,
        "d": True,
    }
    assert load({"config": str(file), "mount_options": ()}, {}).mount_options["noatime"] is True


def test_an_empty_variable_is_as_good_as_none() -> None:
    names = [name for setting in SETTINGS for name in setting.environment]
    assert load({}, {**dict.fromkeys(names, ""), "HUBFS_CONFIG": "", "HUBFS_NO_DISK_CACHE": ""}) == Config()


BAD = {
    "hub": ("gs:/x", "ftp://x", "tfhub.dev", "https://", "http://x:port", "http://x:0", "http://[::1"),
    "format": ("zip", "COMPRESSED,UNCOMPRESSED", "file", "files"),
    "cache_dir": ("~nobody-has-this-name/x",),
    "catalog": ("~nobody-has-this-name/x",),
    "cache_size": ("many", "-1", "10 GB 5", "1e6", "inf", "10", "1048575"),
    "memory_size": ("ten", "0", "7MiB", "64"),
    "inflate_workers": ("-1", "two", "17", "1.5", "٣"),
    "prefetch": ("some", "true"),
    "verify": ("never", "true"),
    "allow_other": ("maybe", "2"),
    "supervise": ("maybe", "2"),
    "log_file": ("~nobody-has-this-name/x",),
    "log_level": ("loud", "CRITICAL"),
    "log_format": ("xml",),
    "metrics_addr": (":9464", "9464", "localhost", "h:port", "h:70000", "h:1/x", "::1:9464", "[::1"),
    "disable_cert_validation": ("perhaps",),
    "connect_timeout": ("soon", "-1s", "0", "0ms", "9" * 400),
    "hang_timeout": ("never",),
    "stall_timeout": ("1d",),
    "fuse_library": ("libfuse4",),
    "mount_options": ("rw", "a,direct_io", "direct_io=1"),
    "profile": ("fast", "notebook,ci"),
    "headers": ("no colon", ": no name", "A: b\x07", "two words: x", "\xfcml\xe4ut: x", "in\x07name: x"),
    "token": ("two\nlines", "k\u00e9y", "bell\x07"),
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in BAD.items() for text in texts])
def test_a_bad_value_is_named_with_its_origin_and_the_reason(name: str, text: str) -> None:
    setting = next(setting for setting in SETTINGS if setting.name == name)
    flag = "-o" if name == "mount_options" else f"--{name.replace('_', '-')}"
    with pytest.raises(InvalidConfig, match=rf"^{flag}\b.* cannot be used: \w.*") as caught:
        load({name: text}, {})
    assert (repr(text) in str(caught.value)) is (name not in ("headers", "token"))
    for variable in setting.environment:
        with pytest.raises(InvalidConfig, match=f"^{variable}"):
            load({}, {variable: text})


@pytest.mark.parametrize("value", ["17", "1.5", "true", "[1, 2]", '{a = "b"}', "2020-01-01"])
@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_no_type_that_a_file_can_hold_ends_in_a_traceback(setting: config.Setting, tmp_path: Path, value: str) -> None:
    file = tmp_path / "c.toml"
    file.write_text(f"{setting.name} = {value}\n", encoding="utf-8")
    try:
        load({}, {"HUBFS_CONFIG": str(file)})
    except InvalidConfig as error:
        assert f"'{setting.name}' in the config file" in str(error)  # noqa: PT017 - it may also be a good value


def test_a_file_may_say_numbers_truths_and_tables_in_its_own_way(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text(
        "cache_size = 2000000\nconnect_timeout = 2.5\nallow_other = true\nno_disk_cache = true\n"
        'mount_options = ["a", "b=1"]\n'
        '[headers]\nX-Key = "k"\n',
        encoding="utf-8",
    )
    found = load({"config": file}, {})
    assert (found.cache_size_bytes, found.connect_timeout_s, found.allow_other) == (2_000_000, 2.5, True)
    assert found.cache_dir is None
    assert found.mount_options == {"a": True, "b": "1"}
    assert found.headers == {"X-Key": "k"}


@pytest.mark.parametrize(
    ("flags", "environment"),
    [
        ({"token": f"{SECRET}\x07"}, {}),
        ({"headers": f"{SECRET} without a colon"}, {}),
        ({}, {"HUBFS_HEADERS": f"Authorization: {SECRET}\x07"}),
        ({"hub": f"ftp://user:{SECRET}@host/"}, {}),
        ({}, {"HUBFS_HUB": f"http://user:{SECRET}@host:port/"}),
    ],
)
def test_no_message_shows_a_secret(flags: dict[str, str], environment: dict[str, str]) -> None:
    with pytest.raises(InvalidConfig) as caught:
        load(flags, environment)
    assert SECRET not in str(caught.value)


def test_a_config_can_be_printed_without_its_secrets() -> None:
    found = load({"token": SECRET, "headers": f"X: {SECRET}"}, {})
    assert found.token == found.headers["X"] == SECRET
    assert SECRET not in repr(found)


class TestCacheDirectory:
    """`--cache-dir` and its variables name directories and URLs, which mean two things, and the library's directory."""

    @pytest.mark.parametrize(
        ("flags", "environment", "directory", "url", "extracted"),
        [
            ({"cache_dir": "gs://b/x"}, {}, None, "gs://b/x", None),
            ({}, {"TFHUB_CACHE_DIR": "gs://b/x"}, None, "gs://b/x", None),
            ({}, {"HUBFS_CACHE_DIR": "gs://b/x", "TFHUB_CACHE_DIR": "/t"}, "/t", "gs://b/x", "/t"),
            ({"cache_dir": "/c"}, {"HUBFS_CACHE_DIR": "gs://b/x"}, "/c", "gs://b/x", None),
            ({"cache_dir": "/c"}, {"TFHUB_CACHE_DIR": "/t"}, "/c", None, "/t"),
            ({}, {"TFHUB_CACHE_DIR": "/t"}, "/t", None, "/t"),
            ({"cache_dir": Path("/c")}, {}, "/c", None, None),
            ({"cache_dir": "gs://b/flag"}, {"HUBFS_CACHE_DIR": "gs://b/x"}, None, "gs://b/flag", None),
        ],
    )
    def test_directories_and_urls_are_told_apart(
        self,
        flags: dict[str, Any],
        environment: dict[str, str],
        directory: str | None,
        url: str | None,
        extracted: str | None,
    ) -> None:
        found = load(flags, environment)
        assert found.cache_dir == (Config().cache_dir if directory is None else Path(directory))
        assert found.shared_cache_url == url
        assert found.extracted_dir == (None if extracted is None else Path(extracted))

    def test_a_fleet_may_share_without_a_disk(self) -> None:
        found = load({"no_disk_cache": True, "cache_dir": "gs://b/x"}, {})
        assert (found.cache_dir, found.shared_cache_url) == (None, "gs://b/x")

    def test_what_a_url_holds_is_not_shown(self) -> None:
        found = load({"cache_dir": f"ftp://user:{SECRET}@host/x"}, {})
        assert found.shared_cache_url == f"ftp://user:{SECRET}@host/x"
        assert SECRET not in repr(found)


class TestNoDiskCache:
    @pytest.mark.parametrize(
        ("flags", "environment", "file", "disk"),
        [
            ({"no_disk_cache": True}, {"HUBFS_CACHE_DIR": "/c"}, {"cache_dir": "/d"}, None),
            ({}, {"HUBFS_NO_DISK_CACHE": "1", "HUBFS_CACHE_DIR": "/c"}, {"cache_dir": "/d"}, None),
            ({}, {"TFHUB_CACHE_DIR": "/c"}, {"no_disk_cache": "true"}, None),
            ({}, {}, {"no_disk_cache": "yes", "cache_dir": "/d"}, None),
            ({"cache_dir": "/b"}, {"HUBFS_NO_DISK_CACHE": "1"}, {"no_disk_cache": "1"}, "/b"),
            ({}, {"HUBFS_CACHE_DIR": "/c"}, {"no_disk_cache": "1"}, "/c"),
            ({}, {"HUBFS_NO_DISK_CACHE": "0", "HUBFS_CACHE_DIR": "/c"}, {"no_disk_cache": "1"}, "/c"),
            ({"cache_dir": "gs://b"}, {"HUBFS_NO_DISK_CACHE": "1", "HUBFS_CACHE_DIR": "/c"}, {}, None),
            ({}, {"HUBFS_CACHE_DIR": "gs://b"}, {"no_disk_cache": "1"}, None),
        ],
    )
    def test_who_is_nearer_to_the_user_decides(
        self, tmp_path: Path, flags: dict[str, Any], environment: dict[str, str], file: dict[str, str], disk: str | None
    ) -> None:
        flags = {**flags, "config": written(tmp_path / "c.toml", **file)}
        assert load(flags, environment).cache_dir == (None if disk is None else Path(disk))

    def test_both_flags_exclude_each_other(self) -> None:
        with pytest.raises(InvalidConfig, match="exclude each other"):
            load({"no_disk_cache": True, "cache_dir": "/b"}, {})

    def test_a_bad_value_is_named(self) -> None:
        with pytest.raises(InvalidConfig, match=r"HUBFS_NO_DISK_CACHE \('maybe'\)"):
            load({}, {"HUBFS_NO_DISK_CACHE": "maybe"})


class TestFile:
    def test_a_named_file_must_exist(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidConfig, match="does not exist"):
            load({"config": str(tmp_path / "no.toml")}, {})

    def test_the_users_file_need_not_exist_and_is_read_if_it_does(self, tmp_path: Path) -> None:
        assert load({}, {}).hub == config.DEFAULT_HUB
        written(tmp_path / "none.toml", hub="https://mine.org")
        assert load({}, {}).hub == "https://mine.org"

    def test_the_flag_names_another_file_than_the_environment(self, tmp_path: Path) -> None:
        one, other = (written(tmp_path / f"{n}.toml", hub=f"https://{n}.org") for n in ("one", "other"))
        assert load({"config": str(one)}, {"HUBFS_CONFIG": str(other)}).hub == "https://one.org"

    @pytest.mark.parametrize("content", [b"hub = ", b"\xff\xfe", b"[hub\n"])
    def test_a_file_that_cannot_be_read_is_named(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "broken.toml"
        path.write_bytes(content)
        with pytest.raises(InvalidConfig, match=r"broken\.toml cannot be read"):
            load({"config": str(path)}, {})

    def test_a_directory_is_not_a_file(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidConfig, match="cannot be read"):
            load({"config": str(tmp_path)}, {})

    def test_unknown_settings_are_named(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidConfig, match="unknown settings: cachesize, hubb"):
            load({"config": written(tmp_path / "c.toml", hubb="x", hub="https://a.org", cachesize="1")}, {})

    @pytest.mark.parametrize("home", ["/dev/null", "closed"])
    def test_a_home_that_holds_no_file_of_the_users_is_as_good_as_none(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str
    ) -> None:
        (tmp_path / "closed").mkdir(mode=0o000)
        monkeypatch.setattr(config, "DEFAULT_CONFIG_FILE", tmp_path / home / "config.toml")
        with contextlib.ExitStack() as restored:
            if os.geteuid() == 0:
                tmp_path.chmod(0o755)
                restored.callback(os.seteuid, 0)
                os.seteuid(65534)
            assert load({}, {}).hub == config.DEFAULT_HUB
            with pytest.raises(InvalidConfig, match="cannot be read"):
                load({"config": tmp_path / home / "config.toml"}, {})

    def test_who_has_no_home_at_all_keeps_things_below_the_root(self) -> None:
        assert config.of_user(Path("~/.cache/hubfs")) == Path("/.cache/hubfs")
        assert config.of_user(Path("/home/me/.cache/hubfs")) == Path("/home/me/.cache/hubfs")


class TestSizes:
    @given(st.integers(1 << 20, 10**30 - 1) | st.just(0))
    def test_a_number_is_a_number_of_bytes(self, number: int) -> None:
        assert parse_size(str(number)) == parse_size(number) == parse_size(f" {number} B") == number

    @given(st.integers(1, (1 << 20) - 1))
    def test_less_than_a_block_is_not_meant_in_bytes_unless_it_says_so(self, number: int) -> None:
        assert parse_size(f"{number}B") == number
        for unclear in (number, f" {number} "):
            with pytest.raises(ValueError, match=f"a unit is missing: write {number}GiB or "):
                parse_size(unclear)

    @pytest.mark.parametrize("name", ["cache_size", "memory_size"])
    def test_a_missing_unit_is_named_wherever_the_size_came_from(self, tmp_path: Path, name: str) -> None:
        file = tmp_path / "c.toml"
        file.write_text(f"{name} = 10\n", encoding="utf-8")
        for flags, environment in (({name: "10"}, {}), ({}, {f"HUBFS_{name.upper()}": "10"}), ({"config": file}, {})):
            with pytest.raises(InvalidConfig, match="a unit is missing: write 10GiB"):
                load(flags, environment)

    @given(st.integers(0, 10**6), st.sampled_from("kmgt"), st.booleans())
    def test_prefixes_count_in_thousands_and_with_i_in_1024s(self, number: int, prefix: str, binary: bool) -> None:  # noqa: FBT001 - drawn
        expected = number * (1024 if binary else 1000) ** ("kmgt".index(prefix) + 1)
        infix = "i" if binary else ""
        for text in (f"{number}{prefix}{infix}b", f"{number} {prefix.upper()}{infix}B", f"{number}{prefix}{infix}"):
            assert parse_size(text) == expected

    @pytest.mark.slow
    @given(st.text())
    def test_whatever_is_written_is_a_size_or_a_value_error(self, text: str) -> None:
        try:
            assert parse_size(text) >= 0
        except ValueError as error:
            assert "512MiB" in str(error)  # noqa: PT017 - both outcomes are right

    def test_fractions_are_exact(self) -> None:
        assert parse_size("1.5GiB") == 3 << 29
        assert parse_size("0.1MB") == 100_000


class TestTimes:
    @given(st.integers(1, 10**6))
    def test_units_are_what_they_are(self, number: int) -> None:
        assert parse_time(f"{number}") == parse_time(f"{number}s") == parse_time(number) == number
        assert parse_time(f"{number} ms") == pytest.approx(number / 1000)
        assert parse_time(f"{number}M") == number * 60
        assert parse_time(f"{number}h") == number * 3600

    @given(st.text())
    def test_whatever_is_written_is_a_time_or_a_value_error(self, text: str) -> None:
        try:
            assert parse_time(text) > 0
        except ValueError as error:
            assert "it must" in str(error)  # noqa: PT017 - both outcomes are right


def test_mount_options_are_names_and_values() -> None:
    assert parse_options(("a=1=2, b ,", "", "c=")) == {"a": "1=2", "b": True, "c": ""}


def test_relative_paths_are_taken_from_here_and_tildes_from_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    assert load({"cache_dir": "c"}, {}).cache_dir == tmp_path / "c"
    assert load({"cache_dir": "~/c"}, {}).cache_dir == Path("/home/somebody/c")


@pytest.mark.parametrize("option", ["suid", "dev", "umask=0", "uid=0", "gid=0", "fd=3", "user_id=0", "rw"])
def test_options_that_would_loosen_the_mount_are_refused(option: str) -> None:
    with pytest.raises(InvalidConfig, match=f"{option.partition('=')[0]} is (refused|not possible)"):
        load({"mount_options": (f"fsname=x,{option}",)}, {})


@pytest.mark.parametrize(
    "hub",
    [f"me:{SECRET}@host", f"https://me:{SECRET}/x@host", f"ftp://me:{SECRET}@host/?{SECRET}", f"https://h:{SECRET}@["],
)
def test_a_hub_that_cannot_be_used_is_shown_without_its_password(hub: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        load({"hub": hub}, {})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("spelling", [["--hub", "{}"], ["--hub={}"]])
def test_what_the_process_list_must_not_show_reaches_the_daemon_all_the_same(spelling: list[str]) -> None:
    flags = {"hub": f"https://me:{SECRET}@host/x", "cache_dir": f"s3://bucket/p?key={SECRET}", "log_level": "debug"}
    typed = ["mount", "/m", *(part.format(flags["hub"]) for part in spelling), f"--cache-dir={flags['cache_dir']}"]
    shown, environment = out_of_sight(typed, flags)
    assert " ".join(shown) == " ".join(typed).replace(f"me:{SECRET}@", "").replace(f"?key={SECRET}", "")
    read = load({"hub": "https://host/x", "cache_dir": "s3://bucket/p"}, environment)
    assert (read.hub, read.shared_cache_url) == (flags["hub"], flags["cache_dir"])


def test_headers_for_a_proxy_are_read_from_everywhere_and_shown_nowhere(tmp_path: Path) -> None:
    expected = {"X-Dragonfly-Use-P2P": "true", "X-Key": SECRET}
    texts = tuple(f"{name}: {value}" for name, value in expected.items())
    file = tmp_path / "c.toml"
    file.write_text(f'[proxy_headers]\nX-Dragonfly-Use-P2P = "true"\nX-Key = "{SECRET}"\n', encoding="utf-8")
    typed = ["mount", "/m", "--proxy-headers", texts[0], f"--proxy-headers={texts[1]}"]
    shown, unlisted = out_of_sight(typed, {"proxy_headers": texts})
    assert SECRET not in " ".join(shown)
    for loaded in (
        load({"proxy_headers": texts}, {}),
        load({"proxy_headers": ("X-Dragonfly-Use-P2P:", "X-Key:")}, unlisted),
        load({}, {"HUBFS_PROXY_HEADERS": "\n".join(texts)}),
        load({"config": str(file)}, {}),
    ):
        assert loaded.proxy_headers == expected
        assert SECRET not in repr(loaded)


@pytest.mark.parametrize(
    "text", [f"Range: {SECRET}", f"authorization: {SECRET}", f"Host:{SECRET}", SECRET, f"\u00e4: {SECRET}"]
)
def test_what_a_proxy_cannot_be_told_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(InvalidConfig, match="--proxy-headers") as refused:
        load({"proxy_headers": (text,)}, {})
    assert SECRET not in str(refused.value)


def test_an_ordinary_command_line_stays_as_it_is() -> None:
    assert out_of_sight(["mount", "/m", "--hub", "https://h"], {"hub": "https://h"}) == (
        ["mount", "/m", "--hub", "https://h"],
        {},
    )


SEVERAL = {"one": "https://one.example/hub", "two": "gs://bucket/prefix"}


def test_several_hubs_have_names_wherever_they_are_said(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("".join(f'[hub.{name}]\nurl = "{url}"\n' for name, url in SEVERAL.items()), encoding="utf-8")
    texts = tuple(f"{name}={url}" for name, url in SEVERAL.items())
    for loaded in (load({"hub": texts}, {}), load({}, {"HUBFS_HUB": " ".join(texts)}), load({"config": str(file)}, {})):
        assert {name: own.hub for name, own in loaded.each_hub().items()} == SEVERAL
    assert {name: own.hub for name, own in load({"hub": ("one=https://one.example",)}, {}).each_hub().items()} == {
        "one": "https://one.example"
    }
    assert load({"hub": ("https://one.example",)}, {}).each_hub().keys() == {""}


def test_a_section_says_what_is_its_hubs_alone(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text(
        """stall_timeout = "7s"
[hub.one]
token = "s3cr3t"
format = "compressed"
catalog = "/k/one.tsv"
[hub.one.headers]
X-Key = "hush"
[hub.two]
url = "https://two.example"
""",
        encoding="utf-8",
    )
    hubs = load({"config": str(file), "hub": ("one=https://one.example", "two=https://two.example")}, {}).each_hub()
    one, two = hubs["one"], hubs["two"]
    assert (one.token, one.form, one.catalog, one.headers) == (
        "s3cr3t",
        Form.COMPRESSED,
        Path("/k/one.tsv"),
        {"X-Key": "hush"},
    )
    assert (two.token, two.form, two.catalog, two.headers) == (None, None, None, {})
    assert one.stall_timeout_s == two.stall_timeout_s == 7.0
    assert "s3cr3t" not in repr(load({"config": str(file)}, {}))


@pytest.mark.parametrize("mode", [0o644, 0o640])
def test_a_secret_in_a_section_that_others_can_read_is_warned_of(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "c.toml"
    file.write_text('[hub.one]\nurl = "https://one.example"\ntoken = "s3cr3t"\n', encoding="utf-8")
    file.chmod(mode)
    (text,) = load({"config": str(file)}, {}).warnings
    assert "token" in text
    assert "s3cr3t" not in text


@pytest.mark.parametrize(
    ("flags", "table", "reason"),
    [
        ({"hub": ("https://a.example", "https://b.example")}, "", "each reads NAME=URL"),
        ({"hub": ("a=https://a.example", "https://b.example")}, "", "each reads NAME=URL"),
        ({"hub": ("a=https://a.example", "a=https://b.example")}, "", "two hubs have the name 'a'"),
        ({"hub": ("../x=https://a.example",)}, "", "http"),
        ({"hub": ("a=ftp://a.example",)}, "", "http"),
        ({"hub": ("a=https://a.example",), "token": "s3cr3t"}, "", r"the section \[hub.NAME\]"),
        ({}, '[hub.a]\nurl = "https://a.example"\nspeed = 9\n', "unknown settings: speed"),
        ({}, "[hub.a]\ntoken = 't'\n", "'hub' in the config file"),
        ({}, "[hub.a]\nurl = 5\n", "'hub' in the config file"),
        ({}, '[hub.a]\nurl = "https://a.example"\nformat = "zip"\n', r"'format' of \[hub.a\]"),
    ],
)
def test_hubs_that_make_no_sense_are_refused(tmp_path: Path, flags: dict[str, Any], table: str, reason: str) -> None:
    file = tmp_path / "c.toml"
    file.write_text(table, encoding="utf-8")
    with pytest.raises(InvalidConfig, match=reason) as caught:
        load({"config": str(file), **flags}, {})
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["http://kaggle.example", "ftp://127.0.0.1", "kaggle.example", "https://me:pw@k.example"]
)
@pytest.mark.parametrize("hub", ["kaggle", "tfhub"])
def test_an_endpoint_of_a_hub_is_https_or_of_this_machine(text: str, hub: str) -> None:
    name = f"HUBFS_{hub.upper()}_ENDPOINT"
    with pytest.raises(InvalidConfig, match=name):
        load({"config": None}, {name: text})
    assert load({}, {name: "http://127.0.0.1:5/"}).endpoints == {hub: "http://127.0.0.1:5"}


def test_tfhub_is_short_for_the_public_hub() -> None:
    for text in ("tfhub:", "tfhub:/"):
        assert load({"hub": text}, {}).hub == "https://tfhub.dev"
    assert load({"hub": ("one=tfhub:", "two=kaggle:")}, {}).hubs["one"]["hub"] == "https://tfhub.dev"
    with pytest.raises(InvalidConfig):
        load({"hub": "tfhub:google/spice/2"}, {})
