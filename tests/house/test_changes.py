"""The changelog: each issue has an entry, and a change of hubfs/ without a fragment is noticed."""

import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.programs import ran

pytestmark = pytest.mark.slow

CHANGELOG = (ROOT / "docs" / "CHANGELOG.md").read_text(encoding="utf-8")
FRAGMENTS = [path for path in (ROOT / "docs" / "changes").glob("*.md") if path.name != "README.md"]
ISSUES = {2, 3, 4, 5, 10, 11, 12, 13, 14, 15, 16, 17}
"""The issues of the project up to its first release; no other number was given."""

AUTHOR = {f"GIT_{role}_{what}": "a@example.com" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def git(place: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", place, *arguments], env={**os.environ, **AUTHOR}, check=True, capture_output=True)


def commit(place: Path, file: str) -> None:
    (place / file).parent.mkdir(parents=True, exist_ok=True)
    (place / file).write_text("What is new.\n")
    git(place, "add", "-A")
    git(place, "commit", "-q", "-m", file)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with this project's linter and settings, one commit old."""
    for file in ("scripts/lint", "pyproject.toml", "docs/CHANGELOG.md"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    git(tmp_path, "init", "-q", "-b", "main")
    commit(tmp_path, "hubfs/cli.py")
    git(tmp_path, "switch", "-q", "-c", "patch")
    return tmp_path


def lint(project: Path) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "HUBFS_BIN": sysconfig.get_path("scripts"), "HUBFS_BASE": "main"}
    return ran([project / "scripts/lint", "changes"], env=environment, timeout=120)


def test_every_issue_has_an_entry() -> None:
    told = {int(number) for number in re.findall(r"\(#(\d+)\)", CHANGELOG)}
    assert told | {int(path.name.partition(".")[0]) for path in FRAGMENTS if path.name[0].isdigit()} >= ISSUES


def test_a_change_of_the_program_without_a_fragment_is_noticed(project: Path) -> None:
    commit(project, "hubfs/new.py")
    done = lint(project)
    assert done.returncode == 1
    assert "docs/changes has no new fragment" in done.stderr


@pytest.mark.parametrize("fragment", ["docs/changes/17.fixed.md", "docs/changes/+name.added.md"])
def test_a_change_with_a_fragment_is_well(project: Path, fragment: str) -> None:
    commit(project, "hubfs/new.py")
    commit(project, fragment)
    assert lint(project).returncode == 0


def test_a_fragment_of_no_type_is_noticed(project: Path) -> None:
    commit(project, "hubfs/new.py")
    commit(project, "docs/changes/17.wonderful.md")
    assert lint(project).returncode == 1


def test_a_change_of_the_tests_alone_needs_none(project: Path) -> None:
    commit(project, "tests/test_new.py")
    assert lint(project).returncode == 0


def test_a_base_that_is_not_there_is_an_error(project: Path) -> None:
    git(project, "branch", "-m", "main", "trunk")
    assert lint(project).returncode != 0
