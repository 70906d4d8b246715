"""What came out: medians, ratios, verdicts, as tables and JSON. No I/O but `write`, and nothing beyond the standard
library, since the plots are drawn by another interpreter.
"""

import json
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

MARKERS = ("<!-- bench:begin -->", "<!-- bench:end -->")

Medians = Mapping[str, float]
"""Series → median."""


@dataclass(frozen=True)
class Sample:
    """One run: its figure, what the origin sent for it, what the daemon used, and other things worth keeping."""

    value: float
    sent_bytes: int | None = None
    requests: int | None = None
    cpu_s: float | None = None
    peak_rss_bytes: int | None = None
    more: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Target:
    """What a scenario must show: `figure` of the medians is at most (or at least) `limit`."""

    text: str
    figure: Callable[[Medians], float]
    limit: float
    at_least: bool = False


@dataclass(frozen=True)
class Verdict:
    """A target, and what was measured; `figure` is None where a peer that it needs was left out or failed."""

    text: str
    limit: float
    at_least: bool
    figure: float | None

    @property
    def met(self) -> bool | None:
        """None: not measured."""
        if self.figure is None:
            return None
        return self.figure >= self.limit if self.at_least else self.figure <= self.limit

    @property
    def word(self) -> str:
        """For people."""
        return {True: "met", False: "**MISSED**", None: "not measured"}[self.met]


@dataclass(frozen=True)
class Result:
    """All runs of a scenario. `series`: name → its samples; `failures`: name → why it has no more of them."""

    name: str
    title: str
    unit: str
    more_is_better: bool
    reference: str
    series: dict[str, list[Sample]]
    failures: dict[str, str]
    verdicts: list[Verdict]

    def median(self, name: str) -> float:
        """Of a series. Raises KeyError, if there is no sample."""
        return _medians(self.series)[name]


def judged(targets: Sequence[Target], series: Mapping[str, Sequence[Sample]]) -> list[Verdict]:
    """The targets beside what was measured."""
    medians = _medians(series)

    def figure(target: Target) -> float | None:
        try:
            return target.figure(medians)
        except KeyError:
            return None

    return [Verdict(target.text, target.limit, target.at_least, figure(target)) for target in targets]


def _medians(series: Mapping[str, Sequence[Sample]]) -> dict[str, float]:
    return {name: statistics.median(s.value for s in samples) for name, samples in series.items() if samples}


def as_json(results: Sequence[Result], about: Mapping[str, Any]) -> str:
    """Everything, each run included."""
    scenarios = []
    for result in results:
        described = asdict(result)
        described["verdicts"] = [{**asdict(verdict), "met": verdict.met} for verdict in result.verdicts]
        described["medians"] = _medians(result.series)
        scenarios.append(described)
    return json.dumps({**about, "scenarios": scenarios}, indent=1) + "\n"


def verdict_table(results: Sequence[Result]) -> str:
    """Markdown: target by target."""
    rows = [
        (result.title, verdict.text, _number(verdict.figure), verdict.word)
        for result in results
        for verdict in result.verdicts
    ]
    return _table(("scenario", "target", "measured", ""), rows)


def overview(results: Sequence[Result]) -> str:
    """Markdown: a line for each scenario, the medians of everybody in it, and the command that measures them."""
    rows = []
    for result in results:
        (first, *others) = [f"{name} {_number(median)}" for name, median in _medians(result.series).items()] or ["none"]
        medians = f"**{first}**, {', '.join(others)}" if others else f"**{first}**"
        rows.append((result.title, result.unit, medians, f"`scripts/bench --only {result.name}`"))
    return _table(("scenario", "medians in", "", "command"), rows)


def figures(result: Result) -> str:
    """Markdown: series by series."""
    reference = _medians(result.series).get(result.reference)
    rows = []
    for name, samples in result.series.items():
        if name in result.failures:
            rows.append((name, "failed", result.failures[name], *[""] * 5))
        if not samples:
            continue
        values = [sample.value for sample in samples]
        median = statistics.median(values)
        ratio = f"{median / reference:.2f}" if reference else ""
        spread = f"{_number(min(values))} … {_number(max(values))}"
        rows.append((name, _number(median), spread if len(values) > 1 else "one run", ratio, *_usage(samples)))
    head = (result.title, f"median ({result.unit})", "min … max", f"/ {result.reference}" if result.reference else "")
    return _table((*head, "MB from origin", "requests", "daemon CPU (s)", "peak RSS (MB)"), rows)


def _usage(samples: Sequence[Sample]) -> list[str]:
    def median(values: Sequence[float | None], scale: float, digits: int) -> str:
        known = [value for value in values if value is not None]
        return f"{statistics.median(known) / scale:.{digits}f}" if known else ""

    return [
        median([sample.sent_bytes for sample in samples], 1e6, 1),
        median([sample.requests for sample in samples], 1, 0),
        median([sample.cpu_s for sample in samples], 1, 2),
        median([sample.peak_rss_bytes for sample in samples], 1e6, 0),
    ]


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.2f}"  # noqa: PLR2004 - legibility


def from_json(text: str) -> list[Result]:
    """What `as_json` wrote. Raises `KeyError`, `TypeError` and `ValueError` for anything else."""
    results = []
    for described in json.loads(text)["scenarios"]:
        series = {name: [Sample(**sample) for sample in samples] for name, samples in described["series"].items()}
        verdicts = [
            Verdict(**{name: value for name, value in verdict.items() if name != "met"})
            for verdict in described["verdicts"]
        ]
        plain = ("name", "title", "unit", "more_is_better", "reference", "failures")
        results.append(Result(**{name: described[name] for name in plain}, series=series, verdicts=verdicts))
    return results


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |\n" for cells in lines)


def as_markdown(results: Sequence[Result], about: str) -> str:
    """The whole report."""
    details = "\n".join(figures(result) for result in results)
    return f"# Results\n\n{about}\n\n{verdict_table(results)}\n{details}"


def section(results: Sequence[Result], about: str) -> str:
    """The section of docs/BENCHMARKS.md, markers included."""
    begin, end = MARKERS
    tables = f"{verdict_table(results)}\n{overview(results)}"
    body = f"{about}\n\n{tables}\n![medians of every scenario](bench/figures.png)\n\n"
    links = "Every run, and its spread: [results](bench/results.md)."
    return f"{begin}\n## Figures\n\n{body}{links}\n{end}\n"


def with_section(page: str, text: str) -> str:
    """`page` with `text` in the place of the old one, or at the end."""
    begin, end = map(re.escape, MARKERS)
    replaced, count = re.subn(f"{begin}.*?{end}\n", lambda _: text, page, flags=re.DOTALL)
    return replaced if count else f"{page.rstrip()}\n\n{text}"


def write(results: Sequence[Result], about: Mapping[str, Any], sentence: str, out: Path) -> None:
    """results.json and results.md."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.json").write_text(as_json(results, about), encoding="utf-8")
    (out / "results.md").write_text(as_markdown(results, sentence), encoding="utf-8")
