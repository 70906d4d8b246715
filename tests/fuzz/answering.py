"""A hub whose host answers with what a fuzzer says, for the targets of hubs that are asked by an API."""

import logging
from collections.abc import Callable, Mapping
from functools import lru_cache

from hubfs.blobs.gcs.client import GcsClient, GcsSettings
from hubfs.blobs.http.client import HttpClient
from hubfs.blobs.http.settings import HttpSettings
from hubfs.blobs.http.transfer import HttpReply
from hubfs.blobs.retry import RetryPolicy
from hubfs.errors import HubfsError, InvalidHandle
from hubfs.hubs.hub import Hub
from hubfs.model_id import ModelId
from hubfs.sources.files import FilesSource, Manifest
from hubfs.waiting import Cancellation
from tests.support.sources import Told, plain

_LONGEST_STATUS = 3


class Fed(HttpClient):
    """A client whose host answers with `replies`, one after another, the last one again and again."""

    replies: list[HttpReply]
    asked = 0

    def __init__(self) -> None:
        super().__init__(HttpSettings(retry=RetryPolicy(attempts=1)), Cancellation())

    def ask(
        self, url: str, question: bytes | None, headers: Mapping[str, str] = {}, max_body_bytes: int = 65536
    ) -> HttpReply:
        self.asked += 1
        return self.replies[min(self.asked, len(self.replies)) - 1]

    def answer(self, data: bytes, reply: Callable[[bytes], HttpReply]) -> None:
        """Takes the answers of `data`, which lines of `%%` separate."""
        self.replies = [reply(part) for part in data.split(b"\n%%\n")]
        self.asked = 0


@lru_cache(1)
def bucket() -> GcsClient:
    return GcsClient(GcsSettings("http://store.test", retry=RetryPolicy(attempts=1)), Cancellation())


def status_of(part: bytes) -> tuple[int, bytes] | None:
    """The status and the rest of an answer that begins with three digits and a blank."""
    status, _, rest = part.partition(b" ")
    return (int(status), rest) if status.isdigit() and len(status) == _LONGEST_STATUS else None


def ask(hub: Hub, question: Callable[[Hub], None]) -> None:
    """Asks, and lets only our errors pass: none that blames the user, and none that has no text."""
    try:
        question(hub)
    except InvalidHandle as error:
        raise AssertionError("an answer passed for a mistake of the user") from error
    except HubfsError as error:
        str(error).encode(errors="surrogatepass")


def manifest(hub: Hub, kind: str, model: ModelId) -> Manifest:
    """The files of `model`, which are safe to show, and the same when the cache has kept them."""
    told = hub.open(model, Told())
    assert isinstance(told, Manifest)
    source = FilesSource(kind, model, told, plain)
    for path in told.files:
        assert all(0 < len(part.encode()) <= 255 and part not in (".", "..") for part in path.split("/"))
    again = hub.load(model, source.to_index(), Told())
    assert isinstance(again, Manifest)
    assert again.identity == told.identity
    assert FilesSource(kind, model, again, plain).entries() == source.entries()
    return told


def by_letter(data: bytes, letters: Mapping[bytes, Callable[[bytes], None]]) -> None:
    """Gives `data` without its first byte to the function of that letter, if there is one; nothing is logged."""
    fuzz = letters.get(data[:1])
    if fuzz is None:
        return
    logging.disable()
    try:
        fuzz(data[1:])
    finally:
        logging.disable(logging.NOTSET)
