"""The screen of `hubfs top` (pure)."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table

from hubfs.commands.status import report
from hubfs.commands.status.change import Change
from hubfs.commands.status.drawing import Column, line, rendered, short, table, told
from hubfs.commands.units import duration

_BESIDE_COLUMNS = 100
"""So wide a screen has tables beside each other."""

_OPERATIONS, _TRANSFERS, _TROUBLES, _LEAST_MODELS = 7, 5, 3, 3
_SPARKS = " ▁▂▃▄▅▆▇█"
_OPERATIONS_COLUMNS = 46
"""What the table of operations takes, with the space beside it."""

_FLOW_COLUMNS = 32
"""What stands before the curve of a flow."""


@dataclass(frozen=True)
class Flow:
    """What flowed a second at each look, the last one last: bytes, or operations."""

    title: str
    per_s: Sequence[float]
    style: str
    in_bytes: bool = True

    @property
    def now(self) -> str:
        """The last rate."""
        last = self.per_s[-1] if self.per_s else 0.0
        return report.rate(last) if self.in_bytes else f"{last:,.0f}/s"


def screen(change: Change, flows: Sequence[Flow], *, notice: str, keys: str, width: int, height: int) -> RenderableType:
    """All that fits: models get the rows that nothing else takes. Raises for what no daemon of this version tells."""
    shown = sorted(change.now["models"], key=change.activity, reverse=True)

    def parts(models: int) -> Iterator[RenderableType | None]:
        yield short(report.header(change.now), "bold")
        yield short(keys, "dim")
        if notice:
            yield line(notice, "yellow")
        yield from report.warnings(change.now)
        yield ""
        yield _flows(flows, width)
        operations, is_wide = _operations(change, width), width >= _BESIDE_COLUMNS
        cache = report.cache(change, width - _OPERATIONS_COLUMNS if is_wide and operations is not None else width)
        tables = [
            part for part in (operations, Group(*(part for part in cache if part is not None))) if part is not None
        ]
        if is_wide and operations is not None:
            beside = Table.grid(padding=(0, 4, 0, 0))
            beside.add_row(*tables)
            tables = [beside]
        for part in (*tables, *report.transfers(change, width, _TRANSFERS)):
            yield from ("", part) if part is not None else ()
        yield ""
        yield from report.models(change, width, models, shown)
        for part in (*report.hubs(change, width, ways=False), *report.budgets(change.now, width), _troubles(change)):
            yield from ("", part) if part is not None else ()

    taken = rendered(parts(0), width).count("\n") + 1
    return Group(*(part for part in parts(max(_LEAST_MODELS, height - taken - 2)) if part is not None))


def _flows(flows: Iterable[Flow], width: int) -> RenderableType:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column()
    grid.add_column(justify="right", min_width=12)
    grid.add_column(no_wrap=True)
    for flow in flows:
        grid.add_row(
            told(flow.title), told(flow.now, "bold"), told(_curve(flow.per_s, width - _FLOW_COLUMNS), flow.style)
        )
    return grid


def _curve(per_s: Sequence[float], columns: int) -> str:
    shown = per_s[-max(1, columns) :]
    most = max(shown, default=0.0)
    steps = len(_SPARKS) - 1
    return "".join(_SPARKS[min(steps, -int(-steps * one // most)) if most > 0 else 0] for one in shown)


def _operations(change: Change, width: int) -> RenderableType | None:
    columns = [Column("OPERATION", "name"), Column("PER SECOND"), Column("MEAN"), Column("FAILED")]
    rows = (
        (one.kind, f"{one.per_s:,.1f}", latency(one.mean_s), f"{one.errors_per_s:,.1f}" if one.errors_per_s else "")
        for one in change.operations()[:_OPERATIONS]
    )
    return table(width, columns, rows)


def _troubles(change: Change) -> RenderableType | None:
    found = [model for model in change.now["models"] if model["error"]]
    lines = []
    for model in found[:_TROUBLES]:
        trouble = model.get("trouble")
        said = "" if trouble is None else f"{trouble['errno']} since {trouble['since']}; {trouble['advice']}"
        lines.append(line(f"{model['handle']}: {said or model['error']}", "red"))
    rest = change.now["model_counts"]["in_trouble"] - len(lines)
    if rest > 0:
        lines.append(line(f"and {rest:,} more models in trouble: `hubfs status` says why", "dim"))
    return Group(*lines) if lines else None


def latency(seconds: float) -> str:
    """A short time for people: `12 us`, `3.4 ms`, `1.20 s`; from ten seconds on as any time."""
    for unit, factor, digits in (("us", 1e6, 0), ("ms", 1e3, 1), ("s", 1.0, 2)):
        if seconds * factor < 1000 and not (unit == "s" and seconds >= 10):  # noqa: PLR2004 - as the units have it
            return f"{seconds * factor:.{digits}f} {unit}"
    return duration(seconds)
