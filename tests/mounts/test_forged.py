"""What anybody can mount: a file system of the type `fuse.hubfs` with anything in it. A tmpfs stands for one."""

import contextlib
import json
import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hubfs.cli import main
from hubfs.commands.doctor import mounts
from hubfs.commands.doctor.finding import Verdict
from hubfs.mounts import table as mount_table
from hubfs.mounts.table import MOST_BYTES, State, state_of

HUB = "https://hub.example"

Forge = Callable[[Path], object]
"""Puts something in the place of a control file."""


@contextlib.contextmanager
def tmpfs(path: Path) -> Iterator[Path]:
    path.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", path], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"no tmpfs here: {done.stderr!r}")
    try:
        (path / ".hubfs").mkdir()
        yield path
    finally:
        subprocess.run(["umount", "-l", path], check=True)


@pytest.fixture
def forged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounting a tmpfs takes root")
    monkeypatch.setattr(mount_table, "_TYPE", "tmpfs")
    real = mount_table._table
    monkeypatch.setattr(mount_table, "_table", lambda: [one for one in real() if one.path.is_relative_to(tmp_path)])
    with tmpfs(tmp_path / "forged") as path:
        yield path


def status(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["status", *map(str, arguments)], catch_exceptions=False)


def a_symlink(place: Path) -> None:
    """To a file that root may read."""
    target = place.with_name("target")
    target.write_text(json.dumps({"hub": HUB}))
    place.symlink_to(target)


def a_file_elsewhere(place: Path) -> None:
    """By a directory that is a symlink: the file is on another file system."""
    elsewhere = place.parents[2] / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    (elsewhere / place.name).write_text(json.dumps({"hub": HUB}))
    place.parent.rmdir()
    place.parent.symlink_to(elsewhere)


FILES: dict[str, Forge] = {
    "a symlink": a_symlink,
    "a file elsewhere": a_file_elsewhere,
    "a fifo": os.mkfifo,
    "a device that never ends": lambda place: os.mknod(place, 0o644 | stat.S_IFCHR, os.makedev(1, 5)),
    "a directory": Path.mkdir,
    "too much": lambda place: place.write_text(json.dumps({"hub": HUB + " " * MOST_BYTES})),
    "a hole of a terabyte": lambda place: (place.touch(), os.truncate(place, 1 << 40)),
    "nesting": lambda place: place.write_text("[" * 100_000),
    "nesting that can be read": lambda place: place.write_text('{"a":' * 500 + "1" + "}" * 500),
    "a number without end": lambda place: place.write_text('{"pid": ' + "9" * 100_000 + "}"),
    "no JSON": lambda place: place.write_bytes(b"\xff\0"),
}

SHAPES: list[object] = [
    {},
    {"models": 1},
    {"models": [[]], "cache": {}, "mountpoint": "x", "hub": "y", "uptime_s": 1, "pid": 1, "binding": "", "offline": 0},
    {"state": "nonsense", "mountpoint": []},
    {"mountpoint": {}, "hub": [], "uptime_s": "soon", "pid": {}, "binding": 3, "offline": [], "cache": [], "latest": 7},
    {"uptime_s": 1e999, "hub": "\ud800", "mountpoint": "\x1b[2J", "pid": -1, "binding": None, "offline": 1, "cache": 0},
]


@pytest.mark.parametrize("name", [mount_table.ABOUT, mount_table.REPORT])
@pytest.mark.parametrize("forge", FILES.values(), ids=FILES)
def test_only_a_small_regular_file_of_the_mount_itself_is_read(forged: Path, forge: Forge, name: str) -> None:
    forge(forged / ".hubfs" / name)
    assert state_of(forged, name) == (State.STRANGE, None)


@pytest.mark.parametrize(
    ("error", "times", "state"),
    [("ESTALE", 1, State.ALIVE), ("ESTALE", 2, State.STRANGE), ("EIO", 1, State.STRANGE)],
)
def test_a_text_is_asked_for_anew_if_another_daemon_took_over_meanwhile(
    forged: Path, monkeypatch: pytest.MonkeyPatch, error: str, times: int, state: State
) -> None:
    (forged / ".hubfs" / mount_table.REPORT).write_text("{}")
    failing = f"""
import errno, os
opened, left = os.fdopen, [{times}]
def fails(file, mode):
    if not left[0]:
        return opened(file, mode)
    left[0] -= 1
    raise OSError(errno.{error}, "")
os.fdopen = fails
"""
    monkeypatch.setattr(mount_table, "_LOOK", failing + mount_table._LOOK)
    assert state_of(forged)[0] is state


@pytest.mark.slow
@pytest.mark.parametrize("forge", [*FILES.values(), *SHAPES], ids=[*FILES, *map(str, range(len(SHAPES)))])
def test_one_bad_mount_spoils_no_report_on_the_others(forged: Path, tmp_path: Path, forge: object) -> None:
    place = forged / ".hubfs" / mount_table.REPORT
    if callable(forge):
        forge(place)
    else:
        place.write_text(json.dumps(forge))
    sound = {"mountpoint": "/mnt/sound", "state": "silent"}
    with tmpfs(tmp_path / "sound") as other:
        (other / ".hubfs" / mount_table.REPORT).write_text(json.dumps(sound))
        done = status()
        assert (done.exit_code, len(done.output.splitlines())) == (0, 2), done.output
        assert "/mnt/sound: " in done.output
        assert f"{forged}: it answers, but not as a daemon" in done.output
        assert "\x1b" not in done.output
        assert json.loads(status("--json").output)[1] == sound
        findings = [finding for finding in mounts.examine() if str(forged) in finding.subject]
        assert [finding.verdict for finding in findings] == [Verdict.WARNING]


def test_of_another_users_mount_nothing_is_read(forged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (forged / ".hubfs" / mount_table.REPORT).write_text("{}")
    assert state_of(forged) == (State.ALIVE, {})
    monkeypatch.setattr(mount_table.Mounted, "is_believed", False)
    monkeypatch.setattr(mount_table, "_LOOK", mount_table._LOOK.replace("os.open(", "os.never("))
    assert state_of(forged) == (State.SHUT, None)
    assert "another user" in status(forged).output
