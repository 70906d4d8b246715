"""gcsfs, aiohttp and fsspec, which take half a second to import, are imported where they are used, and not before."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.http_origin import Answer, HttpOrigin
from tests.support.paths import ROOT
from tests.support.programs import ran
from tests.support.service_account import service_account, token_server

SLOW = ("aiohttp", "fsspec", "gcsfs", "google.auth", "grpc")
MOUNTED = """
from pathlib import Path
from hubfs.mount import assemble
from hubfs.errors import NotFound
from hubfs.settings.config import load
from hubfs.status import RecentProblems
mount = assemble(load({"hub": sys.argv[2], "cache_dir": Path(sys.argv[1])}), Path("/nowhere"), "", RecentProblems())
try:
    mount.tree.stat("/google/spice/2")
except NotFound:
    pass
finally:
    mount.close()
"""
ASKED = """
from hubfs.blobs.gcs.client import GcsClient, GcsSettings
from hubfs.blobs.gcs.object import GcsObject
from hubfs.waiting import Cancellation
client = GcsClient(GcsSettings(endpoint_url=sys.argv[2], token=sys.argv[3]), Cancellation())
assert client.list("bucket", "a/") == []
assert client.blob(GcsObject("bucket", "a", 5, "1")).read_at(0, 5) == b"bytes"
client.close()
"""


def imported(script: str, *arguments: object) -> set[str]:
    """Which of `SLOW` a new process has imported once it ran `script`."""
    told = f"import sys\n{script}\nprint('modules', *(set({SLOW!r}) & sys.modules.keys()))"
    run = ran([sys.executable, "-W", "ignore::FutureWarning", "-c", told, *map(str, arguments)], timeout=60, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    return set(run.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize(
    "script",
    [
        "from hubfs import cli",
        "from hubfs import mount",
        "from hubfs.daemon import life",
        "from hubfs.commands import status",
        "from hubfs.commands.doctor import examination",
        "from hubfs import cli\ncli.main(['--help'], standalone_mode=False)",
    ],
)
def test_no_bucket_is_used_by_an_import(script: str) -> None:
    assert imported(script) == set()


@pytest.mark.parametrize("arguments", [["resolve", "--help"], ["unmount", "--help"], ["--version"]])
def test_a_command_imports_no_hub_of_which_it_asks_nothing(arguments: list[str]) -> None:
    told = "[name for name in sys.modules if name.startswith('hubfs.hubs.') and name.count('.') > 2]"
    script = f"import sys\nfrom hubfs.cli import main\nmain({arguments!r}, standalone_mode=False)\nprint(*{told})"
    run = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=60, cwd=ROOT
    )
    assert {name.rpartition(".")[2] for name in run.stdout.splitlines()[-1].split()} == {"about"}


def test_a_mount_of_a_hub_of_archives_imports_nothing_that_is_for_buckets(tmp_path: Path) -> None:
    with HttpOrigin() as hub:
        assert imported(MOUNTED, tmp_path, hub.url) == set()
        assert hub.requests, "nobody was asked for the model"


def test_a_bucket_without_credentials_needs_none_of_them(tmp_path: Path) -> None:
    with bucket() as store:
        assert imported(ASKED, tmp_path, store.url, "anon") == set()


def test_credentials_for_buckets_are_a_matter_of_gcsfs(tmp_path: Path) -> None:
    credentials = tmp_path / "account.json"
    with bucket() as store, token_server("hush") as token_url:
        credentials.write_text(service_account(token_url))
        assert "gcsfs" in imported(ASKED, tmp_path, store.url, credentials)
        assert [request.headers.get("authorization") for request in store.requests] == ["Bearer hush"] * 2


def bucket() -> HttpOrigin:
    origin = HttpOrigin()
    origin.route("/storage/v1/b/bucket/o", lambda _: Answer(body=b"{}"))
    origin.route("/storage/v1/b/bucket/o/a", lambda _: Answer(206, {"Content-Range": "bytes 0-4/5"}, b"bytes"))
    return origin


LIGHT = {"", "cli", "errors", "hubs", "hubs.about", "hubs.registry"}
"""What the help of `hubfs` takes of hubfs, beside what each kind of hub says of itself. Of others it takes click."""

HEAVY = {
    *SLOW,
    "requests",
    "urllib3",
    "platformdirs",
    "importlib.metadata",
    "email",
    "asyncio",
    "zipfile",
    "isal",
    "ssl",
}
"""Each takes 5 ms to import, and more."""


def new_modules(script: str) -> set[str]:
    """What a new process imports for `script`."""
    told = "print('modules', *(sys.modules.keys() - before))"
    code = f"import atexit, sys\nbefore = {{*sys.modules}}\natexit.register(lambda: {told})\n{script}"
    run = ran([sys.executable, "-c", code], timeout=60, cwd=ROOT)
    return set(run.stdout.rpartition("modules ")[2].split())


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["no-such-command"], []])
def test_the_command_starts_with_click_and_little_else(arguments: list[str]) -> None:
    found = new_modules(f"from hubfs.cli import main\nmain({arguments!r}, prog_name='hubfs')")
    assert {"hubfs.cli", "click"} <= found
    rooms = {f"hubs.{room}{rest}" for room in ("tfhub", "bucket", "kaggle", "huggingface") for rest in ("", ".about")}
    assert {name.removeprefix("hubfs").removeprefix(".") for name in found if name.startswith("hubfs")} == LIGHT | rooms
    assert found & HEAVY == set()


def test_the_package_itself_imports_nothing() -> None:
    assert new_modules("import hubfs") == {"hubfs"}
