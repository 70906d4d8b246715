"""docs/SEMANTICS.md, executed: every example on a real mount."""

import doctest
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.paths import ROOT

pytestmark = pytest.mark.mounted

DOCUMENT = ROOT / "docs" / "SEMANTICS.md"
MOUNTPOINTS = {
    "/mnt/tfhub": "semantics_mount",
    "/mnt/hubs": "hubs_mount",
    "/mnt/kaggle": "kaggle_mount",
    "/mnt/hf": "hf_mount",
}
"""Where examples are, and the fixture that mounts there."""
_FLAGS = doctest.ELLIPSIS


def examples(language: str) -> list[tuple[str, str]]:
    """(heading and number, text) of every fenced block of a language."""
    found = []
    heading = ""
    for match in re.finditer(
        r"^## ([^\n]*)$|^```(\w+)\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    ):
        if match[1]:
            heading = match[1]
        elif match[2] == language:
            found.append((f"{heading} {len(found)}", match[3]))
    return found


@pytest.fixture
def mounts(request: pytest.FixtureRequest, text: str) -> dict[str, str]:
    """The mounts that an example speaks of: as it calls them, and where they are."""
    return {name: str(request.getfixturevalue(fixture)) for name, fixture in MOUNTPOINTS.items() if name in text}


def on(text: str, places: Mapping[str, str]) -> str:
    """`text` with other names for places."""
    for name, other in places.items():
        text = text.replace(name, other)
    return text


def commands(text: str) -> Iterator[tuple[str, str]]:
    """(command, expected output) of a console session."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in examples("console")])
def test_console_sessions_print_what_the_document_says(text: str, mounts: dict[str, str]) -> None:
    environment = {
        **os.environ,
        "LC_ALL": "C",
        "TZ": "UTC",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    for command, expected in commands(text):
        done = subprocess.run(
            ["bash", "-c", on(command, mounts)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            timeout=60,
            check=False,
        )
        output = on(done.stdout, {where: name for name, where in mounts.items()})
        assert doctest.OutputChecker().check_output(expected, output, _FLAGS), f"$ {command}\n{output}"


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in examples("pycon")])
def test_python_sessions_print_what_the_document_says(text: str, mounts: dict[str, str]) -> None:
    source = on(text, mounts)
    test = doctest.DocTestParser().get_doctest(source, {}, "SEMANTICS.md", str(DOCUMENT), 0)
    assert test.examples
    failures: list[str] = []
    doctest.DocTestRunner(optionflags=_FLAGS, verbose=False).run(test, out=failures.append)
    assert not failures, "".join(failures)


def test_the_document_has_examples_of_both_kinds() -> None:
    assert len(examples("console")) >= 5
    assert len(examples("pycon")) >= 2
