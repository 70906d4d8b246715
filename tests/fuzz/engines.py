"""What drives a target: `python -m tests.fuzz.engines TARGET WORK SECONDS`, which `fuzzing.run` starts.

atheris (libFuzzer, guided by the coverage of hubfs) where it is installed: it has wheels for some versions of CPython
on Linux only. Elsewhere a plain loop that mutates the corpus at random. Both begin with every input of the corpus, and
leave the input that showed a bug in WORK/found.
"""

import argparse
import contextlib
import faulthandler
import importlib.util
import random
import resource
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.fuzz.fuzzing import Target, load, seeds

INPUT_BOUND_S = 25
"""An input that takes longer is a bug. The slowest good ones take a tenth of a second; machines may be busy."""

MEMORY_BOUND_MIB = 2048
"""All targets stay below 150. What libFuzzer looks at is the largest the process ever was, and Linux has a process
begin with what the one was that started it: that of a whole test run, which is added."""

UNREPAIRED = 8
"""One input in so many is left as the mutation made it."""

STEPS = (1, 1, 1, 1, 2, 4)
"""So many mutations make a new input of a kept one. libFuzzer itself would go on from each input to the next five
times, whether or not it led anywhere: the planted chain of five bytes took 50,000 to more than 300,000 executions
so, 15,000 to 150,000 with one step at a time. Some places are two changes away from everything."""


def has_atheris() -> bool:
    return importlib.util.find_spec("atheris") is not None


def with_atheris(name: str, work: Path, duration_s: float, plant: str | None, seed: int, runs: int) -> None:
    import atheris  # noqa: PLC0415 - not everywhere

    # By the first part of a module's name. A target's own branches lead nowhere, and would be followed like hubfs's.
    with atheris.instrument_imports(include=["hubfs", *(["tests"] if plant else [])]):
        target = _prepared(name, plant)

    def mutate(data: bytes, max_bytes: int, seed: int) -> bytes:
        dice = random.Random(seed)
        for _ in range(dice.choice(STEPS)):
            data = bytes(atheris.Mutate(data, max_bytes))
        return target.repair(data)[:max_bytes] if dice.randrange(UNREPAIRED) else data

    kept, found = work / "kept", work / "found"
    kept.mkdir()
    found.mkdir()
    corpus = work / "corpus"  # named one by one: a directory has another order on another machine
    corpus.write_text(",".join(str(path) for path in seeds(name)))
    words = work / "words"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words))
    options = {
        "max_total_time": max(1, int(duration_s)),
        "seed_inputs": f"@{corpus}",
        "seed": seed,
        **({"runs": runs} if runs else {}),
        "max_len": max(target.max_bytes, *(path.stat().st_size for path in seeds(name))),
        "timeout": INPUT_BOUND_S,
        "rss_limit_mb": MEMORY_BOUND_MIB + resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "artifact_prefix": f"{found}/",
        **({"dict": words} if target.words else {}),
        "mutate_depth": 1,
        "print_final_stats": 1,
        "reload": 0,
    }
    arguments = [f"-{option}={value}" for option, value in options.items()]
    atheris.Setup([sys.argv[0], *arguments, str(kept)], target.fuzz, custom_mutator=mutate)
    atheris.Fuzz()


def with_mutation(name: str, work: Path, duration_s: float, plant: str | None, seed: int, runs: int) -> None:
    target = _prepared(name, plant)
    dice, executions = random.Random(seed), 0
    found = work / "found"
    found.mkdir()
    current = work / "current"
    corpus = [path.read_bytes() for path in seeds(name)]
    deadline_s = time.monotonic() + duration_s
    try:
        while executions < len(corpus) or (time.monotonic() < deadline_s and not 0 < runs <= executions):
            data = corpus[executions] if executions < len(corpus) else mutated(dice, corpus, target)
            current.write_bytes(data)  # a crash of the process leaves it there
            faulthandler.dump_traceback_later(INPUT_BOUND_S, exit=True)
            target.fuzz(data)
            executions += 1
    except BaseException:
        shutil.copy(current, found / "crash")
        raise
    finally:
        faulthandler.cancel_dump_traceback_later()
        print(f"stat::number_of_executed_units: {executions}", flush=True)


ENGINES: dict[str, Callable[[str, Path, float, str | None, int, int], None]] = {
    "atheris": with_atheris,
    "mutation": with_mutation,
}


def mutated(dice: random.Random, corpus: Sequence[bytes], target: Target) -> bytes:
    """An input that is like one of the corpus."""
    data = bytearray(dice.choice(corpus))
    for _ in range(dice.choice([1, 1, 2, 4, 8])):
        start = dice.randrange(len(data) + 1)
        end = min(len(data), start + dice.choice([0, 1, 1, 2, 4, 16, 512]))
        other = dice.choice(corpus)
        pieces: list[bytes] = [
            dice.randbytes(end - start),
            dice.choice([b"\0", b"\xff", b"9", b"/", b'"', b"["]) * dice.choice([1, 2, 8, 64]),
            dice.choice([*target.words, b""]),
            other[(cut := dice.randrange(len(other) + 1)) : cut + dice.choice([4, 64, 1024])],
            bytes(data[start:end]) * 2,
            b"",
        ]
        data[start:end] = dice.choice(pieces)
    changed = bytes(data[: target.max_bytes])
    return target.repair(changed) if dice.randrange(UNREPAIRED) else changed


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


def _prepared(name: str, plant: str | None) -> Target:
    target = load(name)
    if plant:
        from tests.fuzz.planted import PLANTS  # noqa: PLC0415 - hubfs is imported behind the engine

        return PLANTS[plant](target)
    return target


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("work", type=Path)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--seed", type=int, default=0, help="0: another one every time, of atheris")
    parser.add_argument("--runs", type=int, default=0, help="the most inputs; 0: as many as there is time for")
    parser.add_argument("--plant")
    parser.add_argument("--engine", choices=tuple(ENGINES), default="atheris" if has_atheris() else "mutation")
    asked: Any = parser.parse_args(arguments)
    said = asked.engine if has_atheris() else f"{asked.engine}: atheris is not installed"
    print(f"engine: {said}", flush=True)
    try:
        ENGINES[asked.engine](asked.target, asked.work, asked.seconds, asked.plant, asked.seed, asked.runs)
    except Exception:  # noqa: BLE001 - whatever it is, it is what was looked for
        traceback.print_exc()
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        sys.exit(1)


if __name__ == "__main__":
    main()
