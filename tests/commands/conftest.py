from collections.abc import Iterator

import pytest

from tests.support.huggingface import HuggingFaceStandIn


@pytest.fixture
def hub() -> Iterator[HuggingFaceStandIn]:
    with HuggingFaceStandIn() as hub:
        yield hub
