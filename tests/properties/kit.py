"""How property tests run: the same examples every time, as many as there is time for."""

from hypothesis import HealthCheck, settings

from tests.support.examples import how_many
from tests.support.figures import budget


def examples(share: float = 1.0, steps: int = 30) -> settings:
    """Settings for a property that may take this share of the usual number of examples; `steps` of a machine."""
    count = how_many(budget("property_examples", boxed=60, full=400) * share)
    return settings(
        max_examples=count,
        stateful_step_count=steps,
        derandomize=True,
        database=None,
        deadline=None,
        print_blob=False,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )
