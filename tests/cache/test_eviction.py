from hypothesis import given
from hypothesis import strategies as st

from hubfs.cache.eviction import CachedModel, plan_eviction

MODELS = st.lists(
    st.builds(CachedModel, st.text(max_size=3), st.integers(0, 1000), st.floats(0, 1e10)),
    max_size=12,
    unique_by=lambda model: model.model,
)


@given(models=MODELS, free_bytes=st.integers(0, 5000))
def test_the_least_recently_used_go_and_no_more_than_needed(models: list[CachedModel], free_bytes: int) -> None:
    plan = plan_eviction(models, free_bytes)
    kept = [model for model in models if model not in plan]
    assert all(gone.used_at_s <= stays.used_at_s for gone in plan for stays in kept)
    freed_bytes = sum(model.size_bytes for model in plan)
    assert freed_bytes >= free_bytes or not kept
    assert not plan or freed_bytes - plan[-1].size_bytes < free_bytes


@given(models=MODELS)
def test_nothing_goes_for_nothing(models: list[CachedModel]) -> None:
    assert plan_eviction(models, 0) == []


def test_the_order_is_certain_among_models_of_one_instant() -> None:
    models = [CachedModel(name, 10, 5.0) for name in "cab"]
    assert [model.model for model in plan_eviction(models, 15)] == ["a", "b"]
