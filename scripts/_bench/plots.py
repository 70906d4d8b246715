"""Draws results.json: a small picture for each scenario, bars of medians with the spread of the runs.

    python -m scripts._bench.plots DIRECTORY

Runs in the interpreter that has matplotlib, and needs nothing else.
"""

import json
import math
import statistics
import sys
import textwrap
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

COLOURS = {"hubfs": "#1f6fb2", "local": "#8a8a8a"}
OTHER = "#d9a441"
COLUMNS = 2
BAR_INCHES = 0.34


def draw(axes: Axes, scenario: dict[str, Any], rows: int) -> None:
    """Horizontal bars, for names are long; with room for as many `rows` as the neighbour has."""
    series = {name: [sample["value"] for sample in found] for name, found in scenario["series"].items() if found}
    names = list(series)
    medians = [statistics.median(values) for values in series.values()]
    below = [median - min(values) for median, values in zip(medians, series.values(), strict=True)]
    above = [max(values) - median for median, values in zip(medians, series.values(), strict=True)]
    colours = [COLOURS.get(name.split(" ")[0].rstrip(","), OTHER) for name in names]
    axes.barh(names, medians, xerr=[below, above], color=colours, height=0.66, error_kw={"lw": 1, "capsize": 2})
    axes.set_ylim(rows - 0.5, -0.5)
    widest = max(median + more for median, more in zip(medians, above, strict=True)) or 1
    for row, (median, more) in enumerate(zip(medians, above, strict=True)):
        axes.text(median + more + widest * 0.015, row, label(median), va="center", fontsize=8)
    axes.set_xlim(min(0, *medians), widest * 1.15)
    axes.set_title("\n".join(textwrap.wrap(scenario["title"], 62)), fontsize=9, loc="left", fontweight="bold")
    better = "more is better" if scenario["more_is_better"] else "less is better"
    axes.set_xlabel(f"{scenario['unit']}; {better}", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", lw=0.4, alpha=0.6)
    axes.set_axisbelow(True)


def label(value: float) -> str:
    """Three digits, or all of a large number's."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"  # noqa: PLR2004 - where %g turns to exponents


def picture(scenarios: list[dict[str, Any]], columns: int, target: Path) -> None:
    """All of them, row by row."""
    rows = math.ceil(len(scenarios) / columns)
    most = [
        max(len(scenario["series"]) for scenario in scenarios[row * columns : (row + 1) * columns])
        for row in range(rows)
    ]
    heights = [1.5 + BAR_INCHES * bars for bars in most]
    figure, grid = plt.subplots(
        rows,
        columns,
        figsize=(6.6 * columns, sum(heights)),
        squeeze=False,
        layout="constrained",
        gridspec_kw={"height_ratios": heights},
    )
    for axes in grid.flat[len(scenarios) :]:
        axes.set_visible(False)
    for number, scenario in enumerate(scenarios):
        draw(grid.flat[number], scenario, most[number // columns])
    figure.savefig(target, dpi=110)
    plt.close(figure)


def main() -> None:
    directory = Path(sys.argv[1])
    scenarios = json.loads((directory / "results.json").read_text(encoding="utf-8"))["scenarios"]
    drawable = [scenario for scenario in scenarios if any(scenario["series"].values())]
    if not drawable:
        return
    picture(drawable, COLUMNS, directory / "figures.png")
    for scenario in drawable:
        picture([scenario], 1, directory / f"{scenario['name']}.png")


if __name__ == "__main__":
    main()
