"""TensorFlow, in an interpreter of its own: it is large, and other programs read the mount as well."""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.paths import ROOT
from tests.support.programs import ran

LOAD_MODEL = Path(__file__).with_name("load_model.py")
C_PROGRAM = Path(__file__).parent / "c" / "load_saved_model.c"


def python() -> Path:
    """The interpreter that has TensorFlow: scripts/test makes it; HUBFS_TEST_TENSORFLOW names another."""
    path = Path(os.environ.get("HUBFS_TEST_TENSORFLOW") or ROOT / ".venv-tensorflow" / "bin" / "python")
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: scripts/test installs TensorFlow there")
    return path


@dataclass(frozen=True)
class TensorFlow:
    """Runs programs on TensorFlow; `work` is a directory for their results."""

    work: Path

    def start(self, *command: str | Path, log: Path | None = None) -> subprocess.Popen[bytes]:
        """Starts the interpreter with `command`; its output goes to `log`."""
        with (log or self.work / "tensorflow.log").open("ab") as output:
            return subprocess.Popen(
                [*_isolated(), *command], stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=self.work
            )

    def run(self, *command: str | Path, timeout_s: float = 240) -> str:
        """What the interpreter printed for `command`; an AssertionError with its stderr if it failed."""
        return _output([*_isolated(), *command], self.work, timeout_s)

    def outputs(self, *models: Path, with_hub: bool = False) -> list[dict[str, Any]]:
        """For each model, what its signatures give on fixed inputs: bit-equal outputs compare equal."""
        report = self.work / "outputs.json"
        self.run(LOAD_MODEL, report, *models, *(["--with-hub"] if with_hub else []))
        return read_report(report, models)

    def shown(self, model: Path) -> str:
        """What `saved_model_cli show --all` prints of a model."""
        return _output([python().with_name("saved_model_cli"), "show", "--all", "--dir", model], self.work, 120)

    def c_outputs(self, model: Path, *arguments: str) -> bytes:
        """What the C program computes from a model; see its usage for `arguments`."""
        result = self.work / "c_outputs"
        _output([self._c_program(), model, result, *arguments], self.work, 120)
        return result.read_bytes()

    def _c_program(self) -> Path:
        program = self.work / "load_saved_model"
        if not program.exists():
            asked = "import importlib.util as util; print(util.find_spec('tensorflow').origin)"
            libraries = Path(self.run("-c", asked).strip()).parent
            _output(
                [
                    *("gcc", "-O1", "-Wall", "-Wextra", "-Werror", C_PROGRAM, "-o", program),
                    *(f"-I{libraries / 'include'}", f"-L{libraries}", f"-Wl,-rpath,{libraries}"),
                    *("-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2", "-lm"),
                ],
                self.work,
                120,
            )
        return program


def _isolated() -> list[str | Path]:
    # Isolated, or the folder of the script that runs would be searched first: it has a `tensorflow.py`, this file.
    return [python(), "-I"]


def read_report(report: Path, models: Sequence[Path]) -> list[dict[str, Any]]:
    """The outputs that load_model.py wrote, in the order of `models`."""
    found = json.loads(report.read_text())
    return [found[str(model)] for model in models]


def _output(command: Sequence[str | Path], cwd: Path, timeout_s: float) -> str:
    # saved_model_cli prints sets: in one order every time, if their hashes are the same every time.
    done = ran(command, env={**os.environ, "PYTHONHASHSEED": "0"}, cwd=cwd, timeout=timeout_s)
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}:\n{done.stderr[-4000:]}"
    return done.stdout
