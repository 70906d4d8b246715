"""The real tensorflow_hub, in TensorFlow's interpreter."""

import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.paths import ROOT
from tests.support.programs import ran
from tests.support.tensorflow import LOAD_MODEL, TensorFlow, python

CALLS = Path(__file__).with_name("tensorflow_hub_calls.py")
OFFLINE = Path(__file__).with_name("offline")


@dataclass(frozen=True)
class Ran:
    """What came of a program: its outputs by handle if it got so far, what it said, where it wanted to connect to."""

    outputs: dict[str, Any] | None
    stderr: str
    attempts: list[str]
    took_s: float


def load_offline(work: Path, *arguments: str | Path, cache_dir: Path) -> Ran:
    """Runs load_model.py, which knows nothing of hubfs, with `TFHUB_CACHE_DIR` set, and no way to the network."""
    work.mkdir(parents=True, exist_ok=True)
    # Not where it lies: the folder of a program is searched first, and that one has a `tensorflow.py`.
    program = shutil.copy(LOAD_MODEL, work / "program.py")
    report, attempts = work / "report.json", work / "attempts"
    for left_over in (report, attempts):
        left_over.unlink(missing_ok=True)
    attempts.touch()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("TFHUB_", "PYTHON"))}
    chosen = {"TFHUB_CACHE_DIR": str(cache_dir), "PYTHONPATH": str(OFFLINE), "HUBFS_TEST_ATTEMPTS": str(attempts)}
    began_s = time.monotonic()
    done = ran([python(), program, report, *arguments], env={**inherited, **chosen}, cwd=work, timeout=240)
    took_s = time.monotonic() - began_s
    outputs = json.loads(report.read_text()) if done.returncode == 0 else None
    return Ran(outputs, done.stderr, attempts.read_text().splitlines(), took_s)


def dependency_free_site(site: Path) -> Path:
    """What `pip install --no-deps hubfs` lays down."""
    if not site.exists():
        (site / "hubfs-0.dist-info").mkdir(parents=True)
        (site / "hubfs-0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: hubfs\nVersion: 0\n")
        (site / "hubfs").symlink_to(ROOT / "hubfs")
    return site


def called(work: Path, *calls: tuple[str, str | None]) -> list[tuple[str, list[str]]]:
    """What came of the calls (see tensorflow_hub_calls.py), and the URLs that were asked for meanwhile."""
    report = work / "report.json"
    TensorFlow(work).run(CALLS, dependency_free_site(work / "site"), json.dumps(calls), report)
    return [(result, downloads) for result, downloads in json.loads(report.read_text())]
