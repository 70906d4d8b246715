"""model.json of TF.js: every shard is a path inside of the model, and its URL one below the model's."""

from urllib.parse import unquote, urlsplit

from hubfs.errors import Damaged
from hubfs.hubs.tfhub.tfjs import SHARDS_LIMIT, _shards, url_of
from hubfs.sources.files import tree_of

MAX_BYTES = 6000
WORDS = (
    *(b'"weightsManifest"', b'"paths"', b"group1-shard1of1.bin", b"[" * 60, b"1e999", b"\\ud800"),
    *(b"../", b"%2e%2e/", b"\\u0000"),
)

_MODEL = "https://hub.test/google/tfjs-model/spice/2"
_MOST_ENTRIES_PER_BYTE = 1


def fuzz(data: bytes) -> None:
    try:
        shards = _shards(data, f"{_MODEL}/model.json")
        tree = tree_of(_MODEL, dict.fromkeys(shards, 1))
    except Damaged as damage:
        str(damage).encode()
        return
    assert len(shards) <= SHARDS_LIMIT
    assert len(set(shards)) == len(shards)
    assert len(tree) <= _MOST_ENTRIES_PER_BYTE * len(data)
    for path, entry in tree.items():
        above = path.rpartition("/")[0]
        assert not above or tree[above].kind.value == "directory"
        assert entry.path == path
        assert all(0 < len(part.encode()) <= 255 for part in path.split("/"))
    for path in shards:
        url = urlsplit(url_of(_MODEL, path))
        assert url.netloc == "hub.test"
        assert url.query == "tfjs-format=file"
        assert unquote(url.path) == f"/google/tfjs-model/spice/2/{path}"
        assert not {"..", "."} & set(url.path.split("/"))
