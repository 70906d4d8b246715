"""`hubfs fetch`, as a user types it, from stand-ins of every kind of hub."""

import fcntl
import json
import os
import pty
import random
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from hubfs.commands.fetch.copying import Copying
from tests.support.archives import gzipped, tar_of
from tests.support.commands import Commands
from tests.support.files import files, listed
from tests.support.hosted import put
from tests.support.http_origin import HttpOrigin
from tests.support.huggingface import HuggingFaceStandIn
from tests.support.kaggle import KaggleStandIn
from tests.support.mount import HUBFS
from tests.support.small_disk import small_disk
from tests.support.waiting import eventually

NAME = "BAAI/tiny"
FILES = {
    "config.json": b'{"model_type": "bert"}',
    "model.safetensors": random.Random(1).randbytes((3 << 20) + 17),
    "1_Pooling/a b+é": random.Random(2).randbytes(3000),
    "empty": b"",
}


@pytest.fixture
def hub(hub: HuggingFaceStandIn) -> HuggingFaceStandIn:
    hub.put(NAME, FILES)
    return hub


@pytest.fixture
def environment(hub: HuggingFaceStandIn, tmp_path: Path) -> dict[str, str]:
    return {"HF_ENDPOINT": hub.url, "HUBFS_CACHE_DIR": str(tmp_path / "cache"), "HOME": str(tmp_path)}


@pytest.fixture
def hubfs(environment: dict[str, str]) -> Commands:
    return Commands(environment)


def test_a_model_becomes_a_directory_and_once_more_it_was_there(
    hub: HuggingFaceStandIn, hubfs: Commands, tmp_path: Path
) -> None:
    to = tmp_path / "m"
    done = hubfs("fetch", f"hf:{NAME}", "--to", to)
    assert files(to) == FILES
    assert done.stdout.startswith(f"hf:{NAME}: {to} (3.1 MB, ")
    calls = {**hub.calls}
    again = hubfs("fetch", f"hf:{NAME}", "--to", to)
    assert again.stdout == f"hf:{NAME}: {to} (3.1 MB, was there)\n"
    assert {**hub.calls, "info": 1} == calls, "which commit it is was asked, and nothing else"
    os.utime(to / "config.json")
    assert hubfs("fetch", f"hf:{NAME}", "--to", to, "--quiet").output == ""
    (to / "config.json").write_bytes(FILES["config.json"].replace(b"bert", b"BERT"))
    assert "its 'config.json' is not the model's" in hubfs.refused("fetch", f"hf:{NAME}", "--to", to)


def test_several_models_of_several_hubs_lie_below_one_directory(hubfs: Commands, tmp_path: Path) -> None:
    spice = {"saved_model.pb": b"graph" * 100, "variables/variables.data": random.Random(3).randbytes(2 << 20)}
    with KaggleStandIn() as kaggle, HttpOrigin() as origin:
        kaggle.put("google/yamnet/tensorFlow2/yamnet/1", FILES)
        put(origin, "/google/spice/2", "tf-hub-format=compressed", gzipped(tar_of(spice)))
        hubfs.environment |= {"HUBFS_KAGGLE_ENDPOINT": kaggle.url, "HUBFS_HUB": origin.url}
        yamnet = "google/yamnet/tensorFlow2/yamnet/1"
        done = hubfs(
            "fetch", f"hf:{NAME}@main", f"kaggle:{yamnet}", "google/spice/2", "--to", tmp_path / "all", "--json"
        )
    ends = [said for said in map(json.loads, done.stdout.splitlines()) if said["event"] == "done"]
    assert [end["handle"] for end in ends] == [f"hf:{NAME}@main", f"kaggle:{yamnet}", "google/spice/2"]
    assert [end["size_bytes"] for end in ends] == [sum(map(len, model.values())) for model in (FILES, FILES, spice)]
    assert [files(Path(str(end["path"]))) for end in ends] == [FILES, FILES, spice]
    assert ends[2]["path"] == str(tmp_path / "all/google/spice/2")


def test_what_is_cached_is_fetched_offline(hub: HuggingFaceStandIn, hubfs: Commands, tmp_path: Path) -> None:
    hubfs("fetch", f"hf:{NAME}", "--to", tmp_path / "m")
    hub.reset_counts()
    hubfs("fetch", f"hf:{NAME}", "--to", tmp_path / "n", "--offline")
    assert files(tmp_path / "n") == FILES
    assert not hub.calls
    assert "--offline" in hubfs.refused("fetch", "hf:BAAI/other", "--to", tmp_path / "o", "--offline")


def test_a_directory_that_is_empty_becomes_the_model_and_a_whole_one_stays(hubfs: Commands, tmp_path: Path) -> None:
    (to := tmp_path / "m").mkdir()
    there = to.stat().st_ino
    hubfs("fetch", f"hf:{NAME}", "--to", to)
    assert files(to) == FILES
    assert to.stat().st_ino == there, "it may be a mount point"


@pytest.mark.parametrize(
    ("handle", "reason"),
    [
        ("hf:BAAI/nothing", "has no main of BAAI/nothing"),
        ("hf:BAAI/tiny@v9", "has no v9 of BAAI/tiny"),
        ("kaggle:google", "is no handle of Kaggle Models"),
        ("google/spice/x y", "is not a versioned handle"),
    ],
)
def test_an_unknown_handle_is_one_line_and_leaves_nothing(
    hubfs: Commands, tmp_path: Path, handle: str, reason: str
) -> None:
    said = hubfs.refused("fetch", handle, "--to", tmp_path / "new" / "m")
    assert reason in said
    assert not (tmp_path / "new").exists()


def test_a_directory_with_something_else_is_refused_and_stays(hubfs: Commands, tmp_path: Path) -> None:
    (to := tmp_path / "m").mkdir()
    (to / "notes").write_text("mine")
    assert "its 'notes' is not the model's" in hubfs.refused("fetch", f"hf:{NAME}", "--to", to)
    assert files(to) == {"notes": b"mine"}
    (tmp_path / "link").symlink_to(to)
    for other in (to / "notes", tmp_path / "link"):
        assert "is no directory" in hubfs.refused("fetch", f"hf:{NAME}", "--to", other)
    (to / "notes").rename(to / "config.json")
    (to / "config.json").unlink()
    (to / "config.json").symlink_to("/etc/passwd")
    assert "its 'config.json' is not the model's" in hubfs.refused("fetch", f"hf:{NAME}", "--to", to)


def test_without_room_nothing_is_begun(hubfs: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free_bytes = len(FILES["model.safetensors"])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(0, 0, free_bytes))  # type: ignore[attr-defined]
    said = hubfs.refused("fetch", f"hf:{NAME}", "--to", tmp_path / "m")
    assert f"has no room: {sum(map(len, FILES.values()))} bytes are missing, and {free_bytes} are free" in said
    assert not (tmp_path / "m").exists()


def test_on_a_small_disk_nothing_is_begun_and_one_that_fills_up_has_no_half_a_model(
    hubfs: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(tmp_path / "disk", size_bytes=2 << 20) as disk:
        for verb in ("fetch", "mirror"):
            assert "has no room: " in hubfs.refused(verb, f"hf:{NAME}", "--to", disk / "m")
            assert listed(disk) == set()
        monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(0, 0, 1 << 40))  # type: ignore[attr-defined]
        for verb in ("fetch", "mirror"):
            assert "No space left on device" in hubfs.refused(verb, f"hf:{NAME}", "--to", disk / verb)
            assert not [path for path in listed(disk / verb) if ".hubfs-" not in path], "no program sees a part of it"


def test_a_wrong_byte_is_refused_and_once_the_hub_is_mended_only_that_file_is_asked_for(
    hub: HuggingFaceStandIn, hubfs: Commands, tmp_path: Path
) -> None:
    commit = hub.put(NAME, {**FILES, "b.bin": b"well" * 100})
    hub.rot(NAME, commit, "model.safetensors", 5)
    said = hubfs.refused("fetch", f"hf:{NAME}", "--to", tmp_path / "m")
    assert "model.safetensors" in said
    assert "is damaged: its sha256 is" in said
    assert not any((tmp_path / "m" / path).exists() for path in FILES), "a program sees the whole model, or nothing"
    hub.mend()
    hubfs("fetch", f"hf:{NAME}", "--to", tmp_path / "m")
    assert files(tmp_path / "m") == {**FILES, "b.bin": b"well" * 100}


def test_two_processes_do_not_fetch_into_one_directory(
    hubfs: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as killed:
        killed.setattr(Copying, "_move", lambda _: None)
        hubfs("fetch", f"hf:{NAME}", "--to", tmp_path / "m")
    (stage,) = (tmp_path / "m").iterdir()
    assert files(stage / "whole") == FILES
    held = os.open(stage, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert "is being fetched by another process" in hubfs.refused("fetch", f"hf:{NAME}", "--to", tmp_path / "m")
    finally:
        os.close(held)
    hubfs("fetch", f"hf:{NAME}", "--to", tmp_path / "m")
    assert files(tmp_path / "m") == FILES


def test_what_was_moved_before_a_fetch_was_killed_stays_and_the_rest_follows(
    hubfs: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as killed:
        killed.setattr(Copying, "_move", lambda _: None)
        hubfs("fetch", f"hf:{NAME}", "--to", tmp_path / "m")
    (stage,) = (tmp_path / "m").iterdir()
    (stage / "whole/empty").rename(tmp_path / "m/empty")
    (tmp_path / "m/1_Pooling").mkdir()
    hubfs("fetch", f"hf:{NAME}", "--to", tmp_path / "m", "--json")
    assert files(tmp_path / "m") == FILES


def test_a_model_cannot_write_where_what_is_unfinished_lies(
    hub: HuggingFaceStandIn, hubfs: Commands, tmp_path: Path
) -> None:
    hub.put(NAME, {".hubfs-fetch-0/whole/x": b"x"})
    assert "begins with .hubfs-fetch-: refused" in hubfs.refused("fetch", f"hf:{NAME}", "--to", tmp_path / "m")
    assert not (tmp_path / "m").exists()


@pytest.mark.slow
def test_a_fetch_that_was_killed_goes_on_where_it_was(
    hub: HuggingFaceStandIn, environment: dict[str, str], tmp_path: Path
) -> None:
    shards = {f"{at:02}.safetensors": random.Random(at).randbytes(1 << 20) for at in range(40)}
    hub.put(NAME, shards)
    command = [HUBFS, "fetch", f"hf:{NAME}", "--to", tmp_path / "m"]
    inherited = {name: text for name, text in os.environ.items() if not name.startswith(("HUBFS_", "HF_"))}
    begun = subprocess.Popen(command, env=inherited | environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert eventually(lambda: hub.calls["cdn"] >= 20 or begun.poll() is not None)
    finally:
        begun.send_signal(signal.SIGKILL)
        begun.wait(60)
    subprocess.run(command, env=inherited | environment, check=True, timeout=60)
    assert files(tmp_path / "m") == shards
    # What was on its way to the killed process, or to its disk, is asked for again.
    assert hub.cdn.body_bytes <= sum(map(len, shards.values())) + (20 << 20)


@pytest.mark.slow
def test_a_terminal_sees_a_line_that_is_written_over(
    hub: HuggingFaceStandIn, environment: dict[str, str], tmp_path: Path
) -> None:
    hub.put(NAME, {f"{at:03}": random.Random(at).randbytes(200_000) for at in range(300)})
    master, slave = pty.openpty()
    inherited = {name: text for name, text in os.environ.items() if not name.startswith(("HUBFS_", "HF_"))}
    command = [HUBFS, "fetch", f"hf:{NAME}", "--to", tmp_path / "m"]
    running = subprocess.Popen(command, env=inherited | environment, stdout=subprocess.PIPE, stderr=slave)
    os.close(slave)
    seen = b""
    try:
        while piece := _read(master):
            seen += piece
    finally:
        os.close(master)
    said, _ = running.communicate(timeout=60)
    assert running.returncode == 0
    assert said.startswith(f"hf:{NAME}: {tmp_path / 'm'} (60.0 MB, ".encode())
    assert b"%), " in seen
    assert seen.endswith(b" \r"), "the line was taken back"
    assert b"\n" not in seen


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # EIO: the last process that had the other end has gone
        return b""


def test_arguments_that_make_no_sense_exit_with_2(hubfs: Commands, tmp_path: Path) -> None:
    to = ("--to", tmp_path / "m")
    for arguments in ((), (f"hf:{NAME}",), to, (f"hf:{NAME}", *to, "--quiet", "--json")):
        assert "Usage: " in hubfs.refused("fetch", *arguments, exit_code=2)
    assert not (tmp_path / "m").exists()
