"""scripts/release, run on a clone of this checkout as it is now."""

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.programs import ran

pytestmark = pytest.mark.slow

VERSION = "98.7.6"

AUTHOR = {f"GIT_{role}_{what}": "a@example.com" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
ENVIRONMENT = {**os.environ, **AUTHOR, "HUBFS_BIN": sysconfig.get_path("scripts")}


def git(place: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", place, *arguments], env=ENVIRONMENT, check=True, capture_output=True, text=True)
    return done.stdout


def release(project: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return ran(
        [project / "scripts" / "release", *arguments], env={**ENVIRONMENT, "TMPDIR": str(project.parent)}, timeout=280
    )


def serving(place: Path) -> list[str]:
    """The processes that serve something below `place`."""
    programs = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            programs.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [program for program in programs if str(place) in program and " serve " in program]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository that has what this checkout has now, committed or not, with a version and a fragment of its own."""
    place = tmp_path_factory.mktemp("release") / "original"
    for name in git(ROOT, "ls-files", "--cached", "--others", "--exclude-standard").splitlines():
        if (ROOT / name).is_file() and not name.startswith("tests/") and not name.endswith(".png"):
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, place / name)
    about = place / "hubfs" / "__init__.py"
    said = f'__version__ = "{VERSION}"'
    text, changed = re.subn(r'^__version__ = ".*"$', said, about.read_text(), flags=re.MULTILINE)
    assert changed == 1
    about.write_text(text)
    (place / "docs" / "changes" / "1.added.md").write_text("What is new.\n")
    git(place.parent, "init", "-q", "-b", "main", str(place))
    git(place, "add", "-A")
    git(place, "commit", "-q", "-m", "the project")
    return place


@pytest.fixture
def project(original: Path, tmp_path: Path) -> Path:
    git(tmp_path, "clone", "-q", str(original), "project")
    return tmp_path / "project"


def test_a_release_is_built_tried_and_tagged_and_dist_has_what_was_tried(project: Path) -> None:
    done = release(project, "--tag", VERSION)
    assert done.returncode == 0, done.stderr
    assert not [*project.parent.glob("hubfs-release.*")]
    assert serving(project.parent) == [], "the wheel's hubfs serve goes on"
    dist = project / "dist"
    sums = dict(reversed(line.split("  ")) for line in (dist / "SHA256SUMS").read_text().splitlines())
    assert {*sums} == {f"hubfs-{VERSION}.tar.gz", f"hubfs-{VERSION}-py3-none-any.whl"}
    for name, expected in sums.items():
        assert hashlib.sha256((dist / name).read_bytes()).hexdigest() == expected
    with zipfile.ZipFile(dist / f"hubfs-{VERSION}-py3-none-any.whl") as wheel:
        assert {"hubfs/py.typed", "hubfs/cli.py"} <= {*wheel.namelist()}
        assert not any(name.startswith("tests/") for name in wheel.namelist())
    with tarfile.open(dist / f"hubfs-{VERSION}.tar.gz") as sdist:
        assert f"hubfs-{VERSION}/pyproject.toml" in sdist.getnames()

    assert git(project, "tag").split() == [f"v{VERSION}"]
    assert git(project, "rev-parse", f"v{VERSION}^{{commit}}") == git(project, "rev-parse", "HEAD")
    assert f"## hubfs {VERSION} (" in (project / "docs" / "CHANGELOG.md").read_text()
    assert [path.name for path in (project / "docs" / "changes").iterdir()] == ["README.md"]
    assert git(project, "status", "--porcelain") == ""

    again = release(project)
    assert again.returncode == 1
    assert again.stderr == f"error: the tag v{VERSION} exists: raise it in hubfs/__init__.py\n"


def test_a_tree_with_changes_is_refused(project: Path) -> None:
    (project / "hubfs" / "cli.py").write_text("")
    done = release(project)
    assert done.returncode == 1
    assert "not committed:  M hubfs/cli.py" in done.stderr


def test_another_version_is_refused(project: Path) -> None:
    done = release(project, "99.0.0")
    assert done.returncode == 1
    assert done.stderr == f"error: hubfs/__init__.py says {VERSION}, and not 99.0.0\n"


def test_a_version_that_the_changelog_has_is_refused(project: Path) -> None:
    changelog = project / "docs" / "CHANGELOG.md"
    changelog.write_text(f"{changelog.read_text()}\n## hubfs {VERSION} (2026-01-01)\n")
    git(project, "commit", "-q", "-a", "-m", "as if")
    done = release(project)
    assert done.returncode == 1
    assert "the changelog has" in done.stderr


def test_a_release_of_nothing_is_refused_and_changes_nothing(project: Path) -> None:
    for fragment in (project / "docs" / "changes").iterdir():
        if fragment.name != "README.md":
            git(project, "rm", "-q", str(fragment))
    git(project, "commit", "-q", "-m", "nothing to tell")
    before = git(project, "rev-parse", "HEAD")
    done = release(project, "--tag")
    assert done.returncode == 1
    assert "docs/changes has no fragment" in done.stderr
    assert git(project, "tag") == ""
    assert git(project, "rev-parse", "HEAD") == before
    assert not (project / "dist").exists()


@pytest.mark.parametrize("arguments", [["--help"], ["--tag", "--push"]])
def test_what_makes_no_sense_is_refused(project: Path, arguments: list[str]) -> None:
    assert release(project, *arguments).returncode == 2
