"""What a loader of safetensors wants: the order of wants, without I/O."""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pytest

from hubfs.cache.block_cache import BLOCK_SIZE_BYTES as BLOCK
from hubfs.formats.safetensors import Tensor
from hubfs.sources.prefetch.plan import SPECULATION_BYTES, Stage, Want
from hubfs.sources.prefetch.safetensors import Safetensors
from hubfs.sources.prefetch.tensors import Tensors
from hubfs.sources.source import Entry, EntryKind

INDEX = "model.safetensors.index.json"
SHARDS = [f"model-{number:05}-of-00004.safetensors" for number in range(1, 5)]
HEADER_BYTES = 10_000
TENSOR_BYTES = 3 * BLOCK
LAYERS, PER_LAYER = 12, 3
OTHERS = {
    "pytorch_model.bin": 99 * BLOCK,
    "pytorch_model.bin.index.json": 5,
    "onnx/model.onnx": 9 * BLOCK,
    "onnx/model.safetensors": 9 * BLOCK,
    "original/consolidated.safetensors": 9 * BLOCK,
    "consolidated.safetensors": 9 * BLOCK,
    "model.fp16.safetensors": 9 * BLOCK,
    "model.fp16.safetensors.index.json": 7,
}


def names(experts: int = 0) -> list[str]:
    """Of the tensors of a shard, in the order of their bytes, which is that of their names."""
    parts = [f"part{number}" for number in range(PER_LAYER)] + [f"experts.{number}.up" for number in range(experts)]
    return sorted(f"layers.{layer}.{part}" for layer in range(LAYERS) for part in parts)


def laid_out(of: Sequence[str], tensor_bytes: int = TENSOR_BYTES) -> dict[str, Tensor]:
    ends = [HEADER_BYTES + at * tensor_bytes for at in range(len(of) + 1)]
    return {name: Tensor(name, ends[at], ends[at + 1]) for at, name in enumerate(of)}


PLAIN = laid_out(names())
SHARD_BYTES = HEADER_BYTES + len(PLAIN) * TENSOR_BYTES


def entries_of(files: Mapping[str, int]) -> list[Entry]:
    return [Entry(path, EntryKind.FILE, size_bytes) for path, size_bytes in sorted(files.items())]


class Loader:
    """Plays readers, and what the plan looks at. `asked` is what it asked for, in order."""

    def __init__(
        self,
        begun_by: str,
        files: Mapping[str, int],
        *,
        indexes: Mapping[str, tuple[str, ...]] | None = None,
        tensors: Mapping[str, Tensor] = PLAIN,
    ) -> None:
        self.plan = Safetensors(begun_by)
        self.tensors = tensors
        self.indexes = indexes or {}
        self.looked: list[str] = []
        self.asked: list[Want] = []
        self.whole: list[str] = []
        self.plan.learn(entries_of(files))
        self.look()

    def look(self) -> None:
        while self.plan.looks:
            look = self.plan.looks.popleft()
            self.looked.append(look.path)
            if look.path.endswith(".safetensors"):
                header = list(self.tensors.values())
                self.plan.saw(look, Tensors(HEADER_BYTES, header) if header else None)
            else:
                self.plan.saw(look, self.indexes.get(look.path))

    def read(self, path: str, offset_bytes: int, size_bytes: int = BLOCK) -> None:
        self.plan.read(path, offset_bytes, offset_bytes + size_bytes)
        self.look()

    def header(self, path: str) -> None:
        self.read(path, 0, 128 << 10)

    def tensor(self, path: str, name: str) -> None:
        """Reads a tensor to its end, as mmap does: from some bytes before its start."""
        one = self.tensors[name]
        for offset_bytes in range(max(0, one.start_bytes - BLOCK // 2), one.end_bytes, BLOCK):
            self.read(path, offset_bytes)

    def drain(self, given: Iterable[tuple[str, int]] = (), pieces: int = 1 << 20) -> list[Want]:
        """Asks for what is wanted now."""
        before = len(self.asked)
        for _ in range(pieces):
            want = self.plan.wants.next(self.plan.stage, frozenset(given))
            if want is None:
                break
            if self.plan.wants.asked(want, want.end_bytes):
                self.whole.append(want.path)
            self.asked.append(want)
        return self.asked[before:]

    def asked_blocks(self) -> list[tuple[str, int]]:
        return [(want.path, start // BLOCK) for want in self.asked for start in _blocks(want)]


def _blocks(want: Want) -> Iterator[int]:
    yield from range(want.offset_bytes, want.end_bytes, BLOCK)


def four_shards(begun_by: str = INDEX, **more: object) -> Loader:
    files = {INDEX: 100, **dict.fromkeys(SHARDS, SHARD_BYTES), **OTHERS}
    return Loader(begun_by, files, indexes={INDEX: tuple(SHARDS)}, **more)  # type: ignore[arg-type]


def total_bytes(wants: Iterable[Want]) -> int:
    return sum(want.size_bytes for want in wants)


def test_the_index_makes_every_shard_certain_heads_first_and_no_more_than_the_speculation() -> None:
    wants = four_shards().drain()
    assert [(want.path, want.offset_bytes, want.size_bytes) for want in wants[:4]] == [
        (one, 0, BLOCK) for one in SHARDS
    ]
    assert [(want.path, want.offset_bytes) for want in wants[4:]] == [(SHARDS[0], BLOCK)]
    assert SPECULATION_BYTES - BLOCK < total_bytes(wants) <= SPECULATION_BYTES


def test_the_first_blocks_are_asked_for_beside_the_index_and_not_behind_it() -> None:
    plan = Safetensors(INDEX)
    plan.learn(
        entries_of({INDEX: 100, **dict.fromkeys(SHARDS, SHARD_BYTES), **OTHERS, "other-00001-of-00004.safetensors": 9})
    )
    assert [(want.path, want.size_bytes) for want in plan.wants.left] == [
        (INDEX, 100),
        *((shard, BLOCK) for shard in SHARDS),
    ]
    plan.saw(plan.looks.popleft(), None)
    assert plan.stage is Stage.CERTAIN
    variant = Safetensors("model.safetensors.index.fp16.json")
    variant.learn(entries_of({variant.begun_by: 100, **dict.fromkeys(SHARDS, SHARD_BYTES)}))
    assert [want.path for want in variant.wants.left] == [variant.begun_by]


def test_headers_alone_cost_no_more_than_the_speculation() -> None:
    loader = four_shards()
    for shard in SHARDS:
        loader.header(shard)
        loader.read(shard, 128 << 10)
    loader.drain()
    assert total_bytes(loader.asked) <= SPECULATION_BYTES
    assert loader.looked == [INDEX, *SHARDS]


def test_a_tensor_that_is_read_has_all_shards_fetched_each_block_once_and_nothing_else() -> None:
    loader = four_shards()
    for shard in SHARDS:
        loader.header(shard)
    loader.tensor(SHARDS[0], "layers.0.part0")
    loader.tensor(SHARDS[0], "layers.0.part1")
    loader.drain()
    blocks = loader.asked_blocks()
    assert len(blocks) == len(set(blocks)) == 4 * -(-SHARD_BYTES // BLOCK)
    assert {path for path, _ in blocks} == {*SHARDS}
    assert loader.whole == SHARDS, "each is said to be asked for as a whole, once"
    assert [path for path, _ in blocks[-200:]] == sorted(path for path, _ in blocks[-200:]), "in the files' order"


def test_a_shard_that_is_read_first_has_its_index_looked_up() -> None:
    loader = four_shards(SHARDS[2])
    loader.header(SHARDS[2])
    assert loader.looked[:2] == [INDEX, "model.fp16.safetensors.index.json"] or INDEX in loader.looked
    assert [want.path for want in loader.drain()[:4]] == [SHARDS[2], SHARDS[3], SHARDS[0], SHARDS[1]]


def test_a_file_that_no_index_names_is_a_model_of_its_own() -> None:
    loader = four_shards("consolidated.safetensors")
    loader.header("consolidated.safetensors")
    assert {want.path for want in loader.drain()} == {"consolidated.safetensors"}
    assert not loader.plan.covers(SHARDS[0])


@pytest.mark.parametrize("begun_by", [INDEX, SHARDS[0]])
def test_what_is_no_index_or_no_header_means_no_plan(begun_by: str) -> None:
    loader = Loader(begun_by, dict.fromkeys([INDEX, *SHARDS], SHARD_BYTES), tensors={})
    loader.header(SHARDS[0])
    loader.read(SHARDS[0], 50 * BLOCK)
    assert loader.drain() == []


def test_an_index_that_names_what_is_not_there_wants_only_what_is() -> None:
    loader = Loader(INDEX, {INDEX: 5, SHARDS[0]: 0, SHARDS[1]: 7}, indexes={INDEX: (*SHARDS, "other/a.safetensors")})
    assert [(want.path, want.size_bytes) for want in loader.drain()] == [(SHARDS[1], 7)]


def test_a_fault_in_a_tensor_brings_the_tensor_and_what_follows_it_before_the_rest() -> None:
    loader = four_shards()
    for shard in SHARDS:
        loader.header(shard)
    loader.tensor(SHARDS[0], "layers.0.part0")
    loader.tensor(SHARDS[0], "layers.0.part1")
    loader.drain(pieces=5)
    one = PLAIN["layers.10.part1"]
    loader.read(SHARDS[3], one.start_bytes + BLOCK)
    (want,) = loader.drain(pieces=1)
    assert (want.path, want.offset_bytes // BLOCK) == (SHARDS[3], one.start_bytes // BLOCK)
    assert want.end_bytes >= one.end_bytes + TENSOR_BYTES


def test_readers_in_several_shards_have_these_fetched_in_turns() -> None:
    loader = four_shards()
    for shard in SHARDS:
        loader.header(shard)
    loader.drain()
    for name in ("layers.0.part0", "layers.0.part1"):
        for shard in SHARDS:
            loader.tensor(shard, name)
    wants = loader.drain(pieces=8)
    assert sorted(want.path for want in wants) == sorted(2 * SHARDS)
    assert {want.path for want in wants[:4]} == {*SHARDS}


@pytest.mark.parametrize("order", ["bytes", "numbers", "four fronts", "eight threads"])
def test_loaders_that_read_everything_skip_nothing(order: str) -> None:
    loader = four_shards()
    bytes_order = names()
    if order == "numbers":
        bytes_order.sort(key=lambda name: (int(name.split(".")[1]), name))
    if order == "four fronts":
        quarter = len(bytes_order) // 4
        bytes_order = [bytes_order[part * quarter + at] for at in range(quarter) for part in range(4)]
    if order == "eight threads":
        shuffled = random.Random(3)
        bytes_order = [
            name
            for at in range(0, len(bytes_order), 8)
            for name in shuffled.sample(bytes_order[at : at + 8], len(bytes_order[at : at + 8]))
        ]
    for shard in SHARDS:
        loader.header(shard)
        for name in bytes_order:
            loader.tensor(shard, name)
    loader.drain()
    assert len(set(loader.asked_blocks())) == 4 * -(-SHARD_BYTES // BLOCK)


def test_skipped_experts_end_the_fetch_of_whole_shards_and_leave_that_of_tensors() -> None:
    tensors = laid_out(names(experts=64))
    shard_bytes = HEADER_BYTES + len(tensors) * TENSOR_BYTES
    files = {INDEX: 100, **dict.fromkeys(SHARDS, shard_bytes)}
    loader = Loader(INDEX, files, indexes={INDEX: tuple(SHARDS)}, tensors=tensors)
    mine = {f"layers.{layer}.experts.{number}.up" for layer in range(LAYERS) for number in range(8)}
    read = [name for name in tensors if "part" in name or name in mine]
    for shard in SHARDS:
        loader.header(shard)
    for at, name in enumerate(read):
        loader.tensor(SHARDS[0], name)
        loader.drain(pieces=at % 4 == 0)
    for name in read:
        loader.tensor(SHARDS[1], name)
    loader.drain()
    assert loader.whole == [], "nothing completes a file of which tensors are skipped"
    read_bytes = len(read) * TENSOR_BYTES
    of_second = [want for want in loader.asked if want.path == SHARDS[1]][-len(read) :]
    assert read_bytes <= total_bytes(of_second) <= 1.5 * read_bytes
    assert {want.path for want in loader.asked if want.offset_bytes >= BLOCK} <= {SHARDS[0], SHARDS[1]}
    for name in ("layers.11.experts.3.up", "layers.9.part2"):
        one = tensors[name]
        assert any(
            want.path == SHARDS[1] and want.offset_bytes <= one.start_bytes < one.end_bytes <= want.end_bytes
            for want in of_second
        )


def test_what_was_read_before_the_header_was_known_was_not_skipped() -> None:
    loader = four_shards()
    loader.plan.read(SHARDS[0], 0, BLOCK)
    names_read = names()
    for name in names_read[:15]:
        for offset_bytes in range(PLAIN[name].start_bytes, PLAIN[name].end_bytes, BLOCK):
            loader.plan.read(SHARDS[0], offset_bytes, offset_bytes + BLOCK)
    loader.look()
    for name in names_read[15:]:
        loader.tensor(SHARDS[0], name)
    loader.drain()
    assert {path for path, _ in loader.asked_blocks()} == {*SHARDS}
    assert loader.whole == SHARDS


@pytest.mark.parametrize("size_bytes", [4096, 128 << 10, BLOCK])
def test_random_touches_cost_no_more_than_the_speculation(size_bytes: int) -> None:
    tensors = laid_out([f"layers.{number}" for number in range(400)], 10 * BLOCK)
    file_bytes = HEADER_BYTES + 4000 * BLOCK
    loader = Loader("model.safetensors", {"model.safetensors": file_bytes}, tensors=tensors)
    loader.header("model.safetensors")
    touched = random.Random(5)
    for _ in range(64):
        loader.read("model.safetensors", touched.randrange((file_bytes - BLOCK) // 4096) * 4096, size_bytes)
        loader.drain()
    assert total_bytes(loader.asked) <= SPECULATION_BYTES


def test_what_readers_were_given_is_not_asked_for() -> None:
    loader = four_shards()
    given = [(SHARDS[0], index) for index in range(40)]
    assert not {*given} & {(want.path, at // BLOCK) for want in loader.drain(given) for at in _blocks(want)}


def test_a_header_that_is_read_again_after_everything_begins_anew() -> None:
    loader = four_shards()
    for shard in SHARDS:
        loader.header(shard)
    loader.plan.stage = Stage.FOLLOWED
    loader.drain()
    assert not loader.plan.over
    loader.header(SHARDS[0])
    assert loader.plan.over
