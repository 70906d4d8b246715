"""olah as a mirror between the stand-in and its clients: the unmodified huggingface_hub, and a mount."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.files import files
from tests.support.huggingface import HuggingFaceStandIn
from tests.support.huggingface_client import calls
from tests.support.mount import Machine, mounted
from tests.support.olah import olah

pytestmark = pytest.mark.mounted

NAME = "BAAI/bge-m3"
FILES = {
    "config.json": b'{"model_type": "bert"}',
    "model.safetensors": os.urandom((6 << 20) + 17),
    "1_Pooling/config.json": b"{}",
    "1_Pooling/a b+é.txt": b"words\n",
    "empty": b"",
}


@pytest.fixture
def stand_in() -> Iterator[HuggingFaceStandIn]:
    with HuggingFaceStandIn() as stand_in:
        stand_in.compresses = True  # what comes so to the mirror, the mirror passes on
        old = stand_in.put(NAME, {"config.json": b"old"})
        stand_in.put(NAME, FILES)
        stand_in.name_ref(NAME, "refs/tags/v1", old)
        stand_in.name_ref(NAME, "refs/pr/1", old)
        stand_in.name_ref(NAME, "refs/heads/feature/x", old)
        yield stand_in


@pytest.fixture
def mirror(stand_in: HuggingFaceStandIn, tmp_path: Path) -> Iterator[str]:
    with olah(stand_in, tmp_path / "olah") as url:
        yield url


def _sum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_the_client_gets_by_the_mirror_what_the_stand_in_has(
    stand_in: HuggingFaceStandIn, mirror: str, tmp_path: Path
) -> None:
    wanted = (
        *(("download", NAME, path) for path in FILES),
        ("download", NAME, "config.json", {"revision": "v1"}),
        ("download", NAME, "nothing.json"),
        ("download", "BAAI/nothing", "config.json"),
        ("snapshot", NAME),
        ("refs", NAME),
    )
    *downloaded, old, entry, repo, (commit, snapshot), refs = calls(stand_in, tmp_path, *wanted, endpoint=mirror)
    assert downloaded == [*map(_sum, FILES.values())]
    assert old == _sum(b"old")
    assert (entry, repo) == ({"error": "RemoteEntryNotFoundError"}, {"error": "RepositoryNotFoundError"})
    assert snapshot == {path: _sum(data) for path, data in FILES.items()}
    assert (refs["branches"]["main"], [*refs["tags"]]) == (commit, ["v1"])
    assert stand_in.cdn.asked, "by the mirror, which has no signed URL to give"


def test_a_mount_reads_by_the_mirror_alone(
    machine: Machine, stand_in: HuggingFaceStandIn, mirror: str, tmp_path: Path
) -> None:
    there = machine.with_environment(HF_ENDPOINT=mirror)
    with mounted(there, hub := tmp_path / "hf", "hf:"):
        assert files(hub / NAME / "") == FILES
        for revision in ("v1", "refs%2Fpr%2F1", "feature%2Fx"):
            assert (hub / f"{NAME}@{revision}/config.json").read_bytes() == b"old", revision
        for missing in (f"{NAME}@nowhere", f"{NAME}@no%2Fwhere", f"{NAME}@{'0' * 40}", "BAAI/nothing"):
            assert not (hub / missing / "config.json").exists(), missing
        commit = os.path.realpath(hub / NAME).rpartition("@")[2]
        assert {"bge-m3", f"bge-m3@{commit}"} <= {*os.listdir(hub / "BAAI")}, "what is known: the mirror lists nothing"
        view = hub / ".hubfs/huggingface"
        read = calls(stand_in, tmp_path, ("snapshot", NAME), HF_HUB_CACHE=str(view), HF_HUB_OFFLINE="1")
        assert read == [[commit, {path: _sum(data) for path, data in FILES.items()}]]
        agents = {headers.get("user-agent", "") for _, _, headers in stand_in.asked}
        assert not [agent for agent in agents if "hubfs" in agent], "no question past the mirror"
        assert not [agent for _, sent, *_ in stand_in.cdn.asked if "hubfs" in (agent := sent.get("user-agent", ""))]


def test_a_mirror_that_knows_no_pages_is_asked_for_folders(
    machine: Machine, stand_in: HuggingFaceStandIn, mirror: str, tmp_path: Path
) -> None:
    stand_in.page_size = 4  # less than all files and folders, and no less than any folder has
    with mounted(machine.with_environment(HF_ENDPOINT=mirror), hub := tmp_path / "hf", "hf:"):
        assert files(hub / NAME / "") == FILES


def test_a_wrong_byte_of_the_mirror_is_found_out(
    machine: Machine, stand_in: HuggingFaceStandIn, mirror: str, tmp_path: Path
) -> None:
    commit = stand_in.put(NAME, FILES, branch="other")
    for path in ("config.json", "model.safetensors"):
        stand_in.rot(NAME, commit, path, len(FILES[path]) // 2)
    with mounted(machine.with_environment(HF_ENDPOINT=mirror), hub := tmp_path / "hf", "hf:"):
        for path in ("config.json", "model.safetensors"):
            with pytest.raises(OSError, match="Input/output error"):
                (hub / f"{NAME}@{commit}" / path).read_bytes()
