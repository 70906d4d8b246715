from collections.abc import Sequence

import pytest

from hubfs.commands.cache.kept import Kept
from hubfs.commands.cache.selecting import named, parse_filter, parse_order

NOW_S = 1_000_000.0
MODELS = [
    Kept("tfhub.dev/google/spice/2", "tfhub.dev/google/spice/2@a", 10, NOW_S - 90, in_use=True, pinned=False),
    Kept("tfhub.dev/google/spice/10", "tfhub.dev/google/spice/10@b", 30, NOW_S - 100_000, in_use=False, pinned=True),
    Kept("huggingface/BAAI/tiny/c0", "huggingface/BAAI/tiny/c0@c", 20, NOW_S - 7200, in_use=False, pinned=False),
]


def sizes(models: Sequence[Kept]) -> list[int]:
    return [one.size_bytes for one in models]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("size>20B", [30]),
        ("size >= 20B", [30, 20]),
        ("size<=20B", [10, 20]),
        ("size!=20B", [10, 30]),
        ("used>1d", [30]),
        ("used<2h", [10]),
        ("name=*/google/*", [10, 30]),
        ("name!=tfhub.dev/*", [20]),
        ("pinned=true", [30]),
        ("in_use=no", [30, 20]),
    ],
)
def test_a_filter_says_which_models(text: str, found: list[int]) -> None:
    holds = parse_filter(text, NOW_S)
    assert sizes([one for one in MODELS if holds(one)]) == found


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "must read like"),
        ("size", "must read like"),
        ("size>", "must read like 512MiB"),
        ("size>1x", "must read like 512MiB"),
        ("size>5", "a unit is missing"),
        ("used>soon", "must read like 30s"),
        ("weight>1GB", "weight is none of"),
        ("name>x", "name takes = and != alone"),
        ("pinned=perhaps", "true or false"),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_filter(text, NOW_S)


@pytest.mark.parametrize(
    ("text", "found"),
    [("size", [10, 20, 30]), ("size:desc", [30, 20, 10]), ("used", [30, 20, 10]), ("name:asc", [20, 30, 10])],
)
def test_an_order_sorts(text: str, found: list[int]) -> None:
    assert sizes(parse_order(text)(MODELS)) == found


@pytest.mark.parametrize("text", ["", "age", "size:up", "size:asc:desc"])
def test_an_order_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="name, size or used"):
        parse_order(text)


def test_a_name_is_whole_or_begins_at_segments() -> None:
    assert sizes(named(MODELS, ["tfhub.dev/google/spice"])) == [10, 30]
    assert sizes(named(MODELS, ["tfhub.dev/google/spice/1"])) == []
    assert sizes(named(MODELS, ["tfhub.dev/google/spice/10"])) == [30]
    assert sizes(named(MODELS, ["huggingface/BAAI/tiny/c0@c"])) == [20]
