from collections.abc import Iterator

import pytest

from tests.support.streams import Desk


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.close()
