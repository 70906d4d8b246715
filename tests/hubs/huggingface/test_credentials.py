from collections.abc import Mapping
from pathlib import Path
from unittest import mock

import pytest

from hubfs.hubs.hub import Means, make_hub
from hubfs.hubs.huggingface import credentials
from hubfs.hubs.huggingface.credentials import find_credentials
from hubfs.hubs.huggingface.hub import HuggingFace
from tests.support.http_clients import gcs_client, http_client

FILE = {"Authorization": "Bearer of-file"}


@pytest.mark.parametrize(
    ("environ", "source", "token"),
    [
        ({}, "no credentials", None),
        ({"HF_TOKEN": " a\n", "HUGGING_FACE_HUB_TOKEN": "b"}, "HF_TOKEN", "a"),
        ({"HUGGING_FACE_HUB_TOKEN": "b"}, "HUGGING_FACE_HUB_TOKEN", "b"),
        ({"HF_TOKEN": "a\x00"}, "no credentials", None),
        ({"HF_TOKEN": "a", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}, "HF_HUB_DISABLE_IMPLICIT_TOKEN is set", None),
    ],
)
def test_a_token_of_the_environment_comes_first(environ: Mapping[str, str], source: str, token: str | None) -> None:
    found = find_credentials({"HOME": "/nowhere", **environ})
    assert source in found.source
    assert {**found} == ({} if token is None else {"Authorization": f"Bearer {token}"})
    assert "Bearer" not in repr(found)


@pytest.mark.parametrize(
    ("path", "environ"),
    [
        (".cache/huggingface/token", {}),
        ("x/huggingface/token", {"XDG_CACHE_HOME": "{home}/x"}),
        ("y/token", {"HF_HOME": "{home}/y", "XDG_CACHE_HOME": "{home}/x"}),
        ("z", {"HF_TOKEN_PATH": "{home}/z", "HF_HOME": "{home}/y"}),
    ],
)
def test_then_comes_the_file_of_the_client(tmp_path: Path, path: str, environ: Mapping[str, str]) -> None:
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_text("of-file\n")
    placed = {name: text.format(home=tmp_path) for name, text in environ.items()}
    found = find_credentials({"HOME": str(tmp_path), **placed})
    assert {**found} == FILE
    assert len(found) == 1
    assert str(tmp_path / path) in found.source


def test_the_file_of_the_client_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "token"
    found = find_credentials({"HF_TOKEN_PATH": str(path)}, {"X-More": "1"})
    assert ({**found}, found.source) == ({"X-More": "1"}, "no credentials")
    path.write_text("of-file")
    assert ({**found}, found.source) == ({"X-More": "1", **FILE}, f"the token in {path}")
    read = mock.Mock(side_effect=AssertionError("the file is as it was"))
    with mock.patch.object(credentials, "_token_in", read):
        assert {**found} == {"X-More": "1", **FILE}
    path.write_text("")
    assert {**found} == {"X-More": "1", **FILE}, "it is being written"
    path.write_text("of-today")
    assert found["Authorization"] == "Bearer of-file", "as in the midst of a use"
    assert {**found} == {"X-More": "1", "Authorization": "Bearer of-today"}
    path.unlink()
    assert ({**found}, found.source) == ({"X-More": "1"}, "no credentials")
    assert "of-" not in repr(found)


def test_a_token_of_the_environment_stays_whatever_the_file_says(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("of-file")
    found = find_credentials({"HF_TOKEN_PATH": str(tmp_path / "token"), "HF_TOKEN": "a"})
    assert {**found} == {"Authorization": "Bearer a"}


@pytest.mark.parametrize(
    ("endpoint", "sent"),
    [
        (None, True),
        ("https://mirror.example", True),
        ("http://127.0.0.1:8090", True),
        ("http://10.0.0.5:8090", False),
    ],
)
def test_no_token_is_sent_by_http_to_another_machine(endpoint: str | None, sent: bool) -> None:  # noqa: FBT001 - a case
    endpoints = {} if endpoint is None else {"hf": endpoint}
    with gcs_client() as gcs, http_client() as http:
        hub = make_hub("hf:", Means(http, gcs, endpoints=endpoints, environ={"HF_TOKEN": "a"}))
    assert isinstance(hub, HuggingFace)
    assert bool(hub._api.headers) is sent
