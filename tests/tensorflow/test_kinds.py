"""Every kind of model through the mount, by the programs that such models are for; and every layout of a bucket."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.files import files
from tests.support.gcs_server import gcs_server
from tests.support.kinds import (
    BASIC_PITCH_JS,
    TF1_MODULE,
    basic_pitch_js,
    host,
    tf1_module,
    tfjs_outputs,
    tflite_models,
    tflite_outputs,
)
from tests.support.models import BASIC_PITCH, basic_pitch, packed
from tests.support.mount import Machine, Mount, mounted
from tests.support.serving import serving
from tests.support.tensorflow import TensorFlow

pytestmark = [pytest.mark.mounted, pytest.mark.tensorflow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def hub_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`hubfs serve` with a model of each kind."""
    directory = tmp_path_factory.mktemp("kinds")
    host(directory, {**tflite_models(), BASIC_PITCH_JS: basic_pitch_js(), TF1_MODULE: tf1_module()})
    with serving(directory) as url:
        yield url


@pytest.fixture
def hub(machine: Machine, tmp_path: Path, hub_url: str) -> Iterator[Mount]:
    with mounted(machine, tmp_path / "hub", hub_url) as hub:
        yield hub


@pytest.mark.parametrize(("form", "hosting"), [("compressed", "compressed"), ("uncompressed", "files")])
def test_tfjs_predicts_from_the_mount_what_it_predicts_from_the_files(
    machine: Machine, tmp_path: Path, hub_url: str, form: str, hosting: str
) -> None:
    expected = tfjs_outputs(basic_pitch_js())
    assert [shape for shape, _ in expected.values()] == [[1, 172, 264], [1, 172, 88], [1, 172, 88]]
    with mounted(machine, tmp_path / "hub", hub_url, "--format", form) as hub:
        assert tfjs_outputs(hub.path / BASIC_PITCH_JS) == expected
        assert os.getxattr(hub.path / BASIC_PITCH_JS, "user.hubfs.form").decode() == hosting
        assert files(hub.path / BASIC_PITCH_JS) == files(basic_pitch_js())


def test_litert_maps_models_of_the_mount_and_computes_the_same(hub: Mount, tensorflow: TensorFlow) -> None:
    local = tflite_models()
    expected = tflite_outputs(tensorflow, [*local.values()])
    assert len({str(outputs) for outputs in expected}) == len(local), "the inputs show nothing of the models"
    assert tflite_outputs(tensorflow, [hub.path / handle / "model.tflite" for handle in local]) == expected


def test_hub_load_takes_a_module_of_the_tf1_format_for_one(hub: Mount, tensorflow: TensorFlow) -> None:
    mounted_module, local = hub.path / TF1_MODULE, tf1_module()
    assert (mounted_module / "tfhub_module.pb").read_bytes() == (local / "tfhub_module.pb").read_bytes()
    (expected,) = tensorflow.outputs(local, with_hub=True)
    assert [shape for _, shape, _ in expected.values()] == [[3, 5]]
    assert tensorflow.outputs(mounted_module, with_hub=True) == [expected]
    asked = f"import tensorflow_hub as hub; print(hub.load({str(mounted_module)!r})._is_hub_module_v1)"
    assert tensorflow.run("-c", asked).strip() == "True"


def test_tensorflow_loads_every_layout_of_a_bucket(machine: Machine, tmp_path: Path, tensorflow: TensorFlow) -> None:
    name = BASIC_PITCH.rpartition("/")[0]
    below = tmp_path / "store" / "team" / "hub" / name
    shutil.copytree(basic_pitch(), below / "1")
    shutil.copytree(basic_pitch(), below / "2" / "uncompressed")
    shutil.copy(packed(BASIC_PITCH), below / "3.tar.gz")
    (expected,) = tensorflow.outputs(basic_pitch())
    with gcs_server(tmp_path / "store") as store:
        user = machine.with_environment(STORAGE_EMULATOR_HOST=store.url)
        with mounted(user, tmp_path / "hub", "gs://team/hub") as hub:
            models = [hub.path / name / version for version in ("1", "2", "3")]
            assert tensorflow.outputs(*models) == [expected] * len(models)
            forms = [os.getxattr(model, "user.hubfs.form") for model in models]
            assert forms == [b"uncompressed", b"uncompressed", b"compressed"]
