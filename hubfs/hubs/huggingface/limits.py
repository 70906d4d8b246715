"""What the hub says of a client's budget of requests. No I/O.

The headers are those of draft-ietf-httpapi-ratelimit-headers, as the hub sends them with every reply (by its
documentation, "Rate limits"): `RateLimit: "resolvers";r=0;t=55`, and
`RateLimit-Policy: "fixed window";"resolvers";q=3000;w=300`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from hubfs.blobs.http.object import retry_after_s

_MOST_DIGITS = 9


@dataclass(frozen=True)
class Budget:
    """So many requests are `left` of `quota` (None: not told), until a new window begins in `ends_s` seconds."""

    left: int
    ends_s: int
    quota: int | None = None


def budget_of(headers: Mapping[str, str]) -> Budget | None:
    """The budget that a reply tells of; None for a reply that tells of none."""
    said, policy = _numbers(headers.get("RateLimit", "")), _numbers(headers.get("RateLimit-Policy", ""))
    if "r" not in said or "t" not in said:
        return None
    return Budget(said["r"], said["t"], policy.get("q"))


def wish_s(headers: Mapping[str, str]) -> float | None:
    """For how long the hub wants to be left alone after a 429, in seconds; None where it does not say.

    huggingface_hub waits a second longer than `t`, which is rounded.
    """
    asked_s, budget = retry_after_s(headers), budget_of(headers)
    return asked_s if asked_s is not None or budget is None else budget.ends_s + 1.0


def _numbers(text: str) -> Mapping[str, int]:
    """The parameters of a header that are numbers."""
    pairs = (part.strip().partition("=")[::2] for part in text.split(";"))
    return {
        name: int(value) for name, value in pairs if value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS
    }
