"""docs/SEMANTICS.md, executed: every example on a real mount."""

import doctest
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT

pytestmark = pytest.mark.mounted

DOCUMENT = ROOT / "docs" / "SEMANTICS.md"
MOUNTPOINT = "/mnt/tfhub"
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


def commands(text: str) -> Iterator[tuple[str, str]]:
    """(command, expected output) of a console session."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in examples("console")])
def test_console_sessions_print_what_the_document_says(text: str, semantics_mount: Path) -> None:
    environment = {
        **os.environ,
        "LC_ALL": "C",
        "TZ": "UTC",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    for command, expected in commands(text):
        done = subprocess.run(
            ["bash", "-c", command.replace(MOUNTPOINT, str(semantics_mount))],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            timeout=60,
            check=False,
        )
        output = done.stdout.replace(str(semantics_mount), MOUNTPOINT)
        assert doctest.OutputChecker().check_output(expected, output, _FLAGS), f"$ {command}\n{output}"


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in examples("pycon")])
def test_python_sessions_print_what_the_document_says(text: str, semantics_mount: Path) -> None:
    source = text.replace(MOUNTPOINT, str(semantics_mount))
    test = doctest.DocTestParser().get_doctest(source, {}, "SEMANTICS.md", str(DOCUMENT), 0)
    assert test.examples
    failures: list[str] = []
    doctest.DocTestRunner(optionflags=_FLAGS, verbose=False).run(test, out=failures.append)
    assert not failures, "".join(failures)


def test_the_document_has_examples_of_both_kinds() -> None:
    assert len(examples("console")) >= 5
    assert len(examples("pycon")) >= 2
