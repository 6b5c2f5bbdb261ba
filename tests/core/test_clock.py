"""The clock and its closed form: optimality against every other grid, and faithful reading."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from art_nodes.core import grid_cost, optimal_cost, optimal_schedule
from art_nodes.core.clock import optimal_clock, read_clock, time_of_sigma
from art_nodes.core.grids import geometric_grid, power_grid, uniform_grid
from tests.core import targets

parts = st.lists(st.floats(0.01, 10.0), min_size=3, max_size=60)


def grid_from(weights, sigma_max: float) -> np.ndarray:
    """A strictly descending grid with steps in the given proportions."""
    steps = np.array(weights) / np.sum(weights)
    grid = sigma_max * (1 - np.append(0.0, np.cumsum(steps)))
    grid[-1] = 0.0
    return grid


@pytest.mark.parametrize("target", targets.TARGETS)
@settings(max_examples=60, deadline=None)
@given(weights=parts)
def test_no_grid_beats_the_closed_form(target, weights):
    """Jensen: for any K, J of any grid is at least J*."""
    bank = targets.bank(target)
    assert grid_cost(bank, grid_from(weights, bank.sigma_max)) >= 1 - 1e-9


@pytest.mark.parametrize("target", targets.TARGETS)
def test_closed_form_approaches_the_optimum(target):
    bank = targets.bank(target)
    costs = [grid_cost(bank, optimal_clock(bank, steps)) for steps in (4, 8, 16, 32, 64)]
    assert sorted(costs, reverse=True) == costs
    assert costs[-1] < 1.002


@pytest.mark.parametrize("target", targets.TARGETS)
def test_closed_form_cannot_be_nudged_lower(target):
    """Stationarity: moving the nodes of the 64-step grid either way raises J."""
    bank = targets.bank(target)
    best = optimal_clock(bank, 64)
    at_best = grid_cost(bank, best)
    bump = np.sin(np.pi * np.arange(65) / 64) * np.minimum(best[:-1] - best[1:], 1).min()
    bump[-1] = 0.0  # a grid ends at exactly 0
    for size in (8.0, -8.0):
        assert grid_cost(bank, np.sort(best + size * bump)[::-1]) > at_best - 1e-4


def test_cost_of_a_grid_by_hand():
    """On a constant |Q| the uniform grid is the best, and J of any grid is K sum h^2 / T^2."""
    from art_nodes.core import OrbitBank

    bank = OrbitBank(np.linspace(2.0, 0.1, 20), np.full((3, 20), 0.7))
    assert optimal_cost(bank) == pytest.approx(0.7 * 2.0)
    grid = np.array([2.0, 1.5, 0.5, 0.0])
    assert grid_cost(bank, grid) == pytest.approx(3 * (0.5**2 + 1.0**2 + 0.5**2) / 2.0**2)
    assert grid_cost(bank, uniform_grid(3, 2.0)) == pytest.approx(1.0)


@pytest.mark.parametrize("target", targets.TARGETS)
@pytest.mark.parametrize("steps", [5, 10, 20])
def test_classic_grids_cost_more(target, steps):
    bank = targets.bank(target)
    ours = grid_cost(bank, optimal_schedule(bank).sigmas(steps))
    rivals = [uniform_grid(steps, bank.sigma_max), power_grid(steps, bank.sigma_max, bank.sigma_min),
              geometric_grid(steps, bank.sigma_max, bank.sigma_min)]
    assert ours < min(grid_cost(bank, rival) for rival in rivals)


def test_cost_refuses_what_is_no_grid():
    bank = targets.bank("normal")
    for grid in ([1.0], [3.0, np.nan, 0.0], [3.0, 1.0], [3.0, 1.0, 2.0, 0.0], [3.0, 0.0, 0.0], [0.0, 0.0]):
        with pytest.raises(ValueError, match="two or more finite sigmas that fall to exactly 0"):
            grid_cost(bank, grid)


def test_a_grid_of_another_range_has_no_cost():
    """What leaves out a part of the range would seem better than the optimum."""
    bank = targets.bank("normal")
    for top in (1.5, 6.0, 3.01):
        with pytest.raises(ValueError, match=f"start at the bank's sigma_max, 3; got {top:g}; take .sigmas.steps"):
            grid_cost(bank, [top, 0.5, 0.0])


def test_a_grid_may_repeat_a_sigma_and_be_a_tensor_of_any_kind():
    """As some of the host's schedulers make them, in half precision, or with a gradient."""
    bank, grid = targets.bank("normal"), [3.002, 1.0, 1.0, 0.25, 0.0]
    cost = grid_cost(bank, grid)
    assert 1 < cost < 10
    assert grid_cost(bank, torch.tensor(grid, requires_grad=True)) == pytest.approx(cost, rel=1e-4)
    assert grid_cost(bank, torch.tensor([3.0, *grid[1:]]).bfloat16()) == pytest.approx(cost, rel=1e-2)


@settings(max_examples=100, deadline=None)
@given(weights=parts, times=st.lists(st.floats(0, 1), min_size=2, max_size=30))
def test_reading_is_monotone_and_exact_at_the_nodes(weights, times):
    clock = grid_from(weights, 14.6)
    nodes = np.arange(len(clock)) / (len(clock) - 1)
    assert np.allclose(read_clock(clock, nodes), clock, atol=1e-12)
    read = read_clock(clock, np.sort(times))
    assert (np.diff(read) <= 1e-12).all() and read.min() >= 0 and read.max() <= 14.6


@settings(max_examples=100, deadline=None)
@given(weights=parts, share=st.floats(0.001, 0.999))
def test_time_of_sigma_inverts_reading(weights, share):
    clock = grid_from(weights, 14.6)
    sigma = share * 14.6
    assert read_clock(clock, np.array([time_of_sigma(clock, sigma)]))[0] == pytest.approx(sigma, rel=1e-6)


def test_reading_other_step_counts_is_as_good_as_computing_them():
    for target in targets.TARGETS:
        bank = targets.bank(target)
        schedule = optimal_schedule(bank)
        for steps in (5, 12, 20, 100):
            direct = optimal_clock(bank, steps)[:-1]
            assert np.abs(np.log(schedule.sigmas(steps)[:-1].numpy() / direct)).max() < 0.01
