"""Protocol buffers without their meaning: fields are a partition of the message; a saved_model.pb is judged."""

from hubfs.blobs.blob import MemoryBlob
from hubfs.errors import Damaged
from hubfs.hubs.tfhub.extracted.protobuf import fields
from hubfs.hubs.tfhub.extracted.saved_model import HUB_MODULE, SAVED_MODEL, check_saved_model

WORDS = (b"vocab.txt", b"\x12", b"\x1a", b"\x32", b"\x80" * 10)


def fuzz(data: bytes) -> None:
    blob = MemoryBlob("message", data)
    try:
        end = 0
        for field in fields(blob):
            assert end < field.start_bytes <= field.end_bytes <= len(data)
            assert field.number > 0
            end = field.end_bytes
        assert end == len(data)
    except Damaged:
        pass
    index = MemoryBlob("index", data[-48:].rjust(40, b"\0") + bytes.fromhex("57fb808b247547db"))
    files = {
        SAVED_MODEL: blob,
        "assets/vocab.txt": blob,
        "variables/variables.index": index,
        "variables/variables.data-00000-of-00001": blob,
    }
    try:
        check_saved_model(files)
        check_saved_model(files | {HUB_MODULE: blob})
    except Damaged as damage:
        str(damage).encode()  # the message can be written to a log
