"""How many examples hypothesis looks at: a fifth where the run must be over in a minute.

`scripts/test unit` sets `HUBFS_EXAMPLES=few`; every other run looks at all of them.
"""

import os

from hypothesis import settings
from hypothesis.internal.conjecture import providers

FEW = os.environ.get("HUBFS_EXAMPLES") == "few"


def how_many(count: float) -> int:
    """So many examples, or a fifth of them."""
    return max(1, int(count / 5 if FEW else count))


def examples(count: int) -> settings:
    """Settings for a test that looks at other than the usual hundred examples."""
    return settings(max_examples=how_many(count))


def without_constants_of_modules() -> None:
    """Hypothesis tries the constants of modules: of one seed it makes other examples once one more is imported."""
    if hasattr(providers, "_get_local_constants"):
        none = providers.Constants()
        providers._get_local_constants = lambda: none
