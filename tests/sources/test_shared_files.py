"""A file that several models share: what a reader of a damaged one finds, whichever thread found the damage."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from hubfs.blobs.blob import Blob, MemoryBlob
from hubfs.blobs.checksums import Failure
from hubfs.cache.block_cache import CacheKey
from hubfs.errors import Damaged
from hubfs.sources.shared_files import SharedFiles

KEY = CacheKey("+blobs/hub/name/abc@3", "abc")


def test_every_model_knows_of_the_damage_before_any_reader_is_told() -> None:
    dropping, go_on, failures = threading.Event(), threading.Event(), list[Failure]()

    def drop(model: str) -> None:
        assert model == KEY.model
        dropping.set()
        assert go_on.wait(60)

    def wrap(blob: Blob, failure: Failure) -> Blob:
        failures.append(failure)
        return blob

    files, told = SharedFiles(drop), [list[object](), list[object]()]
    models = [Failure(told[0].append), Failure(told[1].append)]
    joined = [files.join(KEY, str(model), lambda: MemoryBlob("f", b"abc"), wrap, model) for model in models]
    assert joined[0] is joined[1]
    (failure,) = failures
    with ThreadPoolExecutor(1) as finder:
        try:
            found = finder.submit(failure.fail, Damaged("f is damaged"))
            assert dropping.wait(60)
            with pytest.raises(Damaged, match="f is damaged"):  # as another reader of the file meets it now
                failure.check()
            assert [str(model.error) for model in models] == ["f is damaged"] * 2
            late = Failure()
            assert files.join(KEY, "late", lambda: MemoryBlob("f", b"abc"), wrap, late) is not joined[0]
            failure.fail(Damaged("once more"))
        finally:
            go_on.set()
        found.result()
    assert [len(one) for one in told] == [1, 1]
    assert late.error is None
