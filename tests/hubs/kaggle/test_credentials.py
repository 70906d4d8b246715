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
    found = []
    for gone in (
        "KAGGLE_API_V1_TOKEN",
        "KAGGLE_API_TOKEN",
        "access_token",
        "access_token.txt",
        "KAGGLE_KEY",
        "dir",
        "",
    ):
        credentials = find_credentials(environ, home)
        assert credentials is not None
        found.append(credentials.authorization)
        environ.pop(gone, None)
        (home / ".kaggle" / gone).unlink() if gone.startswith("access") else None
        environ.pop("KAGGLE_CONFIG_DIR" if gone == "dir" else "", None)
    bearers, basics = found[:4], found[4:]
    assert bearers == ["Bearer KGAT_notebook", "Bearer KGAT_file", "Bearer KGAT_home", "Bearer KGAT_txt"]
    assert basics == ["Basic bWU6a2V5", "Basic bWU6b3RoZXI=", "Basic bWU6aG9tZQ=="]


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
