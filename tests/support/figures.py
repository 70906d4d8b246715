"""What the fault tests counted: printed at the end of a run, and kept for whoever wants to show it.

    def test_...(figures):
        figures.add("faults", injected=1, right=1)          # sums up over the tests
        figures.note("soak", p99_ms=3.2)                     # the last word counts

`.work/faults.json` has the figures of the last run.
"""

import json
import os
import threading
from typing import Any

from tests.support.paths import WORK

FILE = WORK / "faults.json"

FULL = os.environ.get("HUBFS_FAULTS") == "full"
"""Whether there is time: `scripts/test faults` sets it. All other runs are time-boxed."""


CONTINUED = os.environ.get("HUBFS_FIGURES") == "continued"
"""Whether the figures of the last run are those of the first half of this one."""


def budget(name: str, *, boxed: float, full: float) -> float:
    """How much of something a test may do: `HUBFS_<NAME>` if it is set, else by whether there is time."""
    return float(os.environ.get(f"HUBFS_{name.upper()}", full if FULL else boxed))


class Figures:
    """Sections of named figures. `_lock` guards `_sections`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sections: dict[str, dict[str, Any]] = {}
        if CONTINUED and FILE.exists() and "PYTEST_XDIST_WORKER" not in os.environ:  # who prints adds it up
            self._sections = json.loads(FILE.read_text(encoding="utf-8"))

    def add(self, section: str, **counts: int) -> None:
        """Adds to counts, which begin at 0."""
        with self._lock:
            figures = self._sections.setdefault(section, {})
            for name, count in counts.items():
                figures[name] = figures.get(name, 0) + count

    def note(self, section: str, **values: Any) -> None:
        """Sets values (JSON-able)."""
        with self._lock:
            self._sections.setdefault(section, {}).update(values)

    def sections(self) -> dict[str, dict[str, Any]]:
        """Everything, to be handed from one process to another."""
        with self._lock:
            return self._sections

    def merge(self, sections: dict[str, dict[str, Any]]) -> None:
        """What another process counted: its counts are added, its values set."""
        for section, figures in sections.items():
            counts = {name: value for name, value in figures.items() if type(value) is int}
            self.add(section, **counts)
            self.note(section, **{name: value for name, value in figures.items() if name not in counts})

    def lines(self) -> list[str]:
        """For people: a section a line; lists of samples are left out."""
        with self._lock:
            return [
                f"{section}: " + ", ".join(f"{name.replace('_', ' ')} {_shown(value)}" for name, value in shown)
                for section, figures in self._sections.items()
                if (shown := [(name, value) for name, value in figures.items() if not isinstance(value, list)])
            ]

    def save(self) -> None:
        """Writes `FILE`."""
        with self._lock:
            FILE.parent.mkdir(exist_ok=True)
            FILE.write_text(json.dumps(self._sections, indent=1) + "\n", encoding="utf-8")


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
