"""Sessions of docs/OPERATIONS.md and docs/INTEGRATIONS.md, typed on a machine whose hubs are stand-ins.

A session is a block whose lines begin with four spaces, and its first one with `$ `. A command prints what the page
says of it; seconds, and the port of a server, are this run's.
"""

import os
import re
import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.archives import gzipped, tar_of
from tests.support.gcs_server import gcs_server
from tests.support.http_origin import Answer, HttpOrigin, Request, Resource
from tests.support.huggingface import HuggingFaceStandIn
from tests.support.mount import HUBFS, Machine, clear
from tests.support.paths import ROOT

pytestmark = [pytest.mark.mounted, pytest.mark.slow]

PAGES = ("OPERATIONS", "INTEGRATIONS")
SPICE = {"saved_model.pb": os.urandom(1_000_000), "variables/variables.data-00000-of-00001": os.urandom(20_000_000)}
TINY = {"config.json": b"{}", "model.safetensors": os.urandom(3_100_000)}
BUCKET = "gs://tfhub-modules/google/spice/2/uncompressed"


def sessions(page: str) -> list[list[tuple[str, str]]]:
    """Of each session its commands, and what the page says that they print."""
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    found = re.findall(r"(?:^    \$ [^\n]+\n(?:^    [^\n]*\n)*)+", text, re.MULTILINE)
    typed = [re.split(r"^    \$ ", session, flags=re.MULTILINE)[1:] for session in found]
    return [[(command.partition("\n")[0], printed_of(command)) for command in session] for session in typed]


def printed_of(command: str) -> str:
    return re.sub(r"^    ", "", command.partition("\n")[2], flags=re.MULTILINE)


def leveled(text: str) -> str:
    return re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", re.sub(r", \d+ s\)", ", SECONDS)", text))


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine that reaches hubs with the models of the sessions."""
    archive = Resource(gzipped(tar_of(SPICE)), etag='"1"')

    def spice(request: Request) -> Answer:
        if request.query == "tf-hub-format=uncompressed":
            return Answer(303, {"Location": BUCKET}, BUCKET.encode())
        return archive(request)

    with HttpOrigin() as tfhub, gcs_server(tmp_path / "store") as store, HuggingFaceStandIn() as hf:
        tfhub.route("/google/spice/2", spice)
        hf.put("BAAI/tiny", TINY)
        for bucket in ("kaggle-tfhub-models-uncompressed", "team-models"):
            store.create_bucket(bucket)
        yield Machine(
            tmp_path,
            {
                "HUBFS_TFHUB_ENDPOINT": tfhub.url,
                "STORAGE_EMULATOR_HOST": store.url,
                "HF_ENDPOINT": hf.url,
                "HUBFS_GCS_TOKEN": "anon",
            },
        )


@pytest.mark.parametrize("page", PAGES)
def test_commands_print_what_the_page_says(page: str, machine: Machine, tmp_path: Path) -> None:
    environment = {
        **machine.variables,
        "PATH": f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}",
        "LC_ALL": "C.UTF-8",
    }
    (tmp_path / "models.txt").write_text("google/spice/2\nhf:BAAI/tiny\n")
    mountpoint = tmp_path / "team"
    mountpoint.mkdir()
    with ExitStack() as stack:
        stack.callback(clear, mountpoint)
        for command, printed in (each for session in sessions(page) for each in session):
            typed = command.replace("/mnt/team", str(mountpoint))
            if command.startswith("hubfs serve "):
                server = stack.enter_context(
                    subprocess.Popen(
                        [HUBFS, *command.split()[1:], "--port", "0"],
                        env=environment,
                        cwd=tmp_path,
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.PIPE,
                        text=True,
                    )
                )
                stack.callback(server.terminate)
                assert server.stdout is not None
                said = server.stdout.readline()
            else:
                done = subprocess.run(
                    ["bash", "-c", typed],
                    env=environment,
                    cwd=tmp_path,
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    check=False,
                    timeout=120,
                )
                assert done.returncode == 0, (command, done.stderr)
                said = done.stdout
            assert not printed or leveled(said) == leveled(printed), command
        if page == "OPERATIONS":
            assert (mountpoint / "google/spice/2/saved_model.pb").read_bytes() == SPICE["saved_model.pb"]
            assert (mountpoint / "baai/tiny/1/model.safetensors").read_bytes() == TINY["model.safetensors"]


def test_there_are_sessions() -> None:
    assert [sum(map(len, sessions(page))) for page in PAGES] == [5, 3]
