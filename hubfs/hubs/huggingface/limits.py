"""What the hub says of a client's budget of requests. No I/O.

The headers are those of draft-ietf-httpapi-ratelimit-headers, as the hub sends them with every reply (by its
documentation, "Rate limits"): `RateLimit: "resolvers";r=0;t=55`, and
`RateLimit-Policy: "fixed window";"resolvers";q=3000;w=300`.
"""

from collections.abc import Mapping

from hubfs.blobs.http.object import retry_after_s
from hubfs.hubs.hub import Budget

_MOST_DIGITS = 9


def budget_of(name: str, headers: Mapping[str, str], now_s: float) -> Budget | None:
    """The budget of that name that a reply tells of, which came at `now_s` (Unix time); None if it tells of none."""
    said, policy = _numbers(headers.get("RateLimit", "")), _numbers(headers.get("RateLimit-Policy", ""))
    if "r" not in said or "t" not in said:
        return None
    return Budget(name, said["r"], now_s + said["t"], policy.get("q"))


def wish_s(headers: Mapping[str, str]) -> float | None:
    """For how long the hub wants to be left alone after a 429, in seconds; None where it does not say.

    huggingface_hub waits a second longer than `t`, which is rounded.
    """
    asked_s, ends_s = retry_after_s(headers), _numbers(headers.get("RateLimit", "")).get("t")
    return asked_s if asked_s is not None or ends_s is None else ends_s + 1.0


def _numbers(text: str) -> Mapping[str, int]:
    """The parameters of a header that are numbers."""
    pairs = (part.strip().partition("=")[::2] for part in text.split(";"))
    return {
        name: int(value) for name, value in pairs if value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS
    }
