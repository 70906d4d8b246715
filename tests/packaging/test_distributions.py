"""The wheel and the sdist: what is in them, and whether people can install and use them, with every Python here.

Packages come from the index that uv and pip are configured for.
"""

import email.parser
import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import hubfs
from hubfs.cli import COMMANDS
from tests.support.files import files
from tests.support.huggingface import HuggingFaceStandIn
from tests.support.paths import ROOT, WORK, copy_of_the_tree
from tests.support.programs import output_of, ran

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("distributions")]

NAME = "BAAI/tiny"
FILES = {"config.json": b'{"model_type": "bert"}', "model.safetensors": os.urandom(300_000)}
SUPPORTED = ("3.10", "3.11", "3.12", "3.13", "3.14")
NEWEST = WORK / "python-3.14"
OUTSIDE = {"PYTHONPATH", "VIRTUAL_ENV"}
"""Variables that would lead out of an environment."""


def pythons() -> Mapping[str, str]:
    """The interpreters of this machine by their versions, of those that hubfs supports. pyenv hides its own."""
    found: dict[str, str] = {}
    for version in SUPPORTED:
        of_pyenv = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python{version}"))
        for one in (f"python{version}", sys.executable, "/usr/bin/python3", *map(str, of_pyenv)):
            path = shutil.which(one)
            asked = "import sys, venv; print('.'.join(map(str, sys.version_info[:2])))"
            if path and ran([path, "-c", asked]).stdout.strip() == version:
                found[version] = path
                break
    return found


def uv(*arguments: str | Path, **environment: str) -> str:
    """What uv prints."""
    variables = {name: value for name, value in os.environ.items() if name not in OUTSIDE}
    with tempfile.TemporaryDirectory() as locks:
        variables |= {"UV_PYTHON_DOWNLOADS": "never", "TMPDIR": locks, **environment}
        return output_of([sys.executable, "-m", "uv", *arguments], env=variables)


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist, and the wheel that is built from it."""
    place = tmp_path_factory.mktemp("dist")
    copy_of_the_tree(place / "tree")
    uv("build", "--quiet", "--out-dir", place / "dist", place / "tree")
    return place / "dist"


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    (found,) = dist.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def hub() -> Iterator[HuggingFaceStandIn]:
    with HuggingFaceStandIn() as hub:
        hub.put(NAME, FILES)
        yield hub


@pytest.fixture
def environment(hub: HuggingFaceStandIn, tmp_path: Path) -> dict[str, str]:
    return {
        "HOME": str(tmp_path),
        "PATH": os.environ["PATH"],
        "HF_ENDPOINT": hub.url,
        "HUBFS_CACHE_DIR": str(tmp_path / "cache"),
    }


def test_two_builds_of_one_commit_are_the_same_bytes(dist: Path, tmp_path: Path) -> None:
    """Of another clone, by another umask, at another time; the sdist has the commit's time for wheels made of it."""
    copy_of_the_tree(tmp_path / "first")
    who = {f"GIT_{role}_{what}": "a@example.com" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    committed = {**os.environ, **who, "GIT_COMMITTER_DATE": "1700000000 +0000", "TMPDIR": str(tmp_path)}
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "the project"]):
        done = ran(["git", "-C", tmp_path / "first", *command], env=committed)
        assert done.returncode == 0, done.stderr
    output_of(["sh", "-c", "umask 077; git clone -q first second"], cwd=tmp_path)
    arguments = [sys.executable, "-m", "uv", "build", "--quiet", "--out-dir"]
    for at, (clone, umask) in enumerate((("first", "022"), ("second", "077"))):
        command = ["sh", "-c", 'umask "$0"; exec "$@"', umask, *arguments, str(tmp_path / str(at)), clone]
        output_of(command, cwd=tmp_path, env=committed)
    one, other = ({path.name: path.read_bytes() for path in (tmp_path / str(at)).glob("hubfs-*")} for at in range(2))
    assert {*one} == {path.name for path in dist.glob("hubfs-*")}
    assert one == other
    (wheel,) = (name for name in one if name.endswith(".whl"))
    times = {member.date_time for member in zipfile.ZipFile(tmp_path / "0" / wheel).infolist()}
    assert times == {(2023, 11, 14, 22, 13, 20)}


def in_checkout(folder: str) -> set[str]:
    return {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_has_the_package_whole_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    about = f"hubfs-{hubfs.__version__}.dist-info"
    assert {name for name in names if name.startswith("hubfs/")} == in_checkout("hubfs")
    assert {name.partition("/")[0] for name in names} <= {"hubfs", about, f"hubfs-{hubfs.__version__}.data"}
    assert {"hubfs/py.typed", f"{about}/licenses/LICENSE"} <= names


def test_the_wheel_has_manual_pages_and_units_where_programs_look_for_them(wheel: Path) -> None:
    prefix = f"hubfs-{hubfs.__version__}.data/data/"
    names = {name.removeprefix(prefix) for name in zipfile.ZipFile(wheel).namelist() if name.startswith(prefix)}
    pages = {f"share/man/man1/hubfs-{name}.1" for name in COMMANDS} | {"share/man/man1/hubfs.1"}
    assert {name for name in names if "/man/" in name} == pages | {"share/man/man8/mount.hubfs.8"}
    assert {"lib/systemd/system/hubfs@.service", "share/systemd/user/hubfs@.service"} <= names


def test_the_sdist_has_what_tests_and_documents_the_package_too(dist: Path) -> None:
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    for folder in ("hubfs", "tests", "docs", "scripts"):
        assert in_checkout(folder) <= names
    assert {"LICENSE", "README.md", "pyproject.toml"} <= names


def test_the_metadata_says_what_hubfs_is_and_for_which_pythons(wheel: Path) -> None:
    text = zipfile.ZipFile(wheel).read(f"hubfs-{hubfs.__version__}.dist-info/METADATA").decode()
    told = email.parser.HeaderParser().parsestr(text)
    assert told["Version"] == hubfs.__version__
    assert told["License-Expression"] == "Apache-2.0"
    assert told["Requires-Python"] == ">=3.10"
    prefix = "Programming Language :: Python :: 3."
    versions = [one.removeprefix(prefix) for one in told.get_all("Classifier", ()) if one.startswith(prefix)]
    assert [f"3.{version}" for version in versions] == [*SUPPORTED]
    for hub in ("TF Hub", "Kaggle", "Hugging Face", "buckets"):
        assert hub in told["Summary"]
    assert {"s3", "test", "docs"} <= {*told.get_all("Provides-Extra", ())}


@pytest.mark.parametrize("version", pythons())
def test_it_installs_into_an_empty_environment_and_fetches(
    version: str, wheel: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    uv("venv", "--quiet", "--python", pythons()[version], tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    uv("pip", "install", "--quiet", "--python", python, wheel)
    uv("pip", "check", "--quiet", "--python", python)
    command = [str(python.with_name("hubfs")), "fetch", f"hf:{NAME}", "--to", str(tmp_path / "model"), "--quiet"]
    done = ran(command, env=environment, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert files(tmp_path / "model") == FILES
    every = (
        "import hubfs, pkgutil, importlib, sys, warnings; warnings.simplefilter('ignore', FutureWarning)\n"
        "assert hubfs.__file__.startswith(sys.prefix)\n"
        "for one in pkgutil.walk_packages(hubfs.__path__, 'hubfs.'):\n"
        "    if one.name not in ('hubfs.__main__', *sys.argv[1:]): importlib.import_module(one.name)\n"
    )
    asked = [str(python), "-c", every, "hubfs.blobs.s3_store"]
    output_of(asked, env=environment, cwd=tmp_path)


@pytest.mark.skipif(not (NEWEST / "stamp").exists() or os.geteuid() != 0, reason="scripts/test fetches it, as root")
def test_it_runs_by_the_newest_python_in_a_root_of_its_own(
    wheel: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    """Warnings are errors there: what Python 3.14 is about to drop would be seen."""
    with tempfile.TemporaryDirectory(dir=NEWEST / "tmp") as place:
        options = ("--python-version", "3.14", "--only-binary", ":all:", "--no-binary", "fusepy")
        uv("pip", "install", "--quiet", "--target", Path(place, "site"), *options, wheel)
        inside = f"/{Path(place).relative_to(NEWEST)}"
        variables = {
            **environment,
            "PYTHONPATH": f"{inside}/site",
            "HOME": inside,
            "HUBFS_CACHE_DIR": f"{inside}/cache",
        }
        python = ["chroot", NEWEST, "/usr/bin/python3.14", "-W", "error"]
        done = ran([*python, "-m", "hubfs", "fetch", f"hf:{NAME}", "--to", f"{inside}/model", "--quiet"], env=variables)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert files(Path(place, "model")) == FILES


def test_the_versions_that_are_told_have_wheels_for_every_python() -> None:
    """Of fusepy there is an sdist alone; it is one file of Python."""

    def resolved(version: str) -> str:
        return uv(
            *("pip", "compile", "--quiet", "--no-deps", "--python-version", version, "--no-header", "--no-annotate"),
            *("--only-binary", ":all:", "--no-binary", "fusepy", ROOT / "docs" / "constraints.txt"),
        )

    with ThreadPoolExecutor(len(SUPPORTED)) as pool:
        for found in pool.map(resolved, SUPPORTED):
            assert {"rapidgzip", "isal", "google-crc32c", "cryptography", "grpcio"} <= {
                line.partition("==")[0] for line in found.splitlines()
            }


def test_uvx_runs_it(wheel: Path, environment: dict[str, str], tmp_path: Path) -> None:
    arguments = ("fetch", f"hf:{NAME}", "--to", tmp_path / "model", "--quiet")
    del environment["HOME"]  # of uv's own cache
    uv("tool", "run", "--quiet", "--from", wheel, "hubfs", *arguments, **environment)
    assert files(tmp_path / "model") == FILES


def test_pipx_installs_it(wheel: Path, environment: dict[str, str], tmp_path: Path) -> None:
    of_pipx = {
        "PIPX_HOME": str(tmp_path / "pipx"),
        "PIPX_BIN_DIR": str(tmp_path / "bin"),
        "PIPX_MAN_DIR": str(tmp_path / "man"),
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
    }
    variables = {name: value for name, value in os.environ.items() if name not in OUTSIDE}
    output_of([sys.executable, "-m", "pipx", "install", "--quiet", wheel], env={**variables, **of_pipx})
    assert {f"hubfs-{name}.1" for name in COMMANDS} <= {path.name for path in (tmp_path / "man" / "man1").iterdir()}
    command = [str(tmp_path / "bin" / "hubfs"), "fetch", f"hf:{NAME}", "--to", str(tmp_path / "model"), "--quiet"]
    subprocess.run(command, check=True, env=environment, cwd=tmp_path)
    assert files(tmp_path / "model") == FILES


@pytest.fixture(scope="module")
def small(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command `hubfs` of an environment without gcsfs, aiohttp and the libfuses' bindings."""
    place = tmp_path_factory.mktemp("small")
    uv("venv", "--quiet", "--python", sys.executable, place)
    python = place / "bin" / "python"
    uv(
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--python",
        python,
        wheel,
        "--requirement",
        ROOT / "docs" / "small.txt",
    )
    return place / "bin" / "hubfs"


@pytest.mark.mounted
def test_a_small_installation_mounts_and_reads(
    small: Path, hub: HuggingFaceStandIn, environment: dict[str, str], tmp_path: Path
) -> None:
    mountpoint = tmp_path / "mnt"
    mountpoint.mkdir()
    subprocess.run([small, "mount", mountpoint, "--hub", "hf:", "--no-supervise"], check=True, env=environment)
    try:
        assert (mountpoint / NAME / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    finally:
        subprocess.run([small, "unmount", "--force", mountpoint], check=True, env=environment)


@pytest.mark.parametrize(
    ("arguments", "variables", "said"),
    [
        (["serve", "."], {}, "hubfs serve needs aiohttp, which is not installed: pip install aiohttp"),
        (
            ["fetch", "some/model/1", "--hub", "gs://bucket/models", "--to", "there"],
            {"HUBFS_GCS_TOKEN": "google_default"},
            "HUBFS_GCS_TOKEN=google_default needs gcsfs, which is not installed",
        ),
        (
            ["fetch", "hf:BAAI/tiny", "--to", "there", "--cache-dir", "s3://bucket/cache"],
            {},
            "s3://bucket/cache needs s3fs, which is not installed: pip install 'hubfs[s3]'",
        ),
        (
            ["fetch", "hf:BAAI/tiny", "--to", "there", "--cache-dir", "ftp://host/cache"],
            {},
            "ftp://host/cache needs fsspec, which is not installed: pip install fsspec",
        ),
    ],
    ids=["serve", "gcs", "s3", "fsspec"],
)
def test_a_package_that_is_missing_is_one_clear_line(
    small: Path, environment: dict[str, str], tmp_path: Path, arguments: list[str], variables: dict[str, str], said: str
) -> None:
    done = ran([small, *arguments], env={**environment, **variables}, cwd=tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"hubfs: {said}")
    assert re.search(r"pip install [\w'\[\]]+$", line)
    assert not (tmp_path / "there").exists()


def test_what_is_small_is_a_part_of_what_is_whole() -> None:
    whole = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    brought = {"certifi", "charset-normalizer", "idna", "markdown-it-py", "mdurl", "pygments"}  # by requests and rich
    for line in (ROOT / "docs" / "small.txt").read_text(encoding="utf-8").splitlines():
        name = re.split(r"[>=;#]", line)[0].strip()
        assert not name or name in brought or f'"{line.strip()}"' in whole, line


def test_the_command_of_the_wheel_is_a_program_of_its_own(small: Path) -> None:
    assert small.stat().st_mode & stat.S_IXUSR
    told = subprocess.run([small, "--version"], capture_output=True, text=True, check=True, env={"PATH": ""})
    assert told.stdout.strip() == hubfs.__version__
