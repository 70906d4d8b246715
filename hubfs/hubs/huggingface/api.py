"""What the hub says of repositories, and where the bytes of their files are."""

import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from hubfs.blobs import json_text
from hubfs.blobs.http.client import HttpClient
from hubfs.blobs.http.object import ContentRange, content_encoding, content_type
from hubfs.blobs.http.transfer import HttpReply
from hubfs.blobs.http.url import origin_of, redacted
from hubfs.blobs.retry import Pause, Permanent, retrying
from hubfs.errors import Damaged, NotFound, Unavailable
from hubfs.hubs.hub import Budget
from hubfs.hubs.huggingface import names
from hubfs.hubs.huggingface.credentials import Credentials
from hubfs.hubs.huggingface.limits import budget_of, wish_s
from hubfs.hubs.huggingface.refusals import meaning_of, reason_of
from hubfs.hubs.huggingface.trees import LFS, Listed, add_files, folders_in, next_query
from hubfs.model_id import ModelId

HUB = "https://huggingface.co"

_PAGE_ENTRIES = 1000
_MOST_PAGES = 1000
_LONGEST_ANSWER_BYTES = 64 << 20
"""A longer answer is refused, and so is a list of which all pages together are longer. A tree has 300 bytes a file."""

_LONGEST_LIST_BYTES = 16 << 20
"""Of a namespace's repositories, the first so many bytes of answers are shown: ten thousand names."""

_MOST_REDIRECTS = 5
_MOST_BEFORE_BYTES = 64 << 20
"""Where the hub does not send the range that it was asked for, so much of a file may come before it."""

_ERRORS = 400
_GZIP = 16 + zlib.MAX_WBITS

API, RESOLVERS = "questions", "files"
"""The budgets of requests that the hub counts apart: questions, and files."""

Json = Mapping[str, Any]


class Revision(NamedTuple):
    """What a revision is now: a commit of the repository that the hub calls `repo`."""

    repo: str
    commit: str


@dataclass
class _Room:
    """How many bytes of answers may still come."""

    left_bytes: int


class _SamePage(Damaged):
    """A list leads from its pages to one that was read before: a mirror of it may know the first page alone."""


class HuggingFaceApi:
    """Asks the hub at `endpoint`. Remembers until when the hub wants to be left alone, and what is left of its budgets.

    The credentials go to the endpoint's origin alone. Every method raises `AccessDenied`, `Damaged` for an answer that
    is none, `TimedOut`, `Unavailable`, `Cancelled`, and `ModelNotFound` or `EntryNotFound`. Setting an item of
    `budgets` is atomic.
    """

    def __init__(self, client: HttpClient, endpoint: str, credentials: Credentials) -> None:
        self._client = client
        self._endpoint = endpoint
        self._credentials = credentials
        self._pauses = {bucket: Pause(client.settings.retry) for bucket in (API, RESOLVERS)}
        self.budgets: dict[str, Budget] = {}

    @property
    def headers(self) -> Mapping[str, str]:
        """What signs in at the endpoint."""
        return self._credentials

    @property
    def signs_in_by(self) -> str:
        """By what hubfs signs in, for messages."""
        return self._credentials.source

    def page(self, repo: str) -> str:
        """Where people look at a repository."""
        return f"{self._endpoint}/{repo}"

    def revision(self, repo: str, revision: str) -> Revision:
        """The commit of a branch, a tag, a reference, or of the start of a commit; and the repository's own name."""
        url = f"{self._api(repo)}/revision/{quote(revision, safe='')}"
        try:
            answer = self._object(url, repo)
        except NotFound:  # a mirror may take the slashes of a revision for those of a path
            commit = self.revisions_of(repo).get(revision) if "/" in revision else None
            if commit is None:
                raise
            return Revision(repo, commit)
        name, commit = answer.get("id"), answer.get("sha")
        prefix = f"{names.DATASETS}/" if repo.startswith(f"{names.DATASETS}/") else ""
        if not isinstance(name, str) or not isinstance(commit, str) or not names.is_commit(commit):
            raise Damaged(f"{redacted(url)} names no commit")
        # An id without a namespace may still be one at a mirror.
        named = prefix + name if names.is_repo(prefix + name) else repo
        if not names.is_repo(named):
            raise Damaged(f"{redacted(url)} names no repository")
        return Revision(named, commit)

    def tree(self, model: ModelId) -> Mapping[str, Listed]:
        """All files of a commit, by path. Of a mirror that knows the first page alone, folder by folder."""
        files: dict[str, Listed] = {}
        room = _Room(_LONGEST_ANSWER_BYTES)
        try:
            self._add_files(model, "", files, room, recursive=True)
        except _SamePage:
            folders = deque([""])
            for _ in range(_MOST_PAGES):
                folders += self._add_files(model, folders.popleft(), files, room, recursive=False)
                if not folders:
                    return files
            raise
        return files

    def _add_files(
        self, model: ModelId, folder: str, files: dict[str, Listed], room: _Room, *, recursive: bool
    ) -> Sequence[str]:
        """Adds to `files` those in a folder. Returns the folders in it."""
        url = f"{self._api(model.name)}/tree/{model.version}"
        url += f"/{quote(folder, safe='')}" if folder else ""
        query = {"recursive": str(recursive).lower(), "expand": "false", "limit": str(_PAGE_ENTRIES)}
        folders: list[str] = []
        try:
            for page in self._pages(url, query, model.name, room):
                add_files(page, files)
                folders += folders_in(page, folder)
        except ValueError as error:
            raise Damaged(f"{redacted(url)} is no list of files: {error}") from None
        return folders

    def repos_of(self, namespace: str) -> Sequence[str]:
        """The names of the repositories in a namespace (`BAAI`, `datasets/BAAI`), as far as they are listed."""
        prefix, _, author = namespace.rpartition("/")
        url = f"{self._endpoint}/api/{prefix or 'models'}"
        query = {"author": author, "limit": str(_PAGE_ENTRIES)}
        found = []
        for page in self._pages(url, query, namespace, _Room(_LONGEST_LIST_BYTES), whole=False):
            ids = (entry.get("id") for entry in page if isinstance(entry, dict))
            found += [str(one).partition("/")[2] for one in ids if str(one).startswith(f"{author}/")]
        return [name for name in found if names.is_id(name)]

    def repos_for(self, words: str, namespace: str, most: int) -> Sequence[str]:
        """The repositories that a search finds, those first that are fetched most; of a namespace, if one is given."""
        query = {"search": words, "sort": "downloads", "direction": "-1", "limit": str(most)}
        url, asked = f"{self._endpoint}/api/models", {**query, **({"author": namespace} if namespace else {})}
        page = next(self._pages(url, asked, "", _Room(_LONGEST_LIST_BYTES), whole=False))
        found = (str(entry.get("id")) for entry in page if isinstance(entry, dict))
        return [one for one in found if names.is_repo(one)][:most]

    def revisions_of(self, repo: str) -> Mapping[str, str]:
        """The branches, tags and references of a repository by name, and the commit of each."""
        answer = self._object(f"{self._api(repo)}/refs?include_prs=1", repo)
        called = {"pullRequests": "ref", "converts": "ref", "tags": "name", "branches": "name"}
        lists = ((answer.get(kind), key) for kind, key in called.items())
        refs = ((ref, key) for listed, key in lists if isinstance(listed, list) for ref in listed)
        found = ((str(ref.get(key)), str(ref.get("targetCommit"))) for ref, key in refs if isinstance(ref, dict))
        return {name: commit for name, commit in found if names.is_revision(name) and names.is_commit(commit)}

    def address(self, model: ModelId, path: str) -> str:
        """The URL of a file at the hub."""
        return f"{self._endpoint}/{model.name}/resolve/{model.version}/{quote(path)}"

    def locate(self, model: ModelId, path: str, file: Listed) -> str:
        """The URL of the bytes of a file: a signed one of another host, which is a secret; else one of the hub itself.

        One attempt. Raises `Damaged` where the hub says of the file what the tree does not.
        """
        address = self.address(model, path)
        replies = [*self._replies(RESOLVERS, address, model.name, {"Range": "bytes=0-0"}, 1)]
        said = {name: text for reply in reversed(replies) for name, text in reply.headers.items()}
        said = {name.lower(): text for name, text in said.items()}
        size, etag = said.get("x-linked-size", str(file.size_bytes)), said.get("x-linked-etag", "").strip('"')
        if size != str(file.size_bytes) or (
            file.in_lfs and len(etag) == len(file.checksum.value) and etag != file.checksum.value
        ):
            raise Damaged(f"{address} leads to {size} bytes of {LFS} {etag or '(none)'}, and the tree lists other ones")
        return replies[-1].leads_to or replies[-1].url

    def read(self, model: ModelId, path: str, start_bytes: int, end_bytes: int) -> bytes:
        """The bytes `[start_bytes, end_bytes)` of a file that the hub sends itself. One attempt."""
        address = self.address(model, path)
        asked = {"Range": f"bytes={start_bytes}-{end_bytes - 1}"}
        most_bytes = max(end_bytes - start_bytes, min(end_bytes, _MOST_BEFORE_BYTES))
        *_, reply = self._replies(RESOLVERS, address, model.name, asked, most_bytes)
        status, headers, body = reply.status, reply.headers, reply.body
        if reply.leads_to is not None:  # the hub keeps it elsewhere by now
            with self._client.open(address, extra=asked, start=reply.leads_to) as transfer:
                status, headers, body = transfer.status, transfer.headers, transfer.read_up_to(most_bytes)
        if content_encoding(headers):
            raise Permanent(f"{address} comes encoded as {content_encoding(headers)}, which was not asked for")
        if content_type(headers) == "text/html" and not path.endswith((".html", ".htm")):
            raise Unavailable(f"{address} answered with a page for people instead of the bytes asked for")
        sent = ContentRange.parse(headers) if status == HTTPStatus.PARTIAL_CONTENT else ContentRange(0, len(body), None)
        if sent is None or sent.start_bytes not in (0, start_bytes):
            raise Unavailable(f"{address} answered with another range than the one asked for")
        data = body[start_bytes - sent.start_bytes : end_bytes - sent.start_bytes]
        if len(data) != end_bytes - start_bytes:
            raise Unavailable(f"{address} ended {end_bytes - start_bytes - len(data)} bytes before its announced size")
        return data

    def _api(self, repo: str) -> str:
        """The URL of a repository in the API."""
        kind = "" if repo.startswith(f"{names.DATASETS}/") else "models/"
        return f"{self._endpoint}/api/{kind}{repo}"

    def _pages(
        self, url: str, query: Mapping[str, str], repo: str, room: _Room, *, whole: bool = True
    ) -> Iterator[Sequence[Any]]:
        """The pages of a list. Of one that need not be `whole`, as many as there is `room` for."""
        asked, seen = urlencode(query), set[str]()
        for _ in range(_MOST_PAGES):
            seen.add(asked)
            reply = self._answer(f"{url}?{asked}", repo, room.left_bytes)
            page = _json(reply)
            if not isinstance(page, list):
                raise Damaged(f"{redacted(url)} answered {reply.status} with something that is no list in JSON")
            yield page
            room.left_bytes -= len(reply.body)
            try:
                more = next_query(reply.headers.get("Link", ""))
            except ValueError as error:
                raise Damaged(f"{redacted(url)}: {error}") from None
            if more is None or (room.left_bytes <= 0 and not whole):
                return
            if more in seen:
                raise _SamePage(f"{redacted(url)} leads from its pages to one that was read before")
            asked = more
        raise Damaged(f"{redacted(url)} has more than {_MOST_PAGES} pages")

    def _object(self, url: str, repo: str) -> Json:
        reply = self._answer(url, repo, _LONGEST_ANSWER_BYTES)
        answer = _json(reply)
        if not isinstance(answer, dict):
            raise Damaged(f"{redacted(url)} answered {reply.status} with something that is no object in JSON")
        return answer

    def _answer(self, url: str, repo: str, most_bytes: int) -> HttpReply:
        """An answer of at most `most_bytes`; asked again as long as the hub cannot answer."""

        def attempt() -> HttpReply:
            *_, reply = self._replies(API, url, repo, {}, most_bytes + 1)
            return reply

        reply = retrying(attempt, self._client.settings.retry, self._client.cancellation)
        if reply.leads_to is not None:
            raise Damaged(f"{redacted(url)} leads to {redacted(reply.leads_to)}, another host")
        reply = replace(reply, body=_decoded(reply, most_bytes + 1))
        if len(reply.body) > most_bytes:
            raise Damaged(f"{redacted(url)} sent more than {_LONGEST_ANSWER_BYTES} bytes in all")
        return reply

    def _replies(
        self, bucket: str, url: str, repo: str, headers: Mapping[str, str], most_bytes: int
    ) -> Iterator[HttpReply]:
        """The replies from `url` on, along redirects within the hub; the last answers, or leads to another host."""
        for _ in range(_MOST_REDIRECTS + 1):
            reply = self._asked(bucket, url, repo, headers, most_bytes)
            yield reply
            if reply.leads_to is None or origin_of(reply.leads_to) != origin_of(self._endpoint):
                return
            url = reply.leads_to
        raise Permanent(f"{redacted(url)} redirects more than {_MOST_REDIRECTS} times")

    def _asked(self, bucket: str, url: str, repo: str, headers: Mapping[str, str], most_bytes: int) -> HttpReply:
        """One attempt. Raises what a refusal means, and while the hub wants to be left alone."""
        pause = self._pauses[bucket]
        pause.check()
        reply = self._client.ask(url, None, {**self.headers, **headers}, most_bytes)
        budget = budget_of(bucket, reply.headers, time.time())
        if budget is not None:
            self.budgets[bucket] = budget
        if reply.status == HTTPStatus.TOO_MANY_REQUESTS:
            reason = reason_of(reply)
            said = f"{redacted(url)} answered {reply.status}{reason and f': {reason}'}"
            raise pause.begin(said, wish_s(reply.headers))
        pause.end()
        if reply.status >= _ERRORS and reply.status != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise meaning_of(reply, redacted(url), self.page(repo), self.signs_in_by)
        return reply


def _decoded(reply: HttpReply, most_bytes: int) -> bytes:
    """At most so many bytes of a body, which a mirror may pass on as the hub compressed it for the mirror.

    Raises `Damaged` for a body that is not whole, and for one that is encoded otherwise.
    """
    encoding = content_encoding(reply.headers)
    if not encoding:
        return reply.body
    unzipped = zlib.decompressobj(_GZIP)
    try:
        body = unzipped.decompress(reply.body, most_bytes) if encoding == "gzip" else b""
    except zlib.error:
        body = b""
    if not unzipped.eof and len(body) < most_bytes:
        raise Damaged(f"{redacted(reply.url)} sent something encoded as {encoding} that cannot be read")
    return body


def _json(reply: HttpReply) -> object:
    """What the body of a reply says; None for no JSON."""
    try:
        return json_text.parse(reply.body)
    except ValueError:
        return None


Read = Callable[[int, int], bytes]


class HubBlob:
    """A file of `size_bytes` that the hub sends itself, by `read`: from a start to an end. No state, so no lock."""

    def __init__(self, key: str, size_bytes: int, read: Read) -> None:
        self.key = key
        self.size_bytes = size_bytes
        self._read = read

    def read_at(self, offset_bytes: int, size_bytes: int) -> bytes:
        """The bytes at an offset; fewer only at the end. One attempt. Raises as `HuggingFaceApi`."""
        end_bytes = min(offset_bytes + size_bytes, self.size_bytes)
        return self._read(offset_bytes, end_bytes) if offset_bytes < end_bytes else b""
