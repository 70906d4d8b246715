import threading
from collections.abc import Callable
from contextlib import suppress

import pytest

from hubfs.blobs.retry import Busy
from hubfs.errors import AccessDenied, Cancelled, HubfsError, ModelNotFound, NotCached, TimedOut, Unavailable
from hubfs.models.reachability import Outage, OutOfReach, Plan, Reachability, plan_of
from hubfs.testing import Clock
from hubfs.waiting import Cancellation, GaveUp
from tests.support.waiting import eventually


@pytest.fixture
def reachability(clock: Clock) -> Reachability:
    return Reachability("https://hub", Cancellation(), rest_s=10, timer=clock)


def failing(error: HubfsError) -> Callable[[], str]:
    def ask() -> str:
        raise error

    return ask


@pytest.mark.parametrize(
    ("outage", "plan"),
    [
        (None, Plan.WAIT),
        (Outage(0.0, "down", 1000.1), Plan.REST),
        (Outage(0.0, "down", 1000.0), Plan.BEHIND),
        (Outage(0.0, "down", 900.0), Plan.BEHIND),
    ],
)
def test_nobody_waits_during_an_outage_and_somebody_asks_when_the_rest_is_over(
    outage: Outage | None, plan: Plan
) -> None:
    assert plan_of(outage, 1000.0) is plan


def test_an_answer_is_handed_on(reachability: Reachability) -> None:
    assert reachability.ask("q", lambda: "yes", 5) == "yes"
    with pytest.raises(ModelNotFound):
        reachability.ask("q", failing(ModelNotFound("none")), 5)
    assert reachability.outage is None


@pytest.mark.parametrize("error", [Unavailable("no route"), TimedOut("no connection")])
def test_a_failed_connection_is_an_outage_of_the_hub(reachability: Reachability, error: HubfsError) -> None:
    with pytest.raises(type(error)):
        reachability.ask("q", failing(error), 5)
    with pytest.raises(OutOfReach, match=str(error)):
        reachability.ask("another", lambda: pytest.fail("the hub was asked"), 5)


@pytest.mark.parametrize("error", [Busy("503"), AccessDenied("403")])
def test_a_reply_that_is_an_error_is_an_outage_of_the_question(reachability: Reachability, error: HubfsError) -> None:
    with pytest.raises(type(error)):
        reachability.ask("q", failing(error), 5)
    assert reachability.ask("another", lambda: "yes", 5) == "yes"
    with pytest.raises(OutOfReach, match=str(error)):
        reachability.ask("q", lambda: pytest.fail("the hub was asked"), 5)


def test_after_the_rest_the_hub_is_asked_behind_the_readers_back(reachability: Reachability, clock: Clock) -> None:
    with pytest.raises(Unavailable):
        reachability.ask("q", failing(Unavailable("no route")), 5)
    clock.now_s += 10
    answer = threading.Event()
    asked = []

    def ask() -> str:
        asked.append(1)
        answer.wait(60)
        return "yes"

    for _ in range(5):
        with pytest.raises(OutOfReach):
            reachability.ask("q", ask, 5)
    assert len(asked) == 1
    answer.set()
    assert eventually(lambda: reachability.outage is None)
    assert reachability.ask("q", lambda: pytest.fail("the answer was thrown away"), 5) == "yes"
    assert reachability.ask("q", lambda: "later", 5) == "later"


def test_an_answer_that_came_long_ago_is_asked_for_again(reachability: Reachability, clock: Clock) -> None:
    answer = threading.Event()

    def ask() -> str:
        answer.wait(60)
        return "old"

    with pytest.raises(TimedOut, match=r"has not answered within 0\.05 s"):
        reachability.ask("q", ask, 0.05)
    answer.set()
    assert eventually(lambda: reachability.outage is None)
    clock.now_s += 60
    assert reachability.ask("q", lambda: "new", 5) == "new"


def test_what_is_waited_for_to_the_end_tells_of_outages_too(reachability: Reachability) -> None:
    with pytest.raises(Unavailable), reachability.watching("q"):
        raise Unavailable("no route")
    assert reachability.outage is not None
    with reachability.watching("q"):
        pass
    assert reachability.outage is None
    with pytest.raises(Cancelled), reachability.watching("q"):
        raise Cancelled("going away")
    assert reachability.outage is None


def test_a_question_that_ran_out_of_patience_is_not_waited_for_though_the_hub_answers_others(
    reachability: Reachability, clock: Clock
) -> None:
    answer = threading.Event()

    def ask() -> str:
        answer.wait(60)
        return "late"

    with pytest.raises(TimedOut):
        reachability.ask("listing", ask, 0.05)
    clock.now_s += 15
    with reachability.watching("model"):
        pass
    assert reachability.outage is None, "the hub was heard"
    for _ in range(3):
        clock.now_s += 10
        with pytest.raises(OutOfReach, match=r"has not answered within 0\.05 s"):
            reachability.ask("listing", lambda: pytest.fail("the same was asked twice at once"), 20)
    answer.set()

    def late() -> bool:
        with suppress(OutOfReach):
            return reachability.ask("listing", lambda: pytest.fail("the answer was thrown away"), 20) == "late"
        return False

    assert eventually(late)
    assert reachability.ask("listing", lambda: "soon", 20) == "soon"


def test_offline_every_question_is_refused_and_none_reaches_the_hub() -> None:
    reachability = Reachability("https://hub", Cancellation(), offline=True)
    for _ in range(2):
        with pytest.raises(NotCached, match=r"https://hub/a is not cached, and hubfs is mounted with --offline"):
            reachability.ask("https://hub/a", lambda: pytest.fail("the hub was asked"), 0)
        with pytest.raises(NotCached), reachability.watching("https://hub/a"):
            pytest.fail("the hub was asked")
    assert reachability.outage is None


def test_who_asks_meanwhile_waits_for_what_is_asked_ahead_with_patience_of_his_own(reachability: Reachability) -> None:
    begun, answer = threading.Event(), threading.Event()
    kept: list[str] = []

    def ask() -> str:
        begun.set()
        answer.wait(60)
        kept.append("yes")
        return "yes"

    ahead = threading.Thread(target=reachability.ask_ahead, args=("q", ask))
    ahead.start()
    assert begun.wait(60)
    reachability.ask_ahead("q", lambda: pytest.fail("it is under way"))
    with pytest.raises(TimedOut, match="0 s"):
        reachability.ask("q", lambda: pytest.fail("it is under way"), 0)
    answer.set()
    ahead.join(60)
    assert kept == ["yes"]
    assert reachability.ask("q", lambda: "later", 5) == "later", "the one who asked ahead has kept the answer"


def test_who_waits_for_what_was_asked_ahead_in_vain_asks(reachability: Reachability) -> None:
    begun, answer = threading.Event(), threading.Event()

    def give_up() -> str:
        begun.set()
        answer.wait(60)
        raise GaveUp("429")

    def ahead() -> None:
        with pytest.raises(GaveUp):
            reachability.ask_ahead("q", give_up)

    asking = threading.Thread(target=ahead)
    asking.start()
    assert begun.wait(60)
    threading.Timer(0.05, answer.set).start()
    assert reachability.ask("q", lambda: "yes", 60) == "yes"
    asking.join(60)


def test_nothing_is_asked_ahead_during_an_outage(reachability: Reachability) -> None:
    with pytest.raises(Unavailable):
        reachability.ask("q", failing(Unavailable("no route")), 5)
    with pytest.raises(OutOfReach, match="no route"):
        reachability.ask_ahead("another", lambda: pytest.fail("the hub was asked"))
