import pytest

from hubfs.tree.walk import GAP, MOST_AHEAD, Walk, follow, wanted

MANY = 10_000


def walked(*positions: int, inside: bool = True) -> tuple[Walk, ...]:
    walks: tuple[Walk, ...] = ()
    for position in positions:
        walks = follow(walks, position, inside=inside)
    return walks


@pytest.mark.parametrize("positions", [(), (5,), (5, 6), (6, 5, 4), (5, 5, 5, 5), (0, 1, 100, 200, 300)])
def test_a_few_models_and_models_here_and_there_are_no_walk(positions: tuple[int, ...]) -> None:
    assert all(not wanted(walk, MANY) for walk in walked(*positions))


def test_three_in_a_row_are_a_walk_which_reaches_further_with_each_look() -> None:
    assert wanted(walked(5, 6, 7)[-1], MANY) == range(8, 20)
    assert wanted(walked(5, 6, 7, 8)[-1], MANY) == range(9, 25)


def test_a_walk_passes_over_what_another_order_puts_elsewhere() -> None:
    (walk,) = walked(0, GAP, 2 * GAP)
    assert walk.run == 3
    assert len(walked(0, GAP, 2 * GAP + 1)) == 2


def test_no_more_than_the_most_are_asked_ahead_and_none_twice() -> None:
    (walk,) = walked(*range(1000))
    assert wanted(walk, MANY) == range(1000, 1000 + MOST_AHEAD)
    assert not wanted(Walk(999, run=1000, asked=1000 + MOST_AHEAD), MANY)
    assert wanted(Walk(1000, run=1001, asked=1000 + MOST_AHEAD), MANY) == range(1064, 1065)


def test_a_walk_that_overtook_what_was_asked_looks_forward() -> None:
    assert wanted(Walk(50, run=10, asked=20), MANY) == range(51, 91)


@pytest.mark.parametrize(("last", "expected"), [(97, range(98, 100)), (99, range(100, 100))])
def test_a_walk_ends_with_the_last_model(last: int, expected: range) -> None:
    assert wanted(Walk(last, run=100), 100) == expected


def test_programs_that_walk_at_once_are_told_apart() -> None:
    walks = walked(*(position + offset for position in range(5) for offset in (0, 1000, 2000, 3000)))
    assert sorted((walk.last, walk.run) for walk in walks) == [(4, 5), (1004, 5), (2004, 5), (3004, 5)]


def test_of_many_programs_the_last_are_followed() -> None:
    assert [walk.last for walk in walked(0, 100, 200, 300, 400)] == [100, 200, 300, 400]


def test_a_walk_lists_if_any_look_did() -> None:
    (walk,) = follow(walked(5), 6, inside=False)
    assert walk.inside
    assert not walked(5, inside=False)[-1].inside
