"""`hf:` as a mount: commits as directories, revisions as symlinks."""

import errno
import hashlib
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.files import files
from tests.support.huggingface import HuggingFaceStandIn, too_many
from tests.support.mount import Machine, mounted
from tests.support.waiting import eventually

pytestmark = pytest.mark.mounted

NAME = "BAAI/bge-m3"
FILES = {
    "config.json": b'{"model_type": "bert"}',
    "model.safetensors": os.urandom((6 << 20) + 17),
    "1_Pooling/a b+é": os.urandom(3000),
    "empty": b"",
}
"""Some bytes differ each time: no cache of another run has them."""
TOKEN = "hf_" + "5e" * 17


def test_a_repository_is_read_through_a_mount(machine: Machine, tmp_path: Path) -> None:
    with HuggingFaceStandIn(page_size=3) as stand_in:
        old = stand_in.put(NAME, {"config.json": b"{}"})
        new = stand_in.put(NAME, FILES)
        stand_in.name_ref(NAME, "refs/tags/v1", old)
        stand_in.name_ref(NAME, "refs/heads/feature/x", old)
        stand_in.name_ref(NAME, "refs/pr/1", old)
        there = machine.with_environment(HF_ENDPOINT=stand_in.url)
        with mounted(there, hub := tmp_path / "hf", "hf:"):
            model = hub / NAME
            assert model.readlink() == Path(f"bge-m3@{new}")
            subprocess.run(["cp", "-rL", model, tmp_path / "copy"], check=True)
            assert files(tmp_path / "copy") == FILES
            said = subprocess.check_output(["sha256sum", model / "model.safetensors"], text=True)
            assert hashlib.sha256(FILES["model.safetensors"]).hexdigest() in said
            assert 1 <= stand_in.calls["info"] <= 5, "one, and one more for every ten seconds"
            assert stand_in.calls["tree"] == 2, "four files and a directory, three a page"
            assert stand_in.calls["resolve"] == len(FILES) - 1
            assert stand_in.cdn.body_bytes < 2 * len(FILES["model.safetensors"]), "each byte once, as a rule"
            assert sorted(os.listdir(hub / "BAAI")) == ["bge-m3", f"bge-m3@{new}"]
            for revision in ("v1", "feature%2Fx", old[:9], "refs/pr/1"):
                assert (hub / f"{NAME}@{revision}/config.json").read_bytes() == b"{}", revision
            for missing in (f"{NAME}@nowhere", f"{NAME}@{'0' * 40}", "BAAI/nothing", "spaces/a/b", f"{NAME}@v1/x"):
                with pytest.raises(FileNotFoundError):
                    (hub / missing / "config.json").read_bytes()
        stand_in.reset_counts()
        with mounted(there, hub, "hf:"):
            assert files(hub / f"{NAME}@{new}") == FILES, "what was verified is read from the cache"
        assert not stand_in.calls


def test_a_second_commit_fetches_only_what_differs_and_the_disk_keeps_the_rest_once(
    machine: Machine, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    with HuggingFaceStandIn() as stand_in:
        old = stand_in.put(NAME, FILES)
        new = stand_in.put(NAME, {**FILES, "config.json": b"{}", "more.safetensors": b"more"})
        there = machine.with_environment(HF_ENDPOINT=stand_in.url)
        with mounted(there, hub := tmp_path / "hf", "hf:", "--cache-dir", cache) as mount:
            assert files(hub / f"{NAME}@{old}") == FILES
            stand_in.reset_counts()
            shared, weights = hub / f"{NAME}@{new}", FILES["model.safetensors"]
            assert (shared / "model.safetensors").read_bytes() == weights
            assert dict(stand_in.calls) == {"tree": 1}, "the commit is in the path, and the bytes are here"
            assert files(shared) == {**FILES, "config.json": b"{}", "more.safetensors": b"more"}
            assert stand_in.cdn.body_bytes == len(b"more")
            assert stand_in.calls["resolve"] == 3, "files of Git, and what is new"
            kept = [path.stat().st_size for path in (cache / "models").rglob("*") if path.is_file()]
            assert kept.count(len(weights)) == 1
            if mount.status()["passthrough"]["on"]:
                fds = [os.open(hub / f"{NAME}@{commit}/model.safetensors", os.O_RDONLY) for commit in (old, new)]
                assert mount.status()["passthrough"]["open_files"] == 2, "both, from the one file that the cache has"
                assert [os.pread(fd, 100, 5 << 20) for fd in fds] == [weights[5 << 20 :][:100]] * 2
                for fd in fds:
                    os.close(fd)
            of_model = {model["handle"]: model for model in mount.status()["models"]}
            assert {one["cached_bytes"] - one["size_bytes"] for one in of_model.values()} == {0}
            assert len(of_model) == 2
        stand_in.reset_counts()
        with mounted(there, hub, "hf:", "--cache-dir", cache, "--offline"):
            assert files(hub / f"{NAME}@{old}") == FILES
            assert (hub / f"{NAME}@{new}/model.safetensors").read_bytes() == weights
        assert not stand_in.calls


def test_a_wrong_byte_is_an_error_until_the_hub_is_mended(machine: Machine, tmp_path: Path) -> None:
    with HuggingFaceStandIn() as stand_in:
        commit = stand_in.put(NAME, FILES)
        there = machine.with_environment(HF_ENDPOINT=stand_in.url, HUBFS_FAILURE_TTL="0.2")
        with mounted(there, hub := tmp_path / "hf", "hf:") as mount:
            model = hub / f"{NAME}@{commit}"
            for path, algorithm in (("config.json", "git-sha1"), ("model.safetensors", "sha256")):
                stand_in.rot(NAME, commit, path, len(FILES[path]) // 2)
                with pytest.raises(OSError, match=r"Input/output error") as refused:
                    (model / path).read_bytes()
                assert refused.value.errno == errno.EIO
                assert re.search(rf"{path}.* is damaged: its {algorithm} is", mount.error_of(model))
                stand_in.mend()
                assert eventually(lambda path=path: _reads(model / path, FILES[path]), timeout_s=60)
            assert files(model) == FILES


def _reads(path: Path, right: bytes) -> bool:
    try:
        return path.read_bytes() == right
    except OSError:
        return False


def test_a_symlink_follows_its_branch_and_a_commit_stays(machine: Machine, tmp_path: Path) -> None:
    with HuggingFaceStandIn() as stand_in:
        old = stand_in.put(NAME, FILES)
        with mounted(machine.with_environment(HF_ENDPOINT=stand_in.url), hub := tmp_path / "hf", "hf:BAAI"):
            assert os.listdir(hub) in (["BAAI", ".hubfs"], [".hubfs", "BAAI"])
            model = hub / NAME
            assert model.readlink() == Path(f"bge-m3@{old}")
            new = stand_in.put(NAME, {"config.json": b"new"})
            assert eventually(lambda: model.readlink() == Path(f"bge-m3@{new}"), timeout_s=60)
            assert (model / "config.json").read_bytes() == b"new"
            assert files(hub / f"{NAME}@{old}") == FILES


def test_a_mount_without_the_hub_leads_where_it_led(machine: Machine, tmp_path: Path) -> None:
    with HuggingFaceStandIn() as stand_in:
        stand_in.moved["bge"] = NAME
        commit = stand_in.put(NAME, FILES)
        stand_in.name_ref(NAME, "refs/tags/v1", commit)
        there = machine.with_environment(HF_ENDPOINT=stand_in.url)
        with mounted(there, hub := tmp_path / "hf", "hf:"):
            assert files(hub / "bge@main/") == FILES
            assert (hub / f"{NAME}@v1").readlink() == Path(f"bge-m3@{commit}")
    with mounted(there, hub, "hf:", "--offline"):
        assert files(hub / "bge@main/") == FILES
        assert files(hub / f"{NAME}@v1/") == FILES
        with pytest.raises(OSError, match="No route to host"):
            (hub / NAME).readlink()  # nobody ever asked for main by this name


def test_the_token_opens_a_gated_repository_and_goes_to_the_hub_alone(machine: Machine, tmp_path: Path) -> None:
    with HuggingFaceStandIn() as stand_in:
        commit = stand_in.put(NAME, FILES)
        stand_in.gated.add(NAME)
        stand_in.tokens[TOKEN] = "reader"
        stand_in.readers.add("reader")
        there = machine.with_environment(HF_ENDPOINT=stand_in.url)
        with mounted(there, hub := tmp_path / "nobody", "hf:") as mount:
            model = hub / f"{NAME}@{commit}"
            assert sorted(os.listdir(model)) == ["1_Pooling", "config.json", "empty", "model.safetensors"]
            with pytest.raises(PermissionError):
                (model / "config.json").read_bytes()
            assert f"ask for access at {stand_in.url}/{NAME}" in mount.error_of(model / "config.json")
            token = machine.home / ".cache/huggingface/token"
            token.parent.mkdir(parents=True, exist_ok=True)
            token.write_text(TOKEN)  # as `hf auth login` does
            # What was asked ahead without the token is refused a moment later, and so is a reader that waits for it.
            assert eventually(lambda: _reads(model / "config.json", FILES["config.json"]))
            assert TOKEN not in mount.log_file.read_text()
        with mounted(there, hub := tmp_path / "hf", "hf:") as mount:
            assert files(hub / f"{NAME}@{commit}") == FILES
            assert TOKEN not in mount.log_file.read_text()
            assert TOKEN not in (hub / ".hubfs/status.json").read_text()
        assert stand_in.cdn.asked
        assert not [headers for _, headers, *_ in stand_in.cdn.asked if "authorization" in headers]


def test_while_the_hub_wants_to_be_left_alone_a_mount_says_until_when(machine: Machine, tmp_path: Path) -> None:
    with HuggingFaceStandIn() as stand_in:
        commit = stand_in.put(NAME, FILES)
        with mounted(machine.with_environment(HF_ENDPOINT=stand_in.url), hub := tmp_path / "hf", "hf:BAAI") as mount:
            stand_in.script("tree", too_many("api", 3000))
            with pytest.raises(OSError, match="No route to host"):
                (hub / f"{NAME}@{commit}/config.json").read_bytes()
            (budget,) = mount.status()["budgets"]
            assert (budget["budget"], budget["left"], budget["quota"]) == ("questions", 0, 500)
            assert re.search(r"429: We had to rate limit .* asked again after .* UTC", mount.error_of(hub / "BAAI"))
            assert sum(stand_in.calls.values()) == 1


def test_an_id_without_a_namespace_leads_to_the_repository_of_today(machine: Machine, tmp_path: Path) -> None:
    with HuggingFaceStandIn() as stand_in:
        stand_in.moved |= {"bge": NAME, "datasets/squad": "datasets/rajpurkar/squad"}
        commit = stand_in.put(NAME, FILES)
        data = stand_in.put("datasets/rajpurkar/squad", {"a.json": b"[]"})
        there = machine.with_environment(HF_ENDPOINT=stand_in.url)
        with mounted(there, hub := tmp_path / "hf", "hf:"):
            assert (hub / "bge/config.json").read_bytes() == FILES["config.json"]
            assert (hub / "bge").readlink() == Path(f"{NAME}@{commit}")
            assert (hub / "datasets/squad").readlink() == Path(f"rajpurkar/squad@{data}")
            assert (hub / "datasets/squad/a.json").read_bytes() == b"[]"
            assert files(hub / "bge/") == FILES
        stand_in.reset_counts()
        with mounted(there, hub, "hf:"):
            subprocess.run(["ls", "-l", hub, hub / "datasets"], check=True, stdout=subprocess.DEVNULL)
            assert sorted(os.listdir(hub)) == [".hubfs", "BAAI", "datasets"]
            assert not stand_in.asked
        with mounted(there, hub, "hf:", "--offline"):
            assert files(hub / "bge/") == FILES
            assert (hub / "bge").readlink() == Path(f"{NAME}@{commit}")


def test_what_is_no_repository_may_be_a_namespace(machine: Machine, tmp_path: Path) -> None:
    with HuggingFaceStandIn() as stand_in:
        commit = stand_in.put(NAME, FILES)
        stand_in.moved["former/bge"] = NAME
        there = machine.with_environment(HF_ENDPOINT=stand_in.url)
        with mounted(there, hub := tmp_path / "hf", "hf:"):
            assert (hub / "former/bge").readlink() == Path(f"../{NAME}@{commit}"), "a renamed namespace lists nothing"
            assert os.listdir(hub / "nobody") == []
            assert (hub / NAME / "config.json").read_bytes() == FILES["config.json"]
            stand_in.reset_counts()
            assert (hub / NAME / "config.json").read_bytes() == FILES["config.json"]
            assert not [path for _, path, _ in stand_in.asked if "models/BAAI/rev" in path], "the namespace is known"
    with mounted(there, hub, "hf:"):
        assert (hub / f"{NAME}@{commit}/config.json").read_bytes() == FILES["config.json"]
        assert (hub / "elsewhere").is_dir(), "what lies below says that the hub is out of reach"


def test_each_form_of_a_handle_is_resolved_below_the_mount(machine: Machine, tmp_path: Path) -> None:
    name = f"ns{os.getpid()}/model"  # `resolve` looks below every mount of the machine
    with HuggingFaceStandIn() as stand_in:
        commit = stand_in.put(name, FILES)
        stand_in.name_ref(name, "refs/tags/v1", commit)
        with mounted(machine.with_environment(HF_ENDPOINT=stand_in.url), hub := tmp_path / "hf", "hf:"):
            for text in (
                name,
                f"hf:{name}",
                f"hf:{name}@v1",
                f"{name}@{commit}",
                f"https://huggingface.co/{name}",
                f"https://huggingface.co/{name}/blob/v1/config.json",
            ):
                assert machine.hubfs("resolve", text).stdout == f"{hub / name}@{commit}\n", text
            assert machine.hubfs("resolve", f"hf:{name}@nowhere").returncode == 1
