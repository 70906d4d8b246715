"""Test suites of tensorflow_hub, unmodified, with every model that a suite loads read from a mount.

No package of the library has its suites. One of our own, of the same ground, always runs. Where
`HUBFS_TENSORFLOW_HUB_SOURCES` names a checkout of the library, its own three run as well.
"""

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.mount import HUBFS, Machine, mounted
from tests.support.paths import ROOT
from tests.support.tensorflow import TensorFlow
from tests.support.waiting import eventually

pytestmark = [pytest.mark.mounted, pytest.mark.tensorflow, pytest.mark.timeout(900)]

SUPPORT = ROOT / "tests" / "support"
SOURCES = os.environ.get("HUBFS_TENSORFLOW_HUB_SOURCES")
THEIRS = ("keras_layer_test", "module_v2_test", "saved_model_module_test")
SUITES = [
    SUPPORT / "tensorflow_hub_suite.py",
    *(Path(SOURCES, "tensorflow_hub", f"{name}.py") for name in THEIRS if SOURCES),
]


@contextmanager
def serving(directory: Path) -> Iterator[str]:
    """`hubfs serve` of a directory; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [HUBFS, "serve", directory, "--port", str(port)], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        assert eventually(lambda: _answers(port), 60)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(30)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.stem)
def test_a_suite_passes_on_models_that_it_reads_from_the_mount(
    suite: Path, machine: Machine, tensorflow: TensorFlow, tmp_path: Path
) -> None:
    hosted, report = tmp_path / "hosted", tmp_path / "report.json"
    hosted.mkdir()
    with serving(hosted) as url, mounted(machine, tmp_path / "mnt", url) as hub:
        program = SUPPORT / "suite_through_mount.py"
        tensorflow.run(program, suite, hosted, hub.path, report, timeout_s=600)
        found = json.loads(report.read_text())
        assert found["problems"] == []
        handles = [os.getxattr(read, "user.hubfs.handle").decode() for read in found["read"]]
    assert handles, "the suite loaded nothing"
    print(f"{suite.stem}: {found['ran']} tests, {len(handles)} models read from the mount")
