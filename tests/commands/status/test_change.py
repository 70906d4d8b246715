import pytest

from hubfs.commands.status.change import Change, Operation, Transfer
from tests.support.told import later, model, operation, tier, told

SPICE = "tfhub/google/spice/2"


def test_one_look_knows_no_rate() -> None:
    change = Change(None, told())
    assert change.over_s is None
    assert change.per_s("http", "bytes_received") is None
    assert change.from_cache() is None
    assert change.hit_rate("memory") is None
    assert change.operations() == []
    assert change.transfers() == []


def test_rates_are_of_the_daemons_own_time() -> None:
    before = told()
    now = later(before, 2.0, http={"requests": 9, "bytes_received": 7_000_000})
    change = Change(before, now)
    assert change.per_s("http", "bytes_received") == 1_000_000
    assert change.per_s("http", "requests") == 1
    assert change.per_s("nothing", "of", "this") == 0


@pytest.mark.parametrize("other", [{"pid": 4712}, {"uptime_s": 3.0}], ids=["a process", "a clock"])
def test_another_daemon_begins_anew(other: dict[str, float]) -> None:
    """A successor counts from zero: no rate is below it."""
    before = told()
    now = {**later(before, http={"requests": 0, "bytes_received": 0}), **other}
    assert Change(before, now).per_s("http", "bytes_received") is None


def test_a_hit_rate_is_that_of_the_last_looks() -> None:
    before = told(cache={"memory": tier(0, 1, hits=1000, misses=0), "disk": tier(0, 1)})
    now = later(before, cache={"memory": tier(0, 1, hits=1001, misses=3), "disk": tier(0, 1)})
    change = Change(before, now)
    assert change.hit_rate("memory") == 0.25
    assert change.hit_rate("disk") is None, "nobody looked"
    assert change.from_cache() == (1 << 20) / 2


def test_operations_are_sorted_and_timed() -> None:
    before = told(
        operations={"read": operation(100, 1.0, EIO=2), "lookup": operation(50, 0.005), "open": operation(1, 1)}
    )
    after = {"read": operation(110, 1.5, EIO=4), "lookup": operation(90, 0.045), "open": operation(1, 1)}
    assert Change(before, later(before, operations=after)).operations() == [
        Operation("lookup", 20.0, pytest.approx(0.001), 0.0),
        Operation("read", 5.0, pytest.approx(0.05), 1.0),
    ]


def test_of_an_archive_its_own_bytes_are_the_transfer() -> None:
    coming = {"complete": False, "streaming": True, "cached_bytes": 9_000_000, "size_bytes": None}
    before = told(models=[model(SPICE, **coming, came_bytes=2_000_000, to_come_bytes=8_000_000)])
    now = later(before, models=[model(SPICE, **coming, came_bytes=4_000_000, to_come_bytes=6_000_000)])
    (transfer,) = Change(before, now).transfers()
    assert transfer == Transfer(SPICE, 1_000_000, 4_000_000, 6_000_000)
    assert (transfer.part, transfer.left_s) == (0.4, 6.0)


def test_of_files_what_is_cached_is_the_transfer() -> None:
    whole = {"size_bytes": 10_000_000}
    before = told(models=[model(SPICE, **whole, cached_bytes=1_000_000), model("hf/a/b", cached_bytes=5)])
    now = later(before, models=[model(SPICE, **whole, cached_bytes=5_000_000), model("hf/a/b", cached_bytes=5)])
    assert Change(before, now).transfers() == [Transfer(SPICE, 2_000_000, 5_000_000, 5_000_000)]


def test_what_is_not_known_of_a_transfer_is_not_made_up() -> None:
    transfer = Transfer(SPICE, 0.0, 5, None)
    assert (transfer.part, transfer.left_s) == (None, None)
    assert Transfer(SPICE, 0.0, 5, 10).left_s is None
    assert Transfer(SPICE, 0.0, 0, 0).part == 1.0


def test_models_are_ordered_by_what_happens_to_them() -> None:
    before = told(models=[model(name, read_bytes=100) for name in ("idle", "open", "read", "coming")])
    now = later(
        before,
        models=[
            model("idle", read_bytes=100),
            model("open", read_bytes=100, open_files=3),
            model("read", read_bytes=900),
            model("coming", read_bytes=100, cached_bytes=9_000_000),
            model("new", read_bytes=50),
        ],
    )
    change = Change(before, now)
    ordered = sorted(now["models"], key=change.activity, reverse=True)
    assert [one["handle"] for one in ordered] == ["coming", "read", "new", "open", "idle"]
