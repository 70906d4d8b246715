"""What ARCHITECTURE names is there: paths, classes, layers, rooms. What documents link to is there, too.

Every document is to be found from docs/README.md, and the messages that TROUBLESHOOTING quotes are the program's.
"""

import errno
import os
import re
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from markdown.extensions.toc import slugify

from hubfs.settings.file import tomllib
from tests.support.paths import ROOT

TEXT = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
QUOTED = re.findall(r"`([^`\n]{1,100})`", TEXT)
FIGURES = [line for line in TEXT.splitlines() if line.startswith("    ")]
PATHS = sorted({text for text in QUOTED if re.fullmatch(r"(hubfs|tests)/[\w/.]{1,80}|\w{1,40}\.py", text)})
CLASSES = sorted(
    {name for text in (*QUOTED, *FIGURES) for name in re.findall(r"\b_?(?:[A-Z][a-z]{1,20}){2,5}\b", text)}
)
FOLDERS = {path.parent.relative_to(ROOT / "hubfs").as_posix() for path in (ROOT / "hubfs").rglob("__init__.py")}
SOURCES = [path.read_text(encoding="utf-8") for path in (ROOT / "hubfs").rglob("*.py")]
SOURCES.append((ROOT / "tests/contracts/hub_contract.py").read_text(encoding="utf-8"))
TESTS = sorted(
    set(re.findall(r"`([a-z_/]{1,60}/test_[a-z_]{1,40}\.py)`", (ROOT / "docs/SECURITY.md").read_text("utf-8")))
)
TROUBLESHOOTING = (ROOT / "docs" / "TROUBLESHOOTING.md").read_text(encoding="utf-8")
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("path", PATHS)
def test_a_path_that_is_named_is_there(path: str) -> None:
    assert (ROOT / path).exists() or (ROOT / "hubfs" / path).exists()


@pytest.mark.parametrize("path", TESTS)
def test_a_test_that_shows_a_defence_is_there(path: str) -> None:
    assert (ROOT / "tests" / path).exists()


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_that_is_named_is_there(name: str) -> None:
    assert any(f"class {name}" in text for text in SOURCES)


def test_every_room_has_a_row_and_no_other() -> None:
    rows = {line.split("`")[1] for line in TEXT.splitlines() if line.startswith("| `")}
    assert rows == FOLDERS - {"."}


def test_the_layers_are_the_linters() -> None:
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    linted = [set(layer.split(" | ")) for layer in tool["importlinter"]["contracts"][0]["layers"]]
    figure = " ".join(line.strip() for line in FIGURES if " > " in line)
    told = [set(layer.split(" | ")) for layer in figure.split(" > ")]
    assert told == [layer for layer in linted if layer != {"__main__"}]


def prose_of(document: Path) -> str:
    """The text without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


@cache
def anchors_of(document: Path) -> set[str]:
    """What a link to a heading of the document may name. No heading comes twice in the documents."""
    headings = re.findall(r"^#{1,6} (.+)$", prose_of(document), re.MULTILINE)
    return {slugify(re.sub(r"[`*]|\]\([^)]*\)|\[", "", heading), "-") for heading in headings}


def links_of(document: Path) -> list[str]:
    return re.findall(r"\]\(([^)\s]{1,200})\)", prose_of(document))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_a_document_links_to_is_there(document: Path) -> None:
    for link in links_of(document):
        target, _, anchor = link.partition("#")
        if ":" in target:
            url = urlsplit(link)
            assert url.scheme == "https", link
            assert re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", url.netloc), link
            continue
        place = document.parent / target if target else document
        assert place.exists(), link
        assert not anchor or anchor in anchors_of(place.resolve()), link


def test_every_document_is_found_from_the_first_page() -> None:
    found, left = set[Path](), [ROOT / "docs" / "README.md"]
    while left:
        document = left.pop().resolve()
        if document not in found and document.suffix == ".md":
            found.add(document)
            left += [document.parent / link.partition("#")[0] for link in links_of(document) if ":" not in link]
    fragments = ROOT / "docs" / "changes"
    lost = [path for path in (ROOT / "docs").rglob("*.md") if path not in found and path.parent != fragments]
    assert lost == [], "no page leads there: docs/README.md and docs/decisions/README.md list what there is"


def test_troubleshooting_quotes_the_system_and_the_program() -> None:
    system, *program, _ = re.split(r"^## ", TROUBLESHOOTING, flags=re.MULTILINE)[1:]
    rows = re.findall(r"^\| `([^`]+)` \| (E[A-Z]+) \|", system, re.MULTILINE)
    assert len(rows) > 5
    for text, name in rows:
        assert os.strerror(getattr(errno, name)) == text
    quoted = [text for section in program for text in re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)]
    assert len(quoted) > 25
    for text in quoted:
        for part in filter(None, (part.strip() for part in text.split("…"))):
            assert any(part in source for source in SOURCES), f"no message of hubfs has {part!r}"


EXECUTED = {ROOT / "README.md", ROOT / "docs" / "SEMANTICS.md", *(ROOT / "docs" / "guides").glob("*.md")}
"""By tests/mounted/test_guides.py, where each block says for itself why it is not, and tests/semantics."""

COMMANDS = re.compile(
    r"^(?:```(?:sh|console|python|pycon)$|    (?:\$ |hubfs |scripts/|python |[A-Z_]+=\S+ python))", re.MULTILINE
)


@pytest.mark.parametrize(
    "document", sorted({*DOCUMENTS} - EXECUTED), ids=lambda path: path.relative_to(ROOT).as_posix()
)
def test_a_page_of_commands_that_are_not_executed_says_so(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    said = re.search(r"\A# [^\n]+\n\n<!-- not executed: [^\n]{20,} -->\n", text)
    assert said or not COMMANDS.search(text), "below the title: <!-- not executed: REASON -->"
