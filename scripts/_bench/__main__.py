"""Runs scenarios, and reports. scripts/bench installs what this needs."""

import argparse
import contextlib
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NoReturn

from scripts._bench import report
from scripts._bench.hosts import hosts
from scripts._bench.huggingface import LARGE_BYTES, QUICK_BYTES, huggingface_scenarios
from scripts._bench.many import many_scenarios
from scripts._bench.measure import Failed
from scripts._bench.models import BERT, RESNET50, Model
from scripts._bench.peers import HUGGINGFACE_HUB, KAGGLEHUB, hubfs_options
from scripts._bench.ranges import range_scenarios
from scripts._bench.report import Result, Sample
from scripts._bench.scenarios import HUBFS, PEERS, Scenario, Series, cold_scenarios, peer_of
from scripts._bench.starting import starting_scenarios
from scripts._bench.warm import warm_scenarios
from scripts._bench.world import World, WrongBytes
from tests.support import tensorflow
from tests.support.paths import ROOT, WORK

RUNS = 5
PATIENCE_S = 90.0
"""A peer that takes longer, set-up included, takes one turn only."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Compares hubfs with its peers on one shaped host; docs/BENCHMARKS.md says what is measured.",
        epilog="Exit codes: 0 measured (targets may be missed), 1 a run of hubfs failed or gave wrong bytes.",
    )
    parser.add_argument("--quick", action="store_true", help="one run each, of the smaller model only")
    parser.add_argument("--runs", type=int, metavar="N", help=f"how often each peer is measured  [default: {RUNS}]")
    parser.add_argument("--only", metavar="SCENARIO[,…]", help="scenarios, or what their names begin with")
    parser.add_argument("--peers", metavar="PEER[,…]", help=f"of {', '.join(PEERS)}")
    parser.add_argument(
        "--out", type=Path, default=WORK / "bench" / "out", help="where results go  [default: %(default)s]"
    )
    parser.add_argument(
        "--write-docs", action="store_true", help="put the figures into docs/BENCHMARKS.md and docs/bench"
    )
    parser.add_argument("--resume", action="store_true", help="keep what --out has of other scenarios of this machine")
    parser.add_argument("--list", action="store_true", help="name the scenarios, and run none")
    chosen = parser.parse_args()
    chosen.runs = chosen.runs or (1 if chosen.quick else RUNS)
    if unknown := set((chosen.peers or "").split(",")) - {"", *PEERS}:
        parser.error(f"unknown peers: {', '.join(sorted(unknown))}")
    return chosen


def measured(world: World, scenario: Scenario, runs: int, wanted: Sequence[str]) -> Result:
    """All runs of a scenario, by turns. A series that failed takes no more turns."""
    samples: dict[str, list[Sample]] = {}
    failures: dict[str, str] = {}
    slow: set[str] = set()
    say(f"\n## {scenario.title}")
    world.warm_up()
    with contextlib.ExitStack() as stack:
        try:
            taking_part = {n: s for n, s in stack.enter_context(scenario.enter(world)).items() if s.peer in wanted}
        except (Failed, WrongBytes, AssertionError, OSError, subprocess.SubprocessError) as error:
            taking_part, failures[HUBFS] = {}, one_line(error)
            say(f"failed: {failures[HUBFS]}")
        samples = {name: [] for name in [*taking_part, *failures]}
        for number in range(runs):
            for name, series in taking_part.items():
                if name in failures or name in slow:
                    continue
                started_s = time.monotonic()
                take_turn(name, series, f"{number + 1}/{runs}", samples[name], failures)
                if series.peer != HUBFS and time.monotonic() - started_s > PATIENCE_S:
                    slow.add(name)
    return Result(
        scenario.name,
        scenario.title,
        scenario.unit,
        scenario.more_is_better,
        scenario.reference,
        samples,
        failures,
        report.judged(scenario.targets, samples),
    )


def take_turn(name: str, series: Series, turn: str, samples: list[Sample], failures: dict[str, str]) -> None:
    """One run; the failure of one peer is not the end of the others."""
    try:
        sample = series.measure()
    except (Failed, WrongBytes, AssertionError, OSError, subprocess.SubprocessError) as error:
        failures[name] = one_line(error)
        say(f"{turn}  {name:32}  failed: {failures[name]}")
        return
    samples.append(sample)
    sent = "" if sample.sent_bytes is None else f"{sample.sent_bytes / 1e6:8.1f} MB in {sample.requests} requests"
    cpu = (
        "" if sample.cpu_s is None else f"  {sample.cpu_s:.2f} s CPU, {(sample.peak_rss_bytes or 0) / 1e6:.0f} MB peak"
    )
    say(f"{turn}  {name:32}  {sample.value:8.2f}  {sent}{cpu}")


def ours_failed(result: Result) -> bool:
    """Whether hubfs has no figure where it should; that a peer failed is a result like others."""
    return any(peer_of(name) == HUBFS for name in result.failures)


def one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]


def say(line: str) -> None:
    print(line, flush=True)


@contextlib.contextmanager
def made_world(models: Sequence[Model], options: str) -> Iterator[World]:
    """Servers, and a place that is gone in the end."""
    (WORK / "bench").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=WORK / "bench", prefix="run-") as place:
        scratch = Path(place)
        with hosts(scratch / "hosts", models) as running:
            yield World(running, scratch, models, options)


def about(chosen: argparse.Namespace) -> dict[str, Any]:
    """What was measured, on what."""
    versions = {name: metadata.version(name) for name in ("hubfs", "gcsfs", "isal", "aiohttp", "mfusepy", "fusepy")}
    with contextlib.suppress(metadata.PackageNotFoundError):
        versions["rapidgzip"] = metadata.version("rapidgzip")
    asked = (
        "import importlib.metadata as m; print(*(f'{n}={m.version(n)}' for n in ('tensorflow-cpu', 'tensorflow_hub')))"
    )
    told = subprocess.run([tensorflow.python(), "-c", asked], capture_output=True, text=True, check=True).stdout.split()
    versions |= dict(pair.split("=", 1) for pair in told)
    tools = Path(os.environ["HUBFS_BENCH_TOOLS"])
    for name in ("rclone", "ratarmount"):
        said = subprocess.run([tools / name, "--version"], capture_output=True, text=True, check=False).stdout.split()
        versions[name] = next((word.lstrip("v") for word in said if word.lstrip("v")[:1].isdigit()), "unknown")
    for name, folder in (("kagglehub", KAGGLEHUB), ("huggingface_hub", HUGGINGFACE_HUB)):
        (installed,) = metadata.distributions(name=name, path=[str(folder)])
        versions[name] = installed.version
    return {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "runs": chosen.runs,
        "quick": chosen.quick,
        "machine": {
            "cores": len(os.sched_getaffinity(0)),
            "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
            "kernel": platform.release(),
            "system": platform.freedesktop_os_release().get("PRETTY_NAME", ""),
            "processor": platform.machine(),
            "python": platform.python_version(),
        },
        "versions": versions,
    }


def sentence(facts: Mapping[str, Any]) -> str:
    """The same for people."""
    machine, versions = facts["machine"], facts["versions"]
    size = f"{machine['cores']} cores, {machine['memory_bytes'] / 2**30:.0f} GiB"
    where = f"{size}, {machine['system']}, kernel {machine['kernel']}"
    named = ("tensorflow-cpu", "tensorflow_hub", "kagglehub", "huggingface_hub", "rclone", "ratarmount")
    who = ", ".join(f"{name} {versions[name]}" for name in named)
    runs = "one run each" if facts["runs"] == 1 else f"medians of {facts['runs']} runs, taken by turns"
    return f"`scripts/bench` on {where}, clients and servers on the same machine; {runs}; {who}."


def selected(found: Sequence[Scenario], only: str | None) -> list[Scenario]:
    """Those whose names begin with one of `only`. Raises SystemExit for what no name begins with."""
    wanted = only.split(",") if only else [""]
    for prefix in wanted:
        if not any(scenario.name.startswith(prefix) for scenario in found):
            sys.exit(f"there is no scenario {prefix}; there are {', '.join(scenario.name for scenario in found)}")
    return [scenario for scenario in found if scenario.name.startswith(tuple(wanted))]


def publish(results: Sequence[Result], facts: Mapping[str, Any], out: Path, *, docs: bool) -> None:
    """Tables, JSON and plots below `out`; and in the documents, if asked."""
    places = [out, ROOT / "docs" / "bench"] if docs else [out]
    for place in places:
        report.write(results, facts, sentence(facts), place)
        plots: list[str | Path] = [
            Path(os.environ["HUBFS_BENCH_TOOLS"]) / "python",
            "-m",
            "scripts._bench.plots",
            place,
        ]
        subprocess.run(plots, check=True, cwd=ROOT, stdin=subprocess.DEVNULL)
    if docs:
        page = ROOT / "docs" / "BENCHMARKS.md"
        section = report.section(results, sentence(facts))
        page.write_text(report.with_section(page.read_text(encoding="utf-8"), section), encoding="utf-8")


def end(number: int, _frame: object) -> NoReturn:
    """Unwinds everything, once: what is cleaned up then is not interrupted."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + number)


def main() -> int:
    chosen = arguments()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    models, options = (RESNET50,) if chosen.quick else (BERT, RESNET50), hubfs_options()
    known = [
        *cold_scenarios(models),
        *huggingface_scenarios(QUICK_BYTES if chosen.quick else LARGE_BYTES),
        *range_scenarios(models[0], QUICK_BYTES if chosen.quick else LARGE_BYTES),
        *warm_scenarios(models[0], options),
        *many_scenarios(models[0]),
        *starting_scenarios(),
    ]
    to_run = selected(known, chosen.only)
    if chosen.list:
        say("\n".join(f"{scenario.name:32} {scenario.title}" for scenario in to_run))
        return 0
    facts = about(chosen)
    measured_before = chosen.out / "results.json"
    by_name: dict[str, Result] = {}
    if chosen.resume and measured_before.exists():
        by_name = {result.name: result for result in report.from_json(measured_before.read_text(encoding="utf-8"))}
    results: list[Result] = []
    with made_world(models, options) as world:
        wanted = (chosen.peers or ",".join(PEERS)).split(",")
        for scenario in to_run:
            if scenario.needs_root and os.geteuid() != 0:
                say(f"\n## {scenario.title}\nleft out: dropping the page cache needs root")
                continue
            by_name[scenario.name] = measured(world, scenario, chosen.runs, wanted)
            results = [by_name[known_one.name] for known_one in known if known_one.name in by_name]
            # What was measured is kept, whatever comes.
            report.write(results, facts, sentence(facts), chosen.out)
    say("\n" + report.as_markdown(results, sentence(facts)))
    publish(results, facts, chosen.out, docs=chosen.write_docs)
    say(f"results: {chosen.out}")
    return 1 if any(ours_failed(result) for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
