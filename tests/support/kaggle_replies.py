"""Answers of the stand-in for Kaggle, and what a test puts in their place."""

import io
import json
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.support.huggingface_repo import Content


@dataclass(frozen=True)
class Reply:
    """What goes back; `body` as it is on the wire."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


Fault = Callable[[Reply], Reply]

RANGE = re.compile(r"bytes=(\d+)-(\d*)")


def json_reply(answer: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(status, {"Content-Type": "application/json", **(headers or {})}, json.dumps(answer).encode())


def refusal(status: int, message: str) -> Reply:
    return json_reply({"code": status, "message": message}, status)


def instead(reply: Reply) -> Fault:
    """Another answer altogether."""
    return lambda _: reply


def too_many(retry_after_s: int | None = None) -> Fault:
    """429 as the RPC dialect answers it."""
    error = {"error": {"code": 429, "message": "Too many requests", "status": "RESOURCE_EXHAUSTED"}}
    return instead(json_reply(error, 429, {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}))


def error_in_a_200(code: int, message: str) -> Fault:
    return instead(json_reply({"code": code, "message": message}))


def well() -> Fault:
    """The answer as it should be; to let some requests pass before a fault."""
    return lambda reply: reply


def zipped(name: str, content: bytes) -> bytes:
    """A zip with one file in it, as Kaggle has stored some files."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(name), content)
    return packed.getvalue()


def ranged(content: Content, headers: Mapping[str, str], wanted: str | None) -> Reply:
    """The whole of `content`, or the range that was asked for."""
    asked = RANGE.fullmatch(wanted or "")
    if asked is None:
        return Reply(200, headers, content[:])
    start, size = int(asked[1]), len(content)
    end = min(int(asked[2]) + 1, size) if asked[2] else size
    if start >= size:
        return Reply(416, {**headers, "Content-Range": f"bytes */{size}"})
    return Reply(206, {**headers, "Content-Range": f"bytes {start}-{end - 1}/{size}"}, content[start:end])
