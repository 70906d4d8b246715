"""The mount that the examples speak of."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.archives import gzipped, tar_of
from tests.support.gcs_server import gcs_server
from tests.support.hosted import put
from tests.support.http_origin import HttpOrigin
from tests.support.huggingface import HuggingFaceStandIn
from tests.support.kaggle import KaggleStandIn
from tests.support.models import BASIC_PITCH, basic_pitch, packed
from tests.support.mount import Machine, mounted
from tests.support.origin import running_origin

PACKED_S = 1_684_195_200
"""When the archive was made: 2023-05-16T00:00:00Z."""


@pytest.fixture(scope="module")
def semantics_mount(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """`spotify/basic-pitch/1`, compressed, and nothing else."""
    home = tmp_path_factory.mktemp("semantics")
    archive = Path(shutil.copy(packed(BASIC_PITCH), home))
    os.utime(archive, (PACKED_S, PACKED_S))
    models, archives = {BASIC_PITCH: basic_pitch()}, {BASIC_PITCH: archive}
    with (
        running_origin(home / "origin", models, archives) as origin,
        mounted(Machine(home / "machine"), home / "hub", origin.url, "--format", "compressed") as mount,
    ):
        assert (mount.path / BASIC_PITCH).is_dir()  # the listings below show what was found
        yield mount.path


@pytest.fixture(scope="module")
def hubs_mount(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A host of the protocol as `tfhub`, and a bucket as `team`; a model of each was read."""
    home = tmp_path_factory.mktemp("hubs")
    with HttpOrigin() as origin, gcs_server(home / "store") as store:
        put(origin, "/acme/pitch/2", "tf-hub-format=compressed", gzipped(tar_of({"saved_model.pb": bytes(5000)})))
        store.create_bucket("team")
        store.upload("team", "hub/acme/denoise/1/saved_model.pb", b"quiet")
        machine = Machine(home / "machine").with_environment(STORAGE_EMULATOR_HOST=store.url)
        with mounted(machine, home / "hub", f"tfhub={origin.url}", "--hub=team=gs://team/hub") as mount:
            for model in ("tfhub/acme/pitch/2", "team/acme/denoise/1"):
                assert (mount.path / model / "saved_model.pb").read_bytes()
            yield mount.path


@pytest.fixture(scope="module")
def kaggle_mount(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """`kaggle:google`, with two versions of a model."""
    home = tmp_path_factory.mktemp("kaggle")
    with KaggleStandIn() as kaggle:
        for version in ("1", "2"):
            model = {"saved_model.pb": bytes(5000), "variables/variables.index": b"index"}
            kaggle.put(f"google/yamnet/tensorFlow2/yamnet/{version}", model)
        machine = Machine(home / "machine").with_environment(HUBFS_KAGGLE_ENDPOINT=kaggle.url)
        with mounted(machine, home / "hub", "kaggle:google") as mount:
            yield mount.path


@pytest.fixture(scope="module")
def hf_mount(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """`hf:BAAI`, with two commits of a repository, and nothing read."""
    home = tmp_path_factory.mktemp("hf")
    first, second = "1" * 40, "2" * 40
    with HuggingFaceStandIn() as hub:
        hub.put("BAAI/bge-m3", {"config.json": b"[]"}, commit=second, branch="other")
        hub.put("BAAI/bge-m3", {"config.json": b"{}", "model.safetensors": bytes(5000)}, commit=first)
        hub.name_ref("BAAI/bge-m3", "refs/tags/v1", first)
        hub.name_ref("BAAI/bge-m3", "refs/pr/1", second)
        machine = Machine(home / "machine").with_environment(HF_ENDPOINT=hub.url)
        with mounted(machine, home / "hub", "hf:BAAI") as mount:
            yield mount.path
