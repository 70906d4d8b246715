import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from hubfs.commands.status.report import as_text
from tests.support.told import NOON, gone, later, model, operation, tier, told

SPICE = "tfhub/google/spice/2"
OFF = {"on": False, "off_because": "there is no disk cache", "open_files": 0}
STALE = {"name": "google/spice", "version": "2", "asked_at": NOON, "stale": True, "error": "no route"}
BUDGET = {"hub": "hf", "budget": "files", "left": 1, "quota": 2, "ends_at": NOON}
WAY = {"number": 1, "way": "Kaggle", "url": "https://k", "rests": None, "answered": "x", "answered_at": NOON}
HOSTILE = "\x1b]0;owned\x07\x1b[2J\u202e\x00[bold red]evil[/]\nforged: line :smile:"


def test_a_mount_of_several_hubs_reads_as_tables() -> None:
    ways = [
        {"hub": "tfhub", "number": 1, "way": "the public bucket", "url": "gs://public", "rests": "403 for a while"},
        {"hub": "tfhub", "number": 2, "way": "Kaggle", "url": "https://kaggle", "rests": None},
    ]
    answered = [{"answered": None, "answered_at": None}, {"answered": "google/spice/2", "answered_at": NOON}]
    before = told()
    now = later(
        before,
        ways=[{**way, **last} for way, last in zip(ways, answered, strict=True)],
        budgets=[{"hub": "hf", "budget": "questions", "left": 400, "quota": 500, "ends_at": NOON}],
        http={"requests": 9, "bytes_received": 7_000_000},
        origins={
            "tfhub": {"requests": 5, "bytes_received": 6_000_000},
            "hf": {"requests": 4, "bytes_received": 1_000_000},
        },
        operations={"read": operation(120, 1.0)},
        read_bytes=14_000_000,
        models=[model(SPICE, open_files=2, read_bytes=5_000_000), gone("tfhub/google/gone/1")],
        model_counts={"found": 12, "in_use": 1, "in_trouble": 1, "shown": 2},
    )
    assert [re.sub(" {2,}", " | ", line) for line in as_text(now, before).splitlines()] == [
        "/mnt/hubs: up 1:42 min, process 4711, kernel session, supervised, restarted 0 times",
        "",
        "HUB | ANSWERS | REQUESTS | RECEIVED | NOW",
        "tfhub=https://tfhub.dev | Kaggle | 5 | 6.0 MB | 1.0 MB/s",
        " | 1 the public bucket (gs://public) | is left alone: 403 for a while",
        " | 2 Kaggle (https://kaggle) | google/spice/2, 2026-01-31T12:00:00Z",
        "hf=https://huggingface.co | 4 | 1.0 MB | 0 B/s",
        "",
        "MAY BE ASKED | LEFT | OF | UNTIL",
        "hf questions | 400 | 500 | ━━━━━━━━ | 2026-01-31T12:00:00Z",
        "",
        "CACHE | USED | OF | HIT RATE | NOW | WHERE",
        "memory | 1.0 MB | 4.2 MB | ━━╸ | 75%",
        "disk | 1.07 GB | 10.74 GB | ━ | 0% | /var/cache/hubfs",
        "budget | 1.0 MB | 2.1 MB | ━━━━━ | taken by transfers",
        "passthrough: on, 2 files open; the kernel reads these itself",
        "",
        "now: 1.0 MB/s from hubs, 0 B/s from the cache, 2.0 MB/s to readers, 10 operations/s",
        "",
        "MODEL | CACHED | OF | READ | NOW | OPEN",
        "tfhub/google/spice/2 | 3.0 MB | 3.0 MB | ━━━━━━━━━━ | 5.0 MB | 2.5 MB/s | 2 | compressed",
        "tfhub/google/gone/1 | unreadable",
        "10 more models (12 were found, 1 are in use, 1 in trouble); --all lists them",
        "",
        "tfhub/google/gone/1: https://hub: no route",
        " | EHOSTUNREACH since 2026-01-31T12:00:00Z",
        " | what to do: wait for the hub",
    ]


def test_transfers_say_how_long_they_take() -> None:
    coming = {"complete": False, "streaming": True, "cached_bytes": 9_000_000, "size_bytes": None}
    before = told(models=[model(SPICE, **coming, came_bytes=2_000_000, to_come_bytes=8_000_000)])
    now = later(before, models=[model(SPICE, **coming, came_bytes=4_000_000, to_come_bytes=6_000_000)])
    lines = [line.split() for line in as_text(now, before).splitlines()]
    assert [SPICE, "1.0", "MB/s", "4.0", "MB", "6.0", "MB", "━━━━", "6", "s"] in lines
    assert [SPICE, "9.0", "MB", "?", "compressed,", "streaming"] in lines


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"cached_bytes": None}, "? | 3.0 MB | compressed, being counted"),
        ({"complete": False, "size_bytes": None}, "3.0 MB | ? | compressed, not read to its end"),
        ({"streaming": True}, "3.0 MB | 3.0 MB | ━━━━━━━━━━ | compressed, streaming"),
        ({"form": "files", "error": "no"}, "3.0 MB | 3.0 MB | ━━━━━━━━━━ | files, in trouble"),
    ],
)
def test_a_model_says_what_it_lacks(state: dict[str, Any], said: str) -> None:
    text = re.sub(" {2,}", " | ", as_text(told(models=[model(SPICE, **state)])))
    assert f"{SPICE} | {said}" in text.splitlines()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"certificates_verified": False}, "  WARNING: certificates are not verified"),
        ({"inflating_unconfined_by": "x"}, "  WARNING: the process that inflates archives is not confined: x"),
        ({"lost_bytes": 1_500_000}, "  the cache is too small for its readers: 1.5 MB that had come by were not kept"),
        ({"lost_bytes": 1, "cache_dir": None}, "  memory is too small for its readers: 1 B"),
        ({"log_problem": "The log file /log cannot be written"}, "  WARNING: The log file /log cannot be written"),
        ({"cache": {"disk": tier(0, 1, problem="no space")}}, "  the disk cache keeps nothing just now: no space"),
        ({"passthrough": OFF}, "passthrough: off, because there is no disk cache"),
        ({"offline": True, "supervised": False}, "/mnt/hubs: up 1:40 min, process 4711, kernel session, offline"),
        ({"recent_problems": [f"p{number}" for number in range(9)]}, "  p4"),
        (
            {"latest": [STALE]},
            f"google/spice/latest: version 2, which may be old; the hub last said so {NOON}: no route",
        ),
    ],
)
def test_what_is_wrong_is_said(changes: dict[str, Any], said: str) -> None:
    assert any(line.startswith(said) for line in as_text(told(**changes)).splitlines())
    assert not any(line.startswith(said) for line in as_text(told()).splitlines())


@pytest.mark.parametrize(("state", "reason"), [("dead", "dead"), ("silent", "--force"), ("shut", "another user")])
def test_a_mount_that_does_not_answer_takes_one_line(state: str, reason: str) -> None:
    text = as_text({"mountpoint": "/mnt/hub\n", "state": state})
    assert text.startswith("/mnt/hub\\n: ")
    assert reason in text
    assert "\n" not in text


def strings(value: Any) -> Any:
    """The same, with what is hostile behind every text."""
    if isinstance(value, str):
        return value + HOSTILE
    if isinstance(value, list):
        return [strings(one) for one in value]
    return {name: strings(one) for name, one in value.items()} if isinstance(value, dict) else value


@pytest.mark.parametrize("color", [False, True])
@pytest.mark.parametrize("width", [None, 200, 80, 40])
def test_nothing_that_a_hub_says_reaches_the_terminal_as_it_is(width: int | None, color: bool) -> None:  # noqa: FBT001
    before = told(models=[gone(SPICE), model("hf/a/b")], budgets=[BUDGET])
    hostile = {name: strings(before[name]) for name in ("binding", "models", "budgets", "cache_dir")}
    ways = [{**strings(WAY), "hub": "tfhub"}]
    now = later(before, **hostile, ways=ways, recent_problems=[HOSTILE], log_problem=HOSTILE)
    text = as_text(now, before, width=width, color=color)
    ours = re.compile(r"\x1b\[[0-9;]{0,20}m")
    bare = ours.sub("", text)
    assert bool(ours.search(text)) is color
    assert all(one.isprintable() for one in bare.replace("\n", ""))
    assert not any(line.strip().startswith("forged") for line in bare.splitlines() if width is None)
    if width is not None:
        assert max(map(len, bare.splitlines())) <= width
    else:
        assert "[bold red]evil[/]" in bare, "what looks like markup is text"
        assert ":smile:" in bare


def test_a_hub_of_a_hundred_thousand_models_takes_a_screen() -> None:
    many = [model(f"tfhub/p/m{number}/1") for number in range(100)] + [gone(f"tfhub/q/g{n}/1") for n in range(50)]
    status = told(models=many, model_counts={"found": 100_000, "in_use": 100, "in_trouble": 50, "shown": 150})
    lines = as_text(status).splitlines()
    assert "99980 more models (100000 were found, 100 are in use, 50 in trouble); --all lists them" in lines
    assert "and 30 more models in trouble" in lines
    assert len(lines) < 120
    assert len([line for line in as_text(status, every=True).splitlines() if "tfhub/p/" in line]) == 100


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_tables_fit_the_terminal_and_keep_their_numbers(width: int) -> None:
    long = f"hf/an-organization-with-a-long-name/a-model-with-a-longer-name-than-fits/{'0123456789' * 4}"
    before = told(models=[model(long, cached_bytes=1, size_bytes=9)])
    text = as_text(later(before, models=[model(long)]), before, width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "3.0 MB" in text
    assert "tfhub=https" in text


def test_colours_are_for_terminals_and_not_for_those_who_want_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    status = told(models=[gone(SPICE)])
    red = "\x1b[31m"
    assert red in as_text(status, width=80, color=True)
    assert "\x1b" not in as_text(status, width=80)
    monkeypatch.setenv("NO_COLOR", "1")
    assert red not in as_text(status, width=80, color=True)


SHAPES: list[Callable[[dict[str, Any]], object]] = [
    lambda status: status.pop("models"),
    lambda status: status.update(models=1),
    lambda status: status.update(models=[[]]),
    lambda status: status.update(hubs=[]),
    lambda status: status.update(uptime_s="soon"),
    lambda status: status.update(uptime_s=float("nan")),
    lambda status: status.update(origins={}),
    lambda status: status.update(cache={"memory": tier(0, 0, hits=0)} | {"disk": None}),
    lambda status: status.update(model_counts={"found": "many"}),
    lambda status: status.update(budgets=[{"left": 10**5000, "quota": 1, "hub": "", "budget": "", "ends_at": ""}]),
    lambda status: status.update(latest=7),
    lambda status: status["memory_budget"].update(taken_bytes=10**400),
]


@pytest.mark.parametrize("change", SHAPES, ids=map(str, range(len(SHAPES))))
def test_what_no_daemon_tells_is_a_value_error(change: Callable[[dict[str, Any]], object]) -> None:
    status = told()
    change(status)
    with pytest.raises(ValueError, match="no status of this version"):
        as_text(status, told(), width=80, color=True)


def test_texts_without_bounds_are_cut() -> None:
    long = [gone("\x1b" * 9000, "e" * 900_000), model("\u202e" * 9000)] * 50
    text = as_text(told(models=long, recent_problems=["p" * 900_000] * 20, log_problem="l" * 900_000))
    assert len(text) < 300_000
    assert "(54000 characters)" in text


def test_numbers_without_bounds_are_drawn() -> None:
    """JSON has them: `1e999` is infinity."""
    status = told(**json.loads('{"http": {"requests": 1, "bytes_received": 1e999}, "lost_bytes": 1e999}'))
    assert "inf GB" in as_text(status, told(), width=80, color=True)
