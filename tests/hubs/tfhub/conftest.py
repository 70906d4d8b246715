from collections.abc import Iterator

import pytest

from tests.support.http_origin import HttpOrigin


@pytest.fixture
def origin() -> Iterator[HttpOrigin]:
    with HttpOrigin() as origin:
        yield origin
