"""Fleets in simulated time, as figures (`simulate FILE.json`) and as a picture beside them (`draw FILE.json`)."""

import json
import logging
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

DAEMONS = (1, 3, 10, 30, 100, 200, 300, 400, 600, 1000)
MIRROR_BYTES_PER_S = 1.25e9  # a machine with 10 Gbit/s

CASES = {
    "shared cache, an archive": {"form": "archive"},
    "shared cache, an archive, two holders killed": {"form": "archive", "kills": 2},
    "shared cache, files": {"form": "files"},
}


def simulate(file: Path) -> None:
    """Writes what came of each case and size of a fleet."""
    from tests.support import simulated_fleet  # noqa: PLC0415 - the other half lacks greenlet

    logging.disable(logging.CRITICAL)  # a store that is asked too much is told of a thousand times
    figures = simulated_fleet.Figures()
    found: dict[str, Any] = {"figures": asdict(figures), "cases": {}}
    for case, options in CASES.items():
        rows = found["cases"][case] = []
        for daemons in DAEMONS:
            if options.get("kills", 0) < daemons:
                outcome = simulated_fleet.simulate(daemons, figures=figures, **options)
                rows.append(asdict(outcome) | {"ready_s": [outcome.ready_s[0], outcome.ready_s[-1]]})
                print(case, {name: value for name, value in rows[-1].items() if name != "refused"}, flush=True)
    file.write_text(json.dumps(found, indent=1) + "\n")


def reckoned(figures: dict[str, float]) -> Iterator[tuple[str, list[float], list[float]]]:
    """What needs no simulation: by name, the ratios and the times of the last daemon."""
    model, out, one = figures["model_bytes"], figures["origin_bytes_per_s"], figures["origin_client_bytes_per_s"]
    yield "each for itself", [float(n) for n in DAEMONS], [max(model / one, n * model / out) for n in DAEMONS]
    mirror = [max(model / one, n * model / MIRROR_BYTES_PER_S) for n in DAEMONS]
    yield "one nginx mirror, 10 Gbit/s", [1.0] * len(DAEMONS), mirror


def draw(file: Path) -> None:
    """Draws the figures of `file` into a picture of the same name."""
    import matplotlib as mpl  # noqa: PLC0415 - the other half lacks matplotlib

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the choice of what draws

    found = json.loads(file.read_text())
    figure, (ratio, ready) = plt.subplots(1, 2, figsize=(11, 4.2))
    for name, ratios, times in reckoned(found["figures"]):
        ratio.plot(DAEMONS, ratios, "--", label=name)
        ready.plot(DAEMONS, times, "--", label=name)
    for name, rows in found["cases"].items():
        daemons = [row["daemons"] for row in rows]
        ratio.plot(daemons, [row["origin_ratio"] for row in rows], "o-", markersize=3, label=name)
        ready.plot(daemons, [row["ready_s"][1] for row in rows], "o-", markersize=3, label=name)
    for axes, what in (
        (ratio, "bytes from the origin / bytes of the model"),
        (ready, "seconds until the last is ready"),
    ):
        axes.set(xscale="log", yscale="log", xlabel="daemons that start cold together", title=what)
        axes.grid(alpha=0.3)
    ready.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(file.with_suffix(".png"), dpi=110)


if __name__ == "__main__":
    {"simulate": simulate, "draw": draw}[sys.argv[1]](Path(sys.argv[2]))
