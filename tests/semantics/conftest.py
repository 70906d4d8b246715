"""The mount that the examples speak of."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.models import BASIC_PITCH, basic_pitch, packed
from tests.support.mount import Machine, mounted
from tests.support.origin import running_origin

PACKED_S = 1_684_195_200
"""When the archive was made: 2023-05-16T00:00:00Z."""


@pytest.fixture(scope="module")
def semantics_mount(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """`spotify/basic-pitch/1`, compressed, and nothing else."""
    home = tmp_path_factory.mktemp("semantics")
    archive = Path(shutil.copy(packed(BASIC_PITCH), home))
    os.utime(archive, (PACKED_S, PACKED_S))
    models, archives = {BASIC_PITCH: basic_pitch()}, {BASIC_PITCH: archive}
    with (
        running_origin(home / "origin", models, archives) as origin,
        mounted(Machine(home / "machine"), home / "hub", origin.url, "--format", "compressed") as mount,
    ):
        assert (mount.path / BASIC_PITCH).is_dir()  # the listings below show what was found
        yield mount.path
