"""Programs that have the URLs of models in them read the models from a mount, and download nothing."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MountHub
from tests.support.models import BASIC_PITCH, GUESSLANG, MAKERS, pack, packed
from tests.support.mount import Mount
from tests.support.origin import Origin, running_origin
from tests.support.tensorflow import LOAD_MODEL, TensorFlow, read_report
from tests.support.tensorflow_hub import called, load_offline
from tests.support.waiting import eventually

pytestmark = [pytest.mark.mounted, pytest.mark.tensorflow, pytest.mark.timeout(900)]

CANONICAL = "https://tfhub.dev"
TRIPLE = "test/triple/1"
"""A model that gives three times its input."""

UNKNOWN_TIMEOUT_S = 60
"""Most of this is the time that TensorFlow takes to be imported on a busy machine."""


@pytest.fixture(scope="module")
def models() -> dict[str, Path]:
    return {handle: MAKERS[handle]() for handle in (BASIC_PITCH, GUESSLANG)}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, models: dict[str, Path]) -> Iterator[Origin]:
    """A hub of real models, which answers to their names without version, too."""
    home = tmp_path_factory.mktemp("drop-in")
    triple = home / "triple"
    called(home, ("save", str(triple)))
    hosted = {**models, TRIPLE: triple}
    archives = {**{handle: packed(handle) for handle in models}, TRIPLE: pack(triple, home / "triple.tar.gz")}
    with running_origin(home, hosted, archives) as origin:
        for handle, archive in archives.items():
            name = handle.rpartition("/")[0]
            origin.nginx.host_archive(name, archive)
            origin.nginx.host_in_bucket(name, f"gs://models/{handle}")
        yield origin


@pytest.fixture(scope="module")
def expected(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Handle → what the model gives from its own files."""
    found = TensorFlow(tmp_path_factory.mktemp("expected")).outputs(*models.values())
    assert all(found), "a model without a signature shows nothing"
    return dict(zip(models, found, strict=True))


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    file = tmp_path / "catalog.tsv"
    file.write_text(f"Module\t{BASIC_PITCH}\nModule\t{GUESSLANG}\n")
    return file


def modules(hub: Mount) -> Path:
    """What such a program's `TFHUB_CACHE_DIR` is."""
    return hub.path / ".hubfs" / "tfhub_modules"


def test_an_unmodified_program_loads_what_the_catalogue_knows(
    mount: MountHub, origin: Origin, catalog: Path, expected: dict[str, Any], tmp_path: Path
) -> None:
    handles = {
        f"{CANONICAL}/{BASIC_PITCH}": BASIC_PITCH,
        f"{CANONICAL}/spotify/basic-pitch": BASIC_PITCH,
        f"{CANONICAL}/{GUESSLANG}/": GUESSLANG,
        f"{origin.url}/{GUESSLANG}?tf-hub-format=compressed": GUESSLANG,
    }
    with mount(origin, "--catalog", catalog) as hub:
        ran = load_offline(tmp_path / "program", *handles, "--with-hub", cache_dir=modules(hub))
        assert ran.outputs == {url: expected[handle] for url, handle in handles.items()}, ran.stderr[-2000:]
        assert ran.attempts == []
        form = os.getxattr(hub.path / BASIC_PITCH, "user.hubfs.form").decode()
    assert form == origin.form


def test_an_unmodified_program_without_the_mount_would_download(tmp_path: Path) -> None:
    ran = load_offline(tmp_path, f"{CANONICAL}/{BASIC_PITCH}", "--with-hub", cache_dir=tmp_path / "cache")
    assert ran.outputs is None
    assert [attempt for attempt in ran.attempts if f"{CANONICAL}/{BASIC_PITCH}" in attempt]


def test_an_unmodified_program_makes_layers_of_what_the_catalogue_knows(
    mount: MountHub, servers: Origin, catalog: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    url, local = f"{CANONICAL}/{BASIC_PITCH}", str(models[BASIC_PITCH])
    with mount(servers, "--catalog", catalog) as hub:
        ran = load_offline(tmp_path / "program", url, local, "--with-keras", cache_dir=modules(hub))
    assert ran.outputs is not None, ran.stderr[-2000:]
    assert ran.outputs[local]
    assert ran.outputs[url] == ran.outputs[local]
    assert ran.attempts == []


def test_without_a_catalogue_a_handle_must_have_been_seen_once(
    mount: MountHub, servers: Origin, expected: dict[str, Any], tmp_path: Path
) -> None:
    url = f"{CANONICAL}/{BASIC_PITCH}"
    with mount(servers) as hub:
        unknown = load_offline(tmp_path / "before", url, "--with-hub", cache_dir=modules(hub))
        assert unknown.outputs is None
        assert "Read-only file system" in unknown.stderr.splitlines()[-1]
        assert unknown.attempts == []
        assert unknown.took_s < UNKNOWN_TIMEOUT_S
        name = hashlib.sha1(url.encode(), usedforsecurity=False).hexdigest()
        assert [problem for problem in hub.status()["recent_problems"] if f"looked for {name}" in problem]

        os.listdir(hub.path / BASIC_PITCH)
        # The kernel believes for a while that there is no such name.
        assert eventually(lambda: os.path.lexists(modules(hub) / name), 10)
        seen = load_offline(tmp_path / "after", url, "--with-hub", cache_dir=modules(hub))
        assert seen.outputs == {url: expected[BASIC_PITCH]}, seen.stderr[-2000:]
        assert seen.attempts == []
    with mount(servers) as hub:
        # What an earlier mount cached is known from the start, without a word to the hub but for the version.
        again = load_offline(tmp_path / "again", url, "--with-hub", cache_dir=modules(hub))
        assert again.outputs == {url: expected[BASIC_PITCH]}, again.stderr[-2000:]
        assert again.attempts == []


def test_two_lines_of_code_read_from_the_mount(mount: MountHub, servers: Origin, tmp_path: Path) -> None:
    with mount(servers) as hub:
        root = str(hub.path / TRIPLE)
        results = called(
            tmp_path,
            ("install", str(hub.path)),
            ("resolve", f"{CANONICAL}/{TRIPLE}"),
            ("resolve", f"{CANONICAL}/test/triple"),
            ("load", f"{CANONICAL}/{TRIPLE}"),
            ("load", f"{CANONICAL}/test/triple"),
            ("load", f"{servers.url}/{TRIPLE}/?tf-hub-format=compressed"),
            ("keras", f"{CANONICAL}/{TRIPLE}"),
            ("load", f"{CANONICAL}/test/triple/2"),
            ("load", f"{CANONICAL}/test/tripel"),
        )
    *found, unknown_version, unknown_name = results
    tripled = ("[6.0]", [])
    assert found == [("None", []), (root, []), (root, []), *[tripled] * 4]
    for (result, downloads), typed in ((unknown_version, "test/triple/2"), (unknown_name, "test/tripel")):
        assert result.startswith("ModelNotOnMount: ")
        assert f"{CANONICAL}/{typed}" in result
        assert downloads == []


def test_two_lines_of_code_say_why_a_hub_that_is_gone_cannot_be_read(
    mount: MountHub, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    home = tmp_path_factory.mktemp("gone")
    with running_origin(home, {}, {BASIC_PITCH: packed(BASIC_PITCH)}) as gone:
        pass
    with mount(gone) as hub:
        _, (result, downloads) = called(tmp_path, ("install", str(hub.path)), ("resolve", f"{CANONICAL}/{BASIC_PITCH}"))
    assert result.startswith("OSError: ")
    assert f"{gone.url}/{BASIC_PITCH} could not be read: Connection refused" in result
    assert downloads == []


def test_the_files_can_be_read_on_the_local_device_of_a_cluster(
    mount: MountHub, origin: Origin, expected: dict[str, Any], tensorflow: TensorFlow, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    with mount(origin) as hub:
        model = hub.path / BASIC_PITCH
        tensorflow.run(LOAD_MODEL, report, model, "--io-device", "/job:localhost")
    assert read_report(report, [model]) == [expected[BASIC_PITCH]]
