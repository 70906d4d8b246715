import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubfs.blobs.retry import (
    PROGRESS_BYTES,
    Busy,
    LeftAlone,
    Pause,
    Permanent,
    Retries,
    RetryingBlob,
    RetryPolicy,
    asking_once,
    retrying,
)
from hubfs.errors import Cancelled, HubfsError, NotFound, Stale, TimedOut, Unavailable
from hubfs.testing import Clock, ScriptedBlob
from hubfs.waiting import Cancellation, GaveUp

QUICK = RetryPolicy(attempts=4, base_s=0.001, cap_s=0.002)


class Failing:
    """Raises what it is given, one for each call; then succeeds."""

    def __init__(self, *errors: HubfsError) -> None:
        self.errors = iter(errors)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if error := next(self.errors, None):
            raise error
        return "done"


def failing_blob(*errors: HubfsError) -> ScriptedBlob:
    """The first reads raise `errors`, one each."""
    blob = ScriptedBlob(b"0123456", key="k")
    blob.fail(*errors)
    return blob


class Sleeps(Cancellation):
    """Notes the sleeps instead of sleeping."""

    def __init__(self) -> None:
        super().__init__()
        self.slept_s: list[float] = []

    def sleep(self, seconds_s: float) -> None:
        self.check()
        self.slept_s.append(seconds_s)


@pytest.mark.parametrize("error", [TimedOut("slow"), Unavailable("away"), Busy("busy")])
def test_a_passing_failure_is_asked_again(error: HubfsError) -> None:
    attempt = Failing(error, error)
    assert retrying(attempt, QUICK, Cancellation()) == "done"
    assert attempt.calls == 3


@pytest.mark.parametrize("error", [NotFound("x"), Stale("x"), Permanent("x")])
def test_a_lasting_failure_is_not_asked_again(error: HubfsError) -> None:
    attempt = Failing(error)
    with pytest.raises(type(error)):
        retrying(attempt, QUICK, Cancellation())
    assert attempt.calls == 1


@pytest.mark.parametrize("error", [TimedOut("slow"), Unavailable("away"), Busy("busy", 3600)])
def test_what_is_asked_ahead_of_readers_is_asked_once(error: HubfsError) -> None:
    attempt = Failing(error, error)
    with asking_once(), pytest.raises(GaveUp, match=str(error)):
        retrying(attempt, QUICK, Cancellation())
    assert attempt.calls == 1
    assert retrying(attempt, QUICK, Cancellation()) == "done", "from then on it is as ever"
    with asking_once(), pytest.raises(Permanent):
        retrying(Failing(Permanent("x")), QUICK, Cancellation())


def test_the_last_error_is_raised_once_the_attempts_are_used_up() -> None:
    attempt = Failing(*(Unavailable(str(number)) for number in range(9)))
    with pytest.raises(Unavailable, match="3"):
        retrying(attempt, QUICK, Cancellation())
    assert attempt.calls == QUICK.attempts


def test_a_cancel_ends_the_wait_between_attempts() -> None:
    cancellation = Cancellation()
    cancellation.cancel()
    started_s = time.monotonic()
    with pytest.raises(Cancelled):
        retrying(Failing(Unavailable("x")), RetryPolicy(base_s=1000, cap_s=1000), cancellation)
    assert time.monotonic() - started_s < 100


def test_progress_counts_attempts_anew() -> None:
    retries = Retries(QUICK, Sleeps())
    for _ in range(20):
        retries.wait_after(Unavailable("x"))
        retries.wait_after(Unavailable("x"))
        retries.progress(PROGRESS_BYTES)


def test_a_trickle_is_no_progress() -> None:
    retries = Retries(QUICK, Sleeps())
    for _ in range(QUICK.attempts - 1):
        retries.progress(PROGRESS_BYTES - 1)
        retries.wait_after(Unavailable("x"))
    retries.progress(PROGRESS_BYTES - 1)
    with pytest.raises(Unavailable):
        retries.wait_after(Unavailable("x"))


def test_the_host_decides_the_wait_up_to_the_cap() -> None:
    sleeps = Sleeps()
    retries = Retries(RetryPolicy(attempts=9, base_s=1, cap_s=4, retry_after_cap_s=30), sleeps, random=lambda: 0.5)
    for wish_s in (7.0, 0.0, 4000.0, None):
        retries.wait_after(Busy("x", wish_s))
    assert sleeps.slept_s == [7.0, 1.0, 30.0, 2.0]


def test_the_delay_doubles_up_to_the_cap() -> None:
    policy = RetryPolicy(base_s=0.2, cap_s=5.0)
    delays_s = [policy.delay_s(attempt, lambda: 1.0) for attempt in range(1, 8)]
    assert delays_s == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0])


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_the_delay_is_within_its_bounds(attempt: int, chance: float) -> None:
    policy = RetryPolicy()
    assert 0 <= policy.delay_s(attempt, lambda: chance) <= policy.cap_s


def test_jitter_spreads_the_waits() -> None:
    chances = itertools.cycle([0.1, 0.9])
    assert RetryPolicy().delay_s(1, chances.__next__) != RetryPolicy().delay_s(1, chances.__next__)


def test_a_retrying_blob_reads_what_the_blob_reads() -> None:
    blob = RetryingBlob(failing_blob(TimedOut("slow")), QUICK, Cancellation())
    assert (blob.key, blob.size_bytes) == ("k", 7)
    assert blob.read_at(3, 4) == b"3456"


def test_a_retrying_blob_passes_on_what_is_not_worth_retrying() -> None:
    blob = failing_blob(Stale("changed"))
    with pytest.raises(Stale, match="changed"):
        RetryingBlob(blob, QUICK, Cancellation()).read_at(0, 1)
    assert blob.reads == [(0, 1)]


def test_readers_of_the_same_bytes_share_a_failure_for_a_second() -> None:
    failing, clock = failing_blob(*[TimedOut("silent")] * QUICK.attempts), Clock()
    blob = RetryingBlob(failing, QUICK, Cancellation(), timer=clock)
    for offset_bytes, size_bytes in ((0, 7), (0, 7), (2, 3)):
        with pytest.raises(TimedOut, match="silent"):
            blob.read_at(offset_bytes, size_bytes)
    assert len(failing.reads) == QUICK.attempts
    assert blob.read_at(5, 10) == b"56"  # not all of these failed
    clock.now_s += 1.0
    assert blob.read_at(0, 7) == b"0123456"


class TestPause:
    POLICY = RetryPolicy(base_s=1.0, cap_s=4.0, retry_after_cap_s=30)

    def test_a_host_that_refused_nothing_may_be_asked(self) -> None:
        Pause(self.POLICY).check()

    def test_nobody_asks_until_the_host_wants_to_be_asked(self) -> None:
        pause = Pause(self.POLICY, timer=(clock := Clock()))
        refused = pause.begin("429: too many", 20)
        assert isinstance(refused, Busy)
        assert refused.retry_after_s == 20
        clock.now_s += 15
        with pytest.raises(Busy, match="429: too many") as raised:
            pause.check()
        assert raised.value.retry_after_s == 5
        clock.now_s += 5
        pause.check()

    def test_a_long_pause_is_an_error_at_once_that_says_when_it_is_over(self) -> None:
        pause = Pause(self.POLICY, timer=(clock := Clock()))
        assert isinstance(pause.begin("429", 3000), LeftAlone)
        with pytest.raises(LeftAlone, match=r"429; .* asked again after \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"):
            pause.check()
        clock.now_s += 2980
        with pytest.raises(Busy):
            pause.check()

    @pytest.mark.parametrize("wish_s", [1e15, 1e300, float("inf")])
    def test_no_host_is_left_alone_for_more_than_an_hour(self, wish_s: float) -> None:
        pause = Pause(self.POLICY, timer=(clock := Clock()))
        pause.begin("429", wish_s)
        clock.now_s += 3600
        pause.check()

    def test_a_host_that_does_not_say_is_left_alone_for_longer_each_time(self) -> None:
        pause = Pause(self.POLICY, timer=Clock())
        waits_s = [getattr(pause.begin("429", None), "retry_after_s", 0) for _ in range(4)]
        assert waits_s == [1, 2, 4, 4]
        pause.end()
        assert getattr(pause.begin("429", None), "retry_after_s", 0) == 1
