"""The figures of `scripts/test faults` as a section of docs/BENCHMARKS.md, and its soak as a picture.

    python scripts/_faults/report.py FIGURES.json docs/BENCHMARKS.md DIRECTORY

Runs in the interpreter that has matplotlib, and needs nothing else.
"""

import json
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt

BEGIN, END = "<!-- faults:begin -->", "<!-- faults:end -->"
SAMPLED = ("resident memory, MB", "descriptors", "threads")


def shown(value: Any) -> str:
    """A figure for people."""
    if isinstance(value, float):
        return f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"  # noqa: PLR2004 - where %g turns to exponents
    return f"{value:,}" if isinstance(value, int) else str(value)


def counted(figures: dict[str, Any]) -> str:
    """The figures of one row; samples are for the picture."""
    plain = {name.replace("_", " "): value for name, value in figures.items() if not isinstance(value, list)}
    return ", ".join(f"{name} {shown(value)}" for name, value in plain.items())


def section(figures: dict[str, dict[str, Any]], picture: Path) -> str:
    """The section, markers included."""
    rows = [f"| {name} | {counted(row)} |" for name, row in figures.items()]
    table = "\n".join(["| what | counted |", "| --- | --- |", *rows])
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True).stdout
    machine = f"{platform.machine()}, kernel {platform.release()}"
    about = f"`scripts/test faults` at commit {commit.strip()} (half an hour), {machine}:"
    shows = f"![the daemon during the soak]({picture.as_posix()})"
    return f"{BEGIN}\n## Nothing lost\n\n{about}\n\n{table}\n\n{shows}\n{END}\n"


def with_section(page: str, text: str) -> str:
    """`page` with the section in the place of the old one, or at the end."""
    replaced, count = re.subn(f"{BEGIN}.*?{END}\n", lambda _: text, page, flags=re.DOTALL)
    return replaced if count else f"{page.rstrip()}\n\n{text}"


def draw(samples: list[list[float]], target: Path) -> None:
    """Memory, descriptors and threads over the seconds of the soak."""
    seconds, *series = zip(*samples, strict=True)
    figure, plots = plt.subplots(len(series), 1, sharex=True, figsize=(8, 1.6 * len(series)), layout="constrained")
    for axes, name, values in zip(plots, SAMPLED, series, strict=True):
        axes.plot(seconds, values, lw=1)
        axes.set_ylim(0, max(values) * 1.15 or 1)
        axes.set_title(name, fontsize=9, loc="left")
        axes.tick_params(labelsize=8)
        axes.grid(lw=0.4, alpha=0.6)
    plots[-1].set_xlabel("seconds", fontsize=8)
    figure.savefig(target, dpi=110)


def main() -> None:
    source, page, directory = map(Path, sys.argv[1:])
    figures = json.loads(source.read_text(encoding="utf-8"))
    directory.mkdir(parents=True, exist_ok=True)
    draw(figures["soak"]["samples"], directory / "soak.png")
    picture = (directory / "soak.png").relative_to(page.parent)
    page.write_text(with_section(page.read_text(encoding="utf-8"), section(figures, picture)), encoding="utf-8")


if __name__ == "__main__":
    main()
