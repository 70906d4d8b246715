"""What is fuzzed, and how one target is run: in a process of its own, within a time, with what it did as figures.

A target is a module of `tests.fuzz.targets`. Its `fuzz(data)` raises only for a bug: an exception that hubfs does not
document, a wrong answer by some oracle, or what the engine sees: too much memory, too much time, a crash. It may have

    repair(data) -> bytes    makes a mutated input plausible again (checksums, lengths), or nothing would come far
    WORDS                    what the engine should try to put into inputs
    MAX_BYTES                how long an input may be

Nothing here imports hubfs: the engine must be there first, to see hubfs being imported.
"""

import importlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.paths import ROOT, WORK

HOME = Path(__file__).parent
CORPUS = HOME / "corpus"
FOUND = WORK / "fuzz"
"""Where inputs are kept that showed a bug."""

TARGETS = {
    "block_map": 10_000,
    "catalogue": 13_000,
    "config": 8_000,
    "cost": 1_500,
    "fuse_session": 1_700,
    "gcs_listing": 5_000,
    "gguf": 50_000,
    "gzip_index": 130_000,
    "gzip_stream": 11_000,
    "handle": 26_000,
    "hub_answer": 1_300,
    "huggingface": 10_000,
    "index_file": 52_000,
    "kaggle": 9_000,
    "model_index": 3_000,
    "protobuf": 4_000,
    "safetensors": 50_000,
    "shared_block": 80_000,
    "span": 28_000,
    "tar": 5_000,
    "tfjs_manifest": 29_000,
    "worker_messages": 5_000,
}
"""Each with the inputs that a run of always the same ones has: what takes five seconds on a machine that is idle."""

SEED = 1
"""Where chance begins in such a run."""

_HARD_BOUND_S = 120.0
_MAX_BYTES = 4096


@dataclass(frozen=True)
class Target:
    """A module of `targets`, with what it does not say filled in."""

    name: str
    fuzz: Callable[[bytes], None]
    repair: Callable[[bytes], bytes]
    words: Sequence[bytes]
    max_bytes: int


@dataclass(frozen=True)
class Outcome:
    """What a run did. `edges` of hubfs were seen, None for an engine that does not see them; `crash` is the input that
    showed a bug; `new_inputs` were kept because they went where none had gone before.
    """

    target: str
    engine: str
    executions: int
    edges: int | None
    new_inputs: int
    crash: Path | None
    log: str

    @property
    def guided(self) -> bool:
        """Whether coverage was seen, and led anywhere: the start alone is what the corpus reaches."""
        return bool(self.edges and self.new_inputs)

    def line(self) -> str:
        """For people."""
        seen = f"coverage-guided: {self.edges} edges, {self.new_inputs} new inputs" if self.guided else "not guided"
        end = f"BUG, kept in {self.crash}" if self.crash else "no crash"
        return f"{self.target}: {self.executions} executions ({self.engine}), {seen}, {end}"


def load(name: str) -> Target:
    """Imports a target, and with it what it fuzzes."""
    module = importlib.import_module(f"tests.fuzz.targets.{name}")
    return Target(
        name,
        module.fuzz,
        getattr(module, "repair", bytes),
        getattr(module, "WORDS", ()),
        getattr(module, "MAX_BYTES", _MAX_BYTES),
    )


def seeds(name: str) -> list[Path]:
    """The kept inputs of a target."""
    return sorted((CORPUS / name).iterdir())


def run(
    name: str,
    duration_s: float,
    work: Path,
    *,
    plant: str | None = None,
    engine: str | None = None,
    runs: int = 0,
    seed: int = 0,
) -> Outcome:
    """Fuzzes one target for `duration_s` in a process of its own; `work` is an empty directory for it.

    It ends after `runs` inputs, where there is such a number. A `seed` makes the same inputs on every machine, in the
    same order; without one atheris makes others every time.

    `plant` is a defect that is put into hubfs there (see `planted`); `engine` one of `engines.ENGINES`, by default the
    best that there is.
    """
    work.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tests.fuzz.engines", name, str(work), f"{duration_s:g}"]
    command += [f"--runs={runs}", f"--seed={seed}"]
    command += [f"--plant={plant}"] if plant else []
    command += [f"--engine={engine}"] if engine else []
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(work)}
    if seed:  # the order of a set leads elsewhere, too
        environment["PYTHONHASHSEED"] = "0"
    with (work / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            status = process.wait(duration_s + _HARD_BOUND_S)
        except subprocess.TimeoutExpired:
            status = -1
        finally:
            process.kill()
            process.wait()
    text = (work / "log").read_text(errors="replace")
    return _outcome(name, work, text, kept=work / "kept" if plant else FOUND / name, failed=status != 0)


def _outcome(name: str, work: Path, log: str, *, kept: Path, failed: bool) -> Outcome:
    executions, edges = _last(r"stat::number_of_executed_units:\s*(\d+)", log), _last(r"\bcov: (\d+)", log)
    new_inputs = _last(r"stat::new_units_added:\s*(\d+)", log) or 0
    engine = re.search(r"^engine: (.*)$", log, re.MULTILINE)
    crash = None
    if failed:
        kept.mkdir(parents=True, exist_ok=True)
        found = next(iter(sorted((work / "found").glob("*"))), work / "log")
        crash = Path(shutil.copy(found, kept / found.name))
    return Outcome(name, engine[1] if engine else "none", executions or 0, edges, new_inputs, crash, log)


def _last(pattern: str, text: str) -> int | None:
    found = re.findall(pattern, text)
    return int(found[-1]) if found else None


def explained(outcome: Outcome) -> str:
    """What to know about a crash, and how to see it again."""
    crash = outcome.crash
    assert crash is not None
    data = crash.read_bytes()
    return (
        f"{outcome.line()}\n{outcome.log[-4000:]}\n"
        f"the input ({len(data)} bytes): {data[:2000]!r}\n"
        f"once more:  python -m tests.fuzz.run {outcome.target} --input {crash}\n"
        f"when it is fixed, keep it:  cp {crash} {(CORPUS / outcome.target).relative_to(ROOT)}/<what-it-shows>"
    )
