"""Fleets of fifty and of a thousand over the lease protocol, in simulated time: who fetches, waits, is killed."""

from dataclasses import replace

import pytest

from hubfs.cache.shared.health import PACE, PATIENCE_S
from hubfs.cache.shared.lease import TTL_S
from tests.support.simulated_fleet import Figures, simulate, simulate_takeover

FIGURES = Figures(model_bytes=256 << 20)
FORMS = ("archive", "files")


@pytest.mark.parametrize("form", FORMS)
def test_a_fleet_that_starts_cold_makes_one_transfer(form: str) -> None:
    alone = simulate(1, form=form, figures=FIGURES)
    fleet = simulate(50, form=form, figures=FIGURES)
    assert fleet.origin_ratio <= 1.05
    assert (fleet.starved, len(fleet.ready_s), fleet.refused) == (0, 50, 0)
    # The last one waits for the transfer, a poll, and its own copy.
    assert fleet.ready_s[-1] <= 2.5 * alone.ready_s[-1]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kills", [1, 2])
def test_holders_that_are_killed_cost_what_they_fetched_and_starve_nobody(form: str, kills: int) -> None:
    alone = simulate(1, form=form, figures=FIGURES)
    fleet = simulate(50, form=form, kills=kills, figures=FIGURES)
    assert len(fleet.ready_s) < 50
    assert fleet.lost_ratio > 0
    assert fleet.origin_ratio - fleet.lost_ratio <= 1.05
    assert fleet.starved == 0
    assert fleet.ready_s[-1] <= 2.5 * alone.ready_s[-1] + kills * (TTL_S + 30)


@pytest.mark.parametrize("seed", range(3))
def test_of_many_that_find_a_lease_lapsed_one_takes_it_over(seed: int) -> None:
    """A waiter that deletes late must not delete the lease of the one that was quicker."""
    assert simulate_takeover(300, seed=seed) == 1


def test_the_same_seed_gives_the_same_run() -> None:
    one, two = (simulate(20, form="files", kills=1, seed=7, figures=FIGURES) for _ in range(2))
    assert one == two


def test_a_thousand_daemons_make_one_transfer_of_files_and_wait_for_the_store_s_network_alone() -> None:
    figures = Figures(model_bytes=128 << 20)
    fleet = simulate(1000, form="files", figures=figures)
    assert fleet.origin_ratio <= 1.05
    assert (fleet.starved, len(fleet.ready_s)) == (0, 1000)
    copies_s = 1000 * figures.model_bytes / figures.store_bytes_per_s
    assert fleet.ready_s[-1] <= copies_s + simulate(1, form="files", figures=figures).ready_s[-1] + 10


def test_a_store_that_is_asked_too_much_is_asked_more_slowly_and_left_by_nobody() -> None:
    figures = Figures(model_bytes=128 << 20, store_reads_per_s=100, store_writes_per_s=50)
    fleet = simulate(30, form="files", figures=figures)
    assert fleet.refused > 0
    assert fleet.origin_ratio <= 1.05
    assert fleet.starved == 0


@pytest.mark.parametrize("form", FORMS)
def test_a_store_that_refuses_for_ever_costs_the_patience_once_and_starves_nobody(form: str) -> None:
    figures = Figures(model_bytes=64 << 20)
    alone = simulate(1, form=form, figures=figures)
    fleet = simulate(3, form=form, figures=replace(figures, store_reads_per_s=0, store_writes_per_s=0))
    assert fleet.origin_ratio == 3.0
    assert fleet.starved == 0
    at_once_s = 3 * alone.ready_s[-1]
    assert PATIENCE_S < fleet.ready_s[-1] <= PATIENCE_S + PACE.cap_s + at_once_s + 5
