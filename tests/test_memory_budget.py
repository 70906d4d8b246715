import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hubfs.cache.block_cache import CacheKey
from hubfs.memory_budget import MemoryBudget, available_memory_bytes
from hubfs.settings.config import default_memory_size_bytes

MIB = 1 << 20
KEY = CacheKey("hub/a/b/1@x", "f")


def test_takes_up_to_the_limit_all_or_nothing() -> None:
    budget = MemoryBudget(10)
    assert budget.try_take(4)
    assert not budget.try_take(7)
    assert budget.try_take(6)
    assert (budget.taken_bytes, budget.free_bytes, budget.limit_bytes) == (10, 0, 10)
    budget.give_back(4)
    assert budget.free_bytes == 4


def test_what_is_needed_is_never_refused_and_ends_what_is_not() -> None:
    budget = MemoryBudget(10)
    budget.take(15)
    assert (budget.taken_bytes, budget.free_bytes) == (15, 0)
    assert not budget.try_take(1)
    budget.give_back(6)
    assert budget.try_take(1)


def test_more_than_was_taken_cannot_be_given_back() -> None:
    budget = MemoryBudget(10)
    budget.take(3)
    with pytest.raises(ValueError, match="4 bytes given back of 3"):
        budget.give_back(4)
    assert budget.taken_bytes == 3


def test_many_threads_never_take_more_than_the_limit() -> None:
    budget = MemoryBudget(1000)

    def use(seed: int) -> bool:
        chance = random.Random(seed)
        within = True
        for _ in range(2000):
            size_bytes = chance.randrange(1, 400)
            if budget.try_take(size_bytes):
                within &= budget.taken_bytes <= 1000
                budget.give_back(size_bytes)
        return within

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(use, range(8)))
    assert budget.taken_bytes == 0


def machine(root: Path, cgroup: str, limits: dict[str, str], mem_total_kib: int = 4 << 20) -> int:
    """What a process may use on a machine with these files."""
    files = {
        "proc/meminfo": f"MemTotal:       {mem_total_kib} kB\nMemFree:        65 kB\n",
        "proc/self/cgroup": cgroup,
        **{f"sys/fs/cgroup/{path}": text for path, text in limits.items()},
    }
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return available_memory_bytes(root)


def test_without_limits_it_is_the_machines_memory(tmp_path: Path) -> None:
    unlimited = {"memory.max": "max\n", "user.slice/memory.max": "max\n", "user.slice/memory.high": "max\n"}
    assert machine(tmp_path, "0::/user.slice\n", unlimited) == 4 << 30


@pytest.mark.parametrize(
    "limits",
    [
        {"a/b/memory.max": f"{300 * MIB}\n", "a/memory.max": "max\n"},
        {"a/b/memory.max": "max\n", "a/memory.max": f"{300 * MIB}\n"},
        {"a/b/memory.max": f"{900 * MIB}\n", "a/b/memory.high": f"{300 * MIB}\n"},
        {"memory.max": f"{300 * MIB}\n"},  # in a container: the path is the host's
    ],
)
def test_the_least_limit_on_the_way_up_counts_with_version_2(tmp_path: Path, limits: dict[str, str]) -> None:
    assert machine(tmp_path, "0::/a/b\n", limits) == 300 * MIB


def test_version_1_has_a_hierarchy_for_memory(tmp_path: Path) -> None:
    cgroup = "12:cpuset:/x\n7:memory:/docker/4711\n3:cpu,cpuacct:/docker/4711\n0::/\n"
    limits = {
        "memory/memory.limit_in_bytes": "9223372036854771712\n",  # no limit
        "memory/docker/4711/memory.limit_in_bytes": f"{256 * MIB}\n",
        "cpuset/x/memory.limit_in_bytes": "5\n",  # not of the memory controller
    }
    assert machine(tmp_path, cgroup, limits) == 256 * MIB


def test_no_limit_of_version_1_is_no_limit(tmp_path: Path) -> None:
    limits = {"memory/memory.limit_in_bytes": "9223372036854771712\n"}
    assert machine(tmp_path, "7:memory:/\n", limits) == 4 << 30


def test_a_group_outside_of_the_namespace_leads_to_no_file_outside_of_the_hierarchy(tmp_path: Path) -> None:
    (tmp_path / "sys").mkdir()
    (tmp_path / "sys/memory.max").write_text("5\n")
    assert machine(tmp_path, "0::/../../a\n", {"memory.max": f"{300 * MIB}\n"}) == 300 * MIB


def test_a_limit_above_the_machines_memory_limits_nothing(tmp_path: Path) -> None:
    assert machine(tmp_path, "0::/\n", {"memory.max": str(64 << 30)}, mem_total_kib=1 << 20) == 1 << 30


@pytest.mark.parametrize("damage", ["", "nonsense", "0:\n:::\n", "0::/a\0b\n"])
def test_what_cannot_be_read_limits_nothing(tmp_path: Path, damage: str) -> None:
    assert machine(tmp_path, damage, {"memory.max": "many\n"}) == 4 << 30


def test_of_this_machine_it_is_a_plausible_number() -> None:
    assert 64 * MIB < available_memory_bytes() < 1 << 50


@pytest.mark.parametrize(
    ("available_bytes", "size_bytes"),
    [(64 * MIB, 32 * MIB), (400 * MIB, 100 * MIB), (1 << 30, 256 * MIB), (64 << 30, 256 * MIB)],
)
def test_the_memory_of_a_mount_is_a_quarter_within_bounds(available_bytes: int, size_bytes: int) -> None:
    assert default_memory_size_bytes(available_bytes) == size_bytes


def test_what_is_taken_for_a_while_is_given_back_whatever_happens() -> None:
    budget = MemoryBudget(10)

    def fail() -> None:
        with budget.taken(30):
            assert (budget.taken_bytes, budget.free_bytes, budget.try_take(1)) == (30, 0, False)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert (budget.taken_bytes, budget.free_bytes) == (0, 10)


def begun(budget: MemoryBudget, index: int, size_bytes: int) -> None:
    assert budget.try_take(size_bytes)
    budget.arrived((KEY, index), size_bytes)


def test_nobody_takes_all() -> None:
    budget = MemoryBudget(80)
    assert budget.allowance_bytes() == 40
    assert budget.try_take(40)
    assert budget.allowance_bytes() == 20


def test_what_arrived_is_in_the_cache_and_still_counts() -> None:
    budget = MemoryBudget(80)
    assert budget.try_take(30)
    assert budget.beside_cache_bytes() == 30
    budget.arrived((KEY, 0), 30)
    assert (budget.beside_cache_bytes(), budget.taken_bytes) == (0, 30)
    budget.read((KEY, 0))
    budget.read((KEY, 0))
    assert (budget.beside_cache_bytes(), budget.taken_bytes) == (0, 0)


def test_what_arrives_again_counts_once() -> None:
    budget = MemoryBudget(80)
    begun(budget, 0, 30)
    begun(budget, 0, 30)
    assert (budget.beside_cache_bytes(), budget.taken_bytes) == (0, 30)


def test_the_idle_give_theirs_back_and_the_others_keep_it() -> None:
    now_s = 0.0
    budget = MemoryBudget(100, idle_s=20.0, timer=lambda: now_s)
    begun(budget, 0, 30)
    now_s = 10.0
    begun(budget, 1, 30)
    now_s = 25.0
    assert budget.allowance_bytes() == 35
    assert budget.taken_bytes == 30
    budget.read((KEY, 0))  # late, and no longer waited for
    assert budget.taken_bytes == 30
    budget.read((KEY, 1))
    assert budget.taken_bytes == 0


def test_a_reader_may_exceed_the_budget_and_what_is_ahead_waits_meanwhile() -> None:
    budget = MemoryBudget(100)
    budget.take(150)
    assert budget.allowance_bytes() == 0
    assert not budget.try_take(1)
    budget.give_back(150)
    assert budget.try_take(1)


def test_a_pass_may_be_ahead_by_half_of_what_is_there_for_blocks() -> None:
    budget = MemoryBudget(160)  # of 320
    with budget.passing(120):
        assert budget.pass_bytes() == 100
        with budget.taken(40), budget.passing(60):
            assert budget.pass_bytes() == 25
        assert budget.pass_bytes() == 100
        budget.take(400)
        assert budget.pass_bytes() == 0
    assert budget.taken_bytes == 400


def test_what_a_pass_brought_waits_for_its_reader_and_is_no_part_of_the_budget() -> None:
    now_s = 0.0
    budget = MemoryBudget(100, idle_s=20.0, timer=lambda: now_s)
    for index in range(3):
        budget.passed((KEY, index), 30)
    assert [(KEY, index) in budget for index in range(4)] == [True, True, True, False]
    assert (budget.taken_bytes, budget.beside_cache_bytes()) == (0, 0)
    budget.read((KEY, 1))
    assert (KEY, 1) not in budget
    now_s = 20.0
    assert (KEY, 0) not in budget


def test_where_passes_bring_more_than_there_is_room_for_the_oldest_wait_no_longer() -> None:
    budget = MemoryBudget(100)
    for index in range(6):
        budget.passed((KEY, index), 30)
    assert [(KEY, index) in budget for index in range(6)] == [False] * 3 + [True] * 3


def test_what_is_fetched_ahead_waits_for_its_reader() -> None:
    budget = MemoryBudget(100)
    begun(budget, 0, 30)
    assert (KEY, 0) in budget
    budget.read((KEY, 0))
    assert (KEY, 0) not in budget
