"""What a disk may hold after a power cut: each block and index of it is right or missing, and the tier heals."""

import random
from pathlib import Path

import pytest

from tests.support.crash_disk import ACCIDENTS, Recorded, check, damage, heal, materialise, record
from tests.support.figures import Figures, budget

CASES = int(budget("power_cuts", boxed=500, full=2_000))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """Every write of a tier that keeps, evicts, drops and keeps again."""
    return record(tmp_path_factory.mktemp("recorded"))


def test_the_record_has_what_a_tier_does_and_all_of_it_makes_the_tier_again(recorded: Recorded, tmp_path: Path) -> None:
    assert {type(step).__name__ for step in recorded.steps} == {"Write", "Rename", "Make", "Cut"}
    materialise(recorded, tmp_path / "cache", None)
    found = check(tmp_path / "cache", recorded)
    assert found.wrong == 0
    assert found.right == recorded.kept


@pytest.mark.parametrize("lot", range(4))
def test_after_a_power_cut_whatever_was_not_lost_is_right(
    recorded: Recorded, tmp_path: Path, figures: Figures, lot: int
) -> None:
    right = missing = 0
    for case in range(CASES // 8):
        chance = random.Random(f"cut {lot} {case}")
        root = tmp_path / str(case)
        materialise(recorded, root, chance)
        found = check(root, recorded)
        figures.add("power cuts", disks=1, wrong=found.wrong, right=found.right, missing=found.missing)
        assert found.wrong == 0, f"case {case} of lot {lot}"
        right, missing = right + found.right, missing + found.missing
        heal(root, recorded, chance)
    assert right, "nothing was ever kept: the model cuts too much"
    assert missing, "nothing was ever lost: the model cuts nothing"


@pytest.mark.parametrize("accident", ACCIDENTS)
def test_after_an_accident_whatever_is_still_served_is_right(
    recorded: Recorded, tmp_path: Path, figures: Figures, accident: str
) -> None:
    right = missing = 0
    count = max(10, CASES // 2 // len(ACCIDENTS))
    for case in range(count):
        chance = random.Random(f"{accident} {case}")
        root = tmp_path / str(case)
        materialise(recorded, root, chance if case % 2 else None)
        damage(root, accident, chance)
        found = check(root, recorded)
        figures.add("power cuts", disks=1, wrong=found.wrong, right=found.right, missing=found.missing)
        assert found.wrong == 0, f"case {case}"
        right, missing = right + found.right, missing + found.missing
        heal(root, recorded, chance)
    assert missing
