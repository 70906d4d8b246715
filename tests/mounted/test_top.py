"""`hubfs top` and `hubfs status` in a terminal, of a real mount."""

import contextlib
import json
import os
import re
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.archives import gzipped, tar_of
from tests.support.hosted import put
from tests.support.http_origin import HttpOrigin, paced
from tests.support.mount import HUBFS, Machine, Mount, mounted
from tests.support.terminal import Terminal

pytestmark = pytest.mark.mounted

SMALL, SLOW = "noise/small/1", "noise/slow/1"
ALTERNATE, USUAL = b"\x1b[?1049h", b"\x1b[?1049l"
"""What has a terminal show its other screen, and its first one again (xterm's control sequences)."""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    return Machine(tmp_path_factory.mktemp("machine")).with_environment(HUBFS_FUSE_LIBRARY="session")


@pytest.fixture(scope="module")
def origin() -> Iterator[HttpOrigin]:
    with HttpOrigin() as origin:
        put(origin, f"/{SMALL}", "tf-hub-format=compressed", gzipped(tar_of({"saved_model.pb": b"graph"})), etag='"1"')
        slow = gzipped(tar_of({"saved_model.pb": b"graph", "weights": os.urandom(64 << 20)}))
        put(origin, f"/{SLOW}", "tf-hub-format=compressed", slow, etag='"1"')
        origin.always(f"/{SLOW}", paced(50_000, piece_bytes=10_000))
        yield origin


@pytest.fixture(scope="module")
def hub(machine: Machine, origin: HttpOrigin) -> Iterator[Mount]:
    with mounted(machine, machine.root / "hub", origin.url) as hub:
        yield hub


@contextlib.contextmanager
def terminal(
    machine: Machine, *arguments: str | Path, columns: int = 100, rows: int = 40, environment: Mapping[str, str] = {}
) -> Iterator[Terminal]:
    opened = Terminal([HUBFS, *arguments], columns, rows, {**machine.variables, **environment})
    with contextlib.closing(opened):
        yield opened


def left_as_it_was(top: Terminal) -> bool:
    """Keys are handled as before, and the screen is that of the shell, with a cursor."""
    return (
        top.settings() == top.before
        and top.said.rindex(USUAL) > top.said.rindex(ALTERNATE)
        and b"\x1b[?25h" in top.said
    )


def test_top_shows_what_happens_until_q(hub: Mount) -> None:
    with terminal(hub.machine, "top", hub.path, "--interval", "300ms") as top:
        top.shows("q quits; every 0.3 s")
        (hub.path / SMALL / "saved_model.pb").read_bytes()
        text = top.shows(lambda text: re.search(rf"^{SMALL} +5 B", text, re.MULTILINE))  # and not while it comes
        assert f"{hub.path}: up " in text.splitlines()[0]
        the_looks_themselves = re.compile(r"^statfs +[0-9.]+ +[0-9.]+ [mu]?s", re.MULTILINE)
        assert "OPERATION" in top.shows(the_looks_themselves.search)
        top.send("q")
        assert top.ended() == 0
        assert left_as_it_was(top)


def test_a_transfer_is_seen_as_it_comes(hub: Mount) -> None:
    with (hub.path / SLOW / "saved_model.pb").open("rb"):  # the pass runs to its end
        with terminal(hub.machine, "top", hub.path, "--interval", "300ms") as top:
            coming = re.compile(
                rf"^{SLOW} +[0-9.]+ [kM]?B/s +[0-9.]+ [kM]?B +[0-9.]+ MB .*[0-9] (s|min|h)$", re.MULTILINE
            )
            top.shows(lambda text: "TO COME" in text and coming.search(text))
        (told,) = [one for one in hub.status()["models"] if one["handle"] == SLOW]
        assert told["streaming"]
        assert 0 < told["came_bytes"] < 64 << 20
        assert told["came_bytes"] + told["to_come_bytes"] >= 64 << 20
        with terminal(hub.machine, "status", hub.path) as status:
            assert status.ended() == 0
            assert re.search(rf"^{SLOW} +[0-9.]+ [kM]?B/s", status.text(), re.MULTILINE)


@pytest.mark.parametrize("end", ["Ctrl-C", signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=str)
def test_whatever_ends_it_leaves_the_terminal_as_it_was(hub: Mount, end: str | signal.Signals) -> None:
    with terminal(hub.machine, "top", hub.path) as top:
        top.shows("q quits")
        if isinstance(end, signal.Signals):
            top.process.send_signal(end)
        else:
            top.send("\x1az?\x03")  # Ctrl-Z and other keys do nothing
        assert top.ended() == 0
        assert left_as_it_was(top)
        assert b"Abort" not in top.said
        assert b"Traceback" not in top.said


def test_the_screen_follows_the_windows_edge(hub: Mount) -> None:
    (hub.path / SMALL / "saved_model.pb").read_bytes()
    with terminal(hub.machine, "top", hub.path, "--interval", "1h", columns=110) as top:
        top.shows("RECEIVED")
        for columns, rows in ((40, 50), (200, 30), (20, 5), (60, 40)):
            top.resize(columns, rows)
            text = top.shows(lambda text: "q quits" in text)
            assert max(map(len, text.splitlines())) <= columns
        assert re.search(rf"^{SMALL} ", top.shows("CACHED"), re.MULTILINE)
        top.send("q")
        assert top.ended() == 0


def test_a_daemon_that_dies_and_one_that_follows_are_said(machine: Machine, origin: HttpOrigin, tmp_path: Path) -> None:
    mountpoint = tmp_path / "hub"
    with (
        mounted(machine, mountpoint, origin.url) as first,
        terminal(machine, "top", mountpoint, "--interval", "200ms", columns=200) as top,
    ):
        top.shows("HUB")
        first.kill()
        top.shows("dead; `hubfs mount` there replaces it")
        with mounted(machine, mountpoint, origin.url):
            top.shows("another daemon serves the mount")
            assert "HUB" in top.text()
        top.shows("no hub is mounted there just now")
        top.send("q")
        assert top.ended() == 0


def test_of_several_mounts_tab_shows_the_next(hub: Mount, machine: Machine, origin: HttpOrigin, tmp_path: Path) -> None:
    with mounted(machine, tmp_path / "other", origin.url) as other, terminal(machine, "top", columns=150) as top:
        for mount in (other, hub, other):
            for _ in range(100):  # others may have mounts, too
                text = top.shows(lambda text: "is being asked" not in text)
                if text.startswith(f"{mount.path}: up"):
                    break
                top.send("\t")
                top.shows(lambda now, before=text: now.splitlines()[:1] != before.splitlines()[:1])  # type: ignore[misc]
            else:
                pytest.fail(f"{mount.path} is not among the mounts")
            assert "Tab shows the next" in text
        status = json.loads(machine.hubfs("status", "--json").stdout)
        assert {one["mountpoint"] for one in status} >= {str(hub.path), str(other.path)}


def test_without_a_terminal_it_says_what_there_is_for_programs(hub: Mount) -> None:
    done = hub.machine.hubfs("top", hub.path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "hubfs: top takes a terminal; `hubfs status` shows the same once, and --json for programs\n"


@pytest.mark.parametrize(("option", "code"), [("0", 2), ("soon", 2), ("nan", 2)])
def test_an_interval_that_makes_no_sense_is_refused(machine: Machine, option: str, code: int) -> None:
    with terminal(machine, "top", "--interval", option) as top:
        assert top.ended() == code
        assert ALTERNATE not in top.said


def test_where_nothing_is_mounted_it_says_so(machine: Machine, tmp_path: Path) -> None:
    with terminal(machine, "top", tmp_path, columns=300) as top:
        assert top.ended() == 1
        assert f"hubfs: No hub is mounted at {tmp_path}" in top.text()
        assert ALTERNATE not in top.said


@pytest.mark.parametrize(
    ("columns", "environment", "colors"), [(100, {}, True), (40, {}, False), (100, {"NO_COLOR": "1"}, False)]
)
def test_status_fits_the_terminal_and_has_colours_for_those_who_want_them(
    hub: Mount,
    columns: int,
    environment: Mapping[str, str],
    colors: bool,  # noqa: FBT001 - a parameter
) -> None:
    (hub.path / SMALL / "saved_model.pb").read_bytes()
    with pytest.raises(FileNotFoundError):
        (hub.path / SMALL / "absent").stat()
    with terminal(hub.machine, "status", hub.path, columns=columns, rows=200, environment=environment) as status:
        assert status.ended() == 0
        lines = re.sub(rb"\x1b\[[0-9;]{0,20}m", b"", status.said).decode().splitlines()
        assert max(map(len, lines)) <= columns
        assert any(line.startswith("noise/sm") and " 5 B" in line for line in lines)
        assert bool(re.search(rb"\x1b\[[0-9;]{0,20}3[0-9]m", status.said)) is colors, "a bar is green"
