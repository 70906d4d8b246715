"""Real models for the tests of this folder: the hub hosts these in the place of noise."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.models import MAKERS, packed
from tests.support.origin import Origin, running_origin
from tests.support.tensorflow import TensorFlow


@pytest.fixture(scope="session")
def models() -> dict[str, Path]:
    """Handle → the files of the model."""
    return {handle: make() for handle, make in MAKERS.items()}


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory, models: dict[str, Path]) -> Iterator[Origin]:
    """A hub that hosts the real models in both forms."""
    archives = {handle: packed(handle) for handle in models}
    with running_origin(tmp_path_factory.mktemp("real"), models, archives) as origin:
        yield origin


@pytest.fixture(scope="session")
def tensorflow(tmp_path_factory: pytest.TempPathFactory) -> TensorFlow:
    return TensorFlow(tmp_path_factory.mktemp("tensorflow"))
