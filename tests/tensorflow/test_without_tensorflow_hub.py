"""Where tensorflow_hub is missing or broken, hubfs loads its models, and stands in for it in notebooks' code."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.conftest import MountHub
from tests.support import tensorflow
from tests.support.models import kept, pack
from tests.support.origin import Origin, running_origin
from tests.support.paths import ROOT

pytestmark = [pytest.mark.mounted, pytest.mark.tensorflow, pytest.mark.timeout(600)]

NOTEBOOKS = ["text_embedding", "image_features", "yamnet", "movenet", "tf1_module", "tf1_graph"]
CALLS = [
    *("loaded_and_layered", "several_inputs", "saved_and_exported", "what_cannot_be"),
    *("the_documents", "the_keras_of_the_program"),
]
TF1_MODULE, TF1_LOOP = "google/elmo/3", "test/loop/1"
SUPPORT = ROOT / "tests" / "support"


def hub_models() -> Path:
    def save(target: Path) -> None:
        runs = tensorflow.TensorFlow(target.parent)
        runs.run(SUPPORT / "save_hub_models.py", target)
        (target / TF1_MODULE).parent.mkdir(parents=True)
        runs.run(SUPPORT / "save_tf1_module.py", target / TF1_MODULE)
        (target / "google/elmo/words.txt").unlink()
        (target / TF1_LOOP).parent.mkdir(parents=True)
        runs.run(SUPPORT / "save_tf1_loop.py", target / TF1_LOOP)
        (target / "test/weights/1").mkdir(parents=True)
        (target / "test/weights/1/weights.bin").write_bytes(b"no graph")

    return kept("hub-models-with-loop", save)


@pytest.fixture(scope="module")
def models() -> Path:
    """The folder of the models, by handle."""
    return hub_models()


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[Origin]:
    home = tmp_path_factory.mktemp("notebooks")
    handles = [str(path.relative_to(models)) for path in sorted(models.rglob("*")) if path.name.isdecimal()]
    archives = {handle: pack(models / handle, home / f"{at}.tar.gz") for at, handle in enumerate(handles)}
    with running_origin(home, {}, archives) as origin:
        yield origin


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the packages of TensorFlow's interpreter, without tensorflow_hub."""
    return tmp_path_factory.mktemp("site")


def ran(program: str, *arguments: str | Path, environment: Mapping[str, str], work: Path) -> list[str]:
    """What ran in the program; an AssertionError with its stderr if it failed."""
    foreign = ("HUBFS_", "TFHUB_", "TF_", "KERAS_", "PYTHON", "XDG_", "STORAGE_EMULATOR_HOST")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    done = subprocess.run(
        [tensorflow.python(), "-S", SUPPORT / program, *arguments],
        env={**inherited, "HOME": str(work), "PYTHONDONTWRITEBYTECODE": "1", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        cwd=work,
        timeout=400,
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-6000:]}"
    return [line.removeprefix("ran ") for line in done.stdout.splitlines() if line.startswith("ran ")]


def test_keras_3_and_no_library_the_models_come_from_the_hub(
    servers: Origin, models: Path, site: Path, tmp_path: Path
) -> None:
    environment = {
        **servers.environment,
        "HUBFS_TFHUB_ENDPOINT": servers.url,
        "HUBFS_CACHE_DIR": str(tmp_path / "cache"),
    }
    printed = ran("call_hubfs.py", site, models, tmp_path, environment=environment, work=tmp_path)
    assert printed == NOTEBOOKS + CALLS
    handle = "google/nnlm-en-dim50/2"
    archive_bytes = (servers.nginx.root / f"{handle}.tar.gz").stat().st_size
    assert archive_bytes <= servers.sent_bytes(handle) < 2 * archive_bytes, "once, and a page that says 404"


def test_tf_keras_and_a_broken_library_the_models_come_from_a_mount(
    mount: MountHub, servers: Origin, models: Path, site: Path, tmp_path: Path
) -> None:
    (site / "tensorflow_hub").mkdir()
    # As tensorflow_hub 0.16 begins; today's setuptools has no such module.
    (site / "tensorflow_hub" / "__init__.py").write_text("from pkg_resources_of_old import parse_version\n")
    with mount(servers) as hub:
        environment = {"TF_USE_LEGACY_KERAS": "1"}
        printed = ran("run_notebooks.py", site, models, hub.path, environment=environment, work=tmp_path)
    assert printed == NOTEBOOKS
