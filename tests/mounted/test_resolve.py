"""`hubfs resolve`: what it prints, and what it says when there is nothing to print."""

import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from hubfs.cli import main
from hubfs.mounts import table as mount_table
from tests.conftest import SMALL
from tests.support.models import pack
from tests.support.mount import Machine, Mount, mounted
from tests.support.origin import Origin, running_origin

pytestmark = pytest.mark.mounted

PUBLISHER = f"test-{uuid.uuid4().hex}"
"""Nobody else's: every hub that is mounted on the machine is asked."""

NAME = f"{PUBLISHER}/small"
ARCHIVE_ONLY = f"{PUBLISHER}/archive/1"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, small: Path) -> Iterator[Origin]:
    """A hub of two versions in a bucket, and of one model that is an archive only."""
    home = tmp_path_factory.mktemp("origin")
    archive = pack(small, home / "small.tar.gz")
    with running_origin(home, {f"{NAME}/1": small, f"{NAME}/3": small}, {ARCHIVE_ONLY: archive}) as origin:
        origin.nginx.host_in_bucket(NAME, f"gs://models/{NAME}/3")
        yield origin


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, servers: Origin) -> Machine:
    return Machine(tmp_path_factory.mktemp("machine"), servers.environment)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, machine: Machine, servers: Origin) -> Iterator[Mount]:
    with mounted(machine, tmp_path_factory.mktemp("mount") / "hub", servers.url) as hub:
        yield hub


def assert_failed(done: "subprocess.CompletedProcess[str]", *says: str) -> None:
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    for text in says:
        assert text in line


@pytest.mark.parametrize(
    ("typed", "path"),
    [
        ("{name}/1", "{name}/1"),
        ("{name}/1/", "{name}/1"),
        ("{name}", "{name}/3"),
        ("{url}/{name}/3", "{name}/3"),
        ("{url}/{name}", "{name}/3"),
        ("{url}/{name}/1?tf-hub-format=compressed", "{name}/1"),
    ],
)
def test_it_prints_the_directory(hub: Mount, servers: Origin, typed: str, path: str) -> None:
    done = hub.machine.hubfs("resolve", typed.format(name=NAME, url=servers.url))
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{hub.path / path.format(name=NAME)}\n"
    assert Path(done.stdout.strip(), "saved_model.pb").exists()


@pytest.mark.parametrize("typed", ["{name}/2", "{name}-of-another/1", "{name}-of-another", "{url}/{name}/2"])
def test_a_model_that_no_mount_has_is_named(hub: Mount, servers: Origin, typed: str) -> None:
    text = typed.format(name=NAME, url=servers.url)
    assert_failed(hub.machine.hubfs("resolve", text), text, "was not found", str(hub.path))


def test_the_url_of_a_hub_that_is_not_mounted_is_told_from_a_model_that_is_missing(hub: Mount) -> None:
    url = f"https://{PUBLISHER}.example/{NAME}/1"
    assert_failed(hub.machine.hubfs("resolve", url), f"The hub of {url} is not mounted", "hubfs mount")


@pytest.mark.parametrize("typed", ["small", "Small/small/1", "{publisher}/../1", ""])
def test_what_is_no_handle_is_called_so(hub: Mount, typed: str) -> None:
    typed = typed.format(publisher=PUBLISHER)
    assert_failed(hub.machine.hubfs("resolve", typed), repr(typed) if typed else "''")


def test_where_nothing_is_mounted_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "mounts"
    table.write_text("22 1 254:0 / / rw - ext4 /dev/vda rw\n")
    monkeypatch.setattr(mount_table, "_TABLE", table)
    done = CliRunner().invoke(main, ["resolve", "google/spice/2"])
    assert done.exit_code == 1
    assert "No hub is mounted, " in done.output
    assert "`hubfs mount MOUNTPOINT` does it" in done.output


def test_a_hub_that_is_gone_is_no_model_that_is_missing(
    machine: Machine, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with running_origin(tmp_path_factory.mktemp("gone"), {}, {}) as gone:
        pass
    with mounted(machine, tmp_path / "hub", gone.url):
        versioned = f"{gone.url}/{NAME}/1"
        assert_failed(machine.hubfs("resolve", versioned), f"{versioned} could not be read: Connection refused")
        assert_failed(machine.hubfs("resolve", f"{gone.url}/{NAME}"), "cannot be read", "see `hubfs status`")


@pytest.mark.parametrize(
    ("typed", "folder"),
    [
        ("{name}/1", "gs://models/{name}/1"),
        ("{name}", "gs://models/{name}/3"),
        ("{url}/{name}/1", "gs://models/{name}/1"),
        ("{url}/{name}?tf-hub-format=uncompressed", "gs://models/{name}/3"),
    ],
)
def test_gcs_prints_the_folder_in_the_bucket_without_a_mount(
    machine: Machine, servers: Origin, typed: str, folder: str
) -> None:
    done = machine.hubfs("resolve", "--gcs", "--hub", servers.url, typed.format(name=NAME, url=servers.url))
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{folder.format(name=NAME)}\n"


def test_gcs_prints_the_folder_of_a_hub_that_is_a_bucket(machine: Machine) -> None:
    done = machine.hubfs("resolve", "--gcs", "--hub", "gs://models", NAME)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"gs://models/{NAME}/3\n"


@pytest.mark.parametrize("typed", [ARCHIVE_ONLY, f"{NAME}/2", SMALL], ids=["an archive", "a version", "a name"])
def test_gcs_of_what_is_in_no_bucket_says_so(machine: Machine, servers: Origin, typed: str) -> None:
    done = machine.hubfs("resolve", "--gcs", "--hub", servers.url, typed)
    assert_failed(done, f"{servers.url} has no model {typed}", "uncompressed")


def test_gcs_asks_every_hub_that_is_configured(machine: Machine, servers: Origin) -> None:
    asking = machine.with_environment(HUBFS_HUB=f"empty=gs://models/none models={servers.url} team=gs://models")
    done = asking.hubfs("resolve", "--gcs", NAME)
    assert (done.returncode, done.stdout.startswith("gs://models/")) == (0, True), done.stderr
    done = asking.hubfs("resolve", "--gcs", "https://other.example/google/spice/2")
    assert f"is not a handle of gs://models/none, {servers.url}, gs://models" in done.stderr


def test_gcs_of_another_hubs_url_says_which_hub_was_asked(machine: Machine, servers: Origin) -> None:
    done = machine.hubfs("resolve", "--gcs", "--hub", servers.url, "https://tfhub.dev/google/spice/2")
    assert_failed(done, "https://tfhub.dev/google/spice/2", servers.url, "--hub")
