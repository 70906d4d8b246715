"""Small SavedModels, encoded by hand: each is what TensorFlow would take for a whole one, as far as files go."""

from collections.abc import Sequence

TABLE_FOOTER = bytes(40) + bytes.fromhex("57fb808b247547db")
SHARD = "variables/variables.data-{:05d}-of-{:05d}"


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def delimited(number: int, data: bytes) -> bytes:
    """A field of text, bytes or a message."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def saved_model_pb(*, variables: bool = True, assets: Sequence[str] = ()) -> bytes:
    """A SavedModel with one graph."""
    graph = delimited(1, b"\x22\x05serve") + delimited(2, bytes(300))
    if variables:
        graph += delimited(3, b"\x0a\x04save")
    for name in assets:
        graph += delimited(6, delimited(1, b"\x0a\x01x") + delimited(2, name.encode()))
    return varint(1 << 3) + varint(1) + delimited(2, graph)


def whole_model(*, shards: int = 1, assets: Sequence[str] = ("vocab.txt",)) -> dict[str, bytes]:
    """Path → bytes."""
    return {
        "saved_model.pb": saved_model_pb(assets=assets),
        **{f"assets/{name}": b"words" for name in assets},
        "variables/variables.index": b"index" + TABLE_FOOTER,
        **{SHARD.format(number, shards): b"weights" for number in range(shards)},
    }
