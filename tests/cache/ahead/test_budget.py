from hubfs.cache.ahead.budget import Ahead
from hubfs.cache.block_cache import CacheKey
from hubfs.memory_budget import MemoryBudget

KEY = CacheKey("hub/a/b/1@x", "f")


def begun(ahead: Ahead, index: int, size_bytes: int) -> None:
    assert ahead.try_begin(size_bytes)
    ahead.arrived((KEY, index), size_bytes)


def test_nobody_takes_all() -> None:
    ahead = Ahead(MemoryBudget(80))
    assert ahead.allowance_bytes() == 40
    assert ahead.try_begin(40)
    assert ahead.allowance_bytes() == 20


def test_what_arrived_is_in_the_cache_and_still_counts() -> None:
    budget = MemoryBudget(80)
    ahead = Ahead(budget)
    assert ahead.try_begin(30)
    assert ahead.beside_cache_bytes == 30
    ahead.arrived((KEY, 0), 30)
    assert (ahead.beside_cache_bytes, budget.taken_bytes) == (0, 30)
    ahead.read((KEY, 0))
    ahead.read((KEY, 0))
    assert (ahead.beside_cache_bytes, budget.taken_bytes) == (0, 0)


def test_what_arrives_again_counts_once() -> None:
    budget = MemoryBudget(80)
    ahead = Ahead(budget)
    begun(ahead, 0, 30)
    begun(ahead, 0, 30)
    assert (ahead.beside_cache_bytes, budget.taken_bytes) == (0, 30)


def test_the_idle_give_theirs_back_and_the_others_keep_it() -> None:
    now_s = 0.0
    budget = MemoryBudget(100)
    ahead = Ahead(budget, idle_s=20.0, timer=lambda: now_s)
    begun(ahead, 0, 30)
    now_s = 10.0
    begun(ahead, 1, 30)
    now_s = 25.0
    assert ahead.allowance_bytes() == 35
    assert budget.taken_bytes == 30
    ahead.read((KEY, 0))  # late, and no longer waited for
    assert budget.taken_bytes == 30
    ahead.read((KEY, 1))
    assert budget.taken_bytes == 0


def test_a_reader_may_exceed_the_budget_and_what_is_ahead_waits_meanwhile() -> None:
    budget = MemoryBudget(100)
    ahead = Ahead(budget)
    ahead.begin(150)
    assert ahead.allowance_bytes() == 0
    assert not ahead.try_begin(1)
    ahead.end(150)
    assert ahead.try_begin(1)


def test_a_pass_may_be_ahead_by_half_of_what_is_there_for_blocks() -> None:
    budget = MemoryBudget(160)  # of 320
    ahead = Ahead(budget)
    with ahead.passing(120):
        assert ahead.pass_bytes() == 100
        with budget.taken(40), ahead.passing(60):
            assert ahead.pass_bytes() == 25
        assert ahead.pass_bytes() == 100
        budget.take(400)
        assert ahead.pass_bytes() == 0
    assert budget.taken_bytes == 400


def test_what_a_pass_brought_waits_for_its_reader_and_is_no_part_of_the_budget() -> None:
    now_s = 0.0
    budget = MemoryBudget(100)
    ahead = Ahead(budget, idle_s=20.0, timer=lambda: now_s)
    for index in range(3):
        ahead.passed((KEY, index), 30)
    assert [(KEY, index) in ahead for index in range(4)] == [True, True, True, False]
    assert (budget.taken_bytes, ahead.beside_cache_bytes) == (0, 0)
    ahead.read((KEY, 1))
    assert (KEY, 1) not in ahead
    now_s = 20.0
    assert (KEY, 0) not in ahead


def test_where_passes_bring_more_than_there_is_room_for_the_oldest_wait_no_longer() -> None:
    ahead = Ahead(MemoryBudget(100))
    for index in range(6):
        ahead.passed((KEY, index), 30)
    assert [(KEY, index) in ahead for index in range(6)] == [False] * 3 + [True] * 3


def test_what_is_fetched_ahead_waits_for_its_reader() -> None:
    ahead = Ahead(MemoryBudget(100))
    begun(ahead, 0, 30)
    assert (KEY, 0) in ahead
    ahead.read((KEY, 0))
    assert (KEY, 0) not in ahead
