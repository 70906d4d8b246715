"""What Kaggle's API says of models."""

from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from hubfs.blobs import json_text
from hubfs.blobs.http.client import HttpClient
from hubfs.blobs.http.object import retry_after_s
from hubfs.blobs.http.transfer import HttpReply
from hubfs.blobs.http.url import redacted_text
from hubfs.blobs.retry import Busy, Pause, Permanent, retrying
from hubfs.errors import Damaged, ModelNotFound, quoted
from hubfs.hubs.kaggle.account import Account
from hubfs.hubs.kaggle.dialects import Dialect, Fields, Question, fields_of
from hubfs.hubs.kaggle.refusals import Refused
from hubfs.model_id import ModelId

_PAGE_ENTRIES = 100
_MOST_PAGES = 2000
_LONGEST_ANSWER_BYTES = 16 << 20
"""Longer answers are refused, and so are lists of which all pages together are longer: they are kept in memory."""

_DOWNLOAD = "DownloadModelInstanceVersion"
_ERRORS = 400
_SERVER_ERRORS = 500


class KaggleApi:
    """Asks the API in a dialect. Remembers nothing but until when Kaggle wants to be left alone, which holds for all.

    The credentials of `account` are sent to the API's host alone. Every method raises `Refused`, `Damaged` for an
    answer that is none, `TimedOut`, `Unavailable`, `Cancelled`, and `ModelNotFound`.
    """

    def __init__(self, client: HttpClient, dialect: Dialect, account: Account) -> None:
        self._client = client
        self._question = dialect.question
        self._account = account
        self._pause = Pause(client.settings.retry)

    def models_of(self, owner: str) -> Sequence[Mapping[str, Any]]:
        """The models of `owner`, each with its `slug` and its `instances`."""
        return [*self._pages("ListModels", {"owner": owner}, "models")]

    def models_for(self, words: str) -> Iterator[Mapping[str, Any]]:
        """The models that a search finds, the best first, each with its `ref`, its `slug` and its `instances`."""
        return self._pages("ListModels", {"search": words}, "models")

    def latest(self, name: str) -> str:
        """The newest version of a variation."""
        answer, _ = self._answer(question := self._question("GetModelInstance", fields_of(name)))
        number = answer.get("versionNumber")
        if type(number) is not int or number < 1:
            raise Damaged(f"{question.shown} names no version")
        return str(number)

    def versions(self, name: str) -> Sequence[int]:
        """The numbers of the versions of a variation, in no order."""
        found = self._pages("ListModelInstanceVersions", fields_of(name), "versionList", "versions")
        return [item["versionNumber"] for item in found if type(item.get("versionNumber")) is int]

    def files(self, model: ModelId) -> Sequence[Mapping[str, Any]]:
        """The files of a model, each with its `name` and `size`."""
        return [*self._pages("ListModelInstanceVersionFiles", fields_of(model.name, model.version), "files")]

    def address(self, model: ModelId, path: str = "") -> str:
        """A URL at the API's host that names a file of a model, or its archive, for messages; not for requests."""
        where = self._question(_DOWNLOAD, self._download(model, path))
        return where.url if where.body is None else f"{where.url}/{model}/{path}".rstrip("/")

    def locate(self, model: ModelId, path: str = "") -> str:
        """The signed URL of a file of a model, or of its archive: a secret, and good for some days. One attempt."""
        question = self._question(_DOWNLOAD, self._download(model, path))
        reply, _ = self._reply(question, _LONGEST_ANSWER_BYTES)
        if reply.leads_to is None:
            raise Damaged(f"{question.shown} answered {reply.status} and no redirect to the bytes")
        return reply.leads_to

    @staticmethod
    def _download(model: ModelId, path: str) -> Fields:
        return {**fields_of(model.name, model.version), **({"path": path} if path else {})}

    def _pages(self, method: str, fields: Fields, *keys: str) -> Iterator[Mapping[str, Any]]:
        """The items of all pages. A short page is no last one, and a page's token that came before is the end."""
        token, seen, left_bytes = "", {""}, _LONGEST_ANSWER_BYTES
        for _ in range(_MOST_PAGES):
            asked = {**fields, "pageSize": _PAGE_ENTRIES, **({"pageToken": token} if token else {})}
            page, page_bytes = self._answer(question := self._question(method, asked), left_bytes)
            left_bytes -= page_bytes
            items: Any = page
            for key in keys:
                items = items.get(key) if isinstance(items, dict) else None
            if not isinstance(items, list | None) or not all(isinstance(item, dict) for item in items or ()):
                raise Damaged(f"{question.shown} answered with something that is no list of {keys[-1]}")
            yield from items or ()
            token = page.get("nextPageToken") or ""
            if not isinstance(token, str) or token in seen:
                return
            if not token.isascii():  # half a surrogate pair, which a JSON text can hold, fits into no URL
                raise Damaged(f"{question.shown} answered with a token of the next page that is no ASCII")
            seen.add(token)
        raise Damaged(f"{question.shown} has more than {_MOST_PAGES} pages: not a list of {keys[-1]}")

    def _answer(self, question: Question, most_bytes: int = _LONGEST_ANSWER_BYTES) -> tuple[Mapping[str, Any], int]:
        """An answer of at most `most_bytes`, and its length in bytes; asked again as long as Kaggle cannot answer."""
        settings, cancellation = self._client.settings, self._client.cancellation
        reply, answer = retrying(lambda: self._reply(question, most_bytes), settings.retry, cancellation)
        if reply.status != HTTPStatus.OK or not isinstance(answer, dict):
            raise Damaged(f"{question.shown} answered {reply.status} with something that is no object in JSON")
        return answer, len(reply.body)

    def _reply(self, question: Question, most_bytes: int) -> tuple[HttpReply, object]:
        """The reply to a question, and what its JSON says. One attempt. Raises what a refusal means."""
        headers = self._account.headers(self._ask)
        try:
            return self._asked(question, headers, most_bytes)
        except Refused as refused:
            if refused.status != HTTPStatus.UNAUTHORIZED or not self._account.refused(headers, self._ask):
                raise
        return self._asked(question, self._account.headers(self._ask), most_bytes)

    def _ask(self, question: Question) -> object:
        return self._asked(question, {}, _LONGEST_ANSWER_BYTES)[1]

    def _asked(self, question: Question, headers: Mapping[str, str], most_bytes: int) -> tuple[HttpReply, object]:
        self._pause.check()
        reply = self._client.ask(question.url, question.body, headers, most_bytes + 1)
        if len(reply.body) > most_bytes:
            raise Damaged(f"{question.shown} sent more than {_LONGEST_ANSWER_BYTES} bytes in all")
        answer = _json(reply)
        code = answer.get("code") if isinstance(answer, dict) else None  # errors come with status 200, too
        status = code if reply.status == HTTPStatus.OK and type(code) is int else reply.status
        reason, wish_s = _reason(answer), retry_after_s(reply.headers)
        said = f"{question.shown} answered {status}{reason and f': {reason}'}"
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            raise self._pause.begin(said, wish_s)
        self._pause.end()
        if status >= _ERRORS:
            raise _refusal(status, said, reason, wish_s)
        return reply, answer


def _json(reply: HttpReply) -> object:
    """What the body of a reply says; None for no JSON."""
    try:
        return json_text.parse(reply.body)
    except ValueError:
        return None


def _reason(answer: object) -> str:
    """The reason that a refusal gives, as it may be quoted; empty if it gives none."""
    for where in (answer, answer.get("error") if isinstance(answer, dict) else None):
        message = where.get("message") if isinstance(where, dict) else None
        if isinstance(message, str):
            return redacted_text(quoted(message))
    return ""


def _refusal(status: int, said: str, reason: str, wish_s: float | None) -> Exception:
    """The error that a status of the API means."""
    if status == HTTPStatus.NOT_FOUND:
        return ModelNotFound(said)
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return Refused(said, status, reason)
    if status >= _SERVER_ERRORS or status == HTTPStatus.REQUEST_TIMEOUT:
        return Busy(said, wish_s)
    return Permanent(said)
