import pytest

from hubfs.commands.doctor import network
from hubfs.commands.doctor.finding import Finding, Verdict
from hubfs.settings.config import Config
from tests.support.http_origin import Answer, DeadPort, HttpOrigin

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def no_proxy_of_this_machine(monkeypatch):
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def origin():
    with HttpOrigin() as running:
        yield running


def of_hub(config: Config, subject: str = "hub") -> Finding:
    return next(found for found in network.hub(config) if found.subject == subject)


def test_a_hub_that_answers_whatever_is_well(origin):
    found = of_hub(Config(hub=origin.url))
    assert found.verdict is Verdict.OK
    assert "status 404" in found.said


def test_a_hub_that_refuses_is_a_problem_that_is_asked_once():
    with DeadPort() as dead:
        found = of_hub(Config(hub=dead.url))
    assert found.verdict is Verdict.PROBLEM
    assert "refused" in found.said


def test_a_hub_that_wants_credentials_says_where_they_go(origin):
    origin.route("/*", lambda _: Answer(401))
    found = of_hub(Config(hub=origin.url))
    assert found.verdict is Verdict.PROBLEM
    assert "HUBFS_TOKEN" in found.advice


def test_a_store_that_is_not_there_leaves_the_archives(origin):
    with DeadPort() as dead:
        found = of_hub(Config(hub=origin.url, gcs_endpoint_url=dead.url), "bucket")
    assert found.verdict is Verdict.WARNING
    assert "--format compressed" in found.advice
    assert of_hub(Config(hub=origin.url, gcs_endpoint_url=origin.url), "bucket").verdict is Verdict.OK


def test_a_bucket_as_hub_is_listed(gcs_hub_url):
    config = Config(hub="gs://models", gcs_endpoint_url=gcs_hub_url)
    assert of_hub(config).verdict is Verdict.OK
    assert of_hub(Config(hub="gs://none", gcs_endpoint_url=gcs_hub_url)).verdict is Verdict.PROBLEM


@pytest.fixture(scope="module")
def gcs_hub_url(tmp_path_factory):
    from tests.support.gcs_server import gcs_server  # noqa: PLC0415 - only this test needs the store

    root = tmp_path_factory.mktemp("store")
    (root / "models" / "noise" / "small" / "1").mkdir(parents=True)
    (root / "models" / "noise" / "small" / "1" / "saved_model.pb").write_bytes(b"x")
    with gcs_server(root) as store:
        yield store.url


def test_a_shared_cache_is_asked_and_not_written_to(tmp_path, gcs_hub_url):
    config = Config(gcs_endpoint_url=gcs_hub_url)
    assert network.shared_cache(config, "gs://models/cache").verdict is Verdict.OK
    with DeadPort() as dead:
        assert network.shared_cache(Config(gcs_endpoint_url=dead.url), "gs://b/c").verdict is Verdict.PROBLEM


def test_a_proxy_is_named_without_its_password(monkeypatch):
    monkeypatch.setenv("https_proxy", "http://me:secret@proxy.example:3128")
    (found,) = network.proxies(Config(hub="https://models.example.com"))
    assert "proxy.example:3128" in found.said
    assert "secret" not in found.said
    monkeypatch.setenv("no_proxy", "models.example.com")
    (found,) = network.proxies(Config(hub="https://models.example.com"))
    assert "NO_PROXY" in found.said


def test_with_several_hubs_each_line_of_a_proxy_says_of_which_hub_it_is(monkeypatch):
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    hubs = {"one": {"hub": "https://one.example"}, "two": {"hub": "http://two.example"}}
    assert [found.subject for found in network.proxies(Config(hubs=hubs))] == ["proxy of one", "proxy of two"]


def test_certificates_that_are_not_verified_are_warned_of(tmp_path):
    (found,) = network.certificates(Config(verify_certificates=False), {})
    assert found.verdict is Verdict.WARNING
    assert not list(network.certificates(Config(), {}))


def test_a_bundle_that_does_not_exist_is_a_problem(tmp_path):
    (found,) = network.certificates(Config(), {"REQUESTS_CA_BUNDLE": str(tmp_path / "none.pem")})
    assert found.verdict is Verdict.PROBLEM
