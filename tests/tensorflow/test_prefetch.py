"""TensorFlow finds the variables there: they were fetched while it imported the graph, or by `hubfs prefetch`."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hubfs.blobs.http.client import WHOLE_BYTES
from hubfs.sources.prefetch.plan import SPECULATION_BYTES
from tests.conftest import MountHub
from tests.support.models import RESNET50, packed
from tests.support.origin import Origin
from tests.support.tensorflow import LOAD_MODEL, TensorFlow
from tests.support.waiting import eventually

pytestmark = [pytest.mark.mounted, pytest.mark.tensorflow, pytest.mark.timeout(600)]

# Loads a model, and stops where TensorFlow is about to open the first of the variables' files.
PAUSING_LOAD = """
import pathlib, sys, time
import tensorflow as tf
from tensorflow.python.training import py_checkpoint_reader

ready, go, model = map(pathlib.Path, sys.argv[1:])
open_variables = py_checkpoint_reader.NewCheckpointReader

def paused(prefix):
    ready.touch()
    while not go.exists():
        time.sleep(0.01)
    return open_variables(prefix)

py_checkpoint_reader.NewCheckpointReader = paused
tf.saved_model.load(str(model))
"""


@pytest.fixture
def origin(servers: Origin) -> Origin:
    return servers.asked_for("uncompressed")


def test_the_variables_were_fetched_before_tensorflow_opens_them(
    mount: MountHub, origin: Origin, tensorflow: TensorFlow, models: dict[str, Path], tmp_path: Path
) -> None:
    ready, go, log = tmp_path / "ready", tmp_path / "go", tmp_path / "log"
    variables_bytes = sum(path.stat().st_size for path in (models[RESNET50] / "variables").iterdir())
    with mount(origin) as hub:
        before_bytes = origin.sent_bytes(RESNET50, "variables/")
        loading = tensorflow.start("-c", PAUSING_LOAD, ready, go, hub.path / RESNET50, log=log)
        try:
            assert eventually(ready.exists, 300), log.read_text()[-4000:]
            assert eventually(lambda: origin.sent_bytes(RESNET50, "variables/") == before_bytes + variables_bytes)
            go.touch()
            assert loading.wait(300) == 0, log.read_text()[-4000:]
        finally:
            loading.kill()
            loading.wait(30)
        assert origin.sent_bytes(RESNET50, "variables/") == before_bytes + variables_bytes


def test_saved_model_cli_is_not_taken_for_a_loader(
    mount: MountHub, origin: Origin, tensorflow: TensorFlow, models: dict[str, Path]
) -> None:
    with mount(origin) as hub:
        before_bytes = origin.sent_bytes(RESNET50)
        assert tensorflow.shown(hub.path / RESNET50) == tensorflow.shown(models[RESNET50])
        assert origin.sent_bytes(RESNET50) - before_bytes <= SPECULATION_BYTES


@pytest.mark.parametrize("form", ["uncompressed", "compressed"])
def test_prefetching_a_model_while_tensorflow_loads_it_fetches_each_byte_once(
    mount: MountHub, servers: Origin, tensorflow: TensorFlow, models: dict[str, Path], form: str, tmp_path: Path
) -> None:
    """By a path, through the mount; and by a handle, in a process beside it that has the same cache."""
    origin, ready, go, log = servers.asked_for(form), tmp_path / "ready", tmp_path / "go", tmp_path / "log"
    report = tmp_path / "report.json"
    with mount(origin) as hub, ThreadPoolExecutor(2) as pool:
        by_handle = (RESNET50, "--hub", origin.url, "--format", form)
        (hub.path / RESNET50).stat()  # where the model is, was asked
        before_bytes = origin.sent_bytes(RESNET50)
        waits = ("--ready", ready, "--go", go)
        loading = tensorflow.start(LOAD_MODEL, report, hub.path / RESNET50, *waits, log=log)
        try:
            assert eventually(ready.exists, 300), log.read_text()[-4000:]
            asked = origin.requests()
            fetches = [pool.submit(hub.machine.hubfs, "prefetch", *by_handle, timeout_s=300)]
            if form == "compressed":  # the process beside the mount knows the archive by no index: it asks, too
                assert eventually(lambda: origin.requests() > asked)
            go.touch()
            fetches.append(pool.submit(hub.machine.hubfs, "prefetch", hub.path / RESNET50, timeout_s=300))
            for fetch in fetches:
                assert fetch.result().returncode == 0, fetch.result().stderr
            assert loading.wait(300) == 0, log.read_text()[-4000:]
        finally:
            loading.kill()
            loading.wait(30)
        hosted_bytes = origin.hosted_bytes(models[RESNET50], packed(RESNET50))
        asked_bytes = WHOLE_BYTES if form == "compressed" else 0  # the answer brings the first bytes
        assert origin.sent_bytes(RESNET50) - before_bytes == hosted_bytes + asked_bytes
        checked = hub.machine.hubfs("prefetch", "--check", *by_handle)
        assert checked.returncode == 0, checked.stdout
