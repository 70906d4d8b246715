import sys

import pytest

from scripts._bench.measure import Failed
from scripts._bench.starting import started


def test_a_command_is_timed_to_its_end() -> None:
    assert started([sys.executable, "-c", "import time; time.sleep(0.2)"]).value >= 0.2


def test_a_command_that_fails_has_no_figure() -> None:
    with pytest.raises(Failed, match="ended with status 3: why"):
        started([sys.executable, "-c", "import sys; sys.stderr.write('why'); sys.exit(3)"])
