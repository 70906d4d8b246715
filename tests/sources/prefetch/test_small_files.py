"""Which small files are wanted together, without I/O."""

import pytest

from hubfs.sources.prefetch.plan import Stage
from hubfs.sources.prefetch.small_files import MOST_FILES, SMALL_BYTES, SmallFiles
from hubfs.sources.source import Entry, EntryKind

WANTED = [
    "config.json",
    "chat_template.jinja",
    "generation_config.json",
    "merges.txt",
    "model.safetensors.index.json",
    "modeling_new.py",
    "tokenizer_config.json",
]
OTHERS = {
    "README.md": 900,
    "model.safetensors": 900,
    "pytorch_model.bin": 900,
    "pytorch_model.bin.index.json": 900,
    "tokenizer.json": SMALL_BYTES,
    "empty.json": 0,
    "onnx/config.json": 30,
    "1_Pooling/config.json": 40,
    "1_Pooling/deep/config.json": 50,
}


def wanted(begun_by: str, files: dict[str, int]) -> list[str]:
    plan = SmallFiles(begun_by)
    plan.learn([Entry(path, EntryKind.FILE, size_bytes) for path, size_bytes in files.items()])
    assert all(want.stage is Stage.CERTAIN and want.size_bytes == files[want.path] for want in plan.wants.left)
    return [want.path for want in plan.wants.left]


def test_a_configuration_brings_the_small_files_of_its_folder_itself_first() -> None:
    assert wanted("config.json", {**dict.fromkeys(reversed(WANTED), 700), **OTHERS}) == WANTED


def test_a_model_of_parts_brings_those_of_the_parts_too_and_no_other_format() -> None:
    files = {"modules.json": 10, "config.json": 20, **OTHERS}
    assert wanted("modules.json", files) == ["modules.json", "config.json", "1_Pooling/config.json"]


def test_a_part_brings_its_own_alone() -> None:
    files = {"config.json": 5, "unet/config.json": 6, "unet/more.json": 7, "vae/config.json": 8}
    assert wanted("unet/config.json", files) == ["unet/config.json", "unet/more.json"]


def test_a_folder_of_very_many_has_no_more_fetched_than_the_bound() -> None:
    assert (
        len(wanted("config.json", {"config.json": 5, **{f"{n}.json": SMALL_BYTES - 1 for n in range(999)}}))
        == MOST_FILES
    )


@pytest.mark.parametrize("path", ["config.json", "a/tokenizer_config.json", "modules.json", "model_index.json"])
def test_what_loaders_open_first_begins_it(path: str) -> None:
    assert SmallFiles.begins(path, read=False)
    assert not SmallFiles.begins(path, read=True)


def test_other_files_begin_nothing() -> None:
    assert not any(SmallFiles.begins(path, read=False) for path in ("README.md", "vocab.txt", "my_config.json"))
