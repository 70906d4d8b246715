from hypothesis import given
from hypothesis import strategies as st

from hubfs.cache.disk.store import CachedModel
from hubfs.cache.disk.tier import Eviction, plan_eviction, protect
from hubfs.model_id import blob_name

MODELS = st.lists(
    st.builds(CachedModel, st.text(max_size=3), st.integers(0, 1000), st.floats(0, 1e10)),
    max_size=12,
    unique_by=lambda model: model.model,
)


@given(models=MODELS, free_bytes=st.integers(0, 5000))
def test_the_least_recently_used_go_and_no_more_than_needed(models: list[CachedModel], free_bytes: int) -> None:
    plan = [eviction.model for eviction in plan_eviction(models, free_bytes)]
    kept = [model for model in models if model not in plan and model.size_bytes]
    assert all(gone.used_at_s <= stays.used_at_s for gone in plan for stays in kept)
    freed_bytes = sum(model.size_bytes for model in plan)
    assert freed_bytes >= free_bytes or not kept
    assert not plan or freed_bytes - plan[-1].size_bytes < free_bytes


@given(models=MODELS)
def test_nothing_goes_for_nothing(models: list[CachedModel]) -> None:
    assert plan_eviction(models, 0) == []


def test_the_order_is_certain_among_models_of_one_instant() -> None:
    models = [CachedModel(name, 10, 5.0) for name in "cab"]
    assert [eviction.model.model for eviction in plan_eviction(models, 15)] == ["a", "b"]


def test_indexes_of_archives_stay_while_blocks_are_enough() -> None:
    old, new = CachedModel("old", 100, 1.0, index_bytes=10), CachedModel("new", 100, 2.0, index_bytes=10)
    assert plan_eviction([new, old], 90) == [Eviction(old, whole=False)]
    assert plan_eviction([new, old], 91) == [Eviction(old, whole=False), Eviction(new, whole=False)]
    assert plan_eviction([new, old], 181) == [Eviction(old, whole=True), Eviction(new, whole=False)]
    assert plan_eviction([new, old], 500) == [Eviction(old, whole=True), Eviction(new, whole=True)]


def test_what_is_an_index_and_nothing_else_goes_last() -> None:
    rest, model = CachedModel("rest", 10, 1.0, index_bytes=10), CachedModel("model", 100, 2.0)
    assert plan_eviction([rest, model], 50) == [Eviction(model, whole=True)]
    assert plan_eviction([rest, model], 101) == [Eviction(model, whole=True), Eviction(rest, whole=True)]


COMMITS = [f"huggingface/BAAI/bge-m3/{digit * 40}@{digit * 12}" for digit in "12"]
BLOBS = [blob_name(COMMITS[0], digit * 64, 10) for digit in "abc"]
LISTED = {COMMITS[0]: BLOBS[:2], COMMITS[1]: BLOBS[1:]}


def _protected(*models: CachedModel) -> dict[str, tuple[bool, bool]]:
    found = protect(models, lambda model: LISTED[model])
    return {one.model: (one.in_use, one.pinned) for one in found if one.model in BLOBS}


def test_files_that_are_kept_apart_are_in_use_and_pinned_as_a_model_is_that_lists_them() -> None:
    apart = [CachedModel(blob, 10, 1.0) for blob in BLOBS]
    idle = [CachedModel(commit, 10, 1.0) for commit in COMMITS]
    in_use, pinned = CachedModel(COMMITS[0], 10, 1.0, in_use=True), CachedModel(COMMITS[1], 10, 1.0, pinned=True)
    assert _protected(*apart, *idle) == dict.fromkeys(BLOBS, (False, False))
    assert _protected(*apart, in_use, idle[1]) == dict(zip(BLOBS, [(True, False)] * 2 + [(False, False)], strict=True))
    assert _protected(*apart, in_use, pinned) == dict(
        zip(BLOBS, [(True, False), (True, True), (False, True)], strict=True)
    )


def test_no_index_is_read_of_models_that_have_nothing_kept_apart() -> None:
    def read(model: str) -> list[str]:
        raise AssertionError(model)

    other = CachedModel("huggingface/BAAI/other/1@x", 10, 1.0, in_use=True)
    apart = CachedModel(BLOBS[0], 10, 1.0, in_use=True)
    assert protect([other, apart], read) == [other, apart]
