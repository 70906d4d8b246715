"""Fuzzes hubfs:  python -m tests.fuzz.run [TARGET…] [--seconds S] [--engine atheris|mutation] [--input FILE]

Without a target all of them, one after another. Exits with 1 if one showed a bug; its input is kept, and how to run it
again is printed. `--input` runs one input through one target, plainly.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.fuzz.engines import ENGINES
from tests.fuzz.fuzzing import TARGETS, explained, load, run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", nargs="*", choices=(*TARGETS, []), metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--engine", choices=tuple(ENGINES))
    parser.add_argument("--input", type=Path)
    asked = parser.parse_args()
    if asked.input:
        load(asked.target[0]).fuzz(asked.input.read_bytes())
        print("no bug shows")
        return 0
    bugs = 0
    for name in asked.target or TARGETS:
        with tempfile.TemporaryDirectory() as work:
            outcome = run(name, asked.seconds, Path(work), engine=asked.engine)
        print(explained(outcome) if outcome.crash else outcome.line(), flush=True)
        bugs += outcome.crash is not None
    return 1 if bugs else 0


if __name__ == "__main__":
    sys.exit(main())
