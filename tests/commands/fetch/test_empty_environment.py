"""`hubfs fetch` of the wheel, in an environment that has nothing else: whole, killed and run again, and lied to."""

import json
import os
import random
import re
import signal
import subprocess
import sysconfig
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from hubfs.blobs.http.client import HEAD_BYTES
from tests.support.fault_proxy import FaultProxy
from tests.support.files import files
from tests.support.http_origin import Answer, Request, Route
from tests.support.huggingface import HuggingFaceStandIn
from tests.support.kaggle import KaggleStandIn
from tests.support.paths import copy_of_the_tree
from tests.support.serving import write_model
from tests.support.two_origins import Gate
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

SPICE = "google/spice/2"
LARGE_BYTES = 40 << 20
HELD_FROM_BYTES = 24 << 20
SPAN_BYTES = 5_300_000
YAMNET = "google/yamnet/tensorFlow2/yamnet/1"
NAME = "BAAI/tiny"
SHARDS = {f"{at:02}.safetensors": random.Random(at).randbytes(1 << 20) for at in range(24)}
FIRST = {sha256(SHARDS[f"{at:02}.safetensors"]).hexdigest() for at in range(12)}


class Empty:
    """An environment of Python in which the wheel was installed, and its user, who has a home and nothing else."""

    def __init__(self, root: Path, home: Path) -> None:
        self._bin, self.home = root / "bin", home

    def begin(self, *arguments: str | Path, **environment: str) -> "subprocess.Popen[str]":
        """`hubfs …`, running."""
        kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "LANG") if name in os.environ}
        return subprocess.Popen(
            [self._bin / "hubfs", *arguments],
            cwd=self.home,
            env={"HOME": str(self.home), "PATH": f"{self._bin}:/usr/bin:/bin", **kept, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def hubfs(self, *arguments: str | Path, exit_code: int = 0, **environment: str) -> tuple[str, str]:
        """What the command said, and what it complained of."""
        running = self.begin(*arguments, **environment)
        said, complained = running.communicate(timeout=120)
        assert running.returncode == exit_code, complained
        return said, complained

    @contextmanager
    def serving(self, directory: Path) -> Iterator[str]:
        """`hubfs serve DIRECTORY`; its URL."""
        running = self.begin("serve", directory, "--port", "0")
        try:
            assert running.stdout is not None
            yield running.stdout.readline().rpartition(" ")[2].strip()
        finally:
            running.send_signal(signal.SIGTERM)
            running.communicate(timeout=60)


def killed(running: "subprocess.Popen[str]") -> None:
    running.send_signal(signal.SIGKILL)
    running.communicate(timeout=60)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of an environment with the wheel of this tree, and what the wheel asks the index for."""
    place = tmp_path_factory.mktemp("empty")
    uv = Path(sysconfig.get_path("scripts"), "uv")

    def run(*command: str | Path) -> None:
        environment = {**os.environ, "TMPDIR": str(place)}
        done = subprocess.run([uv, *command], check=False, capture_output=True, timeout=240, env=environment)
        assert done.returncode == 0, done.stderr.decode()

    copy_of_the_tree(place / "tree")
    run("build", "--wheel", "--quiet", "--out-dir", place / "dist", place / "tree")
    run("venv", "--quiet", "--python", sysconfig.get_path("scripts") + "/python", place / "venv")
    (wheel,) = (place / "dist").glob("*.whl")
    run("pip", "install", "--quiet", "--python", place / "venv/bin/python", wheel)
    return place / "venv"


@pytest.fixture
def empty(installed: Path, tmp_path: Path) -> Empty:
    (tmp_path / "home").mkdir()
    return Empty(installed, tmp_path / "home")


def test_the_environment_has_the_wheel_and_nothing_of_the_tests(installed: Path, empty: Empty) -> None:
    told = "import hubfs, importlib.util as u; print(hubfs.__file__, u.find_spec('pytest'), u.find_spec('tensorflow'))"
    python = [installed / "bin/python", "-I", "-c", told]
    done = subprocess.run(python, capture_output=True, text=True, check=True, cwd=empty.home, timeout=60)
    file, *others = done.stdout.split()
    assert Path(file).is_relative_to(installed)
    assert others == ["None", "None"]


@pytest.fixture
def models(tmp_path: Path) -> dict[str, bytes]:
    return write_model(tmp_path / "models", SPICE, size_bytes=LARGE_BYTES)


def test_models_of_every_hub_are_fetched_and_once_more_they_were_there(
    empty: Empty, tmp_path: Path, models: dict[str, bytes]
) -> None:
    with empty.serving(tmp_path / "models") as url, HuggingFaceStandIn() as hf, KaggleStandIn() as kaggle:
        hf.put(NAME, SHARDS)
        kaggle.put(YAMNET, SHARDS)
        hubs = {"HUBFS_HUB": url, "HF_ENDPOINT": hf.url, "HUBFS_KAGGLE_ENDPOINT": kaggle.url}
        for handle, model in ((SPICE, models), (f"hf:{NAME}", SHARDS), (f"kaggle:{YAMNET}", SHARDS)):
            to = empty.home / handle.rpartition(":")[2].replace("/", "-")
            said, _ = empty.hubfs("fetch", handle, "--to", to, **hubs)
            assert said.startswith(f"{handle}: {to} (")
            assert files(to) == model
            hf.reset_counts()
            kaggle.reset_counts()
            assert "was there" in empty.hubfs("fetch", handle, "--to", to, **hubs)[0]
            assert (hf.cdn.body_bytes, kaggle.body_bytes) == (0, 0)


def test_files_cross_once_though_the_fetch_was_killed(empty: Empty) -> None:
    with HuggingFaceStandIn() as hf:
        hf.put(NAME, SHARDS)
        hf.cdn.gate = Gate(lambda name, _: name not in FIRST)
        held = hf.cdn.gate
        fetch = ("fetch", f"hf:{NAME}", "--to", "m")
        begun = empty.begin(*fetch, HF_ENDPOINT=hf.url)
        try:
            written = empty.home / "m"
            assert eventually(lambda: len([*written.rglob("whole/*.safetensors")]) == len(FIRST))
        finally:
            killed(begun)
        first_bytes = hf.cdn.body_bytes
        hf.cdn.gate = Gate(lambda *_: False)
        empty.hubfs(*fetch, HF_ENDPOINT=hf.url)
        assert files(empty.home / "m") == SHARDS
        assert hf.cdn.body_bytes == sum(map(len, SHARDS.values())), "those that were held were sent to nobody"
        assert first_bytes == len(FIRST) << 20
        held.open()


def test_files_of_kaggle_cross_once_though_the_fetch_was_killed(empty: Empty) -> None:
    first = {f"{at:02}.safetensors" for at in range(12)}
    with KaggleStandIn() as kaggle:
        kaggle.put(YAMNET, SHARDS)
        held = kaggle.gate = Gate(lambda name, _: name not in first)
        fetch = ("fetch", f"kaggle:{YAMNET}", "--to", "m")
        begun = empty.begin(*fetch, HUBFS_KAGGLE_ENDPOINT=kaggle.url)
        try:
            assert eventually(lambda: len([*(empty.home / "m").rglob("whole/*.safetensors")]) == len(first))
        finally:
            killed(begun)
        assert kaggle.body_bytes == sum(map(len, SHARDS.values())) // 2 + len(first) * HEAD_BYTES
        kaggle.gate = Gate(lambda *_: False)
        empty.hubfs(*fetch, HUBFS_KAGGLE_ENDPOINT=kaggle.url)
        assert files(empty.home / "m") == SHARDS
        # Of each file, the start is asked for once before all of it: Kaggle's listing has no version of the bytes.
        assert kaggle.body_bytes == sum(map(len, SHARDS.values())) + len(SHARDS) * HEAD_BYTES
        held.open()


def test_an_archive_of_kaggle_has_no_index_and_comes_again_once(empty: Empty) -> None:
    """So docs/OPERATIONS.md says: what is cached of an archive that was not read to its end is no whole model."""
    many = {f"{at:02}.bin": random.Random(at).randbytes(1 << 20) for at in range(30)}
    archive_bytes = sum(map(len, many.values()))
    with KaggleStandIn() as kaggle:
        kaggle.put(YAMNET, many)
        held = kaggle.gate = Gate(lambda _, part: part.start >= 16 << 20)
        fetch = ("fetch", f"kaggle:{YAMNET}", "--to")
        begun = empty.begin(*fetch, "m", HUBFS_KAGGLE_ENDPOINT=kaggle.url)
        try:
            assert held.wait()
            assert begun.poll() is None
        finally:
            killed(begun)
        kaggle.gate = Gate(lambda *_: False)
        assert not [*(empty.home / "m").rglob("*.bin")]
        kaggle.reset_counts()
        empty.hubfs(*fetch, "m", HUBFS_KAGGLE_ENDPOINT=kaggle.url)
        assert files(empty.home / "m") == many
        assert archive_bytes <= kaggle.body_bytes <= 1.01 * archive_bytes
        kaggle.reset_counts()
        empty.hubfs(*fetch, "again", HUBFS_KAGGLE_ENDPOINT=kaggle.url)
        assert files(empty.home / "again") == many
        assert kaggle.body_bytes == 0
        held.open()


class Held:
    """Holds spans of an archive back, from an offset on, until `opened`; counts what was sent of it."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.sent_bytes = 0
        self.count = 0

    def __call__(self, request: Request, forward: Route) -> Answer:
        start, _, end = request.headers.get("range", "").removeprefix("bytes=").partition("-")
        is_span = end.isdecimal() and int(end) - int(start) > SPAN_BYTES // 2
        if is_span and int(start) >= HELD_FROM_BYTES and not self.opened.is_set():
            self.count += 1
            self.opened.wait(120)
            return Answer(503, {}, b"")  # to a process that is gone
        answer = forward(request)
        self.sent_bytes += len(answer.body) * is_span
        return answer


def test_an_archive_with_an_index_crosses_once_though_the_fetch_was_killed(
    empty: Empty, tmp_path: Path, models: dict[str, bytes]
) -> None:
    def cached_bytes() -> int:
        return int(json.loads(empty.hubfs("cache", "ls", "--json")[0])["size_bytes"])

    held = Held()
    with empty.serving(tmp_path / "models") as behind, FaultProxy(behind) as proxy:
        proxy.meddle(SPICE, held)
        fetch = ("fetch", SPICE, "--hub", proxy.url, "--to", "m")
        begun = empty.begin(*fetch)
        try:
            assert eventually(lambda: held.count >= 1 and cached_bytes() > HELD_FROM_BYTES - SPAN_BYTES)
            assert begun.poll() is None
        finally:
            killed(begun)
            held.opened.set()
        there_bytes, held.sent_bytes = cached_bytes(), 0
        empty.hubfs(*fetch)
        assert files(empty.home / "m") == models
        # A span is fetched as a whole: at the edge of what is there, for less than itself.
        assert held.sent_bytes <= LARGE_BYTES - there_bytes + SPAN_BYTES


def test_a_flipped_bit_is_refused_with_the_reason(empty: Empty) -> None:
    def refused(*arguments: str, **environment: str) -> str:
        said, complained = empty.hubfs("fetch", *arguments, "--to", "m", "--quiet", exit_code=1, **environment)
        assert not said
        assert complained.count("\n") == 1
        assert not [path for path in files(empty.home) if path.startswith("m/") and not path.startswith("m/.hubfs-")]
        return complained

    with HuggingFaceStandIn() as hf, KaggleStandIn() as kaggle:
        hf.rot(NAME, hf.put(NAME, SHARDS), "03.safetensors", 500_000)
        reason = refused(f"hf:{NAME}", HF_ENDPOINT=hf.url)
        assert "/03.safetensors#sha256:" in reason
        assert "is damaged: its sha256 is" in reason
        kaggle.put(YAMNET, {"weights": SHARDS["03.safetensors"]})
        kaggle.store.rot(kaggle.object_of(YAMNET, "weights"), 500_000)
        reason = refused(f"kaggle:{YAMNET}", HUBFS_KAGGLE_ENDPOINT=kaggle.url)
        assert "is damaged: its " in reason


def _spoiled(request: Request, forward: Route) -> Answer:
    answer = forward(request)
    body = bytearray(answer.body)
    if ".hubfs-index" not in request.path and len(body) > 100_000:
        body[len(body) // 2] ^= 1
    return Answer(answer.status, answer.headers, bytes(body))


def test_a_flipped_bit_in_an_archive_is_refused_with_the_reason(
    empty: Empty, tmp_path: Path, models: dict[str, bytes]
) -> None:
    with empty.serving(tmp_path / "models") as behind, FaultProxy(behind) as proxy:
        proxy.meddle(SPICE, _spoiled)
        _, reason = empty.hubfs("fetch", SPICE, "--hub", proxy.url, "--to", "m", "--quiet", exit_code=1)
    assert re.search(rf"{SPICE}.*(inflates to other bytes|damaged)", reason), reason
    assert reason.count("\n") == 1
    assert not (empty.home / "m" / "saved_model.pb").exists()
