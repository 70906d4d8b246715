import os
import subprocess
import sysconfig

import pytest

from tests.support.paths import ROOT


@pytest.mark.parametrize("check", ["ruff", "format", "mypy", "imports"])
def test_the_house_is_in_order(check: str) -> None:
    done = subprocess.run(
        [ROOT / "scripts" / "lint", check],
        env={**os.environ, "HUBFS_BIN": sysconfig.get_path("scripts")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
