import time

import pytest

from hubfs.errors import Cancelled, EntryNotFound, HubfsError, ModelNotFound, TimedOut, Unavailable
from hubfs.models.troubles import Troubles, WatchedBlob
from hubfs.testing import Clock, ScriptedBlob

SPICE = "google/spice/2"


@pytest.fixture
def troubles(clock: Clock) -> Troubles:
    return Troubles(timer=clock, clock=clock)


def test_the_same_trouble_is_counted_and_another_kind_begins_anew(troubles: Troubles, clock: Clock) -> None:
    for _ in range(3):
        troubles.note(SPICE, "f", Unavailable("no route"))
        clock.now_s += 5
    trouble = troubles.of(SPICE)
    assert trouble is not None
    assert (trouble.since_s, trouble.last_s, trouble.count, trouble.kind) == (1000, 1010, 3, Unavailable)
    troubles.note(SPICE, "f", TimedOut("stalled"))
    trouble = troubles.of(SPICE)
    assert trouble is not None
    assert (trouble.since_s, trouble.count, trouble.error) == (1015, 1, "stalled")


def test_a_read_that_failed_is_over_when_those_bytes_are_read(troubles: Troubles) -> None:
    blob = ScriptedBlob(bytes(100), key="k")
    watched = WatchedBlob(blob, troubles, SPICE, "f")
    assert (watched.key, watched.size_bytes) == ("k", 100)
    blob.fail(TimedOut("stalled"))
    with pytest.raises(TimedOut):
        watched.read_at(50, 10)
    watched.read_at(0, 10)  # others go well, and prove nothing
    with troubles.watching(SPICE, "f"):
        pass
    assert troubles.of(SPICE, "f") is not None
    watched.read_at(51, 10)
    assert troubles.of(SPICE) is not None
    watched.read_at(45, 10)
    assert troubles.of(SPICE) is None


def test_a_lookup_that_failed_is_over_when_it_succeeds(troubles: Troubles) -> None:
    with pytest.raises(Unavailable), troubles.watching(SPICE, "f"):
        raise Unavailable("no route")
    assert troubles.handles() == {SPICE}
    with troubles.watching(SPICE, "f"):
        pass
    assert troubles.handles() == set()


@pytest.mark.parametrize("error", [EntryNotFound("x"), ModelNotFound("x"), Cancelled("x")])
def test_answers_are_no_trouble(troubles: Troubles, error: HubfsError) -> None:
    blob = ScriptedBlob(bytes(100))
    blob.error = error
    with pytest.raises(type(error)):
        WatchedBlob(blob, troubles, SPICE, "f").read_at(0, 100)
    with pytest.raises(type(error)), troubles.watching(SPICE, "f"):
        raise error
    assert troubles.handles() == set()


def test_a_bug_is_told_as_one_without_its_text(troubles: Troubles) -> None:
    blob = ScriptedBlob(bytes(100))
    blob.error = ZeroDivisionError("https://hub/x?secret")
    with pytest.raises(ZeroDivisionError):
        WatchedBlob(blob, troubles, SPICE, "f").read_at(0, 100)
    trouble = troubles.of(SPICE)
    assert trouble is not None
    assert "ZeroDivisionError" in trouble.error
    assert "secret" not in trouble.error


def test_a_file_shows_its_own_trouble_and_the_rest_that_of_the_model(troubles: Troubles, clock: Clock) -> None:
    troubles.note(SPICE, "", Unavailable("root"))
    clock.now_s += 1
    troubles.note(SPICE, "f", Unavailable("file"))
    texts = [trouble.error for path in ("f", "g", None) if (trouble := troubles.of(SPICE, path))]
    assert texts == ["file", "root", "root"]
    assert {name: trouble.error for name, trouble in troubles.below("google/spice").items()} == {"2": "root"}
    assert troubles.below("google") == {}
    troubles.forget(SPICE)
    assert troubles.of(SPICE) is None


def test_what_nobody_meets_again_is_forgotten(troubles: Troubles, clock: Clock) -> None:
    troubles.note(SPICE, "f", Unavailable("no route"))
    clock.now_s += 601
    assert troubles.of(SPICE) is None
    assert troubles.handles() == set()


def test_an_outage_of_thousands_of_models_is_told_at_once(troubles: Troubles) -> None:
    """The status asks for each model's: what took time in proportion to their square took 80 s for so many."""
    for number in range(3000):
        troubles.note(f"google/spice/{number}", "", Unavailable("gone"))
    began_s = time.process_time()
    assert sum(troubles.of(handle) is not None for handle in troubles.handles()) == 3000
    assert len(troubles.below("google/spice")) == 3000
    assert time.process_time() - began_s < 5


def test_the_files_of_one_model_push_out_no_other_model_s_trouble(troubles: Troubles) -> None:
    troubles.note(SPICE, "", Unavailable("gone"))
    for number in range(20_000):
        troubles.note("google/other/1", str(number), Unavailable("gone"))
    assert troubles.handles() == {SPICE, "google/other/1"}
    troubles.forget("google/other/1")
    assert troubles.handles() == {SPICE}
