import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest

from hubfs.errors import (
    AccessDenied,
    Cancelled,
    Damaged,
    HubfsError,
    ModelNotFound,
    NotFound,
    Stale,
    TimedOut,
    Unavailable,
)
from hubfs.hubs.names import names_at
from hubfs.hubs.tfhub.hub import TfHub
from hubfs.hubs.tfhub.names.handle import parse_handle
from hubfs.hubs.tfhub.questions import Location
from hubfs.hubs.tfhub.redirect import Redirect
from hubfs.hubs.tfhub.tried import Tried
from hubfs.hubs.tfhub.ways import Way
from hubfs.model_id import ModelId
from hubfs.models.answers import ModelsSettings
from hubfs.models.models import Models
from hubfs.models.reachability import Reachability
from hubfs.sources.source import Form, Source
from hubfs.testing import MemorySource
from hubfs.waiting import Cancellation, GaveUp
from tests.support.waiting import eventually, waiting_threads

T = TypeVar("T")

HUB = "https://hub.example"
NO_KIT: Any = None
"""The hub of these tests needs none."""
SPICE = parse_handle("google/spice/2")
YAMNET = parse_handle("google/yamnet/1")


def source_of(handle: ModelId, form: Form) -> MemorySource:
    """A source that is only held, never read."""
    return MemorySource({}, hub=HUB, handle=handle, form=form)


@dataclass
class Hub(TfHub):
    """A hub without network, a cache's indexes and a clock, all counting what they are asked."""

    url: str = HUB
    label: str = "hub.example"
    extracted: dict[ModelId, Source] = field(default_factory=dict)
    forms: dict[ModelId, Form] = field(default_factory=lambda: {SPICE: Form.COMPRESSED, YAMNET: Form.UNCOMPRESSED})
    asked: list[tuple[ModelId, Form | None]] = field(default_factory=list)
    opened: list[tuple[ModelId, Form]] = field(default_factory=list)
    trouble: list[HubfsError] = field(default_factory=list)
    refusals: dict[Form, HubfsError] = field(default_factory=dict)
    indexes: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    on_disk: list[str] = field(default_factory=list)
    now_s: float = 1000.0
    before_answer: Callable[[], object] = lambda: None
    listings: dict[str, Sequence[str]] = field(default_factory=dict)
    versions_of: dict[str, Sequence[str]] = field(default_factory=lambda: {"google/spice": ("1", "2", "10")})
    unversioned: bool = True
    lists: bool = True
    questions: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.redirect = _Redirect(self)
        self.names = names_at(HUB)
        self._form, self._tried = None, Tried()
        self._places = {Way.HUB: self.redirect}  # the hub itself is the only way

    def local(self, model: ModelId) -> Source | None:
        return self.extracted.get(model)

    def alias(self, name: str) -> str:
        self.answering(f"latest {name}")
        if name not in self.versions_of or not self.unversioned:
            raise ModelNotFound(f"{HUB}/{name}: no version")
        return self.versions_of[name][-1]

    def versions(self, name: str) -> Sequence[str]:
        self.answering(f"versions {name}")
        return self.versions_of.get(name, ())

    def children(self, folder: str) -> Sequence[str]:
        self.answering(f"children {folder}")
        return self.listings.get(folder, ())

    def answering(self, question: str) -> None:
        self.questions.append(question)
        self.before_answer()
        if self.trouble:
            raise self.trouble[0]

    def resolve(self, handle: ModelId, form: Form | None = None) -> Location:
        self.asked.append((handle, form))
        self.before_answer()
        if self.trouble:
            raise self.trouble.pop(0)
        if handle not in self.forms:
            raise ModelNotFound(f"{HUB}/{handle}: no such model")
        return Location(f"{HUB}/{handle}", form or self.forms[handle])

    def load(self, handle: ModelId, index: Mapping[str, Any], _: object) -> MemorySource:  # type: ignore[override]
        if "damaged" in index:
            raise Damaged("malformed")
        return source_of(handle, Form(index["form"]))

    def known(self, hub: str) -> Iterator[str]:
        assert hub == "hub.example"
        return iter(self.on_disk)


class _Redirect(Redirect):
    """Where the hub says that models are."""

    def __init__(self, hub: Hub) -> None:
        self.url, self._hub, self._form = HUB, hub, None
        self._resolver = hub  # type: ignore[assignment]  # it has `resolve`

    def at(self, model: ModelId, location: Location, _: object) -> MemorySource:  # type: ignore[override]
        self._hub.opened.append((model, location.form))
        if location.form in self._hub.refusals:
            raise self._hub.refusals[location.form]
        return source_of(model, location.form)


@pytest.fixture
def hub() -> Hub:
    return Hub()


PATIENT = {"patience_s": 60.0, "listing_patience_s": 60.0}
"""A hub that answers at once is waited for, however late its thread gets a processor."""


@pytest.fixture
def models(hub: Hub) -> Models:
    return Models(
        hub,
        NO_KIT,
        load_index=hub.indexes.get,
        known_on_disk=hub.known,
        cancellation=Cancellation(),
        settings=ModelsSettings(negative_ttl_s=10, failure_ttl_s=30, timeout_s=20, latest_ttl_s=15, **PATIENT),
        timer=lambda: hub.now_s,
    )


def comes_true_later(hub: Hub, condition: Callable[[], bool]) -> bool:
    """Whether `condition` comes true while time passes: a question that was under way before may end as it began."""

    def later() -> bool:
        hub.now_s += 15
        return condition()

    return eventually(later)


def error_of(models: Models, handle: ModelId) -> str | None:
    trouble = models.trouble(handle)
    return None if trouble is None else trouble.error


def test_a_source_is_found_once_and_kept(models: Models, hub: Hub) -> None:
    source = models.get(SPICE)
    assert source.form is Form.COMPRESSED
    hub.now_s += 1e6
    assert models.get(SPICE) is source
    assert hub.asked == [(SPICE, None)]
    assert models.get(YAMNET).form is Form.UNCOMPRESSED
    assert models.hub is hub


@pytest.mark.parametrize("handle", [SPICE, parse_handle("no/such/1")])
def test_sixteen_who_ask_at_once_ask_the_hub_once(models: Models, hub: Hub, handle: ModelId) -> None:
    everybody = threading.Barrier(16)
    hub.before_answer = lambda: threading.Event().wait(0.2)

    def get() -> object:
        everybody.wait(60)
        try:
            return models.get(handle)
        except ModelNotFound as error:
            return error

    with ThreadPoolExecutor(16) as pool:
        answers = {future.result(60) for future in [pool.submit(get) for _ in range(16)]}
    assert len(answers) == 1
    assert len(hub.asked) == 1


def test_one_slow_model_does_not_hold_up_another(models: Models, hub: Hub) -> None:
    answer = threading.Event()
    hub.before_answer = lambda: hub.asked[-1][0] == SPICE and answer.wait(60)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(models.get, SPICE)
        assert models.get(YAMNET).handle == YAMNET
        assert models.known.in_order() == [YAMNET]
        assert not slow.done()
        answer.set()
        assert slow.result(60).handle == SPICE


def test_no_such_model_is_believed_for_a_while(models: Models, hub: Hub) -> None:
    missing = parse_handle("no/such/1")
    for _ in range(3):
        with pytest.raises(ModelNotFound, match="no/such/1"):
            models.get(missing)
        hub.now_s += 3
    assert len(hub.asked) == 1
    hub.forms[missing] = Form.COMPRESSED
    hub.now_s += 2
    assert models.get(missing).handle == missing
    assert len(hub.asked) == 2


def test_no_such_model_is_no_error_to_show(models: Models, hub: Hub) -> None:
    missing = parse_handle("no/such/1")
    hub.trouble = [Unavailable("hub.example: no route")]
    with pytest.raises(Unavailable):
        models.get(missing)
    assert error_of(models, missing) == "hub.example: no route"
    hub.now_s += 1
    with pytest.raises(ModelNotFound):
        models.get(missing)
    assert error_of(models, missing) is None
    assert models.census(9, idle=True).shown == []


def test_why_a_model_was_not_found_is_told_for_a_while(models: Models, hub: Hub) -> None:
    for name in ("google/absent/1", "google/absent/2", "google/gone/1"):
        with pytest.raises(ModelNotFound):
            models.get(parse_handle(name))
    denied = models.denied("google/absent")
    assert [*denied] == ["1", "2"]
    assert "google/absent/1" in denied["1"]
    hub.now_s += 11
    hub.forms[parse_handle("google/absent/1")] = Form.COMPRESSED
    models.get(parse_handle("google/absent/1"))
    assert [*models.denied("google/absent")] == ["2"]
    hub.now_s += 601
    assert not models.denied("google/absent")


def test_a_not_found_that_is_raised_often_does_not_grow(models: Models) -> None:
    for _ in range(100):
        with pytest.raises(ModelNotFound) as caught:
            models.get(parse_handle("no/such/1"))
    assert len(caught.traceback) < 10


def test_an_unreachable_hub_is_asked_again_a_second_later(models: Models, hub: Hub) -> None:
    hub.trouble = [Unavailable("hub.example: no route")]
    with pytest.raises(Unavailable):
        models.get(SPICE)
    (known,) = models.census(9, idle=True).shown
    assert (known.handle, known.source, known.error) == (SPICE, None, "hub.example: no route")
    assert models.known.in_order() == []
    with pytest.raises(Unavailable):  # whoever waited for the question has its answer
        models.get(SPICE)
    assert hub.asked == [(SPICE, None)]
    (known,) = models.census(9, idle=True).shown
    assert known.trouble is not None
    assert known.trouble.count == 2
    hub.now_s += 1
    source = models.get(SPICE)
    assert error_of(models, SPICE) is None
    (known,) = models.census(9, idle=True).shown
    assert (known.source, known.trouble) == (source, None)


def test_what_was_asked_ahead_in_vain_is_no_trouble_and_asked_by_the_next_reader(models: Models, hub: Hub) -> None:
    hub.trouble = [GaveUp("hub.example: 429")]
    with pytest.raises(GaveUp):
        models.get_ahead(SPICE)
    assert models.census(9, idle=True).found == 0
    assert models.get(SPICE).handle == SPICE
    assert hub.asked == [(SPICE, None)] * 2
    assert models.get_ahead(SPICE) is models.get(SPICE)


def test_a_reader_who_joins_a_question_ahead_that_gives_up_asks_again(models: Models, hub: Hub) -> None:
    answer = threading.Event()
    hub.before_answer = lambda: answer.wait(60)
    hub.trouble = [GaveUp("hub.example: 429")]
    with ThreadPoolExecutor(2) as pool:
        ahead = pool.submit(models.get_ahead, SPICE)
        assert eventually(lambda: hub.asked)
        reader = pool.submit(models.get, SPICE)
        assert eventually(lambda: waiting_threads() == 1)
        answer.set()
        assert isinstance(ahead.exception(60), GaveUp)
        assert reader.result(60).handle == SPICE


@pytest.mark.parametrize("failure", [Damaged("wrong CRC"), Stale("changed")])
def test_a_failed_source_is_given_for_a_while_and_then_made_anew(models: Models, hub: Hub, failure: HubfsError) -> None:
    dropped: list[ModelId] = []
    models.on_dropped = dropped.append
    failed = models.get(SPICE)
    assert isinstance(failed, MemorySource)
    failed.fail(failure)
    assert models.get(SPICE) is failed
    assert error_of(models, SPICE) == str(failure)
    before_s = time.time()
    (known,) = models.census(9, idle=True).shown
    assert known.trouble is not None
    assert (known.source, known.error, known.trouble.kind) == (failed, str(failure), type(failure))
    assert known.trouble.retry_at_s is not None
    assert before_s + 28 <= known.trouble.retry_at_s <= time.time() + 32
    hub.now_s += 29
    assert models.get(SPICE) is failed
    assert not dropped
    hub.now_s += 1
    anew = models.get(SPICE)
    assert anew is not failed
    assert dropped == [SPICE]
    assert anew.failure is None
    assert error_of(models, SPICE) is None
    assert len(hub.asked) == 2
    assert isinstance(anew, MemorySource)
    anew.fail(failure)
    assert models.get(SPICE) is anew
    hub.now_s += 31
    assert models.get(SPICE) not in (anew, failed)
    assert dropped == [SPICE, SPICE]


@pytest.mark.parametrize("refusal", [AccessDenied("gs://b: 403"), ModelNotFound("gs://b: empty"), NotFound("gone")])
def test_a_bucket_that_refuses_leaves_the_archive(
    models: Models, hub: Hub, refusal: HubfsError, caplog: pytest.LogCaptureFixture
) -> None:
    hub.refusals[Form.UNCOMPRESSED] = refusal
    assert models.get(YAMNET).form is Form.COMPRESSED
    assert hub.asked == [(YAMNET, None), (YAMNET, Form.COMPRESSED)]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert str(refusal) in caplog.text
    assert error_of(models, YAMNET) is None


def test_a_bucket_that_refuses_is_the_error_when_there_is_no_archive(models: Models, hub: Hub) -> None:
    hub.refusals[Form.UNCOMPRESSED] = AccessDenied("gs://b: 403")

    def second_question_fails() -> None:
        if len(hub.asked) == 2:
            hub.trouble.append(ModelNotFound("no archive"))

    hub.before_answer = second_question_fails
    with pytest.raises(AccessDenied, match="gs://b: 403"):
        models.get(YAMNET)
    assert error_of(models, YAMNET) == "gs://b: 403"


def test_a_bucket_that_cannot_be_reached_is_not_answered_by_the_archive(models: Models, hub: Hub) -> None:
    hub.refusals[Form.UNCOMPRESSED] = Unavailable("gs://b: no route")
    with pytest.raises(Unavailable):
        models.get(YAMNET)
    assert hub.opened == [(YAMNET, Form.UNCOMPRESSED)]


def test_an_archive_that_refuses_is_not_asked_for_twice(models: Models, hub: Hub) -> None:
    hub.refusals[Form.COMPRESSED] = AccessDenied("403")
    with pytest.raises(AccessDenied):
        models.get(SPICE)
    assert hub.opened == [(SPICE, Form.COMPRESSED)]


@pytest.mark.parametrize("form", Form)
def test_an_index_spares_the_hub(models: Models, hub: Hub, form: Form) -> None:
    hub.indexes["hub.example/google/spice/2"] = {"form": form.value}
    assert models.get(SPICE).form is form
    assert not hub.asked
    assert not hub.opened


@pytest.mark.parametrize(
    "index", [{}, {"form": "zip"}, {"form": None}, {"form": []}, {"form": "compressed", "damaged": 1}]
)
def test_a_broken_index_is_left_aside(
    models: Models, hub: Hub, index: Mapping[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    hub.indexes["hub.example/google/spice/2"] = index
    assert models.get(SPICE).form is Form.COMPRESSED
    assert len(hub.asked) == 1
    assert "google/spice/2" in caplog.text


def test_known_are_those_that_were_found_and_those_in_the_cache(models: Models, hub: Hub) -> None:
    hub.on_disk = ["google/spice/2", "google/bert/deep/name/7", "not a handle", "google/noversion", ""]
    assert models.known.in_order() == [parse_handle("google/bert/deep/name/7"), SPICE]
    models.get(YAMNET)
    with pytest.raises(ModelNotFound):
        models.get(parse_handle("no/such/1"))
    assert models.known.in_order() == [parse_handle("google/bert/deep/name/7"), SPICE, YAMNET]
    assert hub.asked[0] == (YAMNET, None)


def test_models_that_the_library_extracted_come_after_the_cache_and_before_the_hub(hub: Hub) -> None:
    extracted = source_of(SPICE, Form.COMPRESSED)
    models = Models(
        hub,
        NO_KIT,
        load_index=hub.indexes.get,
        known_on_disk=hub.known,
        cancellation=Cancellation(),
        settings=ModelsSettings(),
    )
    hub.extracted = {SPICE: extracted, YAMNET: source_of(YAMNET, Form.COMPRESSED)}
    hub.indexes["hub.example/google/yamnet/1"] = {"form": "uncompressed"}
    assert models.get(SPICE) is extracted
    assert models.get(YAMNET).form is Form.UNCOMPRESSED
    assert not hub.asked


def test_has_is_what_was_found_or_is_cached(models: Models, hub: Hub) -> None:
    assert not models.has(SPICE)
    models.get(SPICE)
    assert models.has(SPICE)
    assert not models.has(YAMNET)
    hub.indexes["hub.example/google/yamnet/1"] = {"form": "uncompressed"}
    assert models.has(YAMNET)
    assert hub.asked == [(SPICE, None)]


Question = Callable[[Models], object]
QUESTIONS: dict[str, Question] = {
    "latest": lambda models: models.answers.latest("google/spice"),
    "versions": lambda models: models.answers.versions("google/spice"),
    "children": lambda models: models.answers.children("google"),
}
every_question = pytest.mark.parametrize("ask", QUESTIONS.values(), ids=QUESTIONS)


class TestWhatMayChange:
    """The latest version, the versions, the names that a hub lists."""

    def test_is_what_the_hub_says(self, models: Models, hub: Hub) -> None:
        hub.listings["google"] = ["bert", "spice"]
        assert models.answers.latest("google/spice") == "10"
        assert models.answers.versions("google/spice") == ("1", "2", "10")
        assert models.answers.versions("google/nothing") == ()
        assert models.answers.children("google") == ["bert", "spice"]
        assert models.answers.children("nobody") == ()
        hub.lists = False
        assert models.answers.children("google") is None

    @every_question
    def test_is_asked_again_when_its_time_is_over(self, models: Models, hub: Hub, ask: Question) -> None:
        hub.listings["google"] = ["spice"]
        before = ask(models)
        hub.versions_of["google/spice"] = ("1", "11")
        hub.listings["google"] = ["bert", "spice"]
        hub.now_s += 14
        assert ask(models) == before
        assert len(hub.questions) == 1
        hub.now_s += 1
        assert ask(models) != before
        assert len(hub.questions) == 2

    @every_question
    def test_is_asked_once_by_sixteen_at_once(self, models: Models, hub: Hub, ask: Question) -> None:
        everybody = threading.Barrier(16)
        hub.before_answer = lambda: threading.Event().wait(0.2)

        def question() -> object:
            everybody.wait(60)
            return ask(models)

        with ThreadPoolExecutor(16) as pool:
            answers = [future.result(60) for future in [pool.submit(question) for _ in range(16)]]
        assert answers == 16 * answers[:1]
        assert len(hub.questions) == 1

    def test_of_one_name_waits_for_no_other(self, models: Models, hub: Hub) -> None:
        answer = threading.Event()
        hub.before_answer = lambda: hub.questions[-1] == "latest google/slow" and answer.wait(60)
        hub.versions_of["google/slow"] = ("3",)
        with ThreadPoolExecutor(1) as pool:
            slow = pool.submit(models.answers.latest, "google/slow")
            assert models.answers.latest("google/spice") == "10"
            answer.set()
            assert slow.result(60) == "3"

    def test_no_version_is_believed_for_a_while(self, models: Models, hub: Hub) -> None:
        for _ in range(3):
            with pytest.raises(ModelNotFound, match="google/nothing"):
                models.answers.latest("google/nothing")
        assert hub.questions == ["latest google/nothing", "versions google/nothing"]
        hub.versions_of["google/nothing"] = ("1",)
        hub.now_s += 15
        assert models.answers.latest("google/nothing") == "1"

    def test_a_name_leads_somewhere_if_the_hub_says_so(self, models: Models, hub: Hub) -> None:
        leads = models.answers.leads
        for _ in range(2):
            assert (leads("google/spice"), leads("google/never")) == (True, False)
        never = ["latest google/never", "versions google/never"]
        assert hub.questions == ["latest google/spice", *never]
        hub.now_s += 15
        assert (leads("google/spice"), leads("google/never")) == (True, False)
        assert hub.questions[3:] == never, "of what led somewhere once, nobody is asked"

    def test_what_led_somewhere_is_in_a_folder(self, models: Models, hub: Hub) -> None:
        assert models.answers.latest("google/spice") == "10"
        questions = [*hub.questions]
        assert [models.answers.led_below(folder) for folder in ("google", "goo", "google/spice")] == [
            True,
            False,
            False,
        ]
        assert hub.questions == questions

    def test_a_name_leads_nowhere_new_while_the_hub_cannot_be_asked(self, models: Models, hub: Hub) -> None:
        leads = models.answers.leads
        assert leads("google/spice")
        hub.trouble = [Unavailable("down")]
        hub.now_s += 15
        assert (leads("google/spice"), leads("google/yamnet"), leads("google/other")) == (True, False, False)
        assert len(hub.questions) == 2, "a hub that does not answer is left alone for a while"

    def test_of_a_hub_that_holds_aliases_stays_in_the_middle_of_a_load(self, models: Models, hub: Hub) -> None:
        hub.holds_aliases = True
        spice = ModelId("google/spice", "10")
        assert models.answers.latest("google/spice") == "10"
        models.uses.begin(spice)()
        hub.versions_of["google/spice"] = ("1", "10", "11")
        for _ in range(3):
            hub.now_s += 59
            assert models.answers.latest("google/spice") == "10"
            models.uses.begin(spice)()
        assert len(hub.questions) == 1
        hub.now_s += 61
        assert models.answers.latest("google/spice") == "11", "nobody opens its files any more"
        for _ in range(10):
            models.uses.begin(ModelId("google/spice", "11"))()
            hub.versions_of["google/spice"] = ("1", "12")
            assert models.answers.latest("google/spice") == "11"
            hub.now_s += 59
        models.uses.begin(ModelId("google/spice", "11"))()
        hub.now_s += 10
        assert models.answers.latest("google/spice") == "12", "ten minutes at most"

    def test_of_another_hub_moves_though_its_files_are_opened(self, models: Models, hub: Hub) -> None:
        assert models.answers.latest("google/spice") == "10"
        models.uses.begin(ModelId("google/spice", "10"))()
        hub.versions_of["google/spice"] = ("1", "11")
        hub.now_s += 15
        assert models.answers.latest("google/spice") == "11"

    def test_a_hub_that_knows_no_unversioned_names_has_a_newest_version(self, models: Models, hub: Hub) -> None:
        hub.unversioned = False
        assert models.answers.latest("google/spice") == "10"

    @pytest.mark.parametrize("trouble", [Unavailable("no route"), TimedOut("stalled")])
    def test_a_hub_that_is_down_leaves_the_newest_known_version(
        self, models: Models, hub: Hub, trouble: HubfsError
    ) -> None:
        hub.trouble = [trouble]
        hub.on_disk = ["google/spice/9", "google/spice/10", "google/spice/deeper/77", "google/other/88"]
        for _ in range(3):
            assert models.answers.latest("google/spice") == "10"
        assert hub.questions == ["latest google/spice"]  # nobody waits twice for a hub that is down
        (latest,) = models.answers.asked()
        assert (latest.version, latest.error, latest.asked_at_s) == ("10", str(trouble), None)
        hub.trouble.clear()
        hub.versions_of["google/spice"] = ("12",)
        assert comes_true_later(
            hub, lambda: models.answers.latest("google/spice") == "12"
        )  # asked behind the reader's back
        assert len(hub.questions) == 2
        assert models.answers.stale("google/spice") is None

    @pytest.mark.parametrize("trouble", [Unavailable("no route"), TimedOut("stalled"), AccessDenied("403")])
    def test_without_a_known_version_the_reason_is_told(self, models: Models, hub: Hub, trouble: HubfsError) -> None:
        hub.trouble = [trouble]
        with pytest.raises(type(trouble)) as caught:
            models.answers.latest("google/spice")
        assert caught.value is trouble

    @pytest.mark.parametrize("trouble", [Unavailable("no route"), TimedOut("x"), AccessDenied("403"), Damaged("y")])
    def test_listings_do_without_a_hub_that_does_not_answer(
        self, models: Models, hub: Hub, trouble: HubfsError, caplog: pytest.LogCaptureFixture
    ) -> None:
        hub.trouble = [trouble]
        hub.listings["google"] = ["spice"]
        for _ in range(3):
            assert models.answers.versions("google/spice") == ()
            assert models.answers.children("google") is None
        whole = isinstance(trouble, Unavailable | TimedOut)  # then the other question need not be asked
        assert hub.questions == ["versions google/spice", "children google"][: 1 if whole else 2]
        warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
        assert len(warnings) == len(hub.questions)
        assert str(trouble) in caplog.text
        hub.trouble.clear()
        assert comes_true_later(hub, lambda: models.answers.versions("google/spice") == ("1", "2", "10"))
        assert comes_true_later(hub, lambda: models.answers.children("google") == ["spice"])
        hub.trouble = [trouble]
        hub.now_s += 15
        assert models.answers.versions("google/spice") == ("1", "2", "10")  # what was listed before stands in
        assert models.answers.children("google") == ["spice"]

    def test_a_hub_that_lists_nothing_has_not_answered_by_saying_so(self, hub: Hub) -> None:
        """A poller lists a model's directory: of a hub that hangs, every listing but the first costs nothing."""
        waited_s: list[float] = []

        class Noted(Reachability):
            def ask(self, question: str, ask: Callable[[], T], patience_s: float) -> T:
                begun_s = time.monotonic()
                try:
                    return super().ask(question, ask, min(patience_s, 0.05))
                finally:
                    waited_s.append(time.monotonic() - begun_s)

        hub.lists = False
        cancellation = Cancellation()
        models = Models(
            hub,
            NO_KIT,
            load_index=hub.indexes.get,
            known_on_disk=hub.known,
            cancellation=cancellation,
            settings=ModelsSettings(),
            reachability=Noted(HUB, cancellation, timer=lambda: hub.now_s),
            timer=lambda: hub.now_s,
        )
        heard = threading.Event()
        hub.before_answer = lambda: heard.wait(60)
        try:
            for _ in range(30):
                assert models.answers.children("google/spice") is None
                assert models.answers.versions("google/spice") == ()
                hub.now_s += 2
        finally:
            heard.set()
        assert hub.questions == ["versions google/spice"]
        assert sum(one_s >= 0.05 for one_s in waited_s) == 1, "a poller waited again for a hub that hangs"

    @every_question
    def test_the_end_of_the_mount_is_no_answer(self, models: Models, hub: Hub, ask: Question) -> None:
        hub.trouble = [Cancelled("going away")]
        with pytest.raises(Cancelled):
            ask(models)

    def test_the_last_answer_counts_more_than_a_newer_version_that_somebody_read(
        self, models: Models, hub: Hub
    ) -> None:
        hub.versions_of["google/spice"] = ("1", "2")
        before_s = time.time()
        assert models.answers.latest("google/spice") == "2"
        hub.on_disk = ["google/spice/2", "google/spice/3"]  # 3 is there, and not released yet
        hub.trouble = [Unavailable("no route")]
        hub.now_s += 15
        assert models.answers.latest("google/spice") == "2"
        (latest,) = models.answers.asked()
        assert latest.asked_at_s is not None
        assert before_s - 5 <= latest.asked_at_s <= time.time() + 5

    def test_what_is_here_counts_more_than_a_last_answer_that_is_not(self, models: Models, hub: Hub) -> None:
        assert models.answers.latest("google/spice") == "10"
        hub.on_disk = ["google/spice/2"]
        hub.trouble = [Unavailable("no route")]
        hub.now_s += 15
        assert models.answers.latest("google/spice") == "2"

    def test_becoming_old_and_recovering_is_logged_once_each(
        self, models: Models, hub: Hub, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        assert models.answers.latest("google/spice") == "10"
        hub.trouble = [Unavailable("no route")]
        for _ in range(20):
            hub.now_s += 3
            assert models.answers.latest("google/spice") == "10"
        hub.trouble.clear()
        for _ in range(3):
            assert comes_true_later(
                hub, lambda: models.answers.latest("google/spice") == "10" and not models.answers.stale("google/spice")
            )
        lines = [record.getMessage() for record in caplog.records if "google/spice/latest" in record.getMessage()]
        assert len(lines) == 2
        assert "may be old: no route" in lines[0]
        assert "again" in lines[1]

    def test_a_silent_hub_is_waited_for_once_and_only_as_long_as_patience_lasts(self, hub: Hub) -> None:
        models = Models(
            hub,
            NO_KIT,
            load_index=hub.indexes.get,
            known_on_disk=hub.known,
            cancellation=Cancellation(),
            settings=ModelsSettings(patience_s=1.0, listing_patience_s=1.0),
        )
        hub.on_disk = ["google/spice/9"]
        heard = threading.Event()
        hub.before_answer = lambda: heard.wait(200)
        begun_s = time.monotonic()
        for _ in range(50):
            assert models.answers.latest("google/spice") == "9"
            assert models.answers.versions("google/spice") == ()
            assert models.answers.children("google") is None
        assert time.monotonic() - begun_s < 100, "somebody waited for the hub"
        assert hub.questions == ["latest google/spice"]
        heard.set()
        assert eventually(lambda: models.answers.latest("google/spice") == "10")
        assert hub.questions == ["latest google/spice"], "the answer that came late was thrown away"


class TestCensus:
    """Of models that were looked up, those are told of that somebody uses, and those in trouble."""

    @pytest.fixture
    def many(self, hub: Hub) -> list[ModelId]:
        handles = [parse_handle(f"google/m{number:02}/1") for number in range(20)]
        hub.forms.update(dict.fromkeys(handles, Form.COMPRESSED))
        return handles

    def test_what_was_only_looked_up_is_counted(self, models: Models, many: list[ModelId]) -> None:
        for handle in many:
            models.get(handle)
        census = models.census(100)
        assert (census.found, census.in_use, census.in_trouble, census.shown) == (20, 0, 0, [])
        assert [known.handle for known in models.census(100, idle=True).shown] == many

    def test_a_model_is_in_use_until_ten_minutes_after_its_last_file(
        self, models: Models, hub: Hub, many: list[ModelId]
    ) -> None:
        for handle in many:
            models.get(handle)
        releases = [models.uses.begin(many[7]), models.uses.begin(many[7]), models.uses.begin(many[3])]
        hub.now_s += 10_000
        assert [known.handle for known in models.census(100).shown] == [many[3], many[7]]
        for release in releases:
            release()
        hub.now_s += 599
        assert [known.handle for known in models.census(100).shown] == [many[3], many[7]]
        hub.now_s += 2
        assert models.census(100).in_use == 0

    def test_what_streams_is_in_use(self, models: Models, many: list[ModelId]) -> None:
        source = models.get(many[0])
        assert isinstance(source, MemorySource)
        source.streams = True
        assert [known.handle for known in models.census(100).shown] == [many[0]]

    def test_trouble_comes_first_where_not_all_are_shown(self, models: Models, hub: Hub, many: list[ModelId]) -> None:
        for handle in many[:10]:
            models.get(handle)
            models.uses.begin(handle)
        failed = models.get(many[15])
        assert isinstance(failed, MemorySource)
        failed.fail(Damaged("wrong CRC"))
        hub.trouble = [Unavailable("hub.example: no route")]
        with pytest.raises(Unavailable):
            models.get(many[19])
        census = models.census(3)
        assert (census.found, census.in_use, census.in_trouble) == (12, 10, 2)
        assert [known.handle for known in census.shown] == [many[9], many[15], many[19]]
