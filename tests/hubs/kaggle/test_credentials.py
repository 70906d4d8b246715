import json
from pathlib import Path

import pytest

from hubfs.hubs.kaggle.credentials import Credentials, find_credentials


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_nothing_is_no_account(tmp_path: Path):
    assert find_credentials({}, tmp_path) is None


def test_each_source_comes_before_those_after_it(tmp_path: Path):
    home, folder, named = tmp_path / "home", tmp_path / "config", write(tmp_path / "named", "KGAT_file\n")
    notebook = write(tmp_path / "notebook", "KGAT_notebook")
    environ = {
        "KAGGLE_KERNEL_RUN_TYPE": "Batch",
        "KAGGLE_API_V1_TOKEN": str(notebook),
        "KAGGLE_API_TOKEN": str(named),
        "KAGGLE_USERNAME": "me",
        "KAGGLE_KEY": "key",
        "KAGGLE_CONFIG_DIR": str(folder),
    }
    write(folder / "kaggle.json", '{"username": "me", "key": "other"}')
    write(home / ".kaggle/kaggle.json", '{"username": "me", "key": "home"}')
    write(home / ".kaggle/access_token", "KGAT_home")
    write(home / ".kaggle/access_token.txt", "KGAT_txt")
    oauth = '{"refresh_token": "more", "access_token": "short", "access_token_expiration": "2026-01-01T00:00:00+00:00"}'
    write(home / ".kaggle/credentials.json", oauth)
    found = []
    for gone in (
        "KAGGLE_API_V1_TOKEN",
        "KAGGLE_API_TOKEN",
        "access_token",
        "access_token.txt",
        "KAGGLE_KEY",
        "dir",
        "kaggle.json",
        "",
    ):
        credentials = find_credentials(environ, home)
        assert credentials is not None
        found.append(credentials.authorization)
        environ.pop(gone, None)
        (home / ".kaggle" / gone).unlink() if gone.startswith(("access", "kaggle")) else None
        environ.pop("KAGGLE_CONFIG_DIR" if gone == "dir" else "", None)
    bearers, basics = found[:4], found[4:]
    assert bearers == ["Bearer KGAT_notebook", "Bearer KGAT_file", "Bearer KGAT_home", "Bearer KGAT_txt"]
    assert basics == ["Basic bWU6a2V5", "Basic bWU6b3RoZXI=", "Basic bWU6aG9tZQ==", "Bearer short"]


@pytest.mark.parametrize(
    ("date", "expires_s"),
    [
        ("2026-01-01T00:00:00+00:00", 1767225600.0),
        ("2026-01-01T00:00:00.5Z", 1767225600.5),
        ("2026-01-01T00:00:00", 1767225600.0),
        ("", 0.0),
        ("tomorrow", 0.0),
    ],
)
def test_the_oauth_file_has_a_token_that_expires_and_one_that_gets_more(tmp_path: Path, date: str, expires_s: float):
    said = {"refresh_token": "more", "access_token": "short", "access_token_expiration": date, "scopes": ["a"]}
    write(tmp_path / ".kaggle/credentials.json", json.dumps(said))
    found = find_credentials({}, tmp_path)
    assert found == Credentials("~/.kaggle/credentials.json", "Bearer short", "more", expires_s)
    assert "more" not in repr(found)
    assert "short" not in repr(found)


def test_an_oauth_file_without_a_token_has_one_that_expired(tmp_path: Path):
    write(tmp_path / ".kaggle/credentials.json", '{"refresh_token": "more"}')
    found = find_credentials({}, tmp_path)
    assert found is not None
    assert (found.refresh_token, found.expires_s) == ("more", 0.0)
    write(tmp_path / ".kaggle/credentials.json", '{"access_token": "short"}')
    assert find_credentials({}, tmp_path) is None


def test_a_token_is_given_as_itself(tmp_path: Path):
    assert find_credentials({"KAGGLE_API_TOKEN": "KGAT_1"}, tmp_path) == Credentials(
        "KAGGLE_API_TOKEN", "Bearer KGAT_1"
    )


def test_the_secret_is_not_shown(tmp_path: Path):
    assert "KGAT_1" not in repr(find_credentials({"KAGGLE_API_TOKEN": "KGAT_1"}, tmp_path))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"username": "me"}', '{"username": 1, "key": 2}', "\ufffd" * 9])
def test_a_file_that_is_none_is_passed_over(tmp_path: Path, text: str):
    write(tmp_path / ".kaggle/kaggle.json", text)
    assert find_credentials({}, tmp_path) is None
