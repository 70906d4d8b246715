"""Whether the files of a directory can be a whole SavedModel, told by the files that name other files."""

import re
from collections.abc import Iterator, Mapping

from hubfs.blobs.blob import Blob
from hubfs.errors import Damaged
from hubfs.hubs.tfhub.extracted.protobuf import Field, fields

SAVED_MODEL = "saved_model.pb"
HUB_MODULE = "tfhub_module.pb"

_VARIABLES_INDEX = "variables/variables.index"
_SHARD = re.compile(r"variables/variables\.data-(\d{5})-of-(\d{5})", re.ASCII)

# The numbers of fields, from TensorFlow's saved_model.proto and meta_graph.proto.
_META_GRAPHS = 2
_SAVER_DEF = 3
_ASSET_FILE_DEF = 6
_ASSET_FILENAME = 2

_TABLE_FOOTER_BYTES = 48
_TABLE_MAGIC = bytes.fromhex("57fb808b247547db")  # the last bytes of every table of TensorFlow's and LevelDB's


def check_saved_model(files: Mapping[str, Blob]) -> None:
    """Raises `Damaged` if `files` (by path) cannot be a whole SavedModel or TF1 Hub module: it says what is missing.

    Verified: saved_model.pb is there, is a protocol buffer up to its last byte, and has a graph;
    tfhub_module.pb, too, where there is one; every asset that a graph names is there; variables are there if a graph
    restores any: an index that ends as such tables do, and all of the shards, each with at least one byte.

    Not verified: the bytes within the files (there is no checksum), and files that no graph names (`fingerprint.pb`,
    `assets.extra`).
    """
    if SAVED_MODEL not in files:
        raise Damaged(f"{SAVED_MODEL} is missing")
    if HUB_MODULE in files:
        _check_message(HUB_MODULE, files[HUB_MODULE])
    _check_message(SAVED_MODEL, files[SAVED_MODEL])
    parts = [*_parts_of_graphs(files[SAVED_MODEL])]
    if not parts:
        raise Damaged(f"{SAVED_MODEL} holds no graph")
    missing = sorted(_assets(files[SAVED_MODEL], parts) - files.keys())
    if missing:
        raise Damaged(f"the asset {missing[0]} is missing")
    # A saver is stored exactly if there was something to save, and loading without it goes unnoticed in TensorFlow 1.
    if any(part.number == _SAVER_DEF for part in parts) or any(path.startswith("variables/") for path in files):
        _check_variables(files)


def _check_message(path: str, blob: Blob) -> None:
    if blob.size_bytes == 0:
        raise Damaged(f"{path} is empty")
    try:
        for _ in fields(blob):
            pass
    except Damaged as error:
        raise Damaged(f"{path}: {error}") from error


def _parts_of_graphs(saved_model: Blob) -> Iterator[Field]:
    """The fields of all graphs of a SavedModel."""
    for graph in fields(saved_model):
        if graph.number == _META_GRAPHS and graph.delimited:
            yield from fields(saved_model, graph.start_bytes, graph.end_bytes)


def _assets(saved_model: Blob, parts: list[Field]) -> set[str]:
    """The paths of the files that the graphs name."""
    return {
        "assets/" + saved_model.read_at(name.start_bytes, name.end_bytes - name.start_bytes).decode(errors="replace")
        for part in parts
        if part.number == _ASSET_FILE_DEF and part.delimited
        for name in fields(saved_model, part.start_bytes, part.end_bytes)
        if name.number == _ASSET_FILENAME and name.delimited
    }


def _check_variables(files: Mapping[str, Blob]) -> None:
    index = files.get(_VARIABLES_INDEX)
    if index is None:
        raise Damaged(f"{_VARIABLES_INDEX} is missing")
    footer = index.read_at(max(0, index.size_bytes - _TABLE_FOOTER_BYTES), _TABLE_FOOTER_BYTES)
    if len(footer) < _TABLE_FOOTER_BYTES or not footer.endswith(_TABLE_MAGIC):
        raise Damaged(f"{_VARIABLES_INDEX} does not end as an index of variables does")
    shards = {path: found for path in files if (found := _SHARD.fullmatch(path))}
    counts = {int(found[2]) for found in shards.values()}
    if len(counts) != 1:
        raise Damaged("variables/variables.data-… is missing, or belongs to several savings")
    (count,) = counts
    for number in range(count):
        path = f"variables/variables.data-{number:05d}-of-{count:05d}"
        if path not in files:
            raise Damaged(f"{path} is missing")
        if files[path].size_bytes == 0:
            raise Damaged(f"{path} is empty")
