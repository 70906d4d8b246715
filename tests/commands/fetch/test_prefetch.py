"""`hubfs prefetch`, as a user types it."""

import json
import random
from pathlib import Path

import pytest

from tests.support.archives import gzipped, tar_of
from tests.support.commands import Commands
from tests.support.files import files
from tests.support.hosted import put
from tests.support.http_origin import HttpOrigin
from tests.support.huggingface import HuggingFaceStandIn
from tests.support.mount import Machine, mounted

NAME = "BAAI/tiny"
FILES = {
    "config.json": b'{"model_type": "bert"}',
    "model.safetensors": random.Random(1).randbytes((3 << 20) + 17),
    "empty": b"",
}
SIZE_BYTES = sum(map(len, FILES.values()))


@pytest.fixture
def hub(hub: HuggingFaceStandIn) -> HuggingFaceStandIn:
    hub.put(NAME, FILES)
    return hub


@pytest.fixture
def hubfs(hub: HuggingFaceStandIn, tmp_path: Path) -> Commands:
    return Commands({"HF_ENDPOINT": hub.url, "HUBFS_CACHE_DIR": str(tmp_path / "cache"), "HOME": str(tmp_path)})


def test_a_prefetched_model_is_there_offline_and_no_byte_is_asked_for_again(
    hub: HuggingFaceStandIn, hubfs: Commands, tmp_path: Path
) -> None:
    assert hubfs("prefetch", "--check", f"hf:{NAME}", exit_code=1).stdout == f"hf:{NAME}: nothing is cached\n"
    assert not hub.calls
    (done,) = hubfs.told("prefetch", f"hf:{NAME}")
    assert (done["size_bytes"], done["written_bytes"]) == (SIZE_BYTES, SIZE_BYTES)
    assert hub.cdn.body_bytes < SIZE_BYTES + (1 << 20)
    hub.reset_counts()
    assert hubfs("prefetch", "--check", f"hf:{NAME}").stdout == f"hf:{NAME}: 3.1 MB of 3.1 MB is cached\n"
    (again,) = hubfs.told("prefetch", f"hf:{NAME}")
    assert again["written_bytes"] == 0
    assert {*hub.calls} == {"info"}, "which commit it is"
    hubfs("fetch", f"hf:{NAME}", "--to", tmp_path / "m", "--offline")
    assert files(tmp_path / "m") == FILES


def test_a_list_of_handles_and_a_part_that_is_cached(hub: HuggingFaceStandIn, hubfs: Commands, tmp_path: Path) -> None:
    spice = {"saved_model.pb": b"graph" * 100, "variables/variables.data": random.Random(3).randbytes(2 << 20)}
    with HttpOrigin() as origin:
        put(origin, "/google/spice/2", "tf-hub-format=compressed", gzipped(tar_of(spice)))
        hubfs.environment["HUBFS_HUB"] = origin.url
        (tmp_path / "list").write_text(f"# those that we serve\nhf:{NAME}\n\ngoogle/spice/2\n")
        handles = [one["handle"] for one in hubfs.told("prefetch", "-f", tmp_path / "list")]
        assert handles == [f"hf:{NAME}", "google/spice/2"]
        hub.put(NAME, {**FILES, "more": b"more"})
        hubfs("prefetch", "-f", "-", text=f"hf:{NAME}\n")
    found = hubfs.told("prefetch", "--check", "-f", tmp_path / "list", "hf:BAAI/other", exit_code=1)
    assert [(one["handle"], one["cached_bytes"], one["size_bytes"]) for one in found] == [
        ("hf:BAAI/other", 0, None),
        (f"hf:{NAME}", SIZE_BYTES + 4, SIZE_BYTES + 4),
        ("google/spice/2", *(2 * [sum(map(len, spice.values()))])),
    ]


def test_what_makes_no_sense_is_one_line(hub: HuggingFaceStandIn, hubfs: Commands, tmp_path: Path) -> None:
    for arguments, reason in (
        (["--no-disk-cache", f"hf:{NAME}"], "without a disk cache nothing would be kept"),
        (["--cache-size", "1MiB", f"hf:{NAME}"], "has 3.1 MB, and the cache may hold 1.0 MB"),
        ([str(tmp_path)], "is not below a mount of hubfs"),
        (["hf:a/../b"], "is no handle"),
    ):
        assert reason in hubfs.refused("prefetch", *arguments)
    (tmp_path / "list").write_bytes(b"\xff\n")
    assert "the list of handles cannot be read" in hubfs("prefetch", "-f", tmp_path / "list", exit_code=1).stderr
    assert "No such file" in hubfs("prefetch", "-f", tmp_path / "none", exit_code=2).stderr
    assert "name a handle" in hubfs("prefetch", exit_code=2).stderr
    assert not hub.cdn.asked


@pytest.mark.mounted
def test_a_path_below_a_mount_is_fetched_by_the_mount(
    hub: HuggingFaceStandIn, machine: Machine, tmp_path: Path
) -> None:
    there = machine.with_environment(HF_ENDPOINT=hub.url)
    with mounted(there, mnt := tmp_path / "hf", "hf:"):
        model = mnt / NAME
        assert there.hubfs("prefetch", "--check", model).returncode == 1
        done = there.hubfs("prefetch", model, "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout.splitlines()[-1])["size_bytes"] == SIZE_BYTES
        hub.reset_counts()
        assert there.hubfs("prefetch", "--check", model).stdout == f"{model}: 3.1 MB of 3.1 MB is cached\n"
        assert files(model) == FILES
        assert not hub.cdn.asked
        assert "not the directory of one model" in there.hubfs("prefetch", "--check", model / "config.json").stderr
        assert "is not below a mount" in there.hubfs("prefetch", mnt / "BAAI/nothing").stderr
