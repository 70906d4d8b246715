import os
import re
import sysconfig

import pytest

from tests.conftest import LAYERS
from tests.support.paths import ROOT
from tests.support.programs import ran

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("check", ["ruff", "format", "mypy", "imports", "collect"])
def test_the_house_is_in_order(check: str) -> None:
    done = ran(
        [ROOT / "scripts" / "lint", check], env={**os.environ, "HUBFS_BIN": sysconfig.get_path("scripts")}, timeout=200
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_everything_that_is_time_boxed_runs_at_full_length_in_scripts_test_faults() -> None:
    command = next(line for line in (ROOT / "scripts" / "test").read_text().splitlines() if "HUBFS_FAULTS=full" in line)
    covered = [ROOT / word for word in command.split() if word.startswith("tests/")]
    boxed = [path for path in (ROOT / "tests").rglob("*.py") if re.search(r"\bbudget\(\"", path.read_text())]
    assert len(boxed) > 5
    assert [path for path in boxed if not any(map(path.is_relative_to, covered))] == []


def test_every_folder_of_tests_is_of_the_units_or_of_another_tier() -> None:
    (line,) = (line for line in (ROOT / "scripts" / "test").read_text().splitlines() if line.startswith("not_units=("))
    others = line.removeprefix("not_units=(").removesuffix(")").split()
    assert sorted(others) == sorted([*LAYERS, "bench"])
    assert all((ROOT / "tests" / folder).is_dir() for folder in others)
