"""What ARCHITECTURE names is there: paths, classes, layers, rooms. What documents link to is there, too."""

import re
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_that_is_linked_is_there(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#:\s]{1,100})(?:#[^)]{0,100})?\)", document.read_text(encoding="utf-8")):
        assert (document.parent / target).exists(), target
