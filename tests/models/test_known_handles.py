"""Which models are known: found, or cached."""

from hubfs.hubs.tfhub.names.handle import parse_handle
from hubfs.models.known_handles import KnownHandles
from hubfs.testing import Clock
from hubfs.waiting import Cancellation


def test_what_was_found_and_what_is_cached_is_known_and_the_cache_is_asked_now_and_then() -> None:
    clock = Clock()
    cached = ["google/bert/1", "lost+found"]
    known = KnownHandles(lambda: [*cached], parse_handle, Cancellation(), ttl_s=10.0, timeout_s=1.0, timer=clock)
    known.add(parse_handle("google/spice/2"))
    assert [str(handle) for handle in known.in_order()] == ["google/bert/1", "google/spice/2"]
    assert known.children("google") == {"bert", "spice"}
    cached.append("google/spice/1")
    assert known.versions("google/spice") == {"2"}
    clock.now_s += 11
    assert known.versions("google/spice") == {"1", "2"}
    known.add(parse_handle("tensorflow/x/1"))
    known.remove(parse_handle("google/spice/2"))
    assert known.versions("google/spice") == {"1"}
    assert known.children("") == {"google", "tensorflow"}
