"""A hub of the TF-Hub protocol on an HTTP host."""

import re
from collections.abc import Sequence

from hubfs.blobs.http.client import HEAD_BYTES, WHOLE_BYTES, HttpClient
from hubfs.blobs.http.transfer import HttpReply
from hubfs.blobs.http.url import origin_of, redacted, without_secrets, without_userinfo
from hubfs.errors import AccessDenied, Damaged, InvalidConfig, ModelNotFound
from hubfs.hubs.tfhub.names.handle import kind_of, parse_handle
from hubfs.hubs.tfhub.questions import Location, Question, bucket_in, questions
from hubfs.hubs.tfhub.versions import count_up, shown_in
from hubfs.model_id import ModelId
from hubfs.sources.source import Form

_HEAD_BYTES = 512  # tells a page from a model


class TfhubResolver:
    """Asks the hub at `hub_url` where a handle's bytes are. Remembers nothing.

    `form` is the hosting form to ask for; None asks for uncompressed hosting first. Credentials in
    `hub_url` become a header, which goes to the hub's host only. Raises `InvalidConfig` for a URL that no hub can have.
    """

    def __init__(self, client: HttpClient, hub_url: str, form: Form | None = None) -> None:
        if not _is_hub_url(hub_url):
            raise InvalidConfig(f"{redacted(hub_url)!r} is not a hub: give an address such as https://tfhub.dev")
        plain_url, self._headers = without_userinfo(hub_url)
        self._client = client
        self._hub_url = plain_url.rstrip("/")
        self._form = form

    @property
    def hub(self) -> str:
        """The hub's URL without credentials and without a query."""
        return without_secrets(self._hub_url)

    @property
    def cached_as(self) -> str:
        """The URL that names the hub in the cache: bytes that nobody verified are served to no client that verifies."""
        return self.hub if self._client.settings.verify else f"unverified+{self.hub}"

    def resolve(self, handle: ModelId, form: Form | None = None) -> Location:
        """Where `handle` is. `form` overrides the configured preference.

        Raises `ModelNotFound` when the hub says so (the message says what was tried), `Damaged` when the hub sends
        something that is neither the model nor HTML, `AccessDenied`, `TimedOut`, `Unavailable`.
        """
        tried = []
        refused: AccessDenied | None = None
        for question in questions(kind_of(handle.name), form or self._form):
            try:
                answer = self._ask(question, str(handle), WHOLE_BYTES)
            except AccessDenied as error:
                # Perhaps of this form alone: some hosts let nothing pass that they do not know.
                refused = refused or error
                continue
            if isinstance(answer, Location):
                return answer
            tried.append(f"{question.form.value}: {answer}")
        if refused is not None:
            raise refused
        raise ModelNotFound(f"{self.hub} has no model {handle} ({'; '.join(tried)})")

    def latest(self, name: str) -> str:
        """The version that `name` stands for now: the unversioned URL is asked once for each form until one answers.

        The version is read from the redirects. A hub that answers without showing it is asked for its versions, as
        `versions` does. Raises `InvalidHandle` for a name that no model can have.
        """
        tried = []
        refused: AccessDenied | None = None
        for question in self._questions(name):
            try:
                reply, shown = self._unversioned(question, name)
            except AccessDenied as error:
                refused = refused or error
                continue
            if shown is not None:
                return shown
            if question.is_answered_by(reply):
                found = self._count_up([question], name, None)
                if found:
                    return found[-1]
                tried.append(f"{question.form.value}: it has one, and no version of it was found by counting up from 1")
            else:
                tried.append(f"{question.form.value}: {redacted(reply.url)} answered {reply.status} without a model")
        if refused is not None:
            raise refused
        raise ModelNotFound(f"{self.hub} has no version of {name} ({'; '.join(tried)})")

    def versions(self, name: str) -> Sequence[str]:
        """The versions of `name`, ascending, found by counting up to the latest: `versions.MOST` bounds the count.

        Costs a request for each version that is tried, two on a hub that does not answer the unversioned URL. What
        does not let us in, or is damaged, is none. Raises `InvalidHandle` for a name that no model can have.
        """
        asked = self._questions(name)
        last = None
        for question in asked:
            try:
                reply, last = self._unversioned(question, name)
            except AccessDenied:
                continue
            if last is not None or question.is_answered_by(reply):
                asked = [question]
                break
        return self._count_up(asked, name, last)

    def _questions(self, name: str) -> Sequence[Question]:
        return questions(kind_of(parse_handle(f"{name}/1").name), self._form)

    def _ask(self, question: Question, path: str, first_bytes: int) -> Location | str:
        return question.ask(self._client, f"{self._hub_url}/{path}", self._headers, first_bytes)

    def _count_up(self, asked: Sequence[Question], name: str, last: str | None) -> Sequence[str]:
        return count_up(lambda version: any(self._has(question, f"{name}/{version}") for question in asked), last)

    def _has(self, question: Question, path: str) -> bool:
        try:
            return isinstance(self._ask(question, path, HEAD_BYTES), Location)
        except (AccessDenied, Damaged):
            return False

    def _unversioned(self, question: Question, name: str) -> tuple[HttpReply, str | None]:
        """The reply to the unversioned URL, and the version that it or a redirect on the way shows."""
        shown: str | None = None

        def leads_on(reply: HttpReply) -> bool:
            nonlocal shown
            shown = shown_in(reply, name)
            return shown is None and bucket_in(reply) is None

        url = f"{self._hub_url}/{name}{question.suffix}"
        reply = self._client.reply(url, self._headers, max_body_bytes=_HEAD_BYTES, follow=leads_on)
        return reply, shown or shown_in(reply, name)


def _is_hub_url(url: str) -> bool:
    try:
        scheme, host, _ = origin_of(url)
    except ValueError:
        return False
    return scheme in ("http", "https") and bool(host) and not re.search(r"[?#\s]", url)
