"""The questions of the TF-Hub protocol: one per kind of model and hosting form."""

import re
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Protocol

from hubfs.blobs.http.client import HEAD_BYTES, HttpClient
from hubfs.blobs.http.probing import is_page, looks_like_page
from hubfs.blobs.http.transfer import HttpReply
from hubfs.blobs.http.url import redacted
from hubfs.errors import Damaged, NotFound, quoted
from hubfs.hubs.tfhub.names.handle import Kind
from hubfs.sources.source import Form

PARAMETERS = frozenset({"tf-hub-format", "tfjs-format", "lite-format"})
"""The parameters of the protocol's queries: they say which form of a model is asked for."""

LITE_FILE = "model.tflite"
"""The file of a TF Lite model: the protocol gives it no name."""

_REDIRECTS = range(300, 400)
_GZIP_MAGIC = b"\x1f\x8b"
_TFLITE_MAGIC = b"TFL3"
_GS_URL = re.compile(r"""gs://[^\s"'<>]+""")
# What names a bucket, and then a folder; '?', '#' and control characters may be in names, but no hub has them in a
# model's.
_GS_FOLDER = re.compile(
    r"""gs://[a-z\d](?![^/]*\.\.)[a-z\d._-]{1,220}[a-z\d](?:/(?!\.\.?(?:/|$))[^\s\0-\x1f\x7f"'<>/?#%\\]+)*""", re.ASCII
)


@dataclass(frozen=True)
class Location:
    """Where a model's bytes are, and in which form; holding one fetches nothing.

    By form, `url` is: COMPRESSED, the URL of the archive; UNCOMPRESSED, `gs://bucket/prefix`; FILE, the URL of the
    file; FILES, the model's URL. HTTP URLs are the hub's own, not yet redirected, so that a signed URL which expired is
    found anew. `headers` are needed to fetch it; they may be secret and are never part of a message.
    """

    url: str
    form: Form
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


class Question(Protocol):
    """One way to ask for a model; the question itself is the model's URL and `suffix`."""

    @property
    def form(self) -> Form:
        """The form of the location that answers it."""
        ...

    @property
    def suffix(self) -> str:
        """What follows the model's URL, versioned or not."""
        ...

    def ask(self, client: HttpClient, model_url: str, headers: Mapping[str, str], first_bytes: int) -> Location | str:
        """Where the model is, or why it is not there; one request and its redirects.

        Of an archive so many `first_bytes` are asked for: `HttpClient.wholes` has one that is no larger.
        Raises `Damaged` when the host sends something else than the model or a page, `AccessDenied`, `TimedOut`,
        `Unavailable`.
        """
        ...

    def is_answered_by(self, reply: HttpReply) -> bool:
        """Whether `reply` says that there is a model."""
        ...


class InBucket:
    """Asks for the bucket that holds a model uncompressed."""

    form = Form.UNCOMPRESSED
    suffix = "?tf-hub-format=uncompressed"

    def ask(
        self,
        client: HttpClient,
        model_url: str,
        headers: Mapping[str, str],
        first_bytes: int,  # noqa: ARG002 - the protocol's signature
    ) -> Location | str:
        """Where the model is, or why it is not there, by one request and its redirects.

        Raises `Damaged`, `AccessDenied`, `TimedOut`, `Unavailable`.
        """
        reply = client.reply(model_url + self.suffix, headers, follow=lambda reply: bucket_in(reply) is None)
        bucket_url = bucket_in(reply)
        if bucket_url is None:
            return f"{redacted(reply.url)} answered {reply.status} without naming a gs:// address"
        return Location(bucket_url, Form.UNCOMPRESSED)

    def is_answered_by(self, reply: HttpReply) -> bool:
        """Whether `reply` says that there is a model."""
        return bucket_in(reply) is not None


@dataclass(frozen=True)
class AsBytes:
    """Asks for bytes, an archive's or a file's, and looks at the first ones, `looks_right` when they may be those.

    `otherwise` says in messages what other bytes are. `location_suffix` is what follows the model's URL in the
    location.
    """

    form: Form
    suffix: str
    location_suffix: str
    looks_right: Callable[[bytes], bool]
    otherwise: str

    def ask(self, client: HttpClient, model_url: str, headers: Mapping[str, str], first_bytes: int) -> Location | str:
        """Where the model is, or why it is not there, by one request and its redirects.

        Raises `Damaged`, `AccessDenied`, `TimedOut`, `Unavailable`.
        """
        try:
            # Anew: what was damaged a moment ago may be another archive by now. A reader that opens the model
            # finds what is remembered of this.
            first_bytes = first_bytes if self.form is Form.COMPRESSED else HEAD_BYTES
            found = client.probe(model_url + self.suffix, headers, fresh=True, first_bytes=first_bytes)
        except NotFound as error:
            return str(error)
        if is_page(found) or not self.looks_right(found.head):
            client.forget(model_url + self.suffix, headers)  # for how long that is believed, others decide
        if is_page(found):
            return f"{redacted(found.final_url)} answered with a page for people"
        if not self.looks_right(found.head):
            raise Damaged(
                f"{redacted(found.final_url)} answered with something that is {self.otherwise} "
                f"(type {quoted(found.content_type) or 'unknown'}, size {found.size_bytes}): report it to the hub's "
                "operator"
            )
        return Location(model_url + self.location_suffix, self.form, headers)

    def is_answered_by(self, reply: HttpReply) -> bool:
        """Whether `reply` says that there is a model."""
        return reply.status == HTTPStatus.OK and not looks_like_page(reply.headers.get("Content-Type", ""), reply.body)


def questions(kind: Kind, wanted: Form | None) -> Sequence[Question]:
    """What to ask for a model of this kind, the preferred question first; `wanted` None means any form.

    A TF.js model's uncompressed form is its files; a TF Lite model is one file, whatever is wanted.
    """
    if kind in (Kind.LITE, Kind.CORAL):
        return (_TFLITE,)
    both: Sequence[Question] = (_TFJS_FILES, _TFJS_ARCHIVE) if kind is Kind.TFJS else (_BUCKET, _ARCHIVE)
    if wanted is None:
        return both
    return both[1:] if wanted is Form.COMPRESSED else both[:1]


def bucket_in(reply: HttpReply) -> str | None:
    """The gs:// address in a redirect; the body is what the protocol speaks of, so it counts before `Location`."""
    if reply.status not in _REDIRECTS:
        return None
    for text in (reply.body.decode("utf-8", "replace"), reply.headers.get("Location", "")):
        for match in _GS_URL.finditer(text):
            if _GS_FOLDER.fullmatch(url := match.group().rstrip("/")):
                return url
    return None


def _is_archive(head: bytes) -> bool:
    if head.startswith(_GZIP_MAGIC):
        return True
    try:
        # checks the header's checksum, which every tar has, of whichever age
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def _is_tflite(head: bytes) -> bool:
    return head[4:8] == _TFLITE_MAGIC  # a flatbuffer's file identifier


def _is_json_object(head: bytes) -> bool:
    return head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")


def _archive(query: str) -> AsBytes:
    return AsBytes(Form.COMPRESSED, query, query, _is_archive, "neither a tar.gz nor a tar archive")


_BUCKET = InBucket()
_ARCHIVE = _archive("?tf-hub-format=compressed")
_TFJS_ARCHIVE = _archive("?tfjs-format=compressed")
_TFJS_FILES = AsBytes(Form.FILES, "/model.json?tfjs-format=file", "", _is_json_object, "no model.json")
_TFLITE = AsBytes(Form.FILE, "?lite-format=tflite", "?lite-format=tflite", _is_tflite, "no TF Lite model")
