"""`hubfs debug`: everything that helps, and no secret of any kind in any byte."""

import json
import os
import signal
import tarfile
from pathlib import Path

import pytest

from hubfs.commands.debug import gathering
from hubfs.daemon.dump import END
from hubfs.mounts import table as mount_table
from hubfs.settings.config import settle
from tests.conftest import SMALL
from tests.support.files import files
from tests.support.mount import Machine, Mount, mounted
from tests.support.origin import Origin
from tests.support.waiting import eventually

pytestmark = pytest.mark.mounted

MARK = "Zq7"
"""In every secret, and in nothing else."""


def secret(name: str) -> str:
    return f"{MARK}{name}{MARK}0123456789"


ENVIRONMENT = {
    "HF_TOKEN": f"hf_{secret('hf')}",
    "KAGGLE_USERNAME": "somebody",
    "KAGGLE_KEY": secret("kaggle"),
    "HUBFS_TOKEN": secret("token"),
    "HUBFS_HEADERS": f"X-Api-Key: {secret('header')}",
    "NO_PROXY": "*",
    "HTTPS_PROXY": f"http://me:{secret('proxy')}@127.0.0.1:9",
}


def bundle(path: Path) -> dict[str, str]:
    """The members by their names in the bundle's one directory."""
    with tarfile.open(path) as opened:
        found = {}
        for member in opened.getmembers():
            file = opened.extractfile(member)
            assert file is not None
            found[member.name.partition("/")[2]] = file.read().decode()
        return found


def debug(hub: Mount, out: Path) -> dict[str, str]:
    done = hub.machine.hubfs("debug", hub.path, "--out", out, timeout_s=200)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{out}\n"
    assert out.stat().st_mode & 0o777 == 0o600
    assert MARK not in done.stdout + done.stderr
    return bundle(out)


@pytest.mark.slow
def test_a_bundle_has_what_helps_and_no_secret(tmp_path: Path, machine: Machine, servers: Origin, small: Path) -> None:
    origin = servers.asked_for("uncompressed")
    user = machine.with_environment(**origin.environment, **ENVIRONMENT)
    for name, text in {
        ".netrc": f"machine example.com login me password {secret('netrc')}\n",
        ".kaggle/kaggle.json": json.dumps({"username": "me", "key": secret("kagglefile")}),
        ".config/hubfs/config.toml": f'token = "{secret("config")}"\n',
    }.items():
        (machine.home / name).parent.mkdir(parents=True, exist_ok=True)
        (machine.home / name).write_text(text)
        (machine.home / name).chmod(0o600)
    url = origin.url.replace("://", f"://me:{secret('userinfo')}@")
    with mounted(user, tmp_path / "hub", url, "--format", origin.form) as hub:
        assert files(hub.path / SMALL) == files(small)
        with hub.log_file.open("a") as log:  # as if a library said what it must not
            log.write(f"GET https://cdn.example.com/x?X-Amz-Signature={secret('signed')}&Expires=1 failed\n")
            log.write(f"Authorization: Bearer {secret('bearer')}\n{secret('kaggle')} {secret('token')}\n")
        found = debug(hub, tmp_path / "bundle.tar.gz")
        assert {*found} == {
            *("about.txt", "config.json", "mountinfo.txt", "doctor.txt"),
            *(f"mounts/1/{name}" for name in ("status.json", "metrics.txt", "dump.txt", "log.txt")),
        }
        for name, text in found.items():
            assert MARK not in text, f"{name}: {text[max(0, text.find(MARK) - 100) :][:200]}"
        assert "hubfs " in found["about.txt"]
        assert {row["setting"] for row in json.loads(found["config.json"])} >= {"hub", "token", "cache_dir"}
        assert json.loads(found["mounts/1/status.json"])["pid"] in hub.pids()
        assert "hubfs_operations_total{" in found["mounts/1/metrics.txt"]
        assert "Thread 0x" in found["mounts/1/dump.txt"]
        assert END in found["mounts/1/dump.txt"]
        assert "https://cdn.example.com/x failed" in found["mounts/1/log.txt"]
        assert "is mounted at" in found["mounts/1/log.txt"]
        assert str(hub.path) in found["mountinfo.txt"]
        assert "/dev/fuse" in found["doctor.txt"]
        done = hub.machine.hubfs("debug", hub.path, "--out", tmp_path / "bundle.tar.gz")
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "is there already" in done.stderr


@pytest.mark.slow
def test_a_daemon_that_does_not_answer_keeps_nobody_waiting(
    tmp_path: Path, machine: Machine, servers: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mount_table, "ANSWER_S", 1.0)
    monkeypatch.setattr(gathering, "_DUMP_S", 1.0)
    # What finds that out leaves a process behind, which waits for the mount.
    monkeypatch.setattr(mount_table, "state_of", lambda *_: (mount_table.State.SILENT, None))
    origin = servers.asked_for("uncompressed")
    with mounted(machine.with_environment(**origin.environment), tmp_path / "hub", origin.url) as hub:
        (pid,) = hub.pids()
        assert hub.status()
        os.kill(pid, signal.SIGSTOP)
        try:
            monkeypatch.setattr(gathering.log_file, "of_daemon", lambda *_: hub.log_file)
            status, found = gathering.of_mount(hub.path, settle({}, {}))
            texts = {name: gathering.as_text(gathering.text_of(make)) for name, make in found.items()}
        finally:
            os.kill(pid, signal.SIGCONT)
        assert status["state"] == "silent"
        assert "no more within" in texts["metrics.txt"]
        assert "no more within" in texts["dump.txt"]
        assert "is mounted at" in texts["log.txt"]
        assert eventually(lambda: END in hub.log_file.with_name(f"{hub.log_file.name}.dump").read_text())


def test_where_nothing_is_mounted_that_is_said_and_nothing_is_written(tmp_path: Path, machine: Machine) -> None:
    done = machine.hubfs("debug", tmp_path, "--out", tmp_path / "bundle.tar.gz")
    assert done.returncode == 1
    assert "No hub is mounted" in done.stderr
    assert not (tmp_path / "bundle.tar.gz").exists()
