"""What is fetched ahead of the loaders of safetensors and GGUF, at a stand-in for the Hugging Face Hub."""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import gguf
import numpy as np
import pytest
from safetensors.numpy import save

from tests.support.huggingface import HuggingFaceStandIn
from tests.support.huggingface_repo import Blob
from tests.support.mount import Machine, Mount, mounted
from tests.support.programs import output_of
from tests.support.waiting import eventually

pytestmark = pytest.mark.mounted

NAME = "BAAI/bge-m3"
MIB = 1 << 20
SHARDS = [f"model-{number:05}-of-00004.safetensors" for number in range(1, 5)]
INDEX = "model.safetensors.index.json"
SMALL = ["chat_template.jinja", "config.json", "generation_config.json", INDEX, "tokenizer_config.json"]
OTHERS = ["onnx/model.onnx", "original/consolidated.safetensors", "pytorch_model.bin"]
BUSY_S = 120.0

READ_ALL = """
import hashlib, json, sys
from safetensors import safe_open
opened = [safe_open(path, framework="numpy") for path in sys.argv[1:]]
keys = [list(one.keys()) for one in opened]
print(json.dumps({
    name: hashlib.sha256(one.get_tensor(name)).hexdigest() for one, names in zip(opened, keys) for name in names
}))
"""

DUMP = """
import sys
import gguf
reader = gguf.GGUFReader(sys.argv[1])
print(len(reader.tensors), len(reader.fields))
"""

LOAD = """
import hashlib, sys
import gguf
reader = gguf.GGUFReader(sys.argv[1])
print(*(hashlib.sha256(tensor.data).hexdigest() for tensor in reader.tensors))
"""


def shard(number: int) -> bytes:
    random = np.random.default_rng(number)
    tensors = {
        f"model.layers.{6 * number + layer}.mlp.{part}.weight": random.integers(0, 255, (1024, 1024), np.uint8)
        for layer in range(6)
        for part in ("down", "gate", "up", "norm")
    }
    return save(tensors, {"format": "pt"})


def gguf_file(path: Path) -> bytes:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_token_list([f"token{number}" for number in range(20_000)])
    random = np.random.default_rng(7)
    for number in range(6):
        writer.add_tensor(f"blk.{number}.weight", random.random((1024, 1024), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, bytes]:
    shards = {path: shard(number) for number, path in enumerate(SHARDS)}
    places = {str(number): path for number, path in enumerate(SHARDS)}
    small = {path: b'{"of": "%s"}' % path.encode() for path in SMALL}
    small[INDEX] = json.dumps({"metadata": {}, "weight_map": places}).encode()
    others = {path: np.random.default_rng(9).bytes(3 * MIB) for path in OTHERS}
    return {**shards, **small, **others, "model-Q4.gguf": gguf_file(tmp_path_factory.mktemp("gguf") / "a.gguf")}


@dataclass
class Served:
    """The repository at a stand-in."""

    hub: HuggingFaceStandIn
    contents: Mapping[str, bytes]
    paths: dict[str, str] = field(default_factory=dict)

    def sent_bytes(self) -> Counter[str]:
        """What the CDN sent, by the path of the file."""
        sent: Counter[str] = Counter()
        for path, _, _, sent_bytes in list(self.hub.cdn.asked):
            sent[self.paths[path.rpartition("/")[2]]] += sent_bytes
        return sent

    def asked(self) -> set[str]:
        """The files of Git that were asked for."""
        return {path for path in self.contents if any(asked.endswith(f"/{path}") for _, asked, *_ in self.hub.asked)}


@pytest.fixture
def served(contents: Mapping[str, bytes]) -> Iterator[Served]:
    with HuggingFaceStandIn() as hub:
        hub.put(NAME, contents)
        yield Served(hub, contents, {Blob(content, lfs=True).sha256: path for path, content in contents.items()})


@pytest.fixture
def there(machine: Machine, served: Served) -> Machine:
    return machine.with_environment(HF_ENDPOINT=served.hub.url)


@pytest.fixture
def mount(there: Machine, tmp_path: Path) -> Iterator[Mount]:
    with mounted(there, tmp_path / "hf", "hf:") as mount:
        yield mount


def run(script: str, *paths: Path) -> str:
    return output_of([sys.executable, "-c", script, *paths], timeout=240)


def came(served: Served, *paths: str) -> bool:
    """Whether the CDN sent these files, and no other: each byte once, as a rule; a slow disk may lose some."""
    sent, sizes = served.sent_bytes(), {path: len(served.contents[path]) for path in paths}
    return {*sent} == {*paths} and all(size <= sent[path] < 1.5 * size for path, size in sizes.items())


def test_all_shards_are_mapped_and_each_byte_crosses_once_and_no_other_format(
    served: Served, mount: Mount, tmp_path: Path
) -> None:
    (tmp_path / "local").mkdir()
    for path in SHARDS:
        (tmp_path / "local" / path).write_bytes(served.contents[path])
    expected = run(READ_ALL, *(tmp_path / "local" / path for path in SHARDS))
    assert run(READ_ALL, *(mount.path / NAME / path for path in SHARDS)) == expected
    assert came(served, *SHARDS)
    assert served.hub.calls["resolve"] == len(SHARDS) + 1, "each shard once, and the index that says what they are"


def test_whoever_reads_on_in_one_shard_has_all_of_them_fetched(served: Served, mount: Mount) -> None:
    with (mount.path / NAME / SHARDS[1]).open("rb") as file:
        for _ in range(6):
            file.read(MIB)
        assert eventually(lambda: came(served, *SHARDS), BUSY_S)


def test_whoever_reads_the_index_and_the_headers_has_the_speculation_fetched(served: Served, mount: Mount) -> None:
    (mount.path / NAME / INDEX).read_bytes()
    with ExitStack() as opened:  # a model without an open file is followed for 20 s, in which a machine may stand still
        for path in SHARDS:
            opened.enter_context((mount.path / NAME / path).open("rb")).read(8)
        assert eventually(lambda: served.sent_bytes().total() >= 63 * MIB, BUSY_S)
    most_bytes = (64 + 8) * MIB + sum(len(served.contents[path]) % MIB for path in SHARDS)
    assert served.sent_bytes().total() <= most_bytes, "each of four readers has two blocks ahead; last blocks are short"
    assert {*served.sent_bytes()} == {*SHARDS}


def test_without_prefetching_a_shard_brings_no_other(served: Served, there: Machine, tmp_path: Path) -> None:
    with mounted(there, tmp_path / "hf", "hf:", "--prefetch", "none") as mount:
        (mount.path / NAME / "config.json").read_bytes()
        (mount.path / NAME / INDEX).read_bytes()
        assert len((mount.path / NAME / SHARDS[1]).read_bytes()) == len(served.contents[SHARDS[1]])
        assert came(served, SHARDS[1])
        assert served.asked() & {*SMALL} == {"config.json", INDEX}


def test_a_configuration_brings_the_small_files_and_no_weights(served: Served, mount: Mount) -> None:
    with (mount.path / NAME / "config.json").open("rb"):
        assert eventually(lambda: served.asked() >= {*SMALL}, BUSY_S)
    resolves = served.hub.calls["resolve"]
    for path in SMALL:
        assert (mount.path / NAME / path).read_bytes() == served.contents[path]
    # Reading the index asks for the shards, but for no small file a second time.
    small = [asked for _, asked, *_ in served.hub.asked if asked.endswith(tuple(f"/{path}" for path in SMALL))]
    assert len(small) == len(SMALL) <= resolves


def test_a_dump_of_a_gguf_fetches_its_header_and_a_load_each_byte_once(served: Served, mount: Mount) -> None:
    path = mount.path / NAME / "model-Q4.gguf"
    assert run(DUMP, path).split()[0] == "6"
    assert served.sent_bytes()["model-Q4.gguf"] <= 5 * MIB, "the block of the header, and four times as much ahead"
    digests = run(LOAD, path)
    assert len({*digests.split()}) == 6
    assert eventually(lambda: came(served, "model-Q4.gguf"), BUSY_S)


def test_a_gguf_is_fetched_whole_once_more_than_its_header_is_read(served: Served, mount: Mount) -> None:
    with (mount.path / NAME / "model-Q4.gguf").open("rb") as file:
        for _ in range(5):
            file.read(MIB)
        assert eventually(lambda: came(served, "model-Q4.gguf"), BUSY_S)
