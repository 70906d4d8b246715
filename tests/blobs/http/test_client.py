import gzip
import logging
import os
import socket
import threading
import time
import traceback

import pytest

from hubfs.blobs.http.settings import HttpSettings
from hubfs.blobs.retry import Permanent, RetryPolicy
from hubfs.errors import AccessDenied, Cancelled, HubfsError, NotFound, TimedOut, Unavailable
from hubfs.waiting import Cancellation
from tests.support.certificates import self_signed
from tests.support.http_clients import QUICK, http_client
from tests.support.http_origin import (
    Answer,
    DeadPort,
    HttpOrigin,
    cut,
    hang_up,
    paced,
    redirect,
    stall,
    stall_first,
    status,
)

PAYLOAD = bytes(range(256)) * 400
SECRET = {"Authorization": "Bearer hush"}


@pytest.fixture
def origin():
    with HttpOrigin() as origin:
        yield origin


@pytest.fixture
def hasty():
    """A client for hosts that are silent for ever."""
    with http_client(stall_timeout_s=0.5) as client:
        yield client


class TestProbe:
    def test_says_what_a_host_with_ranges_has(self, origin, client) -> None:
        origin.put("/a", PAYLOAD, etag='"v1"', last_modified="Wed, 21 Oct 2015 07:28:00 GMT", content_type="x/y")
        origin.route("/moved", redirect("/a?signature=hush"))
        found = client.probe(origin.url + "/moved")
        assert found.url == origin.url + "/moved"
        assert found.final_url == origin.url + "/a?signature=hush"
        assert (found.size_bytes, found.etag, found.accepts_ranges) == (len(PAYLOAD), '"v1"', True)
        assert (found.last_modified, found.content_type) == ("Wed, 21 Oct 2015 07:28:00 GMT", "x/y")
        assert found.head == PAYLOAD[:512]
        assert origin.body_bytes_sent("/a") == 512
        assert "hush" not in repr(found)

    def test_says_what_a_host_without_ranges_has(self, origin, client) -> None:
        origin.put("/a", PAYLOAD, ranges=False)
        found = client.probe(origin.url + "/a")
        assert (found.size_bytes, found.accepts_ranges, found.head) == (len(PAYLOAD), False, PAYLOAD[:512])

    def test_does_not_wait_for_the_rest_of_a_host_without_ranges(self, origin, client) -> None:
        origin.put("/a", PAYLOAD, ranges=False)
        origin.always("/a", stall(after=600))
        assert client.probe(origin.url + "/a").head == PAYLOAD[:512]

    def test_does_not_know_the_size_of_a_chunked_reply(self, origin, client) -> None:
        origin.put("/a", PAYLOAD, ranges=False, chunked=True)
        found = client.probe(origin.url + "/a")
        assert (found.size_bytes, found.head) == (None, PAYLOAD[:512])

    def test_knows_an_empty_object_by_its_416(self, origin, client) -> None:
        origin.put("/a", b"", etag='"v1"')
        found = client.probe(origin.url + "/a")
        assert (found.size_bytes, found.head, found.etag) == (0, b"", '"v1"')

    def test_does_not_take_a_weak_etag_for_a_promise(self, origin, client) -> None:
        origin.put("/a", PAYLOAD, etag='W/"v1"')
        assert client.probe(origin.url + "/a").etag is None

    def test_takes_the_bytes_as_they_come(self, origin, client) -> None:
        archive = gzip.compress(PAYLOAD)
        origin.put("/a", archive, headers={"Content-Encoding": "gzip"})
        found = client.probe(origin.url + "/a")
        assert (found.head, found.size_bytes) == (archive[:512], len(archive))
        assert origin.requests[0].headers["accept-encoding"] == "identity"

    def test_is_remembered_for_a_minute(self, origin) -> None:
        now_s = [0.0]
        with http_client() as prototype:
            client = type(prototype)(HttpSettings(), Cancellation(), timer=lambda: now_s[0])
        origin.put("/a", PAYLOAD)
        for now_s[0], requests in ((0.0, 1), (59.0, 1), (61.0, 2)):
            client.probe(origin.url + "/a")
            assert len(origin.requests) == requests
        client.probe(origin.url + "/a", fresh=True)
        assert len(origin.requests) == 3
        client.close()

    def test_remembers_no_failure(self, origin, client) -> None:
        with pytest.raises(NotFound):
            client.probe(origin.url + "/a")
        origin.put("/a", PAYLOAD)
        assert client.probe(origin.url + "/a").size_bytes == len(PAYLOAD)


class TestErrors:
    @pytest.mark.parametrize(
        ("code", "error", "requests"),
        [
            (404, NotFound, 1),
            (410, NotFound, 1),
            (401, AccessDenied, 1),
            (403, AccessDenied, 1),
            (400, Permanent, 1),
            (418, Permanent, 1),
            (204, Permanent, 1),
            (304, Permanent, 1),
            (302, Permanent, 1),
            (408, Unavailable, 3),
            (429, Unavailable, 3),
            (500, Unavailable, 3),
            (503, Unavailable, 3),
        ],
    )
    def test_a_status_means_one_error(self, origin, client, code: int, error: type[HubfsError], requests: int) -> None:
        origin.always("/a", status(code))
        with pytest.raises(error, match=rf"{origin.url}/a .*{code}") as caught:
            client.probe(origin.url + "/a?hush")
        assert "hush" not in str(caught.value)
        assert len(origin.requests) == requests

    def test_a_refusal_keeps_the_connection(self, origin, client) -> None:
        origin.script("/a", status(404, body=b"no"), status(404), status(401, body=b"no"))
        for error in (NotFound, NotFound, AccessDenied):
            with pytest.raises(error):
                client.probe(origin.url + "/a")
        assert origin.connections == 1

    def test_a_refusal_whose_body_stalls_is_a_refusal(self, origin, hasty) -> None:
        origin.route("/a", lambda _: Answer(404, {}, b"no such page", stall_after=2))
        with pytest.raises(NotFound):
            hasty.probe(origin.url + "/a")

    def test_the_foreign_texts_are_in_no_traceback(self, client) -> None:
        with DeadPort() as dead:
            url = dead.url + "/a?hush"
            with pytest.raises(Unavailable) as caught:
                client.probe(url)
        assert "hush" not in "".join(traceback.format_exception(caught.value))

    def test_a_host_that_recovers_is_not_an_error(self, origin, client) -> None:
        origin.put("/a", PAYLOAD)
        origin.script("/a", status(503), cut(after=3))
        assert client.probe(origin.url + "/a").size_bytes == len(PAYLOAD)

    @pytest.mark.parametrize(
        "wish", ["1", "0", "Wed, 21 Oct 2015 07:28:00 GMT", "Fri, 31 Dec 9999 23:59:59 -0000", "?"]
    )
    def test_retry_after_is_honoured_up_to_its_bound(self, origin, client, monkeypatch, wish: str) -> None:
        origin.put("/a", PAYLOAD)
        origin.script("/a", status(503, {"Retry-After": wish}))
        waited_s = []
        monkeypatch.setattr(client.cancellation, "sleep", waited_s.append)
        client.probe(origin.url + "/a")
        if wish[0] in "1F":
            assert waited_s == [QUICK.retry_after_cap_s]
        else:
            assert 0 <= waited_s[0] <= QUICK.cap_s

    def test_a_refused_connection_is_unavailable(self, client) -> None:
        with DeadPort() as dead:
            with pytest.raises(Unavailable, match=rf"{dead.url}/a .*: Connection refused") as caught:
                client.probe(dead.url + "/a?hush")
            assert "hush" not in str(caught.value)

    def test_a_host_that_does_not_exist_is_unavailable(self, client) -> None:
        with pytest.raises(Unavailable, match=r"http://host\.invalid/a could not be read: "):
            client.probe("http://host.invalid/a?hush")

    @pytest.mark.slow
    def test_a_host_that_is_silent_times_out(self, origin, hasty) -> None:
        origin.put("/a", PAYLOAD)
        origin.always("/a", stall_first())
        with pytest.raises(TimedOut, match=rf"{origin.url}/a sent nothing for 0\.5 s"):
            hasty.probe(origin.url + "/a?hush")

    @pytest.mark.slow
    def test_a_slow_transfer_is_no_stall(self, origin) -> None:
        origin.put("/a", PAYLOAD * 3)
        origin.always("/a", paced(60_000, piece_bytes=4096))  # fifteen pieces a second, five seconds in all
        with http_client(stall_timeout_s=4.0) as client, client.open(origin.url + "/a") as transfer:
            assert transfer.read_up_to(1 << 30) == PAYLOAD * 3

    @pytest.mark.parametrize("url", ["ftp://h/a", "nonsense", "http://", "http://[::1/", "http://h:port/"])
    def test_a_text_that_cannot_be_requested_is_unavailable_at_once(self, client, url: str) -> None:
        with pytest.raises(Permanent):
            client.probe(url)

    def test_a_header_that_cannot_be_sent_is_not_shown(self, origin, client) -> None:
        with pytest.raises(Permanent) as caught:
            client.probe(origin.url + "/a", {"Authorization": "Bearer hush\nX: y"})
        assert "hush" not in str(caught.value)

    def test_a_host_that_does_not_speak_http_is_unavailable(self) -> None:
        def greet(listener: socket.socket) -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"220 mail.example\r\n")

        with socket.create_server(("127.0.0.1", 0)) as listener, http_client(retry=RetryPolicy(attempts=1)) as client:
            greeter = threading.Thread(target=greet, args=(listener,))
            greeter.start()
            with pytest.raises(Unavailable, match="could not be read"):
                client.probe(f"http://127.0.0.1:{listener.getsockname()[1]}/a")
            greeter.join()


class TestRedirects:
    @pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
    def test_are_followed(self, origin, client, code: int) -> None:
        origin.put("/a", PAYLOAD)
        origin.route("/moved", redirect("/more", code, b"moved"))
        origin.route("/more", redirect("/a", code, b""))
        assert client.probe(origin.url + "/moved").head == PAYLOAD[:512]
        assert origin.requests[2].headers["range"] == "bytes=0-511"
        assert origin.connections == 1

    @pytest.mark.parametrize(("hops", "ends_well"), [(10, True), (11, False)])
    def test_are_followed_ten_times(self, origin, client, hops: int, ends_well) -> None:
        for hop in range(hops):
            origin.route(f"/{hop}", redirect(f"/{hop + 1}"))
        origin.put(f"/{hops}", PAYLOAD)
        if ends_well:
            assert client.probe(origin.url + "/0").size_bytes == len(PAYLOAD)
        else:
            with pytest.raises(Permanent, match="redirects more than 10 times"):
                client.probe(origin.url + "/0")

    def test_from_https_to_http_are_refused(self, origin, tmp_path) -> None:
        origin.put("/a", PAYLOAD)
        with HttpOrigin(self_signed(tmp_path)) as secure, http_client(verify=False) as client:
            secure.route("/a", redirect(origin.url + "/a"))
            with pytest.raises(Permanent, match="from https to http"):
                client.probe(secure.url + "/a")
        assert origin.requests == []

    def test_that_loop_with_large_bodies_cost_no_transfer(self, origin, client) -> None:
        origin.route("/loop", redirect("/loop", body=bytes(100_000_000)))
        with pytest.raises(Permanent):
            client.probe(origin.url + "/loop")
        assert client.stats().bytes_received == 0


class TestCertificates:
    def test_that_are_not_trusted_are_refused_at_once(self, tmp_path, client) -> None:
        with HttpOrigin(self_signed(tmp_path)) as secure:
            with pytest.raises(Permanent, match=r"not trusted \(self.signed certificate\).*REQUESTS_CA_BUNDLE"):
                client.probe(secure.url + "/a")
            assert secure.requests == []

    @pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
    def test_of_a_ca_bundle_in_the_environment_are_trusted(self, tmp_path, client, monkeypatch, variable) -> None:
        certificate, key = self_signed(tmp_path)
        for other in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            monkeypatch.delenv(other, raising=False)
        monkeypatch.setenv(variable, str(certificate))
        with HttpOrigin((certificate, key)) as secure:
            secure.put("/a", PAYLOAD)
            assert client.probe(secure.url + "/a").size_bytes == len(PAYLOAD)

    def test_are_not_looked_at_when_the_user_says_so(self, tmp_path, monkeypatch) -> None:
        for name in ("ours", "theirs"):
            (tmp_path / name).mkdir()
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(self_signed(tmp_path / "theirs")[0]))
        with HttpOrigin(self_signed(tmp_path / "ours")) as secure, http_client(verify=False) as client:
            secure.put("/a", PAYLOAD)
            with client.open(secure.url + "/a") as transfer:
                assert transfer.read_up_to(1 << 30) == PAYLOAD


class TestCredentials:
    @pytest.fixture
    def stranger(self):
        with HttpOrigin() as stranger:
            stranger.put("/a", PAYLOAD)
            yield stranger

    def test_go_to_their_host_and_to_no_other(self, origin, stranger) -> None:
        origin.route("/there", redirect(stranger.url + "/back"))
        stranger.route("/back", redirect(origin.url + "/a"))
        origin.put("/a", PAYLOAD)
        with http_client(credential_host=origin.host, credential_scheme="http", headers=SECRET) as client:
            client.probe(origin.url + "/there")
            client.probe(stranger.url + "/a")
        assert [request.headers.get("authorization") for request in origin.requests] == ["Bearer hush"] * 2
        assert all("authorization" not in request.headers for request in stranger.requests)

    def test_of_an_https_host_do_not_go_over_http(self, origin) -> None:
        origin.put("/a", PAYLOAD)
        with http_client(credential_host=origin.host, headers=SECRET) as client:
            client.probe(origin.url + "/a")
        assert "authorization" not in origin.requests[0].headers

    def test_of_one_request_go_to_its_host_and_to_no_other(self, origin, stranger, client) -> None:
        origin.route("/there", redirect(stranger.url + "/a"))
        client.probe(origin.url + "/there", {"X-Token": "hush"})
        assert origin.requests[0].headers["x-token"] == "hush"
        assert "x-token" not in stranger.requests[0].headers

    def test_in_a_url_go_to_its_host_and_to_no_other(self, origin, stranger, client) -> None:
        origin.route("/there", redirect(stranger.url + "/a"))
        client.probe(f"http://me:hush@{origin.host}/there")
        assert origin.requests[0].headers["authorization"] == "Basic bWU6aHVzaA=="
        assert "authorization" not in stranger.requests[0].headers

    def test_come_from_netrc_only_where_none_are_configured(self, origin, stranger, tmp_path, monkeypatch) -> None:
        (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password hush\n")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        origin.put("/a", PAYLOAD)
        with http_client(credential_host=origin.host, credential_scheme="http", headers=SECRET) as client:
            client.probe(origin.url + "/a")
            client.probe(stranger.url + "/a")
        assert origin.requests[0].headers["authorization"] == "Bearer hush"
        assert stranger.requests[0].headers["authorization"] == "Basic bWU6aHVzaA=="

    def test_that_netrc_has_for_every_host_go_to_none_that_a_hub_leads_to(
        self, origin, stranger, tmp_path, monkeypatch, client
    ) -> None:
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        stranger.put("/a", PAYLOAD)
        origin.route("/there", redirect(stranger.url + "/a"))
        (tmp_path / "netrc").write_text("default login me password hush\n")
        client.probe(origin.url + "/there")
        assert origin.requests[0].headers["authorization"] == "Basic bWU6aHVzaA=="
        assert "authorization" not in stranger.requests[0].headers

    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_that_netrc_has_for_a_host_go_there_neither_in_clear_nor_to_any_port(
        self, scheme, tmp_path, monkeypatch
    ) -> None:
        (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password hush\n")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        files = self_signed(tmp_path)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(files[0]))
        tls = files if scheme == "https" else None
        with HttpOrigin(tls) as hub, HttpOrigin(tls) as other, http_client() as client:
            other.put("/a", PAYLOAD)
            hub.route("/there", redirect(other.url + "/a"))
            client.probe(hub.url + "/there")
        assert hub.requests[0].headers["authorization"] == "Basic bWU6aHVzaA=="
        assert "authorization" not in other.requests[0].headers

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root may serve at port 443")
    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_that_netrc_has_for_a_host_go_by_https_where_a_hub_of_https_leads(
        self, scheme, tmp_path, monkeypatch
    ) -> None:
        named = f"127.77.{os.getpid() >> 8 & 255}.{os.getpid() & 255 or 1}"  # nobody else's port 443
        (tmp_path / "netrc").write_text(f"machine {named} login me password hush\n")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        certificate = self_signed(tmp_path, host=named)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate[0]))
        with (
            HttpOrigin(certificate if scheme == "https" else None, address=named) as hub,
            HttpOrigin(certificate, port=443, address=named) as other,
            http_client() as client,
        ):
            other.put("/a", PAYLOAD)
            hub.route("/there", redirect(f"https://{named}/a"))
            client.probe(hub.url + "/there")
        expected = "Basic bWU6aHVzaA==" if scheme == "https" else None
        assert other.requests[0].headers.get("authorization") == expected

    def test_are_in_no_log_and_no_repr(self, origin, caplog) -> None:
        caplog.set_level(logging.DEBUG)
        origin.script("/a", status(503))
        with http_client(credential_host=origin.host, credential_scheme="http", headers=SECRET) as client:
            with pytest.raises(NotFound) as caught:
                client.probe(f"http://me:hush@{origin.host}/a?hush=1")
            assert "asking again" in caplog.text
            assert "hush" not in caplog.text + str(caught.value) + repr(client.settings)


def test_a_proxy_of_the_environment_is_used(origin, client, monkeypatch) -> None:
    # A proxy is asked for whole URLs.
    monkeypatch.setenv("http_proxy", origin.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    origin.put("/a", PAYLOAD)
    assert client.probe("http://hub.invalid/a").size_bytes == len(PAYLOAD)
    assert origin.requests[0].headers["host"] == "hub.invalid"


class TestReply:
    def test_is_what_came(self, origin, client) -> None:
        origin.route("/a", lambda _: Answer(303, {"Location": "/elsewhere", "X-Name": "value"}, b"gs://bucket/a"))
        reply = client.reply(origin.url + "/a")
        assert (reply.status, reply.body, reply.url) == (303, b"gs://bucket/a", origin.url + "/a")
        assert (reply.headers["x-name"], reply.headers["Location"]) == ("value", "/elsewhere")

    def test_has_the_start_of_a_long_body_only(self, origin, client) -> None:
        origin.put("/a", PAYLOAD)
        origin.always("/a", stall(after=2000))
        assert client.reply(origin.url + "/a", max_body_bytes=1000).body == PAYLOAD[:1000]

    def test_follows_redirects_as_long_as_it_is_told_to(self, origin, client) -> None:
        origin.route("/1", redirect("/2"))
        origin.route("/2", redirect("/3", body=b"stop"))
        assert client.reply(origin.url + "/1", follow=lambda reply: reply.body != b"stop").url == origin.url + "/2"
        assert client.reply(origin.url + "/1", follow=lambda _: True).status == 404

    def test_may_be_a_failure_but_not_a_refusal(self, origin, client) -> None:
        origin.always("/a", status(400))
        assert client.reply(origin.url + "/a").status == 400
        for code, error in ((401, AccessDenied), (503, Unavailable)):
            origin.always("/a", status(code))
            with pytest.raises(error):
                client.reply(origin.url + "/a")


class TestAsk:
    QUESTION = b'{"ownerSlug": "google"}'

    @pytest.mark.parametrize("code", [200, 403, 429, 503])
    def test_posts_a_question_once_and_has_the_reply_whatever_its_status(self, origin, client, code: int) -> None:
        origin.route("/a", lambda _: Answer(code, {"X-Name": "value"}, b'{"code": 404}'))
        reply = client.ask(origin.url + "/a", self.QUESTION, SECRET)
        assert (reply.status, reply.headers["x-name"], reply.body) == (code, "value", b'{"code": 404}')
        (asked,) = origin.requests
        assert (asked.method, asked.body, asked.headers["content-type"]) == ("POST", self.QUESTION, "application/json")
        assert asked.headers["authorization"] == SECRET["Authorization"]

    def test_gets_where_there_is_no_question(self, origin, client) -> None:
        origin.put("/a", PAYLOAD)
        assert client.ask(origin.url + "/a", None, max_body_bytes=10).body == PAYLOAD[:10]
        assert (origin.requests[0].method, origin.requests[0].body) == ("GET", b"")

    def test_follows_no_redirect_and_says_where_it_leads(self, origin, client) -> None:
        origin.route("/a", redirect("/b?signature=hush"))
        reply = client.ask(origin.url + "/a", self.QUESTION)
        assert reply.leads_to == origin.url + "/b?signature=hush"
        assert [request.path for request in origin.requests] == ["/a"]
        origin.route("/a", redirect("file:///etc/passwd"))
        with pytest.raises(Permanent, match="not an http"):
            _ = client.ask(origin.url + "/a", self.QUESTION).leads_to

    def test_goes_once_more_as_a_whole_where_a_kept_connection_had_ended(self, origin, client) -> None:
        origin.route("/a", lambda request: Answer(body=request.body))
        client.ask(origin.url + "/a", b"first")
        origin.script("/a", hang_up())
        assert client.ask(origin.url + "/a", self.QUESTION).body == self.QUESTION
        assert len(origin.requests) == 3


class TestCancel:
    @pytest.mark.parametrize("fault", [stall_first(), stall(after=700), status(503, {"Retry-After": "200"})])
    @pytest.mark.parametrize("tls", [False, True])
    def test_ends_whatever_is_being_waited_for(self, tmp_path, fault, tls) -> None:
        cancellation = Cancellation()
        patient = RetryPolicy(retry_after_cap_s=200)
        with (
            HttpOrigin(self_signed(tmp_path) if tls else None) as origin,
            http_client(cancellation, stall_timeout_s=200, retry=patient, verify=False) as client,
        ):
            origin.put("/a", PAYLOAD)
            origin.always("/a", fault)
            timer = threading.Timer(0.3, cancellation.cancel)
            timer.start()
            started_s = time.monotonic()
            with pytest.raises(Cancelled):
                client.reply(origin.url + "/a")
            assert time.monotonic() - started_s < 100, "a time-out of 200 s was waited for"
            timer.join()
            with pytest.raises(Cancelled):
                client.probe(origin.url + "/a")

    def test_ends_the_transfers_of_all_threads(self, origin) -> None:
        cancellation = Cancellation()
        ends = []
        with http_client(cancellation, stall_timeout_s=200) as client:
            origin.put("/a", PAYLOAD, headers={"Connection": "close"})
            origin.always("/a", stall(after=100))

            def read() -> None:
                with client.open(origin.url + "/a") as transfer:
                    try:
                        transfer.read_up_to(1000)
                    except Cancelled:
                        ends.append(time.monotonic())

            threads = [threading.Thread(target=read) for _ in range(8)]
            for thread in threads:
                thread.start()
            while origin.body_bytes_sent() < 800:
                time.sleep(0.01)
            cancelled_s = time.monotonic()
            cancellation.cancel()
            for thread in threads:
                thread.join(150)
        assert len(ends) == 8
        assert max(ends) - cancelled_s < 100, "a time-out of 200 s was waited for"


def test_statistics_count_every_request_and_every_byte_of_a_body(origin, client) -> None:
    origin.put("/a", PAYLOAD)
    origin.route("/moved", redirect("/a"))
    with client.open(origin.url + "/moved") as transfer:
        transfer.read_up_to(1 << 30)
    assert (client.stats().requests, client.stats().bytes_received) == (2, len(PAYLOAD))


def test_many_threads_share_the_connections(origin, client) -> None:
    origin.put("/a", PAYLOAD)
    bodies = []

    def read() -> None:
        for _ in range(20):
            with client.open(origin.url + "/a") as transfer:
                bodies.append(transfer.read_up_to(1 << 30))

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bodies == [PAYLOAD] * 160
    assert origin.connections <= 8


def test_a_redirect_may_name_its_target_in_utf_8(origin, client) -> None:
    origin.put("/caf%C3%A9", b"ok")
    head = "HTTP/1.1 302 Found\r\nLocation: /café\r\nContent-Length: 0\r\n\r\n".encode()
    origin.route("/moved", lambda _: Answer(wire=[head]))
    with client.open(origin.url + "/moved") as transfer:
        assert transfer.read_up_to(9) == b"ok"
