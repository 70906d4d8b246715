"""What a refusal of the hub means, by `X-Error-Code` and `X-Error-Message`. No I/O."""

from http import HTTPStatus

from hubfs.blobs.http.transfer import HttpReply
from hubfs.blobs.http.url import redacted_text
from hubfs.blobs.json_text import parse
from hubfs.blobs.retry import Busy, Permanent
from hubfs.errors import AccessDenied, EntryNotFound, HubfsError, ModelNotFound, quoted
from hubfs.hubs.huggingface.limits import wish_s

_SERVER_ERRORS = 500
_GATED = "GatedRepo"
_WRONG_TOKEN = "Invalid credentials in Authorization header"  # noqa: S105 - what the hub says of a token
_DISABLED = "Access to this resource is disabled."
"""The hub answers so for a repository that was taken down, by DMCA for example."""


def reason_of(reply: HttpReply) -> str:
    """The reason that a reply gives, as it may be quoted; empty if it gives none."""
    said: object = reply.headers.get("X-Error-Message")
    if not said:
        try:
            answer = parse(reply.body)
        except ValueError:
            answer = None
        said = answer.get("error") if isinstance(answer, dict) else None
    return redacted_text(quoted(said)) if isinstance(said, str) else ""


def meaning_of(reply: HttpReply, shown: str, page: str, signed_in_by: str) -> HubfsError:
    """The error that a reply of status 4xx or 5xx, to a question that messages name as `shown`, means.

    `page` is where people look at the repository; `signed_in_by` says by what hubfs signs in.
    """
    code, reason = reply.headers.get("X-Error-Code", ""), reason_of(reply)
    said, signed_in = (
        f"{shown} answered {reply.status}{reason and f': {reason}'}",
        f"(hubfs signs in by {signed_in_by})",
    )
    if code == "EntryNotFound":
        return EntryNotFound(said)
    if _is_absence(reply.status, code, reason):
        return ModelNotFound(f"{said}: it is not there, or it is private {signed_in}")
    if reply.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        why = {_DISABLED: "the hub has taken it down", _WRONG_TOKEN: "the hub wants other credentials"}
        gated = f"it is gated; ask for access at {page}"
        return AccessDenied(f"{said}: {gated if code == _GATED else why.get(reason, f'see {page}')} {signed_in}")
    if reply.status >= _SERVER_ERRORS or reply.status == HTTPStatus.REQUEST_TIMEOUT:
        return Busy(said, wish_s(reply.headers))
    return Permanent(said)


def _is_absence(status: int, code: str, reason: str) -> bool:
    """Whether a refusal says that there is no such repository or revision: of either, the hub may say 401."""
    if code in ("RepoNotFound", "RevisionNotFound") or status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        return True
    return status == HTTPStatus.UNAUTHORIZED and code != _GATED and reason not in (_WRONG_TOKEN, _DISABLED)
