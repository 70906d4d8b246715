"""The directory that looks like tensorflow_hub's cache."""

import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from hubfs.hubs.tfhub.names import tfhub_modules
from hubfs.hubs.tfhub.names.tfhub_modules import TfhubModules, module_name

OWN = "http://127.0.0.1:8080/hub"
HUBS = ["https://tfhub.dev", OWN + "/"]


def sha1(text: str) -> str:
    return hashlib.sha1(text.encode("utf8")).hexdigest()


class Known:
    """Handles that grow; counts how often they were asked for."""

    def __init__(self, *handles: str) -> None:
        self.handles = [*handles]
        self.asked = 0

    def __call__(self) -> list[str]:
        self.asked += 1
        return self.handles


@pytest.mark.parametrize("hub", ["https://tfhub.dev", OWN])
@pytest.mark.parametrize("suffix", ["", "/", "?tf-hub-format=compressed"])
@pytest.mark.parametrize(
    ("typed", "target"),
    [
        ("google/spice/2", "../../google/spice/2"),
        ("google/spice", "../../google/spice/latest"),
        ("google/tfjs-model/spice/2/default/1", "../../google/tfjs-model/spice/2/default/1"),
        ("google/tfjs-model/spice/2/default", "../../google/tfjs-model/spice/2/default/latest"),
        ("google/never/versioned", "../../google/never/versioned/latest"),
    ],
)
def test_a_handle_is_found_however_it_was_typed(hub: str, suffix: str, typed: str, target: str) -> None:
    known = Known("google/spice/2", "google/tfjs-model/spice/2/default/1", "google/never/versioned")
    modules = TfhubModules(HUBS, known)
    url = f"{hub}/{typed}{suffix}"
    assert modules.target(sha1(url)) == target
    assert (
        modules.content(f"{sha1(url)}.descriptor.txt") == f"Module: {url}\nServed by: hubfs, from {target}\n".encode()
    )


def test_links_and_descriptors_are_not_mixed_up() -> None:
    modules = TfhubModules(HUBS, Known("google/spice/2"))
    name = sha1("https://tfhub.dev/google/spice/2")
    assert modules.content(name) is None
    assert modules.target(f"{name}.descriptor.txt") is None


@pytest.mark.parametrize(
    "text", ["{}.lock", "{}.lock.tmp0123", "{}.0123.tmp", "x{}", "{}0", "{}\n", ".git", "", "{}/x"]
)
def test_other_names_do_not_exist_and_nobody_is_asked(text: str) -> None:
    known = Known("google/spice/2")
    modules = TfhubModules(HUBS, known)
    name = text.format(sha1("https://tfhub.dev/google/spice/2"))
    assert modules.target(name) is None
    assert modules.content(name) is None
    assert known.asked == 0


def test_upper_case_digits_are_another_name() -> None:
    name = sha1("https://tfhub.dev/google/spice/2").upper()
    assert TfhubModules(HUBS, Known("google/spice/2")).target(name) is None


def test_a_handle_that_is_seen_later_is_found_then() -> None:
    known = Known("google/spice/2")
    modules = TfhubModules(HUBS, known)
    url = "https://tfhub.dev/google/spice/3"
    assert modules.target(sha1(url)) is None
    known.handles.append("google/spice/3")
    assert modules.target(sha1(url)) == "../../google/spice/3"
    known.handles.clear()
    assert modules.target(sha1(url)) == "../../google/spice/3"


def test_what_is_found_asks_for_the_handles_once() -> None:
    known = Known("google/spice/2")
    modules = TfhubModules(HUBS, known)
    for _ in range(10):
        assert modules.target(sha1("https://tfhub.dev/google/spice/2"))
    assert known.asked == 1


def test_thousands_of_handles_are_hashed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = []
    monkeypatch.setattr(tfhub_modules, "module_name", lambda url: hashed.append(url) or module_name(url))
    modules = TfhubModules(HUBS, Known(*(f"publisher-{n % 90}/model-{n}/1" for n in range(2800))))
    last = sha1("https://tfhub.dev/publisher-9/model-2799/1")
    assert modules.target(last) == "../../publisher-9/model-2799/1"
    assert len(hashed) == len({*hashed}) > 2800
    hashed.clear()
    assert modules.target(last)
    assert modules.target(sha1("unknown")) is None
    assert hashed == []


def test_many_may_ask_at_once() -> None:
    handles = [f"google/model-{n}/1" for n in range(500)]
    modules = TfhubModules(HUBS, Known(*handles))
    with ThreadPoolExecutor(8) as pool:
        found = [*pool.map(lambda handle: modules.target(sha1(f"{OWN}/{handle}")), handles)]
    assert found == [f"../../{handle}" for handle in handles]


def test_the_log_says_what_the_library_cannot(caplog: pytest.LogCaptureFixture) -> None:
    modules = TfhubModules(HUBS, Known("google/spice/2"))
    mistyped = sha1("https://tfhub.dev/google/spcie/2")
    assert modules.target(sha1("https://tfhub.dev/google/spice/2"))
    assert modules.target(f"{mistyped}.lock") is None
    assert caplog.messages == []
    assert modules.target(mistyped) is None
    (message,) = caplog.messages
    assert f"looked for {mistyped}" in message
    assert "--catalog" in message
