"""What is S3's own of the store on S3: credentials, conditions, silence, and the extra that it needs."""

import socket
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import s3fs

from hubfs.blobs.retry import Busy, RetryPolicy
from hubfs.blobs.store import STORE_SETTINGS, ObjectStore, open_store
from hubfs.errors import (
    AccessDenied,
    Cancelled,
    HubfsError,
    InvalidConfig,
    NotFound,
    NotInstalled,
    TimedOut,
    Unavailable,
)
from hubfs.waiting import Cancellation
from tests.support.http_origin import Answer, DeadPort, HttpOrigin
from tests.support.seaweedfs import BUCKET, SeaweedFs

SECRET = "dont-show-this-secret"
REFUSAL = b"<?xml version='1.0'?><Error><Code>%s</Code><Message>no</Message></Error>"

Open = Callable[..., ObjectStore]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, cancellation: Cancellation) -> Iterator[Open]:
    """Opens stores in an environment that has nothing of botocore's but what the test says."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    stores = []

    def open_it(url: str = f"s3://{BUCKET}/x", timeout_s: float = 60.0, **environment: str) -> ObjectStore:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        once = replace(STORE_SETTINGS, timeout_s=timeout_s, retry=RetryPolicy(attempts=1))
        stores.append(open_store(url, once, cancellation))
        return stores[-1]

    yield open_it
    for store in stores:
        store.close()


def keys(url: str) -> dict[str, str]:
    return {"AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "fleet", "AWS_SECRET_ACCESS_KEY": SECRET}


@pytest.fixture
def silent() -> Iterator[str]:
    """The URL of a host that takes connections, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_without_s3fs_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch, opened: Open) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(NotInstalled) as refused:
        opened()
    assert str(refused.value) == f"s3://{BUCKET}/x needs s3fs, which is not installed: pip install 'hubfs[s3]'"


def test_a_url_without_a_bucket_is_refused_at_once(opened: Open) -> None:
    with pytest.raises(InvalidConfig, match="s3://bucket/prefix"):
        opened("s3://")


def test_without_credentials_the_user_is_told_how_to_give_them(opened: Open) -> None:
    with pytest.raises(AccessDenied, match="no credentials") as denied:
        opened(AWS_ENDPOINT_URL="http://127.0.0.1:1").get("name")
    assert "AWS_ACCESS_KEY_ID" in denied.value.advice


@pytest.mark.slow
def test_a_wrong_secret_is_an_access_that_is_denied(seaweed: SeaweedFs, opened: Open) -> None:
    store = opened(**keys(seaweed.url))
    for call in (lambda: store.get("x"), lambda: store.put("x", b"", if_absent=True), lambda: store.list("")):
        with pytest.raises(AccessDenied) as denied:
            call()
        assert SECRET not in str(denied.value)


@pytest.mark.slow
def test_a_bucket_that_does_not_exist_is_said_so(seaweed: SeaweedFs, opened: Open) -> None:
    store = opened("s3://nobodys/x", **seaweed.environment)
    with pytest.raises(NotFound, match="s3://nobodys/x/name"):
        store.put("name", b"data")


@pytest.mark.slow
def test_seaweedfs_keeps_every_condition_that_leases_could_use(seaweed: SeaweedFs) -> None:
    """`hubfs` needs the first one only; docs/decisions/shared-cache.md names the others."""
    environment = seaweed.environment
    fs = s3fs.S3FileSystem(
        key=environment["AWS_ACCESS_KEY_ID"],
        secret=environment["AWS_SECRET_ACCESS_KEY"],
        endpoint_url=seaweed.url,
        skip_instance_cache=True,
    )
    key = uuid.uuid4().hex
    first = fs.call_s3("put_object", Bucket=BUCKET, Key=key, Body=b"1", IfNoneMatch="*")["ETag"]
    second = fs.call_s3("put_object", Bucket=BUCKET, Key=key, Body=b"2", IfMatch=first)["ETag"]
    for refused in (
        lambda: fs.call_s3("put_object", Bucket=BUCKET, Key=key, Body=b"3", IfNoneMatch="*"),
        lambda: fs.call_s3("put_object", Bucket=BUCKET, Key=key, Body=b"3", IfMatch=first),
        lambda: fs.call_s3("delete_object", Bucket=BUCKET, Key=key, IfMatch=first),
    ):
        with pytest.raises(OSError, match="pre-conditions"):
            refused()
    fs.call_s3("delete_object", Bucket=BUCKET, Key=key, IfMatch=second)
    assert not fs.exists(f"{BUCKET}/{key}")


@pytest.mark.parametrize(("status", "code"), [(412, b"PreconditionFailed"), (409, b"ConditionalRequestConflict")])
def test_a_refused_condition_says_that_there_is_an_object(opened: Open, status: int, code: bytes) -> None:
    asked: list[str | None] = []

    class Refuses(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # botocore expects to be told to continue

        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            asked.append(self.headers["If-None-Match"])
            body = REFUSAL % code
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Refuses) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        store = opened(**keys(f"http://127.0.0.1:{server.server_port}"))
        assert store.put("name", b"data", if_absent=True) is False
        with pytest.raises(Unavailable, match=f"s3://{BUCKET}/x/name"):
            store.put("name", b"data")
        server.shutdown()
    assert asked == ["*", None]


def test_an_object_is_got_by_one_request(opened: Open) -> None:
    with HttpOrigin() as origin:
        body = bytes(12 << 20)
        origin.route("/*", lambda _: Answer(body=body))
        assert opened(**keys(origin.url)).get("name") == body
        assert [(request.method, request.path) for request in origin.requests] == [("GET", f"/{BUCKET}/x/name")]


def test_an_empty_folder_is_listed_by_one_request(opened: Open) -> None:
    with HttpOrigin() as origin:
        origin.route("/*", lambda _: Answer(body=b"<ListBucketResult></ListBucketResult>"))
        assert opened(**keys(origin.url)).list("blocks/model/") == []
        assert len(origin.requests) == 1


def test_a_store_that_is_busy_is_asked_as_often_as_the_settings_say(opened: Open) -> None:
    with HttpOrigin() as origin:
        origin.route("/*", lambda _: Answer(503, {}, REFUSAL % b"SlowDown"))
        with pytest.raises(Unavailable):
            opened(**keys(origin.url)).get("name")
        assert len(origin.requests) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize("ask", [lambda store: store.get("name"), lambda store: store.list("blocks/")])
def test_a_store_that_is_busy_says_so_and_for_how_long(
    opened: Open, status: int, ask: Callable[[ObjectStore], object]
) -> None:
    with HttpOrigin() as origin:
        origin.route("/*", lambda _: Answer(status, {"Retry-After": "7"}, REFUSAL % b"SlowDown"))
        with pytest.raises(Busy, match=f"s3://{BUCKET}/x/") as raised:
            ask(opened(**keys(origin.url)))
        assert raised.value.retry_after_s == 7.0


@pytest.mark.slow
def test_silence_is_borne_no_longer_than_the_time_out(opened: Open, silent: str) -> None:
    with pytest.raises((TimedOut, Unavailable), match=f"s3://{BUCKET}/x/name"):
        opened(timeout_s=1.0, **keys(silent)).get("name")


def test_a_cancel_ends_a_wait(opened: Open, silent: str, cancellation: Cancellation) -> None:
    store = opened(timeout_s=250.0, **keys(silent))
    threading.Timer(0.3, cancellation.cancel).start()
    with pytest.raises(Cancelled):
        store.get("name")


def test_a_server_that_is_gone_is_unavailable_and_no_secret_is_told(opened: Open) -> None:
    with DeadPort() as dead:
        store = opened(**keys(dead.url))
        for call in (
            lambda: store.get("x"),
            lambda: store.put("x", b""),
            lambda: store.list(""),
            lambda: store.delete("x"),
        ):
            with pytest.raises(HubfsError, match=f"s3://{BUCKET}/x") as gone:
                call()
            assert isinstance(gone.value, Unavailable | TimedOut)
            assert SECRET not in str(gone.value)
