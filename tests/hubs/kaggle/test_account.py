"""Signing in at Kaggle by what a user has: OAuth's tokens are renewed, and go nowhere but to the API."""

import json
import logging
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from hubfs.errors import AccessDenied, Unavailable
from hubfs.hubs.hub import Hub, Means, make_hub
from hubfs.model_id import ModelId
from tests.support.http_clients import NO_HEADERS, gcs_client, http_client
from tests.support.kaggle import KaggleStandIn
from tests.support.kaggle_replies import instead, json_reply, too_many
from tests.support.kits import Workshop
from tests.support.sources import contents

NAME = "google/gemma/keras/2b"
FILES = {"model.weights.h5": b"weights" * 1000}
RENEWAL = "GenerateAccessToken"


@pytest.fixture
def kaggle() -> Iterator[KaggleStandIn]:
    with KaggleStandIn() as kaggle:
        kaggle.put(f"{NAME}/1", FILES)
        kaggle.gated.add("google/gemma")
        kaggle.consented.add("reader")
        yield kaggle


@contextmanager
def made(
    kaggle: KaggleStandIn, home: Path, dialect: str = "rpc", headers: Mapping[str, str] = NO_HEADERS
) -> Iterator[Hub]:
    environ = {"HOME": str(home), "HUBFS_KAGGLE_DIALECT": dialect}
    with means(kaggle, environ, headers) as found:
        yield make_hub("kaggle:", found)


@contextmanager
def means(kaggle: KaggleStandIn, environ: Mapping[str, str], headers: Mapping[str, str]) -> Iterator[Means]:
    with gcs_client() as gcs, http_client(headers=headers) as http:
        yield Means(http, gcs, endpoints={"kaggle": kaggle.url}, environ=environ, headers=headers)


def oauth(home: Path, *, access_token: str, in_s: float) -> Path:
    expires = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(time.time() + in_s))
    said = {"refresh_token": "refresh", "access_token": access_token, "access_token_expiration": expires}
    file = home / ".kaggle/credentials.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(said))
    return file


def read(hub: Hub, tools: Workshop) -> dict[str, bytes]:
    return contents(hub.open(ModelId(NAME, "1"), tools.kit))


@pytest.mark.parametrize("dialect", ["rpc", "rest"])
def test_a_token_that_holds_is_used_and_not_renewed(kaggle, tools, tmp_path, dialect) -> None:
    oauth(tmp_path, access_token="KGAT_held", in_s=3600)
    kaggle.tokens["KGAT_held"] = "reader"
    with made(kaggle, tmp_path, dialect) as hub:
        assert read(hub, tools) == FILES
        kaggle.put("google/yamnet/tensorFlow2/yamnet/1", FILES)
        (check,) = hub.checks()
        assert check.ask().endswith("has version 1 (hubfs signs in by the credentials of ~/.kaggle/credentials.json)")
    assert RENEWAL not in kaggle.calls


@pytest.mark.parametrize(("dialect", "in_s", "holds_s"), [("rpc", -3600, 43_200), ("rest", 60, 43_200), ("rpc", -1, 0)])
def test_one_that_expires_is_renewed_once_for_all_in_memory_only(
    kaggle, tools, tmp_path, dialect, in_s, holds_s
) -> None:
    file = oauth(tmp_path, access_token="KGAT_old", in_s=in_s)
    before = file.read_bytes()
    kaggle.token_holds_s = holds_s
    kaggle.refresh_tokens["refresh"] = "reader"
    with made(kaggle, tmp_path, dialect) as hub:
        with ThreadPoolExecutor(8) as readers:
            assert set(readers.map(lambda _: hub.alias(NAME), range(8))) == {"1"}
        assert read(hub, tools) == FILES
    assert kaggle.calls[RENEWAL] == 1
    assert file.read_bytes() == before
    assert not [request for request in kaggle.stored if "authorization" in request.headers]


def test_one_that_is_refused_is_renewed_too(kaggle, tools, tmp_path) -> None:
    oauth(tmp_path, access_token="KGAT_revoked", in_s=3600)
    kaggle.refresh_tokens["refresh"] = "reader"
    with made(kaggle, tmp_path) as hub:
        assert read(hub, tools) == FILES
        kaggle.tokens.clear()
        kaggle.tokens["KGAT_others"] = "somebody"  # so that the next one is a new one
        assert hub.alias(NAME) == "1"
    assert kaggle.calls[RENEWAL] == 2


def test_without_a_refresh_token_that_counts_nobody_is_signed_in(kaggle, tools, tmp_path, caplog) -> None:
    oauth(tmp_path, access_token="KGAT_old", in_s=-3600)
    kaggle.put("google/open/keras/2b/1", FILES)
    with made(kaggle, tmp_path) as hub, caplog.at_level(logging.WARNING):
        assert contents(hub.open(ModelId("google/open/keras/2b", "1"), tools.kit)) == FILES
        with pytest.raises(AccessDenied, match="signs in by no credentials"):
            read(hub, tools)
    assert kaggle.calls[RENEWAL] == 1
    assert "kaggle auth login" in caplog.text
    assert 'refresh"' not in caplog.text


def test_a_renewal_that_fails_for_a_while_gives_nothing_up(kaggle, tools, tmp_path) -> None:
    oauth(tmp_path, access_token="KGAT_old", in_s=-3600)
    kaggle.refresh_tokens["refresh"] = "reader"
    kaggle.script(RENEWAL, too_many(0), instead(json_reply({}, 503)))
    with made(kaggle, tmp_path) as hub:
        assert read(hub, tools) == FILES
        assert kaggle.calls[RENEWAL] == 3


def test_while_kaggle_asks_to_be_left_alone_no_token_is_asked_for(kaggle, tools, tmp_path) -> None:
    oauth(tmp_path, access_token="KGAT_old", in_s=-3600)
    kaggle.refresh_tokens["refresh"] = "reader"
    kaggle.script(RENEWAL, too_many(600))
    with made(kaggle, tmp_path) as hub:
        for _ in range(3):
            with pytest.raises(Unavailable, match="asked again after"):
                hub.alias(NAME)
    assert sum(kaggle.calls.values()) == 1


def test_the_token_of_the_hub_comes_before_all_others(kaggle, tools, tmp_path) -> None:
    oauth(tmp_path, access_token="KGAT_other", in_s=3600)
    kaggle.tokens["KGAT_given"] = "reader"
    with made(kaggle, tmp_path, headers={"Authorization": "Bearer KGAT_given"}) as hub:
        assert read(hub, tools) == FILES
    assert not [request for request in kaggle.stored if "authorization" in request.headers]


def test_the_token_of_another_hub_is_not_sent_to_kaggle(kaggle, tools, tmp_path) -> None:
    """A mount of https://tfhub.dev asks Kaggle, too, by the same means."""
    kaggle.tokens["of tfhub.dev"] = "reader"
    headers = {"Authorization": "Bearer of tfhub.dev"}
    with means(kaggle, {"HOME": str(tmp_path)}, headers) as of_tfhub:
        with pytest.raises(AccessDenied):
            read(of_tfhub.hub("kaggle:"), tools)
        assert kaggle.calls
        assert not kaggle.users
        assert read(make_hub("kaggle:", of_tfhub), tools) == FILES, "the token would have been taken"
