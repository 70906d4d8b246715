"""No version that hubfs may be installed with has a hole that is known.

The lowest versions that pyproject.toml admits, and the constraints for deployments, are held against the versions in
which holes were closed.
"""

import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from hubfs.settings.file import tomllib
from tests.support.paths import ROOT

CONSTRAINTS = ROOT / "docs" / "constraints.txt"
LOWEST = ROOT / ".venv" / "lowest.txt"

CLOSED_IN = {
    "aiohttp": "3.14.3",
    "certifi": "2024.7.4",  # CVE-2024-39689
    "idna": "3.7",  # CVE-2024-3651
    "oauthlib": "3.2.2",  # CVE-2022-36087
    "protobuf": "6.31.1",  # CVE-2025-4565
    "pyasn1": "0.6.2",  # CVE-2026-23490
    "requests": "2.33.0",  # CVE-2024-47081, CVE-2026-25645
    "urllib3": "2.7.0",  # CVE-2025-66418, CVE-2025-66471, CVE-2026-21441, CVE-2026-44432
}
"""By distribution: the first version without the holes that were known on 2026-11-28."""

_PIN = re.compile(r"([\w.-]+)==([^\s;]+)")


def pins(file: Path) -> dict[str, set[Version]]:
    found: dict[str, set[Version]] = {}
    for line in file.read_text().splitlines():
        if match := _PIN.match(line):
            found.setdefault(match[1].lower(), set()).add(Version(match[2]))
    return found


def too_old(found: dict[str, set[Version]]) -> Iterable[str]:
    for name, closed_in in CLOSED_IN.items():
        for version in found.get(name, ()):
            if version < Version(closed_in):
                yield f"{name} {version} has holes that {closed_in} closed"


@pytest.mark.parametrize("file", [LOWEST, CONSTRAINTS], ids=lambda file: file.name)
def test_no_version_has_a_known_hole(file: Path) -> None:
    found = pins(file)
    assert {"aiohttp", "urllib3", "requests", "gcsfs", "cachetools"} <= found.keys()
    assert [*too_old(found)] == []


def test_a_hole_would_be_seen() -> None:
    assert [*too_old({"aiohttp": {Version("3.14.2")}, "urllib3": {Version("2.7.0")}})] == [
        "aiohttp 3.14.2 has holes that 3.14.3 closed"
    ]


def test_the_constraints_are_of_what_is_depended_on() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    pinned = pins(CONSTRAINTS)
    for requirement in map(Requirement, project["dependencies"]):
        versions = pinned.get(requirement.name.lower(), set())
        assert versions, f"{requirement.name} is not in {CONSTRAINTS.name}"
        assert all(map(requirement.specifier.contains, versions)), f"{requirement} and {versions}"
