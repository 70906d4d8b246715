"""`kaggle:` as a mount: files behind signed URLs."""

import errno
import hashlib
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.files import files
from tests.support.kaggle import KaggleStandIn
from tests.support.kaggle_replies import too_many
from tests.support.mount import Machine, mounted
from tests.support.waiting import eventually

pytestmark = pytest.mark.mounted

NAME = "google/yamnet/tensorFlow2/yamnet"
FILES = {"saved_model.pb": b"graph" * 50_000, "variables/a b+é": os.urandom(3 << 20), "empty": b""}
"""Some bytes differ each time: no cache of another run has them."""


@pytest.mark.parametrize("dialect", ["rpc", "rest"])
def test_a_model_of_kaggle_is_a_directory_of_files(machine: Machine, tmp_path: Path, dialect: str) -> None:
    with KaggleStandIn() as kaggle:
        kaggle.put(f"{NAME}/1", FILES)
        kaggle.put(f"{NAME}/2", {"x": b"y"})
        there = machine.with_environment(HUBFS_KAGGLE_ENDPOINT=kaggle.url, HUBFS_KAGGLE_DIALECT=dialect)
        with mounted(there, hub := tmp_path / "kaggle", "kaggle:"):
            assert sorted(os.listdir(hub / "google")) == ["yamnet"]
            assert os.listdir(hub / "google/yamnet") == ["tensorFlow2"]
            assert sorted(os.listdir(hub / NAME)) == ["1", "2", "latest"]
            assert (hub / NAME / "latest").readlink() == Path("2")
            assert (hub / "google/yamnet/TensorFlow2").readlink() == Path("tensorFlow2")
            subprocess.run(["cp", "-r", hub / "google/yamnet/tensorflow2/yamnet/1", tmp_path / "copy"], check=True)
            assert files(tmp_path / "copy") == FILES
            said = subprocess.check_output(["sha256sum", hub / NAME / "1/variables/a b+é"], text=True)
            assert hashlib.sha256(FILES["variables/a b+é"]).hexdigest() in said
        assert kaggle.calls["DownloadModelInstanceVersion"] <= len(FILES), "at most one call a file"
        assert kaggle.calls["ListModelInstanceVersionFiles"] == 1
        assert kaggle.dialects == {dialect}


def test_a_model_of_many_small_files_comes_in_one_download(machine: Machine, tmp_path: Path) -> None:
    many = {f"assets/{number}": os.urandom(1000) for number in range(60)}
    with KaggleStandIn() as kaggle:
        kaggle.put(f"{NAME}/1", many)
        there = machine.with_environment(HUBFS_KAGGLE_ENDPOINT=kaggle.url)
        with mounted(there, hub := tmp_path / "kaggle", "kaggle:"):
            subprocess.run(["cp", "-r", hub / NAME / "1", tmp_path / "copy"], check=True)
            assert files(tmp_path / "copy") == many
        assert kaggle.calls["DownloadModelInstanceVersion"] == 1
        assert kaggle.calls["ListModelInstanceVersionFiles"] == 1


def test_a_byte_that_the_store_sends_wrong_is_an_error_until_the_store_is_mended(
    machine: Machine, tmp_path: Path
) -> None:
    with KaggleStandIn() as kaggle:
        kaggle.put(f"{NAME}/1", FILES)
        for path in ("saved_model.pb", "variables/a b+é"):
            kaggle.store.rot(kaggle.object_of(f"{NAME}/1", path), len(FILES[path]) // 2)
        there = machine.with_environment(HUBFS_KAGGLE_ENDPOINT=kaggle.url, HUBFS_FAILURE_TTL="0.2")
        with mounted(there, hub := tmp_path / "kaggle", "kaggle:") as mount:
            for path in ("saved_model.pb", "variables/a b+é"):
                with pytest.raises(OSError, match=r"Input/output error") as refused:
                    (hub / NAME / "1" / path).read_bytes()
                assert refused.value.errno == errno.EIO
                assert "and the store announced" in mount.error_of(hub / NAME / "1")
            kaggle.store.mend()
            assert eventually(lambda: _reads(hub / NAME / "1"), timeout_s=60)
            assert files(hub / NAME / "1") == FILES
            kaggle.store.rot(kaggle.object_of(f"{NAME}/1", "saved_model.pb"), 0)
        kaggle.reset_counts()
        with mounted(there, hub, "kaggle:"):
            assert files(hub / NAME / "1") == FILES, "what was verified is read from the cache"
        assert not kaggle.stored


def _reads(model: Path) -> bool:
    try:
        return files(model) == FILES
    except OSError:
        return False


def test_while_kaggle_asks_to_be_left_alone_a_mount_says_until_when_and_its_other_hub_is_read(
    machine: Machine, tmp_path: Path
) -> None:
    with KaggleStandIn() as kaggle:
        for version in "12":
            kaggle.put(f"{NAME}/{version}", FILES)
        there = machine.with_environment(HUBFS_KAGGLE_ENDPOINT=kaggle.url)
        with mounted(there, tmp_path / "hubs", "one=kaggle:", "--hub", "two=kaggle:google") as mount:
            kaggle.script("ListModelInstanceVersionFiles", too_many(3000))
            for version in "12":
                model = mount.path / "one" / NAME / version
                with pytest.raises(OSError, match="No route to host") as refused:
                    (model / "saved_model.pb").read_bytes()
                assert refused.value.errno == errno.EHOSTUNREACH
                assert re.search(r"429: Too many requests; .* asked again after .* UTC", mount.error_of(model.parent))
            assert sum(kaggle.calls.values()) == 1, "the hub that was refused asks nothing"
            assert files(mount.path / "two" / NAME / "2") == FILES


def test_each_url_of_a_model_is_resolved_below_the_mount(machine: Machine, tmp_path: Path) -> None:
    model = f"google{os.getpid()}/yamnet"  # `resolve` looks below every mount of the machine
    variation = f"{model}/tensorFlow2/yamnet"
    forms = {
        f"https://www.kaggle.com/models/{variation}/1": "1",
        f"https://www.kaggle.com/models/{variation}": "2",
        f"https://www.kaggle.com/models/{model}/frameworks/TensorFlow2/variations/yamnet/versions/1": "1",
        f"https://kaggle.com/models/{variation}/1?tf-hub-format=compressed": "1",
        f"https://www.kaggle.com/models/{variation}/1/download": "1",
        f"https://www.kaggle.com/api/v1/models/{variation}/1/download/saved_model.pb": "1",
        f"kaggle://{variation}": "2",
        f"{model}/tensorflow2/yamnet/1": "1",
    }
    with KaggleStandIn() as kaggle:
        kaggle.put(f"{variation}/1", FILES)
        kaggle.put(f"{variation}/2", {"x": b"y"})
        with mounted(machine.with_environment(HUBFS_KAGGLE_ENDPOINT=kaggle.url), hub := tmp_path / "kaggle", "kaggle:"):
            for text, version in forms.items():
                assert machine.hubfs("resolve", text).stdout == f"{hub / variation / version}\n", text
            missing = machine.hubfs("resolve", f"https://www.kaggle.com/models/{variation}/3")
            assert missing.returncode == 1
            # Another mount of the machine may be in trouble, and is told then.
            assert "was not found below" in missing.stderr or str(hub) not in missing.stderr
            without = machine.hubfs("resolve", f"https://www.kaggle.com/models/{model}")
            assert without.returncode == 1
            assert "is no handle of Kaggle Models" in without.stderr


def test_the_token_of_kaggle_opens_a_gated_model_and_goes_to_the_api_alone(machine: Machine, tmp_path: Path) -> None:
    token = "KGAT_" + "5e" * 16
    with KaggleStandIn() as kaggle:
        kaggle.put(f"{NAME}/1", FILES)
        kaggle.gated.add("google/yamnet")
        kaggle.tokens[token] = "reader"
        kaggle.consented.add("reader")
        there = machine.with_environment(HUBFS_KAGGLE_ENDPOINT=kaggle.url)
        with mounted(there, hub := tmp_path / "nobody", "kaggle:"), pytest.raises(PermissionError):
            (hub / NAME / "1/saved_model.pb").read_bytes()
        there = there.with_environment(KAGGLE_API_TOKEN=token)
        with mounted(there, hub := tmp_path / "kaggle", "kaggle:") as mount:
            assert files(hub / NAME / "1") == FILES
            assert token not in mount.log_file.read_text()
            assert token not in (hub / ".hubfs/status.json").read_text()
        assert kaggle.stored, "the store was asked"
        assert not [request for request in kaggle.stored if "authorization" in request.headers]
