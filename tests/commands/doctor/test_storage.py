import contextlib
import os
from pathlib import Path

import pytest

from hubfs.commands.doctor import storage
from hubfs.commands.doctor.finding import Verdict
from hubfs.settings.config import Config


def verdicts(findings):
    return [finding.verdict for finding in findings]


def test_a_private_directory_is_well_and_stays_empty(tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o700)
    found = list(storage.cache_directory(cache))
    assert set(verdicts(found)) == {Verdict.OK}, found
    assert not list(cache.iterdir())


def test_a_directory_that_does_not_exist_yet_is_not_made(tmp_path):
    found = list(storage.cache_directory(tmp_path / "a" / "b"))
    assert "can be made" in found[0].said
    assert not (tmp_path / "a").exists()


def test_a_file_in_its_place_is_a_problem(tmp_path):
    (tmp_path / "cache").touch()
    (found,) = storage.cache_directory(tmp_path / "cache")
    assert found.verdict is Verdict.PROBLEM
    assert "--no-disk-cache" in found.advice


def test_one_that_is_open_to_others_is_warned_of(tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.chmod(0o755)
    found = next(finding for finding in storage.cache_directory(cache) if finding.verdict is Verdict.WARNING)
    assert found.advice == f"chmod 700 {cache}"


def test_one_that_nobody_can_write_to_is_a_problem():
    (found,) = storage.cache_directory(Path("/proc/self/fdinfo"))
    assert found.verdict is Verdict.PROBLEM
    assert "cannot be written" in found.said


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user for a moment, which takes root")
def test_one_where_this_user_may_not_look_is_a_problem(tmp_path):
    with contextlib.ExitStack() as restored:
        (tmp_path / "closed" / "cache").mkdir(mode=0o700, parents=True)
        (tmp_path / "closed").chmod(0o700)
        restored.callback(os.seteuid, 0)
        os.seteuid(65534)
        (found,) = storage.cache_directory(tmp_path / "closed" / "cache")
    assert found.verdict is Verdict.PROBLEM


def test_no_disk_cache_is_well():
    assert verdicts(storage.examine(Config(cache_dir=None))) == [Verdict.OK, Verdict.OK]


def test_a_log_that_cannot_be_written_is_a_warning(tmp_path):
    def log(path):
        return storage.log(Config(log_file=path))

    assert log(tmp_path / "new" / "hubfs.log").verdict is Verdict.OK
    (tmp_path / "file").touch()
    assert log(tmp_path / "file").verdict is Verdict.OK
    for path in (tmp_path / "file" / "hubfs.log", tmp_path, Path("/proc/hubfs.log"), Path("/proc/new/hubfs.log")):
        assert log(path).verdict is Verdict.WARNING
        assert "--log-file" in log(path).advice


def test_without_a_name_the_log_is_in_the_users_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    found = storage.log(Config())
    assert (found.verdict, found.said) == (Verdict.OK, f"{tmp_path}/.local/state/hubfs/log/<mount point>.log")
    (tmp_path / ".local").touch()
    assert storage.log(Config()).verdict is Verdict.WARNING
    assert storage.log(Config(cache_dir=None)).verdict is Verdict.OK, "no file is written"


def test_a_catalogue_is_read(tmp_path):
    file = tmp_path / "catalog.jsonl"
    assert storage.catalogue(file, "https://tfhub.dev").verdict is Verdict.PROBLEM
    file.write_text("Module\tgoogle/spice/2\n")
    assert storage.catalogue(file, "https://tfhub.dev").verdict is Verdict.OK
    file.write_text("nonsense\n")
    assert storage.catalogue(file, "https://tfhub.dev").verdict is Verdict.PROBLEM
