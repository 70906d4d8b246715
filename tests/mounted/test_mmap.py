"""Files of `hf:` that are mapped: faults do not wait for each other, and cost what the window of a reader costs."""

import os
import random
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from tests.support.huggingface import HuggingFaceStandIn
from tests.support.huggingface_repo import Blob, Made
from tests.support.mount import Machine, Mount, is_mounted, mounted
from tests.support.paths import ROOT
from tests.support.two_origins import Gate

pytestmark = pytest.mark.mounted

NAME = "made/large"
MIB = 1 << 20


@cache
def block(index: int) -> bytes:
    """A MiB of seeded noise."""
    return random.Random(index).randbytes(MIB)


SPARSE = {
    f"{name}.data": Made((256 << 20) + at, lambda index, at=at: block(97 * at + index % 64))
    for at, name in enumerate("abcd")
}
"""Nothing here reads all of one: their sha256 is made up."""

WHOLE = {f"{name}.data": b"".join(block(7 * at + index) for index in range(16)) for at, name in enumerate("efgh")}
HUGE = {"huge.data": Made(4 << 30, lambda index: block(index % 64))}
FILES = {**SPARSE, **WHOLE, **HUGE}


@pytest.fixture(scope="module")
def touch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program `touch` of tests/support/c."""
    program = tmp_path_factory.mktemp("c") / "touch"
    source = ROOT / "tests/support/c/touch.c"
    subprocess.run(["gcc", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread", source, "-o", program], check=True)
    return program


@pytest.fixture
def hub() -> Iterator[HuggingFaceStandIn]:
    with HuggingFaceStandIn() as hub:
        hub.put(NAME, FILES)
        yield hub
        hub.cdn.gate.open()


@pytest.fixture
def mount(hub: HuggingFaceStandIn, machine: Machine, tmp_path: Path) -> Iterator[Mount]:
    with mounted(machine.with_environment(HF_ENDPOINT=hub.url), tmp_path / "hf", "hf:") as mount:
        yield mount


@contextmanager
def touching(program: Path, model: Path, threads: int, places: Sequence[tuple[str, int]]) -> Iterator[Iterator[int]]:
    """Touches bytes, and yields the numbers of places as their bytes arrive. Each byte is the right one."""
    arguments = [f"{model / name}:{offset_bytes}" for name, offset_bytes in places]

    def arrived(lines: Iterator[str]) -> Iterator[int]:
        for line in lines:
            number, byte = map(int, line.split())
            name, offset_bytes = places[number]
            assert FILES[name][offset_bytes : offset_bytes + 1] == bytes([byte]), (name, offset_bytes)
            yield number

    with subprocess.Popen([program, str(threads), *arguments], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield arrived(iter(process.stdout.readline, ""))
            assert process.wait(120) == 0
        finally:
            process.kill()


def sha256_of(name: str) -> str:
    return Blob(FILES[name], lfs=True).sha256


def test_a_fault_waits_for_no_other_ones_network(hub: HuggingFaceStandIn, mount: Mount, touch: Path) -> None:
    """Of a.data nothing comes from its middle on: 24 threads wait for that, while 16 read elsewhere."""
    held = [("a.data", (128 + 5 * at) * MIB) for at in range(24)]
    free = [(name, 10 * at * MIB) for at in range(12) for name in SPARSE]
    a = sha256_of("a.data")
    hub.cdn.gate = Gate(lambda sha256, part: sha256 == a and part.stop > 128 * MIB)
    with touching(touch, mount.path / NAME, len(held) + 16, held + free) as arrived:
        first = {next(arrived) for _ in free}
        assert min(first) == len(held), "a byte that was held back came"
        hub.cdn.gate.open()
        assert sorted(arrived) == [*range(len(held))]


def test_who_reads_on_waits_for_no_fault(hub: HuggingFaceStandIn, mount: Mount, touch: Path) -> None:
    """64 threads wait for three files; the fourth is read from its start on, by faults and by calls."""
    model = mount.path / NAME
    held = [(f"{'abc'[at % 3]}.data", 3 * at * MIB) for at in range(64)]
    shas = [sha256_of(f"{name}.data") for name in "abc"]
    hub.cdn.gate = Gate(lambda sha256, _: sha256 in shas)
    with touching(touch, model, len(held), held) as arrived:
        assert hub.cdn.gate.wait(len(held))
        places = [("d.data", at * MIB // 8) for at in range(8 * 64)]
        with touching(touch, model, 1, places) as in_order:
            assert [*in_order] == [*range(len(places))]
        with (model / "d.data").open("rb") as file:
            assert file.read(80 * MIB) == SPARSE["d.data"][: 80 * MIB]
        assert mount.status()["mountpoint"] == str(mount.path)
        hub.cdn.gate.open()
        assert sorted(arrived) == [*range(len(held))]


def test_what_the_kernel_asks_in_pieces_is_fetched_in_windows(
    hub: HuggingFaceStandIn, mount: Mount, touch: Path
) -> None:
    """48 MiB, of which the kernel asks for 128 KiB at a time, as in a mount that an ordinary user made."""
    device = mount.path.stat().st_dev
    if os.geteuid() == 0:
        Path(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb").write_text("128")
    places = [("a.data", 32 * 1024 * at) for at in range(48 * 32)]
    with touching(touch, mount.path / NAME, 1, places) as arrived:
        assert [*arrived] == [*range(len(places))]
    parts = sorted(headers["range"].removeprefix("bytes=").split("-") for _, headers, *_ in hub.cdn.asked)
    blocks = [block for first, last in parts for block in range(int(first) // MIB, int(last) // MIB + 1)]
    assert all(int(first) % MIB == 0 and (int(last) + 1) % MIB == 0 for first, last in parts), "whole blocks, at once"
    assert len(set(blocks)) == len(blocks), "each once"
    assert {*range(48)} <= {*blocks}


@pytest.mark.parametrize("threads", [1, 64])
def test_a_touch_at_random_brings_little_else(hub: HuggingFaceStandIn, mount: Mount, touch: Path, threads: int) -> None:
    """64 places of 4 GB; at most four times the MiB that they lie in come."""
    places = [("huge.data", random.Random(at).randrange(4 << 30)) for at in range(64)]
    with touching(touch, mount.path / NAME, threads, places) as arrived:
        assert sorted(arrived) == [*range(len(places))]
    touched = {offset_bytes // MIB for _, offset_bytes in places}
    assert hub.cdn.body_bytes <= 4 * MIB * len(touched)


def test_64_threads_that_are_killed_in_a_fault_end_at_once(hub: HuggingFaceStandIn, mount: Mount, touch: Path) -> None:
    model = mount.path / NAME
    names = [model / name for name in (*SPARSE, *HUGE)]
    for seed in range(3):
        hub.cdn.gate = Gate(lambda *_: True)
        with subprocess.Popen([touch, "64", "random", str(seed), *names], stdout=subprocess.DEVNULL) as process:
            assert hub.cdn.gate.wait(16)
            process.kill()
            assert process.wait(60) == -signal.SIGKILL, "nothing has come: no fault waits for the network"
        hub.cdn.gate.open()
    hub.cdn.gate = Gate(lambda *_: True)
    with subprocess.Popen([touch, "64", "random", "99", *names], stdout=subprocess.DEVNULL) as process:
        assert hub.cdn.gate.wait(16)
        process.kill()
    assert mount.machine.hubfs("unmount", mount.path).returncode == 0
    assert not is_mounted(mount.path)


def test_64_threads_that_touch_at_random_go_on_until_they_are_killed(
    hub: HuggingFaceStandIn, mount: Mount, touch: Path
) -> None:
    names = [mount.path / NAME / name for name in WHOLE]
    for seed in range(8):
        with subprocess.Popen([touch, "64", "random", str(seed), *names], stdout=subprocess.PIPE, text=True) as process:
            for _ in range(1 + seed):
                assert process.stdout.readline() == "touched\n"
            process.kill()
            assert process.wait(60) == -signal.SIGKILL
    for name, content in WHOLE.items():
        assert (mount.path / NAME / name).read_bytes() == content
