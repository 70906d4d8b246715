"""Runs in TensorFlow's interpreter: a test suite of tensorflow_hub, whose models are read from a mount.

    suite_through_mount.py SUITE HOSTED MOUNT REPORT

SUITE is the file of the suite, which stays as it is. Such a suite saves models and loads them by their directories.
HOSTED is the directory that the mounted hub hosts. Every directory that the suite loads is copied there as a model of
its own, and tensorflow_hub is handed the directory of that model below MOUNT. REPORT becomes JSON: `ran` counts the
tests, `problems` has the tracebacks of failures and errors, `read` has the directories that were handed out.
"""

import contextlib
import json
import os
import runpy
import shutil
import sys
import unittest
from pathlib import Path
from typing import Any

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", TF_ENABLE_ONEDNN_OPTS="0", TF_USE_LEGACY_KERAS="1")

import tensorflow_hub as hub
from tensorflow_hub import registry


class FromTheMount:
    """A resolver of tensorflow_hub: hosts a local directory, and answers with its place in the mount."""

    def __init__(self, hosted: Path, mount: Path) -> None:
        self._hosted = hosted
        self._mount = mount
        self.read: list[str] = []

    def is_supported(self, handle: str) -> bool:
        """Whether this is a model in a local directory."""
        return Path(handle, "saved_model.pb").exists()

    def __call__(self, handle: str) -> str:
        """The directory of a new version of the model `suite/model`."""
        model = f"suite/model/{len(self.read) + 1}"
        shutil.copytree(handle, self._hosted / model)
        found = str(self._mount / model)
        self.read.append(found)
        return found


class Results:
    """Keeps the result of every run of unittest, which the suite's own `main` throws away."""

    def __init__(self) -> None:
        self.kept: list[unittest.TestResult] = []

    def keep(self) -> None:
        """From now on."""
        run = unittest.TextTestRunner.run

        def kept(runner: unittest.TextTestRunner, test: Any) -> Any:
            result = run(runner, test)
            self.kept.append(result)
            return result

        unittest.TextTestRunner.run = kept  # type: ignore[method-assign]


def main() -> None:
    suite, hosted, mount, report = map(Path, sys.argv[1:])
    hub.resolve  # noqa: B018 - registers the library's own resolvers, which are asked after this one
    resolver = FromTheMount(hosted, mount)
    registry.resolver.add_implementation(resolver)
    results = Results()
    results.keep()
    sys.argv = [str(suite)]
    with contextlib.suppress(SystemExit):
        runpy.run_path(str(suite), run_name="__main__")
    ran = sum(result.testsRun for result in results.kept)
    problems = [trace for result in results.kept for _, trace in [*result.failures, *result.errors]]
    report.write_text(json.dumps({"ran": ran, "problems": problems, "read": resolver.read}))


if __name__ == "__main__":
    main()
