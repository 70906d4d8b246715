import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubfs.blobs.blob import MemoryBlob
from hubfs.errors import Damaged
from hubfs.hubs.tfhub.extracted.protobuf import Field, fields
from hubfs.testing import ScriptedBlob
from tests.support.saved_models import delimited, saved_model_pb, varint


def fields_of(data: bytes) -> list[Field]:
    return [*fields(MemoryBlob("message", data))]


def test_fields_of_all_wire_types_are_told_apart() -> None:
    data = b"\x08\x96\x01" + b"\x11" + bytes(8) + b"\x1a\x03abc" + b"\x25" + bytes(4)
    assert fields_of(data) == [
        Field(1, False, 1, 3),
        Field(2, False, 4, 12),
        Field(3, True, 14, 17),
        Field(4, False, 18, 22),
    ]


def test_nothing_is_a_message_without_fields() -> None:
    assert fields_of(b"") == []


def test_a_part_of_a_blob_can_be_a_message() -> None:
    inner = delimited(5, b"value")
    blob = MemoryBlob("message", delimited(1, b"before") + delimited(2, inner) + b"junk after")
    _, message = fields(blob, 0, blob.size_bytes - len(b"junk after"))
    (field,) = fields(blob, message.start_bytes, message.end_bytes)
    assert blob.read_at(field.start_bytes, field.end_bytes - field.start_bytes) == b"value"


def test_large_values_are_skipped_and_not_read() -> None:
    blob = ScriptedBlob(delimited(2, bytes(5_000_000)) + delimited(2, bytes(100)))
    assert len([*fields(blob)]) == 2
    assert blob.asked_bytes < 100


@given(cut=st.integers(min_value=1))
def test_a_cut_message_is_damaged_unless_the_cut_is_between_fields(cut: int) -> None:
    parts = [varint(1 << 3) + varint(300), delimited(2, bytes(200)), delimited(3, b"abc"), b"\x25" + bytes(4)]
    data = b"".join(parts)
    ends = {sum(map(len, parts[:count])) for count in range(len(parts) + 1)}
    length = cut % len(data)
    if length in ends:
        assert len(fields_of(data[:length])) < len(parts)
    else:
        with pytest.raises(Damaged):
            fields_of(data[:length])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"<!DOCTYPE html>", "wire type"),
        (b"\x00\x00", "number 0"),
        (b"\x0b", "wire type 3"),
        (b"\xff" * 30, "middle of a number"),
        (b"\x08", "middle of a number"),
        (b"\x12\xff\xff\xff\xff\x0f", "too early"),
    ],
)
def test_what_is_no_message_is_damaged(data: bytes, reason: str) -> None:
    with pytest.raises(Damaged, match=reason):
        fields_of(data)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_message_or_damaged(data: bytes) -> None:
    try:
        found = fields_of(data)
    except Damaged:
        return
    assert [field.end_bytes for field in found][-1:] == ([len(data)] if data else [])


def test_a_saved_model_is_a_message() -> None:
    assert [field.number for field in fields_of(saved_model_pb())] == [1, 2]
