"""How to reach Google Cloud Storage, or an emulator of it."""

from dataclasses import dataclass, field

from hubfs.blobs.retry import RetryPolicy


@dataclass(frozen=True)
class GcsSettings:
    """How to reach the store.

    `endpoint_url`: an emulator's, None for Google's. `token`: "anon", "google_default", or the path of a credentials
    file; None is "anon". `timeout_s`: the longest silence that is borne. `retry`: for the pages of a listing; reads
    are tried once, and wrapped in a `RetryingBlob`.
    """

    endpoint_url: str | None = None
    token: str | None = "anon"  # noqa: S105 - the name of a way to authenticate
    project: str | None = None
    timeout_s: float = 30.0
    retry: RetryPolicy = field(default_factory=RetryPolicy)
