"""What others say is cut where it is quoted: whatever its length, nobody waits for it, and nothing keeps it."""

import logging
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from hubfs.blobs.http.url import redacted_text
from hubfs.daemon.log_repeats import Repeats
from hubfs.errors import Damaged, HubfsError, InvalidConfig, Unavailable, cut, quoted
from hubfs.hubs.tfhub.names.file import parse_catalog
from hubfs.hubs.tfhub.resolver import TfhubResolver
from hubfs.model_id import ModelId
from hubfs.sources.source import Form
from hubfs.status import RecentProblems
from tests.support.http_clients import http_client
from tests.support.http_origin import Answer, HttpOrigin

LONG = 60_000
SPICE = ModelId("google/spice", "2")
ARCHIVE = "/google/spice/2"

# Texts that take a quadratic expression half a minute: where a scheme, a query or the end of a line might begin.
TEXTS = ("a-" * (LONG // 2), "a" + "?" * LONG, " " * LONG + "x", "x://" * (LONG // 4), "x://a@" * (LONG // 6))


@pytest.fixture
def problems() -> Iterator[RecentProblems]:
    problems = RecentProblems()
    repeats = Repeats([problems])
    logger = logging.getLogger("hubfs")
    level = logger.level
    logger.addHandler(repeats)
    logger.setLevel(logging.DEBUG)
    yield problems
    logger.removeHandler(repeats)
    logger.setLevel(level)


@pytest.fixture
def kept() -> list[logging.LogRecord]:
    return []


@pytest.fixture
def repeats(kept: list[logging.LogRecord]) -> Repeats:
    target = logging.Handler()
    target.emit = kept.append  # type: ignore[method-assign]
    return Repeats([target])


def cpu_of(what: Callable[[], object]) -> float:
    began_s = time.process_time()
    what()
    return time.process_time() - began_s


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text[:3])
def test_an_error_and_its_line_in_the_log_cost_little_and_are_short(text: str, problems: RecentProblems) -> None:
    def tell() -> None:
        error = Damaged(f"https://hub.test/a answered with {text}")
        for _ in range(20):
            logging.getLogger("hubfs.test").warning("read %s: %s (%s)", "/a", error, text)
        assert len(str(error)) < 3000

    assert cpu_of(tell) < 1
    (line,) = problems.messages()
    assert len(line) < 10_000


@pytest.mark.parametrize("text", TEXTS[:3], ids=lambda text: text[:3])
def test_a_type_and_a_way_of_60_kb_are_refused_without_a_wait(text: str, problems: RecentProblems) -> None:
    heads = ({"Content-Type": text.strip()}, {"Location": f"http://{text.strip()}"}, {"ETag": f'"{text}"'})
    with HttpOrigin() as origin, http_client() as client:
        for head in heads:
            origin.route(ARCHIVE, lambda _, head=head: Answer(302 if "Location" in head else 200, head, b"hello"))
            resolver = TfhubResolver(client, origin.url, Form.COMPRESSED)
            began_s = time.process_time()
            with pytest.raises(HubfsError) as caught:
                resolver.resolve(SPICE)
            logging.getLogger("hubfs.test").error("%s", caught.value)
            assert time.process_time() - began_s < 1
            assert len(str(caught.value)) < 3000
    assert all(len(line) < 3000 for line in problems.messages())


def test_a_type_of_some_length_is_named_and_cut(problems: RecentProblems) -> None:
    with HttpOrigin() as origin, http_client() as client:
        origin.route(ARCHIVE, lambda _: Answer(200, {"Content-Type": "x" * 9000}, b"hello"))
        with pytest.raises(Damaged, match=r"neither a tar.gz nor a tar archive \(type x{100}, size 5\): report it"):
            TfhubResolver(client, origin.url, Form.COMPRESSED).resolve(SPICE)
        assert len(client.probe(f"{origin.url}{ARCHIVE}").content_type) == 100


def test_an_address_too_long_for_any_host_is_not_followed() -> None:
    with HttpOrigin() as origin, http_client() as client:
        origin.route(ARCHIVE, lambda _: Answer(302, {"Location": f"{origin.url}/{'a' * 9000}"}))
        with pytest.raises(Unavailable, match=r"redirects to a URL of 90.. characters"):
            client.probe(f"{origin.url}{ARCHIVE}")
        assert len(origin.requests) == 1


@pytest.mark.parametrize("head", [[("X-A", "a" * 20_000)], [(f"X-{number}", "a" * 9000) for number in range(9)]])
def test_a_head_too_long_for_any_host_is_refused_and_not_asked_for_again(head: list[tuple[str, str]]) -> None:
    with HttpOrigin() as origin, http_client() as client:
        origin.route("/a", lambda _: Answer(200, dict(head), b"hello"))
        with pytest.raises(Unavailable, match=r"127\.0\.0\.1:\d+ answered with a head of more than 65536 bytes"):
            client.probe(f"{origin.url}/a")
        assert len(origin.requests) == 1


@pytest.mark.parametrize("kind", ["a-" * LONG, "?" * LONG * 2, " " * LONG * 2])
def test_a_line_of_a_catalogue_with_a_long_kind_is_refused_without_a_wait(kind: str, problems: RecentProblems) -> None:
    def read() -> None:
        with pytest.raises(InvalidConfig, match=r"hub\.test, line 1: .* is no kind: Module") as caught:
            parse_catalog(f'{{"kind": "{kind}", "handle": "google/spice/2"}}', "hub.test")
        logging.getLogger("hubfs.test").warning("%s", caught.value)
        assert len(str(caught.value)) < 500

    assert cpu_of(read) < 1
    assert len(problems.messages()) == 1


def test_what_is_cut_says_how_long_it_was_and_shows_no_half_of_a_password() -> None:
    assert cut("x" * 30, 10) == "xxxxxxxxxx… (30 characters)"
    assert cut("see https://me:hush@hub.test/a", 19) == "see https://… (30 characters)"
    assert cut("see https://hub.test/a?b", 22) == "see https://hub.test/a… (24 characters)"
    assert redacted_text(cut("see https://hub.test/a?sig=hush, and", 30)) == "see https://hub.test/a (36 characters)"
    assert quoted("\x1b[31m" + "é" * 300) == "\\x1b[31m" + "é" * 195 + "… (305 characters)"


def test_a_traceback_keeps_its_ends(kept: list[logging.LogRecord], repeats: Repeats) -> None:
    try:
        try:
            int("-" * 100_000)
        except ValueError as error:
            raise RuntimeError("\n".join(map(str, range(100_000)))) from error
    except RuntimeError:
        repeats.emit(logging.LogRecord("hubfs", logging.ERROR, "", 0, "bug %s", ("x" * 3000,), sys.exc_info()))
    text = logging.Formatter("%(message)s").format(kept[0])
    assert len(text) < 9000
    assert "in test_a_traceback_keeps_its_ends" in text
    assert "ValueError: invalid literal" in text
    assert " characters)\n" in text, "it says that it was cut"
    assert text.endswith("\n99999")


def test_a_malformed_call_is_told_in_a_line(kept: list[logging.LogRecord], repeats: Repeats) -> None:
    repeats.emit(logging.LogRecord("lib", logging.ERROR, "", 0, "%d of %s" + "-" * 9000, ("x",), None))
    assert kept[0].getMessage().startswith("%d of %s---")
    repeats.emit(logging.LogRecord("lib", logging.ERROR, "", 0, "%d", ("x",), None))
    assert kept[1].getMessage() == "%d (TypeError: its arguments do not fit)"
