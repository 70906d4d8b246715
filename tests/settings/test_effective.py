import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from hubfs.cli import main
from hubfs.errors import InvalidConfig
from hubfs.settings import config
from hubfs.settings.config import SETTINGS, load, settle
from hubfs.settings.effective import Row, rows
from hubfs.settings.file import line_of
from hubfs.settings.profiles import PROFILES
from tests.support.paths import ROOT

SECRET = "s3cr3t"
FILE = f"""\
# cache_size is said below, and so is the token
cache_size = '20GiB'
mount_options = [
    "noatime",  # log_level = "debug"
]
log_level = 'warning'

[hub.mine]
url = "https://me:{SECRET}@hub.example.com/x?key={SECRET}"
token = "{SECRET}"

[hub.mine.headers]
X-Key = "{SECRET}"

[hub.team]
url = "gs://team/models"
"""


@pytest.fixture(autouse=True)
def _no_config_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "DEFAULT_CONFIG_FILE", tmp_path / "none.toml")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "c.toml"
    path.write_text(FILE, encoding="utf-8")
    path.chmod(0o600)
    return path


def by_name(flags: dict[str, object], environment: dict[str, str] | None = None) -> dict[tuple[str, str], Row]:
    return {(row.hub, row.setting): row for row in rows(settle(flags, environment or {}))}


def test_every_setting_has_a_row_and_without_anything_it_is_a_default() -> None:
    found = by_name({})
    names = {setting.name for setting in SETTINGS} | {"shared_cache_url", "no_disk_cache"}
    assert {name for _, name in found} == names
    assert {row.origin for row in found.values()} == {"default"}
    assert found["", "cache_size"].value == "10GiB"
    assert found["", "token"].value is None


def test_a_row_says_where_its_value_comes_from(file: Path) -> None:
    found = by_name(
        {"config": str(file), "allow_other": True, "profile": "ci"},
        {"HUBFS_STALL_TIMEOUT": "90s", "HUBFS_CACHE_DIR": "gs://b/x", "HUBFS_NO_DISK_CACHE": "1"},
    )
    told = {key: (row.value, row.origin, row.name, row.line) for key, row in found.items() if row.origin != "default"}
    assert told == {
        ("", "allow_other"): ("true", "option", "--allow-other", None),
        ("", "profile"): ("ci", "option", "--profile", None),
        ("", "stall_timeout"): ("90s", "environment", "HUBFS_STALL_TIMEOUT", None),
        ("", "shared_cache_url"): ("gs://b/x", "environment", "HUBFS_CACHE_DIR", None),
        ("", "no_disk_cache"): ("true", "environment", "HUBFS_NO_DISK_CACHE", None),
        ("", "cache_size"): ("20GiB", "file", str(file), 2),
        ("", "mount_options"): ("noatime", "file", str(file), 3),
        ("", "log_level"): ("warning", "file", str(file), 6),
        ("", "supervise"): ("false", "profile", "ci", None),
        ("", "connect_timeout"): ("30s", "profile", "ci", None),
        ("", "failure_ttl"): ("2s", "profile", "ci", None),
        ("mine", "url"): ("https://hub.example.com/x", "file", str(file), 9),
        ("mine", "token"): ("(secret)", "file", str(file), 10),
        ("mine", "headers"): ("(secret)", "file", str(file), 12),
        ("team", "url"): ("gs://team/models", "file", str(file), 16),
    }
    assert found["", "cache_dir"].value is None


@pytest.mark.parametrize("arguments", [[], ["--json"], ["--changed"]])
def test_no_secret_is_shown(file: Path, arguments: list[str]) -> None:
    shown = CliRunner().invoke(
        main,
        ["config", "show", "--config", str(file), *arguments],
        env={"HUBFS_HF_ENDPOINT": "", "HUBFS_CACHE_DIR": f"s3://key:{SECRET}@bucket/x?sig={SECRET}"},
    )
    assert shown.exit_code == 0
    assert "https://hub.example.com/x" in shown.output
    assert "s3://bucket/x" in shown.output
    assert SECRET not in shown.output


def test_the_text_has_a_line_a_setting_and_a_section_a_hub(file: Path) -> None:
    shown = CliRunner().invoke(main, ["config", "show", "--config", str(file), "--changed", "--profile", "ci"])
    lines = [re.split(r"\s{2,}", line) for line in shown.output.splitlines()]
    assert ["cache_size", "20GiB", f"{file}:2"] in lines
    assert ["supervise", "false", "profile ci"] in lines
    assert ["profile", "ci", "--profile"] in lines
    assert lines.index(["[hub.mine]"]) < lines.index(["token", "(secret)", f"{file}:10"]) < lines.index(["[hub.team]"])


def test_what_is_shown_is_for_programs_too(file: Path) -> None:
    file.chmod(0o644)
    shown = json.loads(CliRunner().invoke(main, ["config", "show", "--config", str(file), "--json"]).output)
    assert {"setting": "cache_size", "value": "20GiB", "origin": "file", "name": str(file), "line": 2, "hub": ""} in (
        shown["settings"]
    )
    (warning,) = shown["warnings"]
    assert "chmod 600" in warning


def test_a_value_that_cannot_be_used_is_one_line_and_nothing_else() -> None:
    shown = CliRunner().invoke(main, ["config", "show", "--profile", "fast"])
    assert (shown.exit_code, shown.stdout) == (1, "")
    assert shown.stderr == "hubfs: --profile ('fast') cannot be used: it must be notebook, serving or ci\n"


@pytest.mark.parametrize("text", ["", "a = 1", 'key = "', "[key", "# key = 1", 'other = """\nkey = 1\n"""'])
def test_a_key_that_is_not_there_has_no_line(text: str) -> None:
    assert line_of(text, "key") is None


class TestProfiles:
    @pytest.mark.parametrize("name", PROFILES)
    def test_each_of_its_values_is_in_force_and_is_no_default(self, name: str) -> None:
        found, default = by_name({"profile": name}), by_name({})
        for key, choice in PROFILES[name].items():
            row = found["", key]
            assert (row.value, row.origin, row.name) == (choice.value, "profile", name)
            assert row.value != default["", key].value
            assert choice.why

    @pytest.mark.parametrize("name", PROFILES)
    def test_whatever_else_is_said_beats_it(self, name: str, tmp_path: Path) -> None:
        said = {"cache_size": "7MB", "memory_size": "9MiB", "log_level": "error"}
        file = tmp_path / "c.toml"
        file.write_text("".join(f'{key} = "{value}"\n' for key, value in said.items()))
        for flags, environment in (
            ({**said}, {}),
            ({}, {f"HUBFS_{key.upper()}": value for key, value in said.items()}),
            ({"config": file}, {}),
        ):
            found = load({**flags, "profile": name}, environment)
            assert (found.cache_size_bytes, found.memory_size_bytes, found.log_level) == (7_000_000, 9 << 20, "ERROR")

    def test_a_file_may_name_it(self, tmp_path: Path) -> None:
        file = tmp_path / "c.toml"
        file.write_text('profile = "serving"\n')
        assert load({"config": file}, {}).cache_size_bytes == 100 << 30
        assert load({"config": file}, {"HUBFS_PROFILE": "ci"}).cache_size_bytes == 5 << 30

    def test_a_profile_that_is_none_is_named_with_its_origin(self) -> None:
        with pytest.raises(InvalidConfig, match=r"^HUBFS_PROFILE \('x'\) cannot be used: it must be notebook"):
            load({}, {"HUBFS_PROFILE": "x"})

    def test_the_manual_has_each_value_with_its_reason(self) -> None:
        told = (ROOT / "docs" / "OPERATIONS.md").read_text(encoding="utf-8")
        found = re.findall(r"^\| `(\w+)` \| `(\w+)` \| `([^`]+)`: (.+) \|$", told, re.MULTILINE)
        assert found == [
            (name, key, one.value, one.why) for name, settings in PROFILES.items() for key, one in settings.items()
        ]
