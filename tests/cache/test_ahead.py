from hubfs.cache.ahead import Ahead
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
