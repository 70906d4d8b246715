"""What a model of Kaggle costs through a mount: calls of the API, and bytes of the store."""

import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.files import files
from tests.support.kaggle import KaggleStandIn
from tests.support.mount import Machine, mounted

pytestmark = pytest.mark.mounted

MODEL = "google/yamnet/tensorFlow2/yamnet/1"
FILES = {
    "saved_model.pb": os.urandom(1_300_000),
    "variables/variables.data-00000-of-00001": os.urandom(17 << 20),
    "variables/variables.index": os.urandom(5003),
    "assets/vocab.txt": b"",
}
LIST, DOWNLOAD = "ListModelInstanceVersionFiles", "DownloadModelInstanceVersion"
READERS = 16


@pytest.fixture
def kaggle() -> Iterator[KaggleStandIn]:
    with KaggleStandIn() as kaggle:
        kaggle.put(MODEL, FILES)
        yield kaggle


@pytest.fixture
def user(machine: Machine, kaggle: KaggleStandIn) -> Machine:
    return machine.with_environment(HUBFS_KAGGLE_ENDPOINT=kaggle.url)


def test_sixteen_readers_of_a_cold_model_fetch_each_byte_once(
    kaggle: KaggleStandIn, user: Machine, tmp_path: Path
) -> None:
    expected = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in FILES.items())
    with mounted(user, tmp_path / "kaggle", "kaggle:") as hub:
        command = ["sha256sum", *FILES]
        readers = [
            subprocess.Popen(command, cwd=hub.path / MODEL, stdout=subprocess.PIPE, text=True) for _ in range(READERS)
        ]
        assert {reader.communicate(timeout=120)[0] for reader in readers} == {expected}
    assert kaggle.calls[LIST] == 1
    assert kaggle.calls[DOWNLOAD] <= len(FILES)
    assert [*kaggle.calls] == [LIST, DOWNLOAD], "nothing else was asked"
    whole_bytes = sum(map(len, FILES.values()))
    assert whole_bytes <= kaggle.body_bytes <= whole_bytes + 512 * len(FILES), "512 bytes a file tell what it is"


def test_a_warm_model_asks_nobody(kaggle: KaggleStandIn, user: Machine, tmp_path: Path) -> None:
    with mounted(user, tmp_path / "kaggle", "kaggle:") as hub:
        assert files(hub.path / MODEL) == FILES
        kaggle.reset_counts()
        assert files(hub.path / MODEL) == FILES
    with mounted(user, tmp_path / "kaggle", "kaggle:") as hub:
        assert files(hub.path / MODEL) == FILES
    assert not kaggle.calls
    assert not kaggle.stored
