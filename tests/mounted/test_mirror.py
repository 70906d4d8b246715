"""What `hubfs mirror` made, mounted beside the original: by `hubfs serve`, and as a bucket; and what indexes spare."""

import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hubfs.formats.index_file import SUFFIX
from tests.support.fault_proxy import FaultProxy
from tests.support.gcs_server import GcsServer, gcs_server
from tests.support.http_origin import Answer, Request, Route
from tests.support.huggingface import HuggingFaceStandIn
from tests.support.mount import HUBFS, Machine, mounted
from tests.support.programs import ran
from tests.support.serving import serving, write_model
from tests.support.waiting import eventually

pytestmark = pytest.mark.mounted

HANDLE = "google/spice/2"
LARGE_BYTES = 24 << 20
TINY = {"config.json": b'{"model_type": "bert"}', "model.safetensors": bytes(range(256)) * 9000, ".gitattributes": b"x"}


@pytest.fixture
def models(tmp_path: Path) -> Path:
    write_model(tmp_path / "models", HANDLE, size_bytes=LARGE_BYTES)
    return tmp_path / "models"


@contextmanager
def served(machine: Machine, directory: Path) -> Iterator[str]:
    """`hubfs serve DIRECTORY`, as a user types it; its URL."""
    command = [HUBFS, "serve", directory, "--port", "0"]
    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={"HOME": str(machine.home), "TMPDIR": str(machine.temp)}
    )
    try:
        assert running.stdout is not None
        yield running.stdout.readline().rpartition(" ")[2].strip()
    finally:
        running.send_signal(signal.SIGTERM)
        running.communicate(timeout=60)


def is_equal(one: Path, other: Path) -> bool:
    done = ran(["diff", "-r", one, other], timeout=120)
    assert not done.stderr
    return done.returncode == 0 and not done.stdout


def test_a_mirror_that_is_served_is_the_original_and_its_index_leads_readers(
    machine: Machine, tmp_path: Path, models: Path
) -> None:
    place, sent = tmp_path / "place", dict[str, int]()

    def counted(request: Request, forward: Route) -> Answer:
        answer = forward(request)
        what = "index" if SUFFIX in request.path else "archive"
        sent[what] = sent.get(what, 0) + len(answer.body)
        return answer

    with HuggingFaceStandIn() as hf, serving(models) as url:
        commit = hf.put("BAAI/tiny", TINY)
        user = machine.with_environment(HF_ENDPOINT=hf.url)
        done = user.hubfs("mirror", HANDLE, "hf:BAAI/tiny", "--hub", url, "--to", place)
        assert done.returncode == 0, done.stderr
        with (
            mounted(user, tmp_path / "a", f"one={url}", "--hub", "two=hf:") as one,
            served(machine, place) as mirror,
            FaultProxy(mirror) as proxy,
        ):
            proxy.meddle(HANDLE, counted)
            with mounted(machine, tmp_path / "b", proxy.url, "--no-disk-cache", "--prefetch", "none") as other:
                graph = (other.path / HANDLE / "saved_model.pb").read_bytes()
                assert graph == (models / HANDLE / "saved_model.pb").read_bytes()
                assert sent.keys() == {"index", "archive"}
                assert sent["archive"] < LARGE_BYTES // 2, "its spans, and not what lies before"
            with mounted(machine, tmp_path / "c", mirror) as other:
                assert is_equal(one.path / "one" / HANDLE, other.path / HANDLE)
                assert is_equal(one.path / "two" / f"BAAI/tiny@{commit}", other.path / "baai/tiny/1")
                assert sorted(path.name for path in other.path.iterdir()) == [".hubfs", "baai", "google"]


def test_a_model_that_is_mirrored_while_the_place_is_served_appears_whole(
    machine: Machine, tmp_path: Path, models: Path
) -> None:
    write_model(models, "google/yamnet/1", seed=2)
    place, machine = tmp_path / "place", machine.with_environment(HUBFS_NEGATIVE_TTL="1s")
    with serving(models) as url:
        machine.hubfs("mirror", "google/yamnet/1", "--hub", url, "--to", place)
        with served(machine, place) as mirror, mounted(machine, tmp_path / "b", mirror) as mount:
            assert is_equal(mount.path / "google/yamnet/1", models / "google/yamnet/1")
            with pytest.raises(FileNotFoundError):
                (mount.path / HANDLE / "saved_model.pb").stat()
            done = machine.hubfs("mirror", HANDLE, "--hub", url, "--to", place)
            assert done.returncode == 0, done.stderr
            assert eventually((mount.path / HANDLE / "saved_model.pb").exists)
            assert is_equal(mount.path / HANDLE, models / HANDLE)


@pytest.fixture
def store() -> Iterator[GcsServer]:
    with gcs_server() as store:
        store.create_bucket("team")
        yield store


def test_a_mirror_in_a_bucket_is_the_original_and_its_index_leads_readers(
    machine: Machine, tmp_path: Path, models: Path, store: GcsServer
) -> None:
    user = machine.with_environment(STORAGE_EMULATOR_HOST=store.url)
    with serving(models) as url:
        done = user.hubfs("mirror", HANDLE, "--hub", url, "--to", "gs://team/hub")
        assert done.returncode == 0, done.stderr
    archive = f"team/hub/{HANDLE}.tar.gz"
    store.reset()
    with mounted(user, tmp_path / "b", "gs://team/hub", "--no-disk-cache", "--prefetch", "none") as mount:
        graph = (mount.path / HANDLE / "saved_model.pb").read_bytes()
        assert graph == (models / HANDLE / "saved_model.pb").read_bytes()
        assert [request.object for request in store.downloads].count(f"{archive}{SUFFIX}") == 1
        assert all(re.fullmatch(r"bytes=\d+-\d+", str(request.range)) for request in store.downloads)
        assert 0 < store.sent_bytes(archive) < LARGE_BYTES // 2
    with mounted(user, tmp_path / "b", "gs://team/hub") as mount:
        assert is_equal(mount.path / HANDLE, models / HANDLE)
