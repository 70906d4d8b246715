from hypothesis import given
from hypothesis import strategies as st

from hubfs.cache.disk.store import CachedModel
from hubfs.cache.disk.tier import Eviction, plan_eviction

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
