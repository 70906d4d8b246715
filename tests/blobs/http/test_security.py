"""What a host cannot make the client do: ask inside, tell secrets, or speak to somebody who is not who he says."""

import ssl

import pytest

from hubfs.blobs.http.reach import Reach
from hubfs.blobs.retry import Permanent
from hubfs.errors import NotFound
from tests.support.certificates import self_signed
from tests.support.http_clients import http_client
from tests.support.http_origin import HttpOrigin, redirect, status
from tests.support.network import in_network_of

PAYLOAD = b"model" * 200
PUBLIC, OTHER, PRIVATE, METADATA = "8.8.4.4", "1.1.1.1", "10.1.2.3", "169.254.169.254"


def led(hub: str, target: str, location: str = "http://{}/secret", **settings: object) -> tuple[str, int]:
    """What comes of asking a hub at the address `hub` that redirects to `target`, and how often that one was asked."""

    def ask() -> tuple[str, int]:
        with HttpOrigin(address=hub) as origin, HttpOrigin(address=target) as other:
            other.put("/secret", PAYLOAD)
            origin.route("/a", redirect(location.format(other.host, port=other.host.rpartition(":")[2])))
            with http_client(**settings) as client:  # type: ignore[arg-type]
                try:
                    found = client.probe(origin.url + "/a").head
                except Permanent as error:
                    return str(error), len(other.requests)
                return found[:5].decode(), len(other.requests)

    return in_network_of([f"{PUBLIC}/32", f"{OTHER}/32", f"{PRIVATE}/32", f"{METADATA}/32", "fd00::1/128"], ask)


class TestARedirect:
    @pytest.mark.parametrize(
        ("hub", "target"),
        [
            (PUBLIC, "127.0.0.1"),
            (PUBLIC, "127.1.2.3"),
            (PUBLIC, METADATA),
            (PUBLIC, PRIVATE),
            (PRIVATE, "127.0.0.1"),
            (PRIVATE, METADATA),
            ("127.0.0.1", METADATA),
        ],
    )
    def test_leads_no_further_inside_than_its_host_is(self, hub: str, target: str) -> None:
        said, requests = led(hub, target)
        assert target in said
        assert ("HUBFS_PRIVATE_REDIRECTS" in said) == (target != METADATA)
        assert requests == 0

    @pytest.mark.parametrize(
        ("hub", "target"),
        [(PUBLIC, OTHER), (PRIVATE, PUBLIC), (PRIVATE, PRIVATE), ("127.0.0.1", PRIVATE), ("127.0.0.1", "127.0.0.1")],
    )
    def test_leads_out_and_to_its_like(self, hub: str, target: str) -> None:
        assert led(hub, target) == ("model", 1)

    def test_leads_inside_where_the_user_says_so(self) -> None:
        assert led(PUBLIC, PRIVATE, private_redirects=True) == ("model", 1)

    def test_never_leads_to_what_hands_out_a_machine_s_credentials(self) -> None:
        said, requests = led(PUBLIC, METADATA, private_redirects=True)
        assert "link-local" in said
        assert requests == 0

    @pytest.mark.parametrize("written", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "[::ffff:127.0.0.1]"])
    def test_is_judged_by_where_it_leads_and_not_by_how_it_is_written(self, written: str) -> None:
        said, requests = led(PUBLIC, "127.0.0.1", "http://" + written + ":{port}/secret")
        assert requests == 0
        assert said != "model"

    @pytest.mark.parametrize(
        "location",
        [
            "file:///etc/passwd",
            "ftp://127.0.0.1/a",
            "data:text/plain,secret",
            "unix:///run/docker.sock",
            "http+unix://%2Frun%2Fdocker.sock/info",
            "gopher://127.0.0.1/a",
            "javascript:alert(1)",
            "http://hub.example\\@127.0.0.1/",
        ],
    )
    def test_leads_to_http_and_nowhere_else(self, location: str) -> None:
        with HttpOrigin() as origin, http_client() as client:
            origin.route("/a", redirect(location))
            with pytest.raises(Permanent, match="redirects to"):
                client.probe(origin.url + "/a")
            assert len(origin.requests) == 1

    def test_takes_no_credentials_of_its_own_along(self) -> None:
        with HttpOrigin() as origin, HttpOrigin() as other, http_client() as client:
            other.put("/a", PAYLOAD)
            origin.route("/a", redirect(f"http://me:hush@{other.host}/a"))
            assert client.probe(origin.url + "/a").final_url == other.url + "/a"
            assert "authorization" not in other.requests[0].headers

    def test_cannot_smuggle_headers(self) -> None:
        with HttpOrigin() as origin, http_client() as client:
            origin.route("/a", redirect("/b%0d%0aX-Evil:%201\r\n\tX-More: 2"))
            with pytest.raises(NotFound):
                client.probe(origin.url + "/a")
            assert len(origin.requests) == 2
            assert {name for request in origin.requests for name in request.headers if "x-" in name} == set()


def test_a_name_that_leads_somewhere_else_the_next_time_stays_judged_as_it_was() -> None:
    """DNS rebinding: the hub's name is public first, then this machine; its redirects still must not lead inside."""

    def ask() -> tuple[str, int]:
        with HttpOrigin(address=PUBLIC) as hub, HttpOrigin(address="127.0.0.1") as inside:
            inside.put("/secret", PAYLOAD)
            hub.route("/a", redirect(inside.url + "/secret"))
            with http_client() as client:
                host, port = hub.host.split(":")
                with pytest.raises(Permanent):
                    client.probe(hub.url + "/a")
                client._peers.meet(host, int(port), "127.0.0.1", Reach.NOBODY)  # what its name leads to now
                with pytest.raises(Permanent) as caught:
                    client.probe(hub.url + "/a")
                return str(caught.value), len(inside.requests)

    said, requests = in_network_of([f"{PUBLIC}/32"], ask)
    assert "loopback" in said
    assert requests == 0


def test_cookies_are_neither_kept_nor_passed_on() -> None:
    with HttpOrigin() as origin, HttpOrigin() as other, http_client() as client:
        cookie = {"Set-Cookie": "session=hush; Path=/; Domain=127.0.0.1"}
        for host in (origin, other):
            host.put("/a", PAYLOAD, headers=cookie)
        origin.script("/b", status(302, {**cookie, "Location": other.url + "/a"}))
        client.probe(origin.url + "/a")
        client.probe(origin.url + "/b")
        client.probe(origin.url + "/a", fresh=True)
        assert all("cookie" not in request.headers for host in (origin, other) for request in host.requests)


@pytest.mark.parametrize("changed", ["port", "scheme"])
def test_credentials_stay_with_scheme_host_and_port(changed: str, tmp_path) -> None:
    with (
        HttpOrigin() as origin,
        HttpOrigin(self_signed(tmp_path) if changed == "scheme" else None) as other,
        http_client(
            credential_host=origin.host,
            credential_scheme="http",
            headers={"Authorization": "Bearer hush"},
            verify=False,
        ) as client,
    ):
        other.put("/a", PAYLOAD)
        origin.route("/a", redirect(other.url + "/a"))
        client.probe(origin.url + "/a")
        assert origin.requests[0].headers["authorization"] == "Bearer hush"
        assert "authorization" not in other.requests[0].headers


class TestTls:
    @pytest.mark.parametrize(
        ("certificate", "reason"),
        [
            ({"host": "127.0.0.9"}, r"address.*is the URL right"),
            ({"days": (-3, -1)}, r"expired.*the host's operator"),
            ({"days": (1, 3)}, r"not yet valid.*clock"),
        ],
    )
    def test_a_certificate_must_be_for_this_host_and_this_day(self, tmp_path, monkeypatch, certificate, reason) -> None:
        files = self_signed(tmp_path, **certificate)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(files[0]))
        with HttpOrigin(files) as secure, http_client() as client:
            with pytest.raises(Permanent, match=reason):
                client.probe(secure.url + "/a?hush")
            assert secure.requests == []

    @pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
    def test_old_versions_are_refused(self, tmp_path, monkeypatch) -> None:
        files = self_signed(tmp_path)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(files[0]))
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        old.load_cert_chain(*files)
        old.set_ciphers("ALL:@SECLEVEL=0")
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1
        with HttpOrigin(old) as secure, http_client() as client:
            with pytest.raises(Permanent, match="no version or cipher of TLS that is still safe"):
                client.probe(secure.url + "/a?hush")
            assert secure.requests == []


def test_a_client_that_verifies_nothing_says_so_aloud(caplog) -> None:
    with http_client(verify=False):
        pass
    assert [record.levelname for record in caplog.records] == ["WARNING"]
