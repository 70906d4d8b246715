from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.kits import Workshop, workshop


@pytest.fixture
def tools(tmp_path: Path) -> Iterator[Workshop]:
    with workshop(tmp_path / "cache") as tools:
        yield tools
