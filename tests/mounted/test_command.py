"""The command: what it returns, when, and what it says."""

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import SMALL, MountHub
from tests.support.mount import DEAD, Machine, is_mounted, mounted, processes_naming
from tests.support.origin import Origin
from tests.support.waiting import eventually

pytestmark = pytest.mark.mounted


@pytest.fixture
def origin(servers: Origin) -> Origin:
    return servers.asked_for("compressed")


@pytest.fixture
def unused_url() -> Iterator[str]:
    """An address where nobody listens."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{reserved.getsockname()[1]}"


def assert_refused(machine: Machine, mountpoint: Path, *arguments: str | Path, says: str) -> None:
    """`hubfs mount` fails with one clear line, and leaves nothing."""
    done = machine.hubfs("mount", mountpoint, *arguments)
    assert done.returncode != 0
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert says in lines[-1]
    assert "Traceback" not in done.stderr
    assert len(lines) == 1, done.stderr
    assert not is_mounted(mountpoint)
    assert eventually(lambda: not processes_naming(mountpoint)), "a daemon was left behind"


@pytest.mark.both_libfuses
def test_mount_returns_once_the_mount_answers(mount: MountHub, origin: Origin, small: Path) -> None:
    with mount(origin) as hub:
        assert is_mounted(hub.path)
        assert (hub.path / SMALL / "fingerprint.pb").read_bytes() == (small / "fingerprint.pb").read_bytes()
        assert len(hub.pids()) == 1


@pytest.mark.both_libfuses
def test_the_mount_table_says_read_only_and_names_hubfs(mount: MountHub, origin: Origin) -> None:
    with mount(origin) as hub:
        (line,) = [line.split() for line in Path("/proc/mounts").read_text().splitlines() if f" {hub.path} " in line]
        assert line[2] == "fuse.hubfs"
        assert "ro" in line[3].split(",")


@pytest.mark.both_libfuses
def test_unmount_takes_the_mount_away_and_ends_the_daemon(mount: MountHub, origin: Origin) -> None:
    with mount(origin) as hub:
        assert hub.machine.hubfs("unmount", hub.path).returncode == 0
        assert not is_mounted(hub.path)
        assert eventually(lambda: not hub.pids())


def test_unmount_of_what_is_not_mounted_says_so(machine: Machine, tmp_path: Path) -> None:
    done = machine.hubfs("unmount", tmp_path)
    assert done.returncode != 0
    assert str(tmp_path) in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.both_libfuses
def test_a_dead_mount_is_cleared_and_replaced(mount: MountHub, origin: Origin, small: Path) -> None:
    with mount(origin) as hub:
        hub.kill()
        with pytest.raises(OSError, match=DEAD):
            os.listdir(hub.path)
        with mount(origin) as again:
            assert (again.path / SMALL / "saved_model.pb").read_bytes() == (small / "saved_model.pb").read_bytes()


def test_a_live_mount_is_not_replaced(mount: MountHub, origin: Origin) -> None:
    with mount(origin) as hub:
        done = hub.machine.hubfs("mount", hub.path, "--hub", origin.url)
        assert done.returncode != 0
        assert str(hub.path) in done.stderr
        assert os.listdir(hub.path / ".hubfs")


def test_a_mount_point_that_is_missing_is_named(machine: Machine, tmp_path: Path, origin: Origin) -> None:
    missing = tmp_path / "missing"
    assert_refused(machine, missing, "--hub", origin.url, says=str(missing))


def test_a_mount_point_that_is_a_file_is_named(machine: Machine, tmp_path: Path, origin: Origin) -> None:
    file = tmp_path / "file"
    file.touch()
    assert_refused(machine, file, "--hub", origin.url, says=str(file))


@pytest.mark.parametrize("hub", ["ftp://host/models", "not a url", "http://"])
def test_a_hub_that_cannot_be_one_is_named(machine: Machine, tmp_path: Path, hub: str) -> None:
    assert_refused(machine, tmp_path, "--hub", hub, says=hub)


@pytest.mark.parametrize(
    ("option", "value"),
    [("--cache-size", "many"), ("--memory-size", "-1"), ("--log-level", "loud")],
)
def test_a_value_that_cannot_be_used_is_named_with_its_option(
    machine: Machine, tmp_path: Path, origin: Origin, option: str, value: str
) -> None:
    done = machine.hubfs("mount", tmp_path, "--hub", origin.url, option, value)
    assert done.returncode != 0
    assert option in done.stderr
    assert value in done.stderr
    assert "Traceback" not in done.stderr
    assert not is_mounted(tmp_path)


def test_a_hub_that_does_not_answer_is_told_by_what_is_read(machine: Machine, tmp_path: Path, unused_url: str) -> None:
    with mounted(machine, tmp_path / "hub", unused_url) as hub:
        with pytest.raises(OSError, match="No route to host"):
            (hub.path / SMALL).stat()
        assert unused_url in json.dumps(hub.status())


@pytest.mark.parametrize(
    "environment",
    [
        {"HUBFS_CACHE_DIR": "{cache}", "HUBFS_FORMAT": "compressed"},
        {"TFHUB_CACHE_DIR": "{cache}", "TFHUB_MODEL_LOAD_FORMAT": "COMPRESSED"},
    ],
    ids=["of hubfs", "of the client library"],
)
def test_the_environment_says_what_no_flag_does(
    machine: Machine, tmp_path: Path, origin: Origin, unused_url: str, environment: dict[str, str]
) -> None:
    cache = tmp_path / "cache"
    settings = {name: value.format(cache=cache) for name, value in environment.items()}
    user = machine.with_environment(HUBFS_HUB=unused_url, **settings)
    with mounted(user, tmp_path / "hub", origin.url) as hub:
        assert os.getxattr(hub.path / SMALL, "user.hubfs.form") == b"compressed"
        (hub.path / SMALL / "saved_model.pb").read_bytes()
        assert hub.status()["hub"] == origin.url, "a flag goes before the environment"
    assert any(path.stat().st_size for path in cache.rglob("*") if path.is_file())


def test_status_tells_of_the_hub_the_models_and_the_cache(mount: MountHub, origin: Origin) -> None:
    with mount(origin) as hub:
        (hub.path / SMALL / "saved_model.pb").read_bytes()
        said = hub.machine.hubfs("status", hub.path)
        assert said.returncode == 0
        for fact in (str(hub.path), origin.url, SMALL):
            assert fact in said.stdout
        assert origin.url in json.dumps(hub.status())


def test_status_without_a_mount_point_finds_the_mounts(mount: MountHub, origin: Origin) -> None:
    with mount(origin) as hub:
        assert str(hub.path) in hub.machine.hubfs("status").stdout


def test_status_of_what_is_not_mounted_says_so(machine: Machine, tmp_path: Path) -> None:
    done = machine.hubfs("status", tmp_path)
    assert done.returncode != 0
    assert str(tmp_path) in done.stderr


@pytest.mark.parametrize(
    ("output", "complaint"),
    [("> /dev/full", "hubfs: the output cannot be written: No space left on device\n"), ("| :", "")],
)
def test_output_that_nobody_takes_is_no_traceback(machine: Machine, output: str, complaint: str) -> None:
    asking = Machine(machine.root, machine.environment, ("sh", "-c", f'"$0" "$@" {output}'))
    assert asking.hubfs("status").stderr == complaint
    assert asking.hubfs("--help").stderr == complaint


def test_resolve_prints_the_path_of_a_model_below_the_mount_of_its_hub(mount: MountHub, origin: Origin) -> None:
    with mount(origin) as hub:
        done = hub.machine.hubfs("resolve", f"{origin.url}/{SMALL}")
        assert (done.returncode, done.stdout) == (0, f"{hub.path / SMALL}\n"), done.stderr


def test_resolve_of_a_model_that_the_hub_does_not_have_says_so(mount: MountHub, origin: Origin) -> None:
    with mount(origin) as hub:
        done = hub.machine.hubfs("resolve", f"{origin.url}/noise/absent/1")
        assert done.returncode != 0
        assert "noise/absent/1" in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


def test_resolve_of_a_hub_that_is_not_mounted_says_so(machine: Machine, unused_url: str) -> None:
    done = machine.hubfs("resolve", f"{unused_url}/{SMALL}")
    assert done.returncode != 0
    assert unused_url.removeprefix("http://") in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
