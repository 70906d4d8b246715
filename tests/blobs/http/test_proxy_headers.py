"""Headers for a proxy reach the proxy, on every way through it, and no host."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hubfs.blobs.retry import Permanent, RetryPolicy
from hubfs.errors import HubfsError
from tests.support.certificates import self_signed
from tests.support.http_clients import http_client
from tests.support.http_origin import Answer, HttpOrigin, redirect
from tests.support.plain_proxy import PlainProxy, plain_proxy
from tests.support.tunnel import tunnel

SECRET = "dont-show-this-secret"
TOLD = {"X-Dragonfly-Use-P2P": "true", "Proxy-Authorization": f"Bearer {SECRET}"}
PAYLOAD = bytes(range(256)) * 40


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[PlainProxy]:
    with plain_proxy() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        yield proxy


@pytest.fixture
def origin() -> Iterator[HttpOrigin]:
    with HttpOrigin() as origin:
        origin.put("/file", PAYLOAD, etag='"1"')
        yield origin


def is_told(headers: dict[str, str]) -> bool:
    return all(headers.get(name.lower()) == value for name, value in TOLD.items())


def asked_without(origin: HttpOrigin) -> bool:
    """Whether the origin was asked, and no request of it had any of the headers."""
    names = {name.lower() for name in TOLD}
    return bool(origin.requests) and not any(
        names & {name.lower() for name in request.headers} for request in origin.requests
    )


def test_a_proxy_is_told_with_each_request_wherever_a_hub_leads(proxy: PlainProxy, origin: HttpOrigin) -> None:
    proxy.places = {"hub.example": origin.host, "elsewhere.example": origin.host}
    origin.route("/model", redirect("http://elsewhere.example/file"))
    with http_client(proxy_headers=TOLD) as client, client.open("http://hub.example/model") as transfer:
        assert transfer.read_up_to(len(PAYLOAD)) == PAYLOAD
    assert [url for url, _ in proxy.told] == ["http://hub.example/model", "http://elsewhere.example/file"]
    assert all(is_told(headers) for _, headers in proxy.told)
    assert asked_without(origin)


def test_a_host_that_is_asked_without_the_proxy_is_told_nothing(
    proxy: PlainProxy, origin: HttpOrigin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither one that the user names, nor one where a hub's owner leads."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    proxy.places = {"hub.example": origin.host}
    with HttpOrigin() as owners:
        owners.put("/file", PAYLOAD)
        origin.route("/model", redirect(f"{owners.url}/file"))
        with http_client(proxy_headers=TOLD, private_redirects=True) as client:
            for url in ("http://hub.example/model", f"{owners.url}/file"):
                with client.open(url) as transfer:
                    assert transfer.read_up_to(len(PAYLOAD)) == PAYLOAD
        assert [url for url, _ in proxy.told] == ["http://hub.example/model"]
        assert asked_without(owners)


def test_a_tunnel_is_asked_for_with_them_and_nothing_of_them_goes_through_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = self_signed(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tls[0]))
    with HttpOrigin(tls) as origin, tunnel() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        origin.put("/file", PAYLOAD)
        origin.route("/model", redirect("/file"))
        with http_client(proxy_headers=TOLD) as client, client.open(f"{origin.url}/model") as transfer:
            assert transfer.read_up_to(len(PAYLOAD)) == PAYLOAD
        assert proxy.tunnels
        for head in proxy.heads:
            lines = head.decode().split("\r\n")
            assert all(f"{name}: {value}" in lines for name, value in TOLD.items())
        assert asked_without(origin)


def test_without_a_proxy_nobody_is_told(origin: HttpOrigin) -> None:
    with http_client(proxy_headers=TOLD) as client, client.open(f"{origin.url}/file") as transfer:
        assert transfer.read_up_to(len(PAYLOAD)) == PAYLOAD
    assert asked_without(origin)


def test_the_credentials_of_the_proxys_url_give_way(
    origin: HttpOrigin, proxy: PlainProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("//", "//me:other@"))
    proxy.places = {"hub.example": origin.host}
    with http_client(proxy_headers=TOLD) as client, client.open("http://hub.example/file"):
        pass
    assert is_told(proxy.told[0][1])


def test_no_error_shows_them(origin: HttpOrigin, proxy: PlainProxy) -> None:
    proxy.places = {"hub.example": origin.host}
    origin.route("/refused", lambda _: Answer(407))
    with http_client(proxy_headers=TOLD, retry=RetryPolicy(attempts=1)) as client:
        with pytest.raises(Permanent, match="407") as refused:
            client.probe("http://hub.example/refused")
        proxy.places = {"hub.example": "127.0.0.1:1"}
        with pytest.raises(HubfsError) as failed:
            client.probe("http://hub.example/other")
        assert SECRET not in f"{refused.value} {failed.value} {client.settings}"
