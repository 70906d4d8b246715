import re
from pathlib import Path
from typing import Any

import pytest

from hubfs.commands.status.change import Change
from hubfs.commands.status.drawing import rendered
from hubfs.commands.status.screen import Flow, latency, screen
from hubfs.commands.status.top import Watch
from hubfs.mounts.table import State
from tests.support.told import gone, later, model, operation, told

HOSTILE = "\x1b[2J\u202e\x00[red]evil[/]\nforged"
MANY = {"found": 100_000, "in_use": 100, "in_trouble": 50, "shown": 100}


def shown(change: Change, width: int = 110, height: int = 40, flows: tuple[Flow, ...] = (), notice: str = "") -> str:
    drawn = screen(change, flows, notice=notice, keys="q quits", width=width, height=height)
    return rendered([drawn], width)


def busy(**changes: Any) -> Change:
    before = told()
    after = {"read": operation(110, 1.5, EIO=4), "lookup": operation(90, 0.045)}
    return Change(before, later(before, operations=after, **changes))


def test_operations_stand_beside_the_cache_where_there_is_room() -> None:
    assert re.search(r"^OPERATION .* CACHE ", shown(busy()), re.MULTILINE)
    narrow = shown(busy(), 60)
    assert re.search(r"^OPERATION +PER SECOND +MEAN +FAILED$", narrow, re.MULTILINE)
    assert re.search(r"^read +5.0 +50.0 ms +1.0$", narrow, re.MULTILINE)
    assert re.search(r"^lookup +20.0 +1.0 ms$", narrow, re.MULTILINE)
    assert re.search(r"^CACHE ", narrow, re.MULTILINE)


@pytest.mark.parametrize("height", [24, 40, 60])
def test_models_take_the_rows_that_nothing_else_takes(height: int) -> None:
    models = [model(f"tfhub/p/m{number:03}/1", read_bytes=number) for number in range(100)]
    change = busy(models=models, model_counts={**MANY, "in_trouble": 0})
    text = shown(change, height=height)
    listed = re.findall(r"^tfhub/p/m(\d+)/1", text, re.MULTILINE)
    assert listed == sorted(listed, reverse=True), "those that were read most come first"
    assert height - 2 <= len(text.splitlines()) <= height
    assert "more models (100000 were found" in text


def test_troubles_are_the_first_few_with_what_to_do() -> None:
    models = [gone(f"tfhub/q/g{number}/1") for number in range(50)]
    text = shown(busy(models=models, model_counts=MANY))
    assert "tfhub/q/g0/1: EHOSTUNREACH since 2026-01-31T12:00:00Z; wait for the hub" in text
    assert "and 47 more models in trouble: `hubfs status` says why" in text


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_nothing_that_a_hub_says_reaches_the_terminal_as_it_is(width: int) -> None:
    change = busy(
        binding=HOSTILE,
        models=[gone(HOSTILE, HOSTILE, advice=HOSTILE), model(HOSTILE, form=HOSTILE)],
        budgets=[{"hub": HOSTILE, "budget": HOSTILE, "left": 1, "quota": 2, "ends_at": HOSTILE}],
    )
    text = shown(change, width, notice=HOSTILE)
    assert all(one.isprintable() for one in text.replace("\n", ""))
    assert max(map(len, text.splitlines())) <= width


def test_flows_are_curves() -> None:
    text = shown(
        busy(), 40, flows=(Flow("from hubs", [0.0, 5e6, 1e7] * 9, "cyan"), Flow("operations", [], "red", False))
    )
    assert "from hubs      10.0 MB/s  ▄█ ▄█ ▄█" in text
    assert re.search(r"^operations +0/s$", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 us"), (1.2e-5, "12 us"), (0.0034, "3.4 ms"), (0.9999, "999.9 ms"), (1.2, "1.20 s"), (75, "1:15 min")],
)
def test_latencies_are_for_people(seconds: float, said: str) -> None:
    assert latency(seconds) == said


def drawn(watch: Watch) -> str:
    return rendered([watch.drawn("q quits", 100, 40)], 100)


def test_a_watch_goes_on_over_daemons_that_come_and_go() -> None:
    watch = Watch(Path("/mnt/hubs"))
    assert "/mnt/hubs is being asked" in drawn(watch)
    first = told()
    watch.saw(State.ALIVE, first)
    assert "process 4711" in drawn(watch)
    watch.saw(State.ALIVE, later(first, http={"requests": 9, "bytes_received": 25_000_000}))
    assert re.search(r"^from hubs +10.0 MB/s  █", drawn(watch), re.MULTILINE)
    for state, said in (
        (State.DEAD, "dead"),
        (State.SILENT, "does not answer"),
        (None, "it is shown again when one is"),
    ):
        watch.saw(state, None)
        assert said in drawn(watch)
        assert "q quits" in drawn(watch)
    watch.saw(State.ALIVE, told(pid=4712, uptime_s=1.5))
    assert "another daemon serves the mount since 2 s; process 4711 ended" in drawn(watch)
    assert re.search(r"^from hubs +10.0 MB/s  █", drawn(watch), re.MULTILINE), "what was seen stays seen"
    watch.saw(State.ALIVE, told(pid=4712, uptime_s=100.0))
    assert "another daemon" not in drawn(watch)


@pytest.mark.parametrize("said", [{}, {"pid": 1, "uptime_s": 1.0, "models": []}, {**told(), "cache": 7, "hubs": []}])
def test_what_no_daemon_tells_is_said_to_be_strange(said: dict[str, Any]) -> None:
    watch = Watch(Path("/mnt/hubs"))
    for _ in range(2):
        watch.saw(State.ALIVE, said)
        assert "not as a daemon of this version of hubfs does" in drawn(watch)
    watch.saw(State.ALIVE, told())
    assert "process 4711" in drawn(watch)
