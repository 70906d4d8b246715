"""What is known of a model by listings: blocks and leases, by one request, in parts where there are many."""

from collections.abc import Iterator

import pytest

from hubfs.cache.shared.layout import Place, blocks_folder, part_of, run_lease_name, run_name
from hubfs.cache.shared.listings import Found, Listings
from hubfs.cache.shared.store import RestingStore
from hubfs.errors import Unavailable
from hubfs.testing import Clock
from hubfs.waiting import Cancellation
from tests.contracts.block_cache_contract import MODEL, OTHER
from tests.support.shared_cache import Watched, memory_store

FILE = "0123456789abcdef01234567"
PLACE = Place(FILE, 7)


class Desk:
    def __init__(self) -> None:
        self.cancellation = Cancellation()
        self.store = Watched(memory_store(self.cancellation))
        self.clock = Clock()
        resting = RestingStore(self.store, self.cancellation, timer=self.clock)
        self.listings = Listings(resting, self.cancellation, 1.0, self.clock)

    def has(self, place: Place) -> bool:
        return place in self.listings.of(MODEL, place, lambda found: place in found.objects).objects

    def add(self, place: Place, model: str = MODEL) -> None:
        self.store.put(run_name(model, place, 0xFF), b"blocks")

    def asked(self) -> list[str]:
        asked = [name.removeprefix(blocks_folder(MODEL)) for name in self.store.asked("list")]
        self.store.calls.clear()
        return asked


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.cancellation.cancel()


def test_one_request_tells_of_blocks_and_of_those_who_fetch(desk: Desk) -> None:
    desk.add(PLACE)
    desk.add(Place(FILE, 9), OTHER.model)
    desk.store.put(run_lease_name(MODEL, Place(FILE, 8)), b"lease")
    assert desk.has(PLACE)
    assert desk.listings.leased(MODEL, Place(FILE, 8))
    assert not desk.listings.leased(MODEL, PLACE)
    assert not desk.listings.leased(MODEL, Place(FILE, 9))
    assert len(desk.asked()) == 1


def test_what_was_never_listed_is_leased_by_nobody_as_far_as_is_known(desk: Desk) -> None:
    desk.store.put(run_lease_name(MODEL, PLACE), b"lease")
    assert not desk.listings.leased(MODEL, PLACE)
    assert desk.asked() == []


def test_a_block_that_is_missing_is_asked_for_again_after_a_second_and_one_that_is_there_never(desk: Desk) -> None:
    assert not desk.has(PLACE)
    desk.add(PLACE)
    desk.clock.now_s += 0.9
    assert not desk.has(PLACE)
    desk.clock.now_s += 0.2
    assert desk.has(PLACE)
    assert desk.asked() == ["", ""]
    desk.clock.now_s += 1000
    assert desk.has(PLACE)
    assert desk.asked() == []


def test_runs_that_wait_side_by_side_look_at_one_listing(desk: Desk) -> None:
    for number in range(4):
        desk.listings.look_again(MODEL, Place(FILE, number), 0.4)
    assert desk.asked() == [""]
    desk.clock.now_s += 0.5
    desk.listings.look_again(MODEL, PLACE, 0.4)
    desk.listings.look_again(MODEL, PLACE, 0.4)
    assert desk.asked() == [""]
    desk.listings.look_again(MODEL, PLACE)  # up to now
    assert desk.asked() == [""]


def test_of_a_model_of_many_runs_a_hundred_are_asked_for_at_a_time(desk: Desk) -> None:
    for number in range(1100):
        desk.add(Place(FILE, number))
    missing = Place(FILE, 1199)
    assert not desk.has(missing)
    assert desk.asked() == [""]
    desk.add(missing)
    desk.add(Place(FILE, 2000))
    desk.store.put(run_lease_name(MODEL, Place(FILE, 1150)), b"lease")
    desk.store.delete(run_name(MODEL, Place(FILE, 1101 - 1 - 50), 0xFF))  # of another hundred
    desk.clock.now_s += 2
    desk.store.calls.clear()
    assert desk.has(missing)
    assert desk.listings.leased(MODEL, Place(FILE, 1150))
    assert desk.has(missing)
    assert desk.asked() == [f"{FILE}/0011"]
    assert desk.has(Place(FILE, 3))
    assert desk.asked() == []
    assert desk.has(Place(FILE, 2000))
    assert desk.asked() == [f"{FILE}/0020"]
    desk.store.delete(run_lease_name(MODEL, Place(FILE, 1150)))
    desk.store.delete(run_name(MODEL, missing, 0xFF))
    desk.listings.look_again(MODEL, missing)
    assert not desk.listings.leased(MODEL, Place(FILE, 1150))
    assert not desk.has(missing)
    assert desk.has(Place(FILE, 999))


@pytest.mark.parametrize("number", [0, 99, 100, 123456, 999_999, 1_000_000, 2_097_151])
def test_a_part_holds_every_name_of_its_runs(number: int) -> None:
    place = Place(FILE, number)
    for name in (run_name(MODEL, place, 1), run_lease_name(MODEL, place)):
        assert name.startswith(blocks_folder(MODEL) + part_of(place))


def test_what_was_written_or_refused_is_known_without_a_request(desk: Desk) -> None:
    assert not desk.has(PLACE)
    desk.listings.note(MODEL, PLACE, 0x0F, 100)
    desk.listings.note(MODEL, PLACE, 0xFF, 200)
    before = desk.listings.of(MODEL, PLACE)
    assert before.objects[PLACE] == {0x0F: 100, 0xFF: 200}
    desk.listings.note(MODEL, PLACE, 0xFF, None)
    assert desk.listings.of(MODEL, PLACE).objects[PLACE] == {0x0F: 100}
    assert before.objects[PLACE] == {0x0F: 100, 0xFF: 200}  # who reads it sees no change
    assert desk.asked() == [""]


def test_a_listing_that_was_on_its_way_when_the_model_was_dropped_is_not_kept(desk: Desk) -> None:
    desk.add(PLACE)
    listed = desk.store.list

    def list_and_drop(prefix: str) -> object:
        found = listed(prefix)
        desk.listings.forget(MODEL)
        return found

    desk.store.list = list_and_drop  # type: ignore[method-assign, assignment]
    desk.listings.look_again(MODEL)
    desk.store.list = listed  # type: ignore[method-assign]
    desk.store.delete(run_name(MODEL, PLACE, 0xFF))
    assert not desk.has(PLACE)


def test_a_store_that_fails_is_told_and_what_was_known_stays(desk: Desk) -> None:
    desk.add(PLACE)
    assert desk.has(PLACE)
    desk.store.down = True
    with pytest.raises(Unavailable):
        desk.listings.look_again(MODEL)
    assert desk.has(PLACE)


def test_names_that_no_daemon_writes_are_left_aside(desk: Desk) -> None:
    for name in (f"{FILE}/7.lease", f"{FILE}/000007.lease.0a1b", f"{FILE}/-00007.lease", f"{FILE}/000007.Lease", "x"):
        desk.store.put(blocks_folder(MODEL) + name, b"?")
    desk.store.put(f"{blocks_folder(MODEL)}{FILE}/{'9' * 400}.lease", b"?")
    desk.store.put(f"{blocks_folder(MODEL)}{FILE}/\u0661\u0661\u0661\u0661\u0661\u0661.lease", b"?")
    assert desk.listings.of(MODEL, PLACE) == Found({}, set())
