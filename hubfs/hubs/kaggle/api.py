"""What Kaggle's API says of models, by its REST dialect: `GET <endpoint>/api/v1/models/...`."""

from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

from hubfs.blobs import json_text
from hubfs.blobs.http.client import HttpClient
from hubfs.blobs.retry import Busy, Permanent
from hubfs.errors import AccessDenied, Damaged, ModelNotFound, quoted
from hubfs.model_id import ModelId

ENDPOINT = "https://www.kaggle.com"
"""Where the API is, unless `HUBFS_KAGGLE_ENDPOINT` names another host."""

_PAGE_ENTRIES = 100
_MOST_PAGES = 2000
_LONGEST_ANSWER_BYTES = 16 << 20
"""Longer answers are refused, and so are lists of which all pages together are longer: they are kept in memory."""

_ERRORS = 400
_SERVER_ERRORS = 500


class KaggleApi:
    """Asks the API at `endpoint`. Remembers nothing. `headers` are secret, and sent to the endpoint's host alone.

    Every method raises `AccessDenied` (also for a model whose terms ask for consent, and for a private one), `Damaged`
    for an answer that is none, `TimedOut`, `Unavailable`, `Cancelled`, and `ModelNotFound`.
    """

    def __init__(self, client: HttpClient, endpoint: str, headers: Mapping[str, str]) -> None:
        self._client = client
        self._headers = headers
        self._models = f"{endpoint}/api/v1/models"

    def models_of(self, owner: str) -> Sequence[Mapping[str, Any]]:
        """The models of `owner`, each with its `slug` and its `instances`."""
        return [*self._pages(f"{self._models}/list", {"owner": owner}, "models")]

    def latest(self, name: str) -> str:
        """The newest version of a variation."""
        url = f"{self._models}/{_quoted(name)}/get"
        number = self._ask(url).get("versionNumber")
        if type(number) is not int or number < 1:
            raise Damaged(f"{url} names no version")
        return str(number)

    def versions(self, name: str) -> Sequence[int]:
        """The numbers of the versions of a variation, in no order."""
        found = self._pages(f"{self._models}/{_quoted(name)}/list", {}, "versionList", "versions")
        return [item["versionNumber"] for item in found if type(item.get("versionNumber")) is int]

    def files(self, model: ModelId) -> Sequence[Mapping[str, Any]]:
        """The files of a model, each with its `name` and `size`."""
        return [*self._pages(f"{self._models}/{_quoted(str(model))}/files", {}, "files")]

    def download_url(self, model: ModelId, path: str) -> str:
        """The URL that redirects to the signed URL of a file."""
        return f"{self._models}/{_quoted(str(model))}/download/{_quoted(path)}"

    def _pages(self, url: str, query: Mapping[str, str], *keys: str) -> Iterator[Mapping[str, Any]]:
        """The items of all pages. A short page is no last one, and a page's token that came before is the end."""
        token, seen, left_bytes = "", {""}, _LONGEST_ANSWER_BYTES
        for _ in range(_MOST_PAGES):
            asked = {**query, "pageSize": str(_PAGE_ENTRIES), **({"pageToken": token} if token else {})}
            page, page_bytes = self._answer(url, asked, left_bytes)
            left_bytes -= page_bytes
            items: Any = page
            for key in keys:
                items = items.get(key) if isinstance(items, dict) else None
            if not isinstance(items, list | None) or not all(isinstance(item, dict) for item in items or ()):
                raise Damaged(f"{url} answered with something that is no list of {keys[-1]}")
            yield from items or ()
            token = page.get("nextPageToken") or ""
            if not isinstance(token, str) or token in seen:
                return
            seen.add(token)
        raise Damaged(f"{url} has more than {_MOST_PAGES} pages: not a list of {keys[-1]}")

    def _ask(self, url: str) -> Mapping[str, Any]:
        answer, _ = self._answer(url, {}, _LONGEST_ANSWER_BYTES)
        return answer

    def _answer(self, url: str, query: Mapping[str, str], most_bytes: int) -> tuple[Mapping[str, Any], int]:
        """An answer of at most `most_bytes`, and its length in bytes."""
        asked = f"{url}?{urlencode(query)}" if query else url
        reply = self._client.reply(asked, self._headers, max_body_bytes=most_bytes + 1)
        if len(reply.body) > most_bytes:
            raise Damaged(f"{url} sent more than {_LONGEST_ANSWER_BYTES} bytes in all")
        try:
            answer = json_text.parse(reply.body)
        except ValueError:
            answer = None
        if reply.status != HTTPStatus.OK:
            raise _refusal(url, reply.status, answer)
        if not isinstance(answer, dict):
            raise Damaged(f"{url} answered with something that is no object in JSON")
        code = answer.get("code")  # errors come with status 200, too
        if type(code) is int and code >= _ERRORS:
            raise _refusal(url, code, answer)
        return answer, len(reply.body)


def _refusal(url: str, status: int, answer: object) -> Exception:
    """The error that a status of the API means, with the reason that its answer gives."""
    reason = answer.get("message") if isinstance(answer, dict) else None
    said = f"{url} answered {status}" + (f": {quoted(reason)}" if isinstance(reason, str) else "")
    if status == HTTPStatus.NOT_FOUND:
        return ModelNotFound(said)
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return AccessDenied(said)
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= _SERVER_ERRORS:
        return Busy(said)
    return Permanent(said)


def _quoted(path: str) -> str:
    return quote(path, safe="/")
