"""What a loader of a zip wants, without I/O."""

import pytest

from hubfs.blobs.blob import MemoryBlob
from hubfs.cache.block_cache import BLOCK_SIZE_BYTES as BLOCK
from hubfs.sources.prefetch.plan import Want
from hubfs.sources.prefetch.zips import Zip
from hubfs.sources.source import Entry, EntryKind

NAME, SIZE_BYTES = "pytorch_model.bin", 50 * BLOCK + 100
ZIP, OTHER = MemoryBlob("zip", b"PK\3\4" + bytes(10)), MemoryBlob("other", b"\x80\2")


def begun(size_bytes: int = SIZE_BYTES) -> Zip:
    plan = Zip(NAME)
    plan.learn([Entry(NAME, EntryKind.FILE, size_bytes)])
    return plan


def look(plan: Zip, blob: MemoryBlob) -> None:
    while plan.looks:
        one = plan.looks.popleft()
        plan.saw(one, one.understand(blob))


def wanted(plan: Zip) -> list[tuple[int, int]]:
    found: list[Want] = []
    while (want := plan.wants.next(plan.stage, ())) is not None:
        plan.wants.asked(want, want.end_bytes)
        found.append(want)
    return [(want.offset_bytes, want.end_bytes) for want in found]


def test_the_tail_comes_first_and_the_rest_once_a_loader_came_back_from_it() -> None:
    plan = begun()
    assert wanted(plan) == [(49 * BLOCK, SIZE_BYTES)]
    plan.read(NAME, 0, 4096)
    plan.read(NAME, SIZE_BYTES - 4096, SIZE_BYTES)
    plan.read(NAME, SIZE_BYTES - 8192, SIZE_BYTES - 4096)
    look(plan, ZIP)
    assert wanted(plan) == []
    plan.read(NAME, 4096, 9000)
    look(plan, ZIP)
    assert wanted(plan) == [(0, 49 * BLOCK)]


def test_a_file_that_is_no_zip_has_its_tail_fetched_and_no_more() -> None:
    plan = begun()
    wanted(plan)
    plan.read(NAME, SIZE_BYTES - 4096, SIZE_BYTES)
    plan.read(NAME, 4096, 9000)
    plan.read(NAME, 9000, 19_000)
    look(plan, OTHER)
    assert wanted(plan) == []


def test_a_reader_in_order_never_goes_back() -> None:
    plan = begun()
    wanted(plan)
    for offset_bytes in range(0, SIZE_BYTES, BLOCK):
        plan.read(NAME, offset_bytes, min(SIZE_BYTES, offset_bytes + BLOCK))
    assert not plan.looks


@pytest.mark.parametrize(("size_bytes", "parts"), [(0, []), (100, [(0, 100)]), (BLOCK, [(0, BLOCK)])])
def test_a_small_file_is_its_own_tail(size_bytes: int, parts: list[tuple[int, int]]) -> None:
    assert wanted(begun(size_bytes)) == parts


@pytest.mark.parametrize(
    ("path", "is_zip"),
    [
        ("pytorch_model.bin", True),
        ("a/diffusion_pytorch_model-00001-of-00002.bin", True),
        ("model.pt", True),
        ("model.keras", True),
        ("weights.npz", True),
        ("group1-shard1of2.bin", False),
        ("model.safetensors", False),
    ],
)
def test_names_of_checkpoints_begin_a_plan(path: str, *, is_zip: bool) -> None:
    assert Zip.begins(path, read=False) is is_zip
    assert not Zip.begins(path, read=True)
