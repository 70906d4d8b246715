import gzip
import threading

import pytest

from hubfs.blobs.http.transfer import HttpReply
from hubfs.errors import AccessDenied, InvalidHandle, ModelNotFound, Unavailable
from hubfs.hubs.tfhub.resolver import TfhubResolver
from hubfs.hubs.tfhub.versions import GAP, MOST, count_up, shown_in
from hubfs.sources.source import Form
from tests.support.http_origin import Answer, HttpOrigin, Request, Resource

ARCHIVE = gzip.compress(b"an archive") + bytes(200_000)
PAGE = Answer(200, {"Content-Type": "text/html"}, b"<!DOCTYPE html><html>All models</html>")
COMPRESSED = "tf-hub-format=compressed"


class Hub:
    """A hub of versions of one model; `redirects` says where the unversioned URL leads to."""

    def __init__(self, origin: HttpOrigin, name: str = "google/spice") -> None:
        self.origin = origin
        self.name = name
        self.query = COMPRESSED
        self.suffix = ""
        self.body = ARCHIVE
        self.versions: set[int] = set()
        self.redirects: str | None = None
        self.unversioned = True
        origin.route("/*", self.answer)

    def answer(self, request: Request) -> Answer:
        if request.query != self.query:
            return Answer(404)
        if request.path == f"/{self.name}{self.suffix}" and self.unversioned:
            if self.redirects is not None:
                return Answer(302, {"Location": self.redirects}, b"moved")
            return Resource(self.body)(request) if self.versions else PAGE
        known = {f"/{self.name}/{version}{self.suffix}" for version in self.versions}
        return Resource(self.body)(request) if request.path in known else Answer(404)

    def asked(self) -> list[str]:
        return [request.path for request in self.origin.requests if request.query == self.query]


@pytest.fixture
def hub(origin) -> Hub:
    return Hub(origin)


@pytest.fixture
def resolver(origin, client) -> TfhubResolver:
    return TfhubResolver(client, origin.url, Form.COMPRESSED)


class TestCountUp:
    @pytest.mark.parametrize(
        "there", [[], [1], [1, 3, 4, 5], [5], [1, 5], [*range(1, 40)], [4, 9, 14, 19], [1, 2, 3, 8], [8, 13]]
    )
    def test_tolerates_gaps(self, there: list[int]) -> None:
        assert count_up(lambda text: int(text) in there) == [str(number) for number in there]

    def test_ends_after_a_long_gap(self) -> None:
        asked: list[str] = []
        assert count_up(lambda text: bool(asked.append(text))) == []
        assert GAP <= len(asked) <= 8

    def test_is_bounded_on_a_hub_that_says_yes_to_everything(self) -> None:
        assert len(count_up(lambda _: True)) == MOST

    @pytest.mark.parametrize("last", ["1", "4", "12", "0007", "20240101"])
    def test_takes_what_is_known_for_the_last(self, last: str) -> None:
        found = count_up(lambda text: int(text) < int(last) and text == "1", last)
        assert found == (["1", last] if int(last) > 1 else [last])

    def test_asks_for_several_at_once(self) -> None:
        together = threading.Barrier(4)

        def there(text: str) -> bool:
            together.wait(60)
            return False

        assert count_up(there) == []

    def test_a_failure_is_not_a_no(self) -> None:
        def fail(_: str) -> bool:
            raise Unavailable("the hub is down")

        with pytest.raises(Unavailable, match="is down"):
            count_up(fail)


@pytest.mark.parametrize(
    ("location", "version"),
    [
        ("/google/spice/7?tf-hub-format=compressed", "7"),
        ("spice/7", "7"),
        ("https://store.invalid/hub-models/google/spice/0007.tar.gz?signature=x/google/spice/8", "0007"),
        ("gs://hub-models/google/spice/7/uncompressed", "7"),
        ("https://store.invalid/google%2Fspice%2F7", "7"),
        ("https://store.invalid/google/spice/2/google/spice/7", "7"),
        ("https://store.invalid/google/spice/7/model.json", "7"),
        ("https://store.invalid/google/spice/7/default/1", None),
        ("https://store.invalid/notgoogle/spice/7", None),
        ("https://store.invalid/google/spice/7x", None),
        ("https://store.invalid/google/spice", None),
        ("https://[store/google/spice/7", None),
        ("https://store.invalid/google/spice/" + "9" * 5000, None),
    ],
)
def test_a_redirect_shows_a_version(location: str, version: str | None) -> None:
    reply = HttpReply(302, {"Location": location}, b"", "http://hub.invalid/google/spice?tf-hub-format=compressed")
    assert shown_in(reply, "google/spice") == version


class TestLatest:
    def test_is_read_from_a_redirect_at_the_cost_of_one_request(self, hub, resolver) -> None:
        hub.redirects = f"/google/spice/12?{COMPRESSED}"
        assert resolver.latest("google/spice") == "12"
        assert hub.asked() == ["/google/spice"]

    def test_is_read_from_the_second_redirect(self, hub, resolver, origin) -> None:
        hub.redirects = "/moved"
        origin.route("/moved", lambda _: Answer(301, {"Location": "https://store.invalid/google/spice/3.tar.gz?s=1"}))
        assert resolver.latest("google/spice") == "3"

    def test_is_read_from_the_bucket_that_the_hub_names(self, origin, client) -> None:
        origin.route("/google/spice", lambda _: Answer(303, {}, b"gs://models/google/spice/4/uncompressed"))
        assert TfhubResolver(client, origin.url).latest("google/spice") == "4"
        assert [request.query for request in origin.requests] == ["tf-hub-format=uncompressed"]

    @pytest.mark.parametrize("versions", [{1, 3, 4, 5}, {1}, {5}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}])
    def test_is_found_by_counting_where_nothing_shows_it(self, hub, resolver, versions: set[int]) -> None:
        hub.versions = versions
        assert resolver.latest("google/spice") == str(max(versions))
        assert len(hub.asked()) <= 1 + 24
        assert len(hub.asked()) == len({*hub.asked()})

    def test_downloads_no_archive(self, hub, resolver, client) -> None:
        hub.versions = {1}
        resolver.latest("google/spice")
        assert client.stats().bytes_received < 2000

    def test_remembers_nothing(self, hub, resolver) -> None:
        hub.versions = {1}
        assert resolver.latest("google/spice") == "1"
        hub.versions = {1, 2}
        assert resolver.latest("google/spice") == "2"

    @pytest.mark.parametrize("answer", [PAGE, Answer(404), Answer(302, {"Location": "/all"})])
    def test_a_name_that_the_hub_does_not_know_costs_no_counting(self, origin, client, answer: Answer) -> None:
        origin.route("/google/typo", lambda _: answer)
        origin.route("/all", lambda _: PAGE)
        with pytest.raises(ModelNotFound, match=r"no version of google/typo \(uncompressed: .*; compressed: "):
            TfhubResolver(client, origin.url).latest("google/typo")
        assert {request.path for request in origin.requests} <= {"/google/typo", "/all"}

    def test_a_model_without_any_version_says_so(self, hub, resolver, origin) -> None:
        origin.put("/google/odd", ARCHIVE)
        with pytest.raises(ModelNotFound, match="no version of it was found by counting"):
            resolver.latest("google/odd")

    @pytest.mark.parametrize(("code", "error"), [(403, AccessDenied), (503, Unavailable)])
    def test_a_failure_is_not_a_missing_model(self, origin, resolver, code: int, error: type[Exception]) -> None:
        origin.route("/google/spice", lambda _: Answer(code))
        with pytest.raises(error):
            resolver.latest("google/spice")

    @pytest.mark.parametrize("name", ["", "google", "google/.git", "google/lite-model", "Google/spice"])
    def test_a_name_that_no_model_can_have_is_not_asked_for(self, origin, resolver, name: str) -> None:
        for ask in (resolver.latest, resolver.versions):
            with pytest.raises(InvalidHandle):
                ask(name)
        assert not origin.requests

    @pytest.mark.parametrize(
        ("name", "query", "suffix", "body"),
        [
            ("google/lite-model/a/1/b", "lite-format=tflite", "", b"\x1c\0\0\0TFL3" + bytes(90)),
            ("google/coral-model/a", "lite-format=tflite", "", b"\x1c\0\0\0TFL3" + bytes(90)),
            ("google/tfjs-model/a/2/default", "tfjs-format=file", "/model.json", b"{}"),
            ("google/tfjs-model/a", "tfjs-format=compressed", "", ARCHIVE),
        ],
    )
    @pytest.mark.parametrize("redirected", [True, False])
    def test_is_asked_with_the_query_of_the_kind(
        self, origin, client, name: str, query: str, suffix: str, body: bytes, *, redirected: bool
    ) -> None:
        hub = Hub(origin, name)
        hub.query, hub.suffix, hub.body, hub.versions = query, suffix, body, {1, 2}
        hub.redirects = f"/{name}/2{suffix}?{query}" if redirected else None
        resolver = TfhubResolver(client, origin.url)
        assert resolver.latest(name) == "2"
        assert [*resolver.versions(name)] == ["1", "2"]


class TestVersions:
    def test_are_found_by_counting_to_the_one_that_is_shown(self, hub, resolver) -> None:
        hub.versions = {1, 3, 4}
        hub.redirects = f"/google/spice/4?{COMPRESSED}"
        assert [*resolver.versions("google/spice")] == ["1", "3", "4"]
        assert sorted(hub.asked()) == ["/google/spice", *(f"/google/spice/{version}" for version in (1, 2, 3))]

    def test_are_found_on_a_hub_without_unversioned_urls(self, hub, origin, client) -> None:
        hub.versions = {2, 10}
        hub.versions |= {6}
        hub.unversioned = False
        assert [*TfhubResolver(client, origin.url).versions("google/spice")] == ["2", "6", "10"]

    def test_of_a_model_that_does_not_exist_are_none(self, origin, resolver) -> None:
        assert [*resolver.versions("google/typo")] == []
        assert len(origin.requests) <= 1 + 8

    def test_leave_out_what_is_damaged_and_what_does_not_let_us_in(self, hub, resolver, origin) -> None:
        hub.versions = {1, 4}
        origin.route("/google/spice/2", lambda _: Answer(200, {}, b"neither"))
        origin.route("/google/spice/3", lambda _: Answer(403))
        assert [*resolver.versions("google/spice")] == ["1", "4"]

    def test_are_not_said_to_be_none_by_a_hub_that_is_busy(self, hub, resolver, origin) -> None:
        hub.versions = {1, 2}
        origin.route("/google/spice/2", lambda _: Answer(503))
        with pytest.raises(Unavailable):
            resolver.versions("google/spice")
