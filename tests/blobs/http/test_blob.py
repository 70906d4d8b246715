import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import cycle, repeat

import pytest

from hubfs.blobs.http import blob as http_blob
from hubfs.blobs.http.blob import HttpBlob
from hubfs.blobs.retry import Busy, Permanent, RetryingBlob
from hubfs.errors import AccessDenied, HubfsError, Stale, TimedOut, Unavailable
from tests.support.http_clients import QUICK, http_client
from tests.support.http_origin import Answer, HttpOrigin, Request, Resource, cut, flip, redirect, stall, status

PAYLOAD = random.Random(1).randbytes(300_000)


@pytest.fixture
def origin():
    with HttpOrigin() as origin:
        origin.put("/file", PAYLOAD, etag='"v1"')
        yield origin


def test_a_read_fetches_its_range_and_nothing_else(origin, client) -> None:
    blob = HttpBlob(client, origin.url + "/file")
    origin.reset()
    assert blob.read_at(1000, 5000) == PAYLOAD[1000:6000]
    assert [request.headers["range"] for request in origin.requests] == ["bytes=1000-5999"]
    assert origin.requests[0].headers["if-range"] == '"v1"'
    assert origin.body_bytes_sent() == 5000


@pytest.mark.slow
def test_a_body_that_goes_on_behind_its_length_spoils_no_other_reply(origin, client) -> None:
    def cut_short(answer: Answer) -> Answer:
        size_bytes = max(1, len(answer.body) * 3 // 4)
        if size_bytes == len(answer.body):
            return answer
        return replace(
            answer, headers={**answer.headers, "Content-Length": str(size_bytes)}, cut_after=len(answer.body)
        )

    blob = HttpBlob(client, origin.url + "/file")
    origin.always("/file", cut_short)
    # One in fifty failed while such connections were kept: what was left on them was taken for the next reply.
    assert all(blob.read_at(0, len(PAYLOAD)) == PAYLOAD for _ in range(60))


def test_redirects_are_followed_once_for_all_reads(origin, client) -> None:
    origin.route("/moved", redirect("/file"))
    blob = HttpBlob(client, origin.url + "/moved")
    origin.reset()
    for offset in range(0, 50_000, 10_000):
        assert blob.read_at(offset, 10) == PAYLOAD[offset : offset + 10]
    assert {request.path for request in origin.requests} == {"/file"}


def test_reads_reuse_one_connection(origin, client) -> None:
    blob = HttpBlob(client, origin.url + "/file")
    for offset in range(0, 50_000, 1000):
        blob.read_at(offset, 1000)
    assert origin.connections == 1


def test_a_changed_etag_is_stale(origin, client) -> None:
    blob = HttpBlob(client, origin.url + "/file")
    origin.put("/file", PAYLOAD[::-1], etag='"v2"')
    with pytest.raises(Stale, match=r"/file changed"):
        blob.read_at(1000, 10)
    assert HttpBlob(client, origin.url + "/file").read_at(0, 10) == PAYLOAD[:-11:-1]


def test_a_changed_date_is_stale(origin, client) -> None:
    origin.put("/file", PAYLOAD, last_modified="Wed, 21 Oct 2015 07:28:00 GMT")
    blob = HttpBlob(client, origin.url + "/file")
    origin.put("/file", PAYLOAD[::-1], last_modified="Wed, 21 Oct 2015 07:28:02 GMT")
    with pytest.raises(Stale):
        blob.read_at(1000, 10)


@pytest.mark.parametrize("size", [500, 299_999, 300_001])
def test_a_changed_size_is_stale_where_the_host_names_no_version(origin, client, size: int) -> None:
    origin.put("/file", PAYLOAD)
    blob = HttpBlob(client, origin.url + "/file")
    origin.put("/file", random.Random(2).randbytes(size))
    with pytest.raises(Stale):
        blob.read_at(1000, 10)


@pytest.mark.parametrize("ranges", [True, False])
def test_a_host_that_ignores_if_range_is_still_found_out(origin, client, ranges) -> None:
    blob = HttpBlob(client, origin.url + "/file")

    def ignorant(request: Request) -> Answer:
        headers = {name: value for name, value in request.headers.items() if name != "if-range"}
        return Resource(PAYLOAD[::-1], etag='"v2"', ranges=ranges)(Request(request.path, request.query, headers))

    origin.route("/file", ignorant)
    with pytest.raises(Stale):
        blob.read_at(1000, 10)


def test_a_host_that_loses_its_ranges_is_not_stale(origin, client) -> None:
    blob = HttpBlob(client, origin.url + "/file")
    origin.put("/file", PAYLOAD, etag='"v1"', ranges=False)
    assert blob.read_at(1000, 10) == PAYLOAD[1000:1010]


def test_another_range_than_asked_for_is_not_taken(origin, client) -> None:
    blob = HttpBlob(client, origin.url + "/file")
    shifted = Answer(206, {"ETag": '"v1"', "Content-Range": "bytes 1001-1010/300000"}, PAYLOAD[1001:1011])
    origin.route("/file", lambda _: shifted)
    with pytest.raises(Unavailable, match="another range"):
        blob.read_at(1000, 10)


def test_a_host_that_answers_with_less_than_the_range_is_asked_for_the_rest(origin, client) -> None:
    def stingy(request: Request) -> Answer:
        start = int(request.headers["range"].removeprefix("bytes=").partition("-")[0])
        ranged = {**request.headers, "range": f"bytes={start}-{start + 999}"}
        return Resource(PAYLOAD, etag='"v1"')(Request(request.path, request.query, ranged))

    origin.route("/file", stingy)
    assert HttpBlob(client, origin.url + "/file").read_at(5, 2500) == PAYLOAD[5:2505]


def test_a_cut_read_is_unavailable_and_worth_retrying(origin, client) -> None:
    blob = HttpBlob(client, origin.url + "/file")
    origin.script("/file", cut(after=10), cut(after=20, reset=True))
    with pytest.raises(Unavailable, match=r"http://127\.0\.0\.1:\d+/file"):
        blob.read_at(0, 5000)
    assert RetryingBlob(blob, QUICK, client.cancellation).read_at(0, 5000) == PAYLOAD[:5000]


@pytest.mark.slow
def test_a_stalled_read_times_out_and_is_worth_retrying(origin) -> None:
    with http_client(stall_timeout_s=1.0) as hasty:
        blob = HttpBlob(hasty, origin.url + "/file")
        origin.script("/file", stall(after=10), stall(after=0))
        with pytest.raises(TimedOut, match=r"sent nothing for 1 s"):
            blob.read_at(0, 5000)
        assert RetryingBlob(blob, QUICK, hasty.cancellation).read_at(0, 5000) == PAYLOAD[:5000]


def test_a_busy_host_is_worth_retrying(origin, client) -> None:
    blob = RetryingBlob(HttpBlob(client, origin.url + "/file"), QUICK, client.cancellation)
    origin.script("/file", status(503), status(429))
    assert blob.read_at(7, 7) == PAYLOAD[7:14]


def test_a_flipped_bit_is_not_for_this_layer_to_find(origin, client) -> None:
    blob = HttpBlob(client, origin.url + "/file")
    origin.script("/file", flip(3))
    assert blob.read_at(0, 10) != PAYLOAD[:10]


class Signer:
    """A hub that redirects to a signed URL; a signature is good until `rotate`."""

    def __init__(self, origin: HttpOrigin, resource: Resource, refusal: int = 403) -> None:
        self.good = 1
        self.resource = resource
        self.refusal = refusal
        origin.route("/hub", lambda _: Answer(302, {"Location": f"/store?signature=secret{self.good}"}))
        origin.route("/store", self.store)

    def store(self, request: Request) -> Answer:
        if request.arguments["signature"] != [f"secret{self.good}"]:
            return Answer(self.refusal, {}, b"<Error>expired</Error>")
        return self.resource(request)


@pytest.mark.parametrize("refusal", [400, 401, 403])
def test_an_expired_signature_is_renewed_without_disturbing_the_reader(origin, client, refusal: int) -> None:
    signer = Signer(origin, Resource(PAYLOAD, etag='"v1"'), refusal)
    blob = HttpBlob(client, origin.url + "/hub")
    for number in range(3):
        signer.good += 1
        assert blob.read_at(number, 10) == PAYLOAD[number : number + 10]
    assert sum(request.path == "/hub" for request in origin.requests) == 4


@pytest.fixture
def now_s(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which tests move."""
    now_s = [1_000_000.0]
    monkeypatch.setattr(http_blob, "time", lambda: now_s[0])
    return now_s


class Timed(Signer):
    """A `Signer` whose URLs say when they expire, and whose hub is asked by `locate`, and by no request."""

    def __init__(self, origin: HttpOrigin, expires_s: Iterator[float]) -> None:
        super().__init__(origin, Resource(PAYLOAD, etag='"v1"'))
        self._url, self._expires_s = origin.url, expires_s
        self.located = 0
        self.errors: list[HubfsError] = []

    def locate(self) -> str:
        self.located += 1
        if self.errors:
            raise self.errors.pop()
        return f"{self._url}/store?Expires={next(self._expires_s):.0f}&signature=secret{self.good}"


def test_a_blob_that_is_located_asks_its_hub_again_when_it_is_refused_and_not_when_the_store_fails(origin, client):
    signer = Timed(origin, repeat(9e9))
    blob = HttpBlob(client, origin.url + "/a name", locate=signer.locate)
    origin.script("/store", cut(after=5))
    with pytest.raises(Unavailable):
        blob.read_at(0, 10)
    assert blob.read_at(0, 10) == PAYLOAD[:10]
    assert signer.located == 1
    signer.good += 1
    assert blob.read_at(5, 10) == PAYLOAD[5:15]
    assert signer.located == 2
    assert {request.path for request in origin.requests} == {"/store"}, "the name was asked for"


def test_a_blob_is_located_no_further_inside_than_the_host_that_says_where(origin, client) -> None:
    with pytest.raises(Permanent, match=r"is at the loopback address 127\.0\.0\.1, and a redirect led there"):
        HttpBlob(client, "https://api.example/a", locate=lambda: origin.url + "/file")
    assert not origin.requests


def test_what_is_secret_for_the_host_of_a_located_blob_does_not_reach_the_store(origin, client) -> None:
    with HttpOrigin() as hub:
        hub.route("/ask", redirect(origin.url + "/file"))

        def locate() -> str:
            return client.ask(hub.url + "/ask", b"{}", {"Authorization": "Bearer hush"}).leads_to or ""

        blob = HttpBlob(client, hub.url + "/a", {"Authorization": "Bearer hush"}, locate=locate)
        assert blob.read_at(9, 9) == PAYLOAD[9:18]
        assert [request.headers["authorization"] for request in hub.requests] == ["Bearer hush"]
    assert origin.requests
    assert all("authorization" not in request.headers for request in origin.requests)


def test_where_a_blob_is_is_asked_again_until_it_is_known_and_not_when_the_store_fails(origin, client) -> None:
    signer = Timed(origin, repeat(9e9))
    signer.errors = [Busy("too many")]
    origin.script("/store", status(503))
    assert HttpBlob(client, origin.url + "/a", locate=signer.locate).read_at(0, 10) == PAYLOAD[:10]
    assert signer.located == 2, "once in vain"
    assert len(origin.requests) == 3, "the start, in vain and well, and the range"


def test_a_url_is_renewed_before_it_expires_once_for_all_readers(origin, client, now_s) -> None:
    signer = Timed(origin, iter([now_s[0] + 3600, now_s[0] + 7200]))
    blob = HttpBlob(client, origin.url + "/a", locate=signer.locate)
    now_s[0] += 3600 - 301
    assert blob.read_at(0, 10) == PAYLOAD[:10]
    assert signer.located == 1
    now_s[0] += 1
    with ThreadPoolExecutor(8) as readers:
        assert set(readers.map(lambda number: blob.read_at(number, 1), [3] * 8)) == {PAYLOAD[3:4]}
    assert signer.located == 2
    assert blob.read_at(0, 10) == PAYLOAD[:10]
    assert signer.located == 2


@pytest.mark.parametrize("expires_s", [0.0, 1_000_000.0, 9e14, 1_000_100.0])
def test_a_url_that_lies_costs_one_renewal_a_read_at_most(origin, client, now_s, expires_s: float) -> None:
    signer = Timed(origin, repeat(expires_s))
    blob = HttpBlob(client, origin.url + "/a", locate=signer.locate)
    for number in range(1, 4):
        now_s[0] += 49
        before = signer.located
        assert blob.read_at(number, 10) == PAYLOAD[number : number + 10]
        assert signer.located - before <= 1
    origin.route("/store", lambda _: Answer(403))
    now_s[0] += 49
    before = signer.located
    with pytest.raises(AccessDenied):
        blob.read_at(0, 10)
    assert signer.located - before == 1


def test_where_there_is_no_other_url_the_one_of_before_is_read_as_long_as_it_holds(origin, client, now_s) -> None:
    signer = Timed(origin, iter([now_s[0] + 1000, now_s[0] + 9000]))
    blob = HttpBlob(client, origin.url + "/a", locate=signer.locate)
    signer.errors = [Busy("too many"), AccessDenied("no"), TimedOut("slow")]
    now_s[0] += 700
    assert blob.read_at(0, 10) == PAYLOAD[:10]
    assert blob.read_at(10, 10) == PAYLOAD[10:20]
    assert signer.located == 2, "it is not asked at every read"
    for wait_s in (150, 75, 38):  # half of what is left, each time
        now_s[0] += wait_s
        assert blob.read_at(0, 10) == PAYLOAD[:10]
    assert signer.located == 5


def test_another_object_behind_the_renewed_signature_is_stale(origin, client) -> None:
    signer = Signer(origin, Resource(PAYLOAD, etag='"v1"'))
    blob = HttpBlob(client, origin.url + "/hub")
    signer.good += 1
    signer.resource = Resource(PAYLOAD, etag='"v2"')
    with pytest.raises(Stale):
        blob.read_at(0, 10)


def test_a_refusal_that_a_renewed_signature_does_not_cure_is_access_denied(origin, client) -> None:
    signer = Signer(origin, Resource(PAYLOAD, etag='"v1"'))
    blob = HttpBlob(client, origin.url + "/hub")
    origin.route("/store", lambda _: Answer(403))
    with pytest.raises(AccessDenied) as caught:
        blob.read_at(0, 10)
    assert "secret" not in str(caught.value)
    assert signer.good == 1


def test_a_refusal_by_the_host_itself_is_access_denied_at_once(origin, client) -> None:
    blob = HttpBlob(client, origin.url + "/file")
    origin.reset()
    origin.always("/file", status(403))
    with pytest.raises(AccessDenied):
        blob.read_at(0, 10)
    assert len(origin.requests) == 1


def test_headers_of_the_hub_do_not_reach_the_store(origin, client) -> None:
    with HttpOrigin() as store:
        store.put("/bytes", PAYLOAD, etag='"v1"')
        origin.route("/hub", redirect(store.url + "/bytes"))
        blob = HttpBlob(client, origin.url + "/hub", {"Authorization": "Bearer hush"})
        assert blob.read_at(9, 9) == PAYLOAD[9:18]
        assert all("authorization" not in request.headers for request in store.requests)
        assert [request.headers["authorization"] for request in origin.requests] == ["Bearer hush"]


def test_a_host_that_does_not_say_the_size_has_no_blob(origin, client) -> None:
    origin.put("/file", PAYLOAD, ranges=False, chunked=True)
    with pytest.raises(Unavailable, match="does not say its size"):
        HttpBlob(client, origin.url + "/file")


def test_keys_tell_queries_versions_and_hosts_without_versions_apart(origin, client) -> None:
    origin.put("/unversioned", PAYLOAD)
    one = HttpBlob(client, origin.url + "/file?token=hush").key
    assert one == HttpBlob(client, origin.url + "/file?token=hush").key
    assert one != HttpBlob(client, origin.url + "/file?token=other").key
    assert "hush" not in one
    unversioned = [HttpBlob(client, origin.url + "/unversioned").key for _ in range(2)]
    assert unversioned[0] != unversioned[1]


@pytest.mark.parametrize("ends", ["with 503", "altogether"])
def test_a_store_that_goes_away_is_looked_for_where_the_hub_leads_by_now(origin, client, ends: str) -> None:
    retried = replace(QUICK, attempts=2)
    with HttpOrigin() as first, HttpOrigin() as second:
        for store in (first, second):
            store.put("/bytes", PAYLOAD, etag='"v1"')
        origin.route("/hub", redirect(first.url + "/bytes"))
        blob = RetryingBlob(HttpBlob(client, origin.url + "/hub"), retried, client.cancellation)
        origin.route("/hub", redirect(second.url + "/bytes"))
        assert blob.read_at(5, 10) == PAYLOAD[5:15], "while the first one serves, nobody looks"
        asked = len(origin.requests)
        if ends == "altogether":
            first.close()
        else:
            first.always("/bytes", status(503))
        assert blob.read_at(7, 10) == PAYLOAD[7:17]
        origin.always("/hub", status(503))
        assert blob.read_at(9, 10) == PAYLOAD[9:19], "where it was found is remembered"
        assert len(origin.requests) == asked + 1


def test_a_hub_that_goes_away_too_does_not_keep_the_store_from_being_asked_again(origin, client) -> None:
    with HttpOrigin() as store:
        store.put("/bytes", PAYLOAD, etag='"v1"')
        origin.route("/hub", redirect(store.url + "/bytes"))
        blob = RetryingBlob(HttpBlob(client, origin.url + "/hub"), QUICK, client.cancellation)
        store.script("/bytes", status(503))
        origin.always("/hub", status(503))
        assert blob.read_at(5, 10) == PAYLOAD[5:15]


def test_replicas_that_name_the_same_bytes_differently_are_one_host(origin, client) -> None:
    replicas = [Resource(PAYLOAD, etag=f'"replica {number}"') for number in range(3)]
    turns = cycle(replicas)

    def balanced(request: Request) -> Answer:
        return next(turns)(request)

    origin.route("/file", balanced)
    blob = HttpBlob(client, origin.url + "/file")
    for offset in range(0, 50_000, 1000):
        assert blob.read_at(offset, 1000) == PAYLOAD[offset : offset + 1000]
    origin.put("/file", PAYLOAD[::-1], etag='"v2"')
    with pytest.raises(Stale):
        blob.read_at(0, 10)


def test_what_went_away_in_mid_read_is_stale_and_not_a_file_that_does_not_exist(origin, client) -> None:
    blob = HttpBlob(client, origin.url + "/file")
    origin.script("/file", status(404))
    assert blob.read_at(0, 10) == PAYLOAD[:10], "one reply of many is not believed"
    origin.always("/file", status(404))
    with pytest.raises(Stale, match="went away"):
        blob.read_at(0, 10)
