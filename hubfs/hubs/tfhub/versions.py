"""Which versions a hub has, though its protocol has no listing: from redirects, else by counting up."""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from urllib.parse import unquote, urljoin, urlsplit

from hubfs.blobs.http.probing import AT_ONCE, in_parallel
from hubfs.blobs.http.transfer import HttpReply
from hubfs.hubs.tfhub.questions import bucket_in

GAP = 5
"""So many versions missing in a row end the count; real models begin at 5, or go from 1 to 5."""

MOST = 256
"""No version above this one is found by counting."""

# What hosts append to `<name>/<version>` where they store a model: an archive, a file, a bucket's folder.
_VERSION = re.compile(r"(\d{1,18})(?:\.tar(?:\.gz)?|\.tflite|/uncompressed|/model\.json|/model\.tflite|/)?", re.ASCII)


def shown_in(reply: HttpReply, name: str) -> str | None:
    """The version of `name` that `reply` shows: in the URL that answered, or in where it leads to."""
    ends = (path.rpartition(f"/{name}/")[2] for path in _paths_of(reply) if f"/{name}/" in path)
    return next((match[1] for end in ends if (match := _VERSION.fullmatch(end))), None)


def count_up(exists: Callable[[str], bool], last: str | None = None) -> list[str]:
    """The versions that exist, ascending: found by asking for 1, 2, 3 and so on, several at a time.

    Ends after `GAP` versions missing in a row, or at `MOST`. `last`, if given, is known to be the latest, and is not
    asked for.
    """
    found: list[str] = []
    end = MOST + 1 if last is None else min(int(last), MOST + 1)
    first, missing = 1, 0
    while first < end and missing < GAP:
        numbers = range(first, min(first + AT_ONCE, end))
        texts = [str(number) for number in numbers]
        for text, there in zip(texts, in_parallel(exists, texts), strict=True):
            missing = 0 if there else missing + 1
            if there:
                found.append(text)
        first = numbers.stop
    return found if last is None else [*found, last]


def _paths_of(reply: HttpReply) -> Iterator[str]:
    yield unquote(urlsplit(reply.url).path)
    for url in filter(None, (reply.headers.get("Location"), bucket_in(reply))):
        with suppress(ValueError):  # a text that is no URL shows nothing
            whole = url if url.startswith(("http://", "https://")) else urljoin(reply.url, url)
            yield unquote(urlsplit(whole).path)
