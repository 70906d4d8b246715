"""The corpus, plainly; every target in a process of its own; planted bugs, which are found.

The inputs are the same on every machine. `HUBFS_FUZZ_S`, or `scripts/test faults`, has others, for so many seconds.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.fuzz import seeds as kept
from tests.fuzz.engines import ENGINES, has_atheris
from tests.fuzz.fuzzing import CORPUS, SEED, TARGETS, Outcome, explained, load, run, seeds
from tests.fuzz.planted import GUIDED, PLANTS
from tests.support.figures import Figures, budget

DURATION_S = budget("fuzz_s", boxed=0, full=30)
"""For how long each target meets inputs of chance. Without it the inputs are the same every time, and as many."""

SAME_S = 60
"""Long enough for these on a busy machine; one that is busier still tries fewer of them."""

FINDS_S = 240
BLIND_S = 5
AT_ONCE = 2
START_S = 10


KEPT = [path for name in TARGETS for path in seeds(name)]


@pytest.mark.parametrize("path", KEPT, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_the_corpus_shows_no_bug(path: Path):
    target = load(path.parent.name)
    data = path.read_bytes()
    target.fuzz(data)
    target.fuzz(target.repair(data))


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_begins_with_what_the_writers_make(name: str):
    assert {title: (CORPUS / name / title).read_bytes() for title in kept.SEEDS[name]()} == kept.SEEDS[name]()


def test_the_corpus_stays_small():
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) < 300_000
    assert sorted(path.name for path in CORPUS.iterdir()) == sorted(TARGETS)


@pytest.mark.timeout(120 + len(TARGETS) * ((DURATION_S or SAME_S) + START_S))
def test_no_input_shows_a_bug(tmp_path: Path, figures: Figures):
    def fuzzed(name: str) -> Outcome:
        if DURATION_S:
            return run(name, DURATION_S, tmp_path / name)
        return run(name, SAME_S, tmp_path / name, runs=TARGETS[name], seed=SEED)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        outcomes = [*pool.map(fuzzed, TARGETS)]
    for outcome in outcomes:
        print(outcome.line())
        figures.add("fuzz", executions=outcome.executions, crashes=outcome.crash is not None)
        figures.add("fuzz", new_inputs=outcome.new_inputs)
        figures.add("fuzz executions", **{outcome.target: outcome.executions})
    guided = sum(outcome.guided for outcome in outcomes)
    figures.note("fuzz", engine=outcomes[0].engine, targets=len(outcomes), coverage_guided=guided)
    assert not any(outcome.crash for outcome in outcomes), "\n\n".join(
        explained(outcome) for outcome in outcomes if outcome.crash
    )
    assert all(outcome.executions >= len(seeds(outcome.target)) for outcome in outcomes)
    assert guided == (len(outcomes) if has_atheris() else 0), [outcome.line() for outcome in outcomes]


@pytest.mark.skipif(not has_atheris(), reason="atheris has no wheel for this Python")
def test_coverage_leads_where_chance_does_not(tmp_path: Path):
    led = run(GUIDED.partition(":")[0], FINDS_S, tmp_path / "led", plant=GUIDED, engine="atheris", seed=SEED)
    assert led.crash is not None, led.log
    assert led.crash.read_bytes().startswith(b"h\xc3\x07\xee\x91")
    assert led.guided
    assert "coverage-guided" in led.line()


def test_chance_alone_does_not_find_what_only_coverage_leads_to(tmp_path: Path):
    executions = 0
    while executions <= 1000:  # a busy machine needs several runs for these
        work = tmp_path / f"blind after {executions}"
        blind = run(GUIDED.partition(":")[0], BLIND_S, work, plant=GUIDED, engine="mutation", seed=SEED)
        assert blind.crash is None, blind.log
        assert blind.executions > 0
        assert "not guided" in blind.line()
        executions += blind.executions


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("plant", sorted(PLANTS.keys() - {GUIDED}))
def test_a_planted_bug_is_found(plant: str, engine: str, tmp_path: Path):
    if engine == "atheris" and not has_atheris():
        pytest.skip("atheris has no wheel for this Python")
    name = plant.partition(":")[0]
    outcome = run(name, FINDS_S, tmp_path / "work", plant=plant, engine=engine, seed=SEED)
    assert outcome.crash is not None, outcome.log
    assert outcome.engine == engine or not has_atheris()
    assert f"--input {outcome.crash}" in explained(outcome)
