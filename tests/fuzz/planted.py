"""Defects that are put into hubfs, to see that the harness finds them."""

import re
from collections.abc import Callable
from dataclasses import replace

from hubfs.blobs.http import url
from hubfs.formats.byte_reader import ByteReader
from hubfs.formats.gzip import stream as gzip
from hubfs.hubs.tfhub.names import handle
from tests.fuzz.fuzzing import Target


def _handles_with_empty_segments(target: Target) -> Target:
    assert handle._SEGMENT
    handle._SEGMENT = re.compile(r"[\w.-]{0,255}")
    return target


def _what_follows_gzip_data_is_lost(target: Target) -> Target:
    class Losing(ByteReader):
        def pass_zeros(self) -> None:
            while self.at_most(1 << 12):
                pass

    assert gzip.ByteReader is ByteReader
    gzip.ByteReader = Losing
    return target


def _a_chain(target: Target) -> Target:
    return replace(target, fuzz=_five_steps, repair=bytes, words=())


def _five_steps(data: bytes) -> None:
    """One input in a million million falls through; each step by itself is one byte away from the one before."""
    if data[0:1] != b"h":
        return
    if data[1:2] != b"\xc3":
        return
    if data[2:3] != b"\x07":
        return
    if data[3:4] != b"\xee":
        return
    if data[4:5] == b"\x91":
        raise AssertionError("the chain was followed to its end")


def _an_expression_begins_anew_at_every_place(target: Target) -> Target:
    assert url._QUERY
    url._QUERY = re.compile(r"""(?<=\S)\?[^\s"'<>]*=[^\s"'<>]*()""")
    return target


GUIDED = "protobuf: a chain of five bytes"
"""Only what sees coverage finds this one."""

PLANTS: dict[str, Callable[[Target], Target]] = {
    "handle: empty segments pass": _handles_with_empty_segments,
    "gzip_stream: what follows is lost": _what_follows_gzip_data_is_lost,
    "cost: a quadratic expression": _an_expression_begins_anew_at_every_place,
    GUIDED: _a_chain,
}
"""By the target that must find it, and what it is."""
