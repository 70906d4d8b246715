"""`hubfs mirror`, as a user types it, from stand-ins of every kind of hub into places that are hubs themselves."""

import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from hubfs.blobs import store as stores
from hubfs.commands.mirror.directory import DirectoryPlace
from hubfs.errors import Unavailable
from tests.support.commands import Commands
from tests.support.files import files, listed
from tests.support.gcs_server import GcsServer, gcs_server
from tests.support.huggingface import HuggingFaceStandIn
from tests.support.huggingface_cdn import Gate
from tests.support.kaggle import KaggleStandIn
from tests.support.mount import HUBFS
from tests.support.serving import serving, write_model
from tests.support.waiting import eventually

NAME = "BAAI/tiny"
FILES = {
    "config.json": b'{"model_type": "bert"}',
    "model.safetensors": random.Random(1).randbytes((3 << 20) + 17),
    "1_Pooling/a b": random.Random(2).randbytes(3000),
    ".gitattributes": b"*.safetensors lfs",
    "empty": b"",
}
YAMNET = "google/yamnet/tensorFlow2/yamnet/1"
TFLITE = b"\x1c\0\0\0TFL3" + bytes(20_000)
TFJS = {"model.json": b'{"weightsManifest": [{"paths": ["group1-shard1of1.bin"]}]}', "group1-shard1of1.bin": b"w" * 9}
HOSTED = "google/spice/2"


@pytest.fixture
def hub(hub: HuggingFaceStandIn) -> HuggingFaceStandIn:
    hub.put(NAME, FILES)
    return hub


@pytest.fixture
def models(tmp_path: Path) -> dict[str, dict[str, bytes]]:
    """What the default hub has, by handle."""
    root = tmp_path / "models"
    made = {handle: write_model(root, handle, seed) for seed, handle in enumerate((HOSTED, "google/spice/1", "up/a/7"))}
    for handle, held in {
        "google/lite-model/ears/1": {"model.tflite": TFLITE},
        "google/tfjs-model/ears/1": TFJS,
    }.items():
        made[handle] = held
        for path, data in held.items():
            (root / handle).mkdir(parents=True, exist_ok=True)
            (root / handle / path).write_bytes(data)
    return made


@pytest.fixture
def default(models: dict[str, dict[str, bytes]], tmp_path: Path) -> Iterator[str]:
    with serving(tmp_path / "models") as url:
        yield url


@pytest.fixture
def store() -> Iterator[GcsServer]:
    with gcs_server() as store:
        store.create_bucket("team")
        yield store


class Mirroring(Commands):
    """Commands of a user. All temporary files are below `TMPDIR`."""

    def has(self, url: str, handle: str, to: Path) -> dict[str, bytes]:
        """What a hub has of a model, without what is cached."""
        self("fetch", handle, "--to", to, "--hub", url, "--no-disk-cache", "--quiet")
        found = files(to)
        shutil.rmtree(to)
        return found


@pytest.fixture
def hubfs(hub: HuggingFaceStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mirroring:
    (tmp_path / "temp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temp"))
    return Mirroring({"HF_ENDPOINT": hub.url, "HUBFS_CACHE_DIR": str(tmp_path / "cache"), "HOME": str(tmp_path)})


def test_a_directory_hosts_models_of_every_hub_and_once_more_nothing_is_fetched(
    hub: HuggingFaceStandIn, hubfs: Mirroring, models: dict[str, dict[str, bytes]], default: str, tmp_path: Path
) -> None:
    place = tmp_path / "place"
    with KaggleStandIn() as kaggle:
        kaggle.put(YAMNET, FILES)
        hubfs.environment |= {"HUBFS_KAGGLE_ENDPOINT": kaggle.url, "HUBFS_HUB": default}
        handles = (HOSTED, "google/lite-model/ears/1", "google/tfjs-model/ears/1", f"hf:{NAME}", f"kaggle:{YAMNET}")
        first = hubfs.told("mirror", *handles, "--to", place)
        before = listed(place)
        hub.reset_counts()
        kaggle.reset_counts()
        shutil.rmtree(tmp_path / "cache")
        again = hubfs.told("mirror", *handles, "--to", place)
        assert {*hub.calls} <= {"info", "tree"}, "which commit it is, and which files it has"
        assert kaggle.body_bytes == 0
    assert [one["event"] for one in first] == ["done"] * 5
    assert [one["written_bytes"] for one in again] == [0] * 5
    assert [one["size_bytes"] for one in first] == [one["size_bytes"] for one in again]
    assert listed(place) == before
    assert {*os.listdir(place)} == {".hubfs-mirror", "google", "baai"}
    assert os.listdir(place / ".hubfs-mirror") == []
    with serving(place) as url:
        for handle in handles[:3]:
            assert hubfs.has(url, handle, tmp_path / "m") == models[handle]
        for handle in ("baai/tiny/1", YAMNET):
            assert hubfs.has(url, handle, tmp_path / "m") == FILES


def test_a_bucket_is_a_hub_of_models_of_every_hub_and_once_more_nothing_is_stored(
    store: GcsServer, hubfs: Mirroring, models: dict[str, dict[str, bytes]], default: str, tmp_path: Path
) -> None:
    hubfs.environment |= {"HUBFS_HUB": default, "STORAGE_EMULATOR_HOST": store.url}
    place = "gs://team/hub"
    hubfs("mirror", "google", f"hf:{NAME}", "--to", place)
    store.reset()
    again = hubfs.told("mirror", "google", f"hf:{NAME}", "--to", place)
    assert [(one["event"], one["written_bytes"]) for one in again] == [("done", 0)] * 4
    assert {request.method for request in store.requests} == {"GET"}
    for handle in (HOSTED, "google/lite-model/ears/1", "google/tfjs-model/ears/1"):
        assert hubfs.has(place, handle, tmp_path / "m") == models[handle]
    assert hubfs.has(place, "baai/tiny/1", tmp_path / "m") == FILES
    assert not any("/.hubfs-mirror/" in str(request.object) for request in store.downloads)
    (above,) = (tmp_path / "temp").glob("hubfs-mirror-*")
    assert files(above) == {}, "nothing of what was packed stays on this machine"


def test_a_folder_means_the_newest_of_each_model_and_a_list_means_its_lines(
    hubfs: Mirroring, default: str, tmp_path: Path
) -> None:
    hubfs.environment["HUBFS_HUB"] = default
    newest = ["google/lite-model/ears", "google/spice", "google/tfjs-model/ears"]
    planned = hubfs.told("mirror", "google", "--to", tmp_path / "place", "--dry-run")
    assert [(one["event"], one["handle"]) for one in planned] == [("planned", f"{name}/latest") for name in newest]
    assert not (tmp_path / "place").exists()
    hubfs("mirror", "google", "--to", tmp_path / "place")
    assert {path for path in listed(tmp_path / "place") if path.endswith(".hubfs-mirror")} == {
        ".hubfs-mirror",
        "google/lite-model/ears/1.hubfs-mirror",
        "google/spice/2.hubfs-mirror",
        "google/tfjs-model/ears/1.hubfs-mirror",
    }
    (tmp_path / "list").write_text(f"# those that we serve\nup/a\n\n{default}/google/spice/1\n")
    assert [one["path"] for one in hubfs.told("mirror", "-f", tmp_path / "list", "--to", tmp_path / "place")] == [
        str(tmp_path / "place/up/a/7"),
        str(tmp_path / "place/google/spice/1"),
    ]
    planned = hubfs.told("mirror", "/", "--to", tmp_path / "other", "--dry-run")
    assert [one["handle"] for one in planned] == [f"{name}/latest" for name in (*newest, "up/a")]
    assert "no model is known below 'nobody'" in hubfs.refused("mirror", "nobody", "--to", tmp_path / "other")


def test_a_collection_means_its_models(hubfs: Mirroring, default: str, tmp_path: Path) -> None:
    lines = [
        {"kind": "Module", "handle": HOSTED},
        {"kind": "Module", "handle": "up/a/7"},
        {"kind": "Collection", "handle": "google/collection/pitch", "members": [HOSTED, "up/a/7"]},
    ]
    (tmp_path / "catalog.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    hubfs.environment |= {"HUBFS_HUB": default, "HUBFS_CATALOG": str(tmp_path / "catalog.jsonl")}
    told = hubfs.told("mirror", "google/collection/pitch", "--to", tmp_path / "place")
    assert [one["path"] for one in told] == [str(tmp_path / "place" / handle) for handle in (HOSTED, "up/a/7")]


def test_a_namespace_means_its_repositories(hub: HuggingFaceStandIn, hubfs: Mirroring, tmp_path: Path) -> None:
    hub.put("BAAI/other", {"config.json": b"{}"})
    told = hubfs.told("mirror", "hf:BAAI", "--to", tmp_path / "place")
    assert sorted(str(one["path"]) for one in told) == [
        str(tmp_path / f"place/baai/{at}/1") for at in ("other", "tiny")
    ]


def test_commits_are_versions_in_the_order_of_their_arrival(
    hub: HuggingFaceStandIn, hubfs: Mirroring, tmp_path: Path
) -> None:
    place, old = tmp_path / "place", hub.put(NAME, FILES)
    new = hub.put(NAME, {**FILES, "config.json": b"{}"})
    for commit, number in ((new, 1), (old, 2), (new, 1)):
        (told,) = hubfs.told("mirror", f"hf:{NAME}@{commit}", "--to", place)
        assert told["path"] == str(place / f"baai/tiny/{number}")
    assert json.loads((place / "baai/tiny/2.hubfs-mirror").read_text())["handle"] == f"{NAME}/{old}"
    hub.put("baai/tiny", FILES)
    assert hubfs.told("mirror", "hf:baai/tiny", "--to", place)[0]["path"] == str(place / "baai/tiny/3")


def test_what_lies_there_is_kept_and_what_differs_is_refused(
    hubfs: Mirroring, models: dict[str, dict[str, bytes]], default: str, tmp_path: Path
) -> None:
    hubfs.environment["HUBFS_HUB"] = default
    place = tmp_path / "place"
    hubfs("mirror", HOSTED, "google/tfjs-model/ears/1", "--to", place)
    before = (place / f"{HOSTED}.tar.gz").stat().st_ino
    for path in place.rglob("*.hubfs-mirror"):
        if path.is_file():
            path.unlink()
    hubfs("mirror", HOSTED, "google/tfjs-model/ears/1", "--to", place)
    assert (place / f"{HOSTED}.tar.gz").stat().st_ino == before, "its bytes are the model's: it stays as it is"
    assert (place / f"{HOSTED}.hubfs-mirror").exists()
    with (place / f"{HOSTED}.tar.gz").open("r+b") as file:
        file.truncate(1000)
    (place / "google/tfjs-model/ears/1/more").write_bytes(b"")
    (place / "google/tfjs-model/ears/1.hubfs-mirror").unlink()
    for handle in (HOSTED, "google/tfjs-model/ears/1"):
        assert "exists, and is another model" in hubfs.refused("mirror", handle, "--to", place)
    assert (place / f"{HOSTED}.tar.gz").stat().st_size == 1000
    other = tmp_path / "models/google/spice/2/assets/vocab.txt"
    other.write_bytes(b"other")
    shutil.rmtree(place)
    hubfs("mirror", HOSTED, "--to", place)
    with serving(tmp_path / "models", hidden=True) as url:
        assert "name another place" in hubfs.refused("mirror", HOSTED, "--hub", url, "--to", place)


@pytest.mark.parametrize(
    ("handles", "to", "reason"),
    [
        (["google/nothing/1"], "new/place", "has no model google/nothing/1"),
        (["hf:BAAI/nothing"], "new/place", "has no main of BAAI/nothing"),
        (["google/../x"], "new/place", "is not a versioned handle"),
        ([HOSTED], "s3://team/hub", "is neither a directory nor gs://BUCKET/PREFIX"),
        ([HOSTED], "gs://", "names no bucket"),
        ([HOSTED], "gs://nobody/hub", "is in no bucket that there is"),
        ([HOSTED, "--offline"], "gs://team/hub", "is in a bucket: name a directory"),
        ([HOSTED], "models", "is not empty, and is no mirror"),
        ([HOSTED], "file", "is no directory"),
        ([HOSTED], "link", "is a symlink that leads nowhere"),
        ([HOSTED], "/proc/place", "/proc/place cannot be used"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_leaves_nothing(
    store: GcsServer, hubfs: Mirroring, default: str, tmp_path: Path, handles: list[str], to: str, reason: str
) -> None:
    hubfs.environment |= {"HUBFS_HUB": default, "STORAGE_EMULATOR_HOST": store.url}
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to("nowhere")
    kept = listed(tmp_path / "models")
    store.reset()
    assert reason in hubfs.refused("mirror", *handles, "--to", to if "://" in to else tmp_path / to)
    assert not (tmp_path / "new").exists()
    assert listed(tmp_path / "models") == kept
    assert not [request for request in store.requests if request.method != "GET"]


def test_arguments_that_make_no_sense_exit_with_2(hubfs: Mirroring, tmp_path: Path) -> None:
    for arguments in ((), (HOSTED,), ("--to", tmp_path / "m"), (HOSTED, "--to", tmp_path / "m", "--quiet", "--json")):
        assert "Usage: " in hubfs.refused("mirror", *arguments, exit_code=2)
    assert not (tmp_path / "m").exists()


def test_without_room_nothing_is_begun(hubfs: Mirroring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(0, 0, 4 << 20))  # type: ignore[attr-defined]
    said = hubfs.refused("mirror", f"hf:{NAME}", "--to", tmp_path / "place")
    model_bytes = sum(map(len, FILES.values()))
    missing_bytes = 2 * model_bytes + 4096 * (len(FILES) + 2)  # the files and the archive; a directory is a member, too
    assert f"has no room: {missing_bytes} bytes are missing, and {4 << 20} are free there" in said
    assert not (tmp_path / "place").exists()


def test_of_several_models_those_follow_that_can_be_read(
    hub: HuggingFaceStandIn, hubfs: Mirroring, tmp_path: Path
) -> None:
    commit = hub.put("BAAI/rotten", {"model.safetensors": b"well" * 100_000})
    hub.rot("BAAI/rotten", commit, "model.safetensors", 5)
    done = hubfs("mirror", "hf:BAAI/rotten", f"hf:{NAME}", "--to", tmp_path / "place", exit_code=1)
    failed, last = done.stderr.splitlines()
    assert failed.startswith("hubfs: hf:BAAI/rotten: ")
    assert "is damaged: its sha256 is" in failed
    assert last == "hubfs: 1 of 2 models were not mirrored"
    assert (tmp_path / "place/baai/tiny/1.tar.gz").exists()
    assert not (tmp_path / "place/baai/rotten").exists(), "a flipped bit goes nowhere"
    hub.mend()
    hubfs("mirror", "hf:BAAI/rotten", "--to", tmp_path / "place")
    assert (tmp_path / "place/baai/rotten/1.tar.gz").exists()


def test_two_processes_do_not_mirror_to_one_place(hubfs: Mirroring, tmp_path: Path) -> None:
    (tmp_path / "place/.hubfs-mirror").mkdir(parents=True)
    held = os.open(tmp_path / "place/.hubfs-mirror", os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert "another process is mirroring to" in hubfs.refused("mirror", f"hf:{NAME}", "--to", tmp_path / "place")
    finally:
        os.close(held)
    hubfs("mirror", f"hf:{NAME}", "--to", tmp_path / "place")


@pytest.mark.parametrize("disk_cache", [True, False])
def test_a_mirror_that_ended_before_the_model_was_placed_shows_nothing_of_it_and_goes_on(
    hub: HuggingFaceStandIn, hubfs: Mirroring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, disk_cache: bool
) -> None:
    command = ("mirror", f"hf:{NAME}", "--to", tmp_path / "place", *([] if disk_cache else ["--no-disk-cache"]))

    def ended(*_: object) -> None:
        raise Unavailable("the machine went down")

    with monkeypatch.context() as down:
        down.setattr(DirectoryPlace, "put", ended)
        hubfs(*command, exit_code=1)
    with serving(tmp_path / "place") as url:
        other = Mirroring({**hubfs.environment, "HUBFS_HUB": url})
        assert "has no model baai/tiny/1" in other.refused("fetch", "baai/tiny/1", "--to", tmp_path / "m")
        hub.reset_counts()
        hubfs(*command)
        assert {*hub.calls} <= {"info", "tree"}
        assert hubfs.has(url, "baai/tiny/1", tmp_path / "m") == FILES


def test_an_object_of_parts_goes_on_where_it_was_and_is_whole(
    store: GcsServer, hubfs: Mirroring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "_PART_BYTES", 100_000)
    monkeypatch.setattr(stores, "_MOST_COMPOSED", 4)
    hubfs.environment["STORAGE_EMULATOR_HOST"] = store.url
    command = ("mirror", f"hf:{NAME}", "--to", "gs://team/hub")

    def ended(*_: object) -> str:
        raise Unavailable("the machine went down")

    with monkeypatch.context() as down:
        down.setattr(stores.GcsStore, "_composed", ended)
        hubfs(*command, exit_code=1)
    assert "has no model baai/tiny/1" in hubfs.refused(
        "fetch", "baai/tiny/1", "--hub", "gs://team/hub", "--to", tmp_path / "m"
    )
    store.reset()
    hubfs(*command)
    stored = [request for request in store.requests if "uploadType" in request.target]
    # Of the index, whose one part is there, and of the 32 parts of the archive, which follow: the first run ended with
    # the index. What says where the model came from is stored once more.
    assert len(stored) == 1 + 32
    assert hubfs.has("gs://team/hub", "baai/tiny/1", tmp_path / "m") == FILES
    assert not store.names("team", "hub/.hubfs-mirror/")


def test_an_index_of_another_archive_is_left_aside(
    hub: HuggingFaceStandIn, store: GcsServer, hubfs: Mirroring, tmp_path: Path
) -> None:
    large = {"a": random.Random(5).randbytes(9 << 20), "b": b"b"}
    hub.put(NAME, large)
    hub.put("BAAI/other", {"a": random.Random(6).randbytes(9 << 20), "b": b"b"})
    hubfs.environment["STORAGE_EMULATOR_HOST"] = store.url
    hubfs("mirror", f"hf:{NAME}", "hf:BAAI/other", "--to", "gs://team/hub")
    index = "hub/baai/tiny/1.tar.gz.hubfs-index"
    for wrong in (store.content("team", "hub/baai/other/1.tar.gz.hubfs-index"), b"hubfsIDX", b"", b"<html>"):
        store.upload("team", index, wrong)
        assert hubfs.has("gs://team/hub", "baai/tiny/1", tmp_path / "m") == large
        assert any(request.object == f"team/{index}" for request in store.downloads) or not wrong


@pytest.mark.slow
def test_a_mirror_that_was_killed_goes_on_and_nothing_that_was_whole_crosses_twice(
    hub: HuggingFaceStandIn, hubfs: Mirroring, tmp_path: Path
) -> None:
    shards = {f"{at:02}.safetensors": random.Random(at).randbytes(1 << 20) for at in range(24)}
    hub.put("BAAI/large", shards)
    last = {sha256(shards[name]).hexdigest() for name in ("22.safetensors", "23.safetensors")}
    hub.cdn.gate = Gate(lambda name, _: name in last)  # however quick it is, it is killed before its end
    command = [HUBFS, "mirror", f"hf:{NAME}", "hf:BAAI/large", "--to", tmp_path / "place"]
    inherited = {name: text for name, text in os.environ.items() if not name.startswith(("HUBFS_", "HF_"))}
    environment = inherited | hubfs.environment
    begun = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stage = tmp_path / "place/.hubfs-mirror"
    try:
        assert eventually(lambda: len([*stage.rglob("whole/*.safetensors")]) >= 8 or begun.poll() is not None)
    finally:
        begun.send_signal(signal.SIGKILL)
        begun.wait(60)
        hub.cdn.gate.open()
    finished = {path.name for path in stage.rglob("whole/*.safetensors")}
    assert len(finished) >= 8
    assert (tmp_path / "place/baai/tiny/1.tar.gz").exists()
    assert not (tmp_path / "place/baai/large").exists()
    whole = {sha256(shards[name]).hexdigest() for name in finished}
    hub.reset_counts()
    subprocess.run(command, env=environment, check=True, timeout=120)
    assert not whole & {path.rpartition("/")[2] for path, *_ in hub.cdn.asked}
    with serving(tmp_path / "place") as url:
        assert hubfs.has(url, "baai/tiny/1", tmp_path / "m") == FILES
        assert hubfs.has(url, "baai/large/1", tmp_path / "m") == shards
