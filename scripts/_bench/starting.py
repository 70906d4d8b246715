"""How long commands take to start, which people and their scripts wait for."""

import subprocess
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

from scripts._bench.measure import Failed, seconds
from scripts._bench.peers import tool
from scripts._bench.report import Sample
from scripts._bench.scenarios import HUBFS, LOCAL, RCLONE, Scenario, Series, bound
from scripts._bench.world import World
from tests.support.mount import HUBFS as COMMAND

HELP, IMPORT = "hubfs --help", "hubfs, import"

LONGEST_S = 0.15

_TIMEOUT_S = 60


def started(command: list[str | Path]) -> Sample:
    """Runs a command to its end, for the fifth time: files are in the page cache. Raises `Failed` if it fails."""

    def run() -> None:
        done = subprocess.run(
            command, capture_output=True, check=False, stdin=subprocess.DEVNULL, text=True, timeout=_TIMEOUT_S
        )
        if done.returncode:
            raise Failed(f"{' '.join(map(str, command))} ended with status {done.returncode}: {done.stderr[-300:]}")

    for _ in range(4):
        run()
    return Sample(seconds(run))


def starts(_world: World) -> Mapping[str, Series]:
    """The help of each command, since that is what each command does at least; Python alone is the floor of hubfs."""

    def series(peer: str, *command: str | Path) -> Series:
        return Series(peer, lambda: started([*command]))

    return {
        HELP: series(HUBFS, COMMAND, "--help"),
        "hubfs status": series(HUBFS, COMMAND, "status"),
        IMPORT: series(HUBFS, sys.executable, "-c", "import hubfs"),
        "rclone --help": series(RCLONE, tool("rclone"), "--help"),
        "rclone version": series(RCLONE, tool("rclone"), "version"),
        "local, python -c pass": series(LOCAL, sys.executable, "-c", "pass"),
    }


def starting_scenarios() -> list[Scenario]:
    """No model is touched."""
    return [
        Scenario(
            "start",
            "start of a command, and of a program that imports the library",
            "s",
            lambda world: nullcontext(starts(world)),
            [
                bound(f"{HELP}: at most {LONGEST_S} s", HELP, LONGEST_S),
                bound(f"import hubfs: at most {LONGEST_S} s", IMPORT, LONGEST_S),
            ],
            "local, python -c pass",
        )
    ]
