"""TensorFlow reads models through the mount by all its doors, and computes the bits that the files themselves give."""

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MountHub
from tests.support.models import BASIC_PITCH, GUESSLANG, RESNET50, packed
from tests.support.origin import Origin
from tests.support.tensorflow import LOAD_MODEL, TensorFlow, read_report
from tests.support.waiting import eventually

pytestmark = [pytest.mark.mounted, pytest.mark.tensorflow, pytest.mark.timeout(900)]

PROCESSES = 16


@pytest.fixture(scope="session")
def expected(tensorflow: TensorFlow, models: dict[str, Path]) -> list[dict[str, Any]]:
    """What the models give when they are loaded from their own files, twice the same."""
    first = tensorflow.outputs(*models.values())
    assert all(first), "a model without a signature shows nothing"
    assert tensorflow.outputs(*models.values()) == first, "these models do not give the same bits twice"
    return first


@pytest.mark.both_libfuses
def test_every_model_gives_the_bits_that_it_gives_from_its_own_files(
    mount: MountHub, origin: Origin, tensorflow: TensorFlow, models: dict[str, Path], expected: list[dict[str, Any]]
) -> None:
    with mount(origin) as hub:
        assert tensorflow.outputs(*(hub.path / handle for handle in models)) == expected
        assert {os.getxattr(hub.path / handle, "user.hubfs.form").decode() for handle in models} == {origin.form}


def test_hub_load_gives_the_same(
    mount: MountHub, origin: Origin, tensorflow: TensorFlow, models: dict[str, Path], expected: list[dict[str, Any]]
) -> None:
    with mount(origin) as hub:
        assert tensorflow.outputs(*(hub.path / handle for handle in models), with_hub=True) == expected


@pytest.mark.parametrize("handle", [BASIC_PITCH, GUESSLANG])
def test_saved_model_cli_shows_the_same(
    mount: MountHub, origin: Origin, tensorflow: TensorFlow, models: dict[str, Path], handle: str
) -> None:
    with mount(origin, "--prefetch", "none") as hub:
        before = origin.sent_bytes(handle, "variables/")
        shown = tensorflow.shown(hub.path / handle)
        assert "signature_def['serving_default']" in shown
        assert shown == tensorflow.shown(models[handle])
        assert origin.sent_bytes(handle, "variables/") == before, "it reads no variables, and none were fetched"


def test_a_c_program_computes_the_same(
    mount: MountHub, origin: Origin, tensorflow: TensorFlow, models: dict[str, Path]
) -> None:
    arguments = ("serving_default_input_2", "1,43844,1", "StatefulPartitionedCall", "3")
    with mount(origin) as hub:
        computed = tensorflow.c_outputs(hub.path / BASIC_PITCH, *arguments)
        assert len(computed) == 172 * (264 + 88 + 88) * 4
        assert computed == tensorflow.c_outputs(models[BASIC_PITCH], *arguments)


def test_sixteen_processes_that_load_one_model_at_once_fetch_each_byte_once(
    mount: MountHub,
    origin: Origin,
    tensorflow: TensorFlow,
    models: dict[str, Path],
    expected: list[dict[str, Any]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hosted = [packed(RESNET50)] if origin.form == "compressed" else models[RESNET50].rglob("*")
    hosted_bytes = sum(path.stat().st_size for path in hosted if path.is_file())
    go = tmp_path / "go"
    readies = [tmp_path / f"ready-{number}" for number in range(PROCESSES)]
    reports = [tmp_path / f"report-{number}" for number in range(PROCESSES)]
    with mount(origin) as hub:
        model = hub.path / RESNET50
        before = origin.sent_bytes(RESNET50)
        loading = [
            tensorflow.start(LOAD_MODEL, report, model, "--ready", ready, "--go", go)
            for report, ready in zip(reports, readies, strict=True)
        ]
        try:
            assert eventually(lambda: all(ready.exists() for ready in readies), 300), "TensorFlow was not imported"
            started_s = time.monotonic()
            go.touch()
            assert [process.wait(600) for process in loading] == [0] * PROCESSES
            took_s = time.monotonic() - started_s
        finally:
            _end(loading)
        sent_bytes = origin.sent_bytes(RESNET50) - before
    assert [read_report(report, [model]) for report in reports] == [
        [expected[list(models).index(RESNET50)]]
    ] * PROCESSES
    ratio = sent_bytes / hosted_bytes
    with capsys.disabled():
        print(f"\n{origin.form}: {PROCESSES} cold loads in {took_s:.1f} s, {ratio:.4f} of the model's bytes were sent")
    assert 0.98 <= ratio <= 1.02


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.kill()
        process.wait(30)
