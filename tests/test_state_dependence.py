"""The benchmark on state dependence: its bound, its samples and its table."""

import dataclasses

import numpy as np
import pytest
import torch

from art_nodes.core import OrbitBank, TrainConfig, grid_cost
from art_nodes.core.compare import euler
from art_nodes.core.exact import gaussian
from art_nodes.core.learn import prepare, run
from benchmarks import state_dependence
from benchmarks.targets import EXACT
from tests.core import targets


def test_own_clocks_cost_no_more_than_a_shared_one_and_the_same_where_orbits_are_alike():
    assert 0.5 < state_dependence.own_cost(targets.bank("two modes")) < 0.95
    # on N(0, 1) |Q| differs between orbits by a factor only, which asks for the same clock
    assert state_dependence.own_cost(targets.bank("normal")) == pytest.approx(1, abs=1e-4)
    bank = targets.bank("image")
    for row, clock in zip(bank.stiffness, state_dependence.own_clocks(bank), strict=True):
        assert grid_cost(OrbitBank(bank.sigmas, row[None]), clock) < 1.001


def test_a_policy_that_sees_x_beats_every_shared_clock_and_distilling_it_gives_that_up():
    bank = targets.bank("two modes")
    learner = prepare(bank, TrainConfig(state_dependent=True))
    distilled = list(run(learner))[-1].schedule
    clocks, orbits, cost = state_dependence.follow(learner, 128)
    assert clocks.shape == (128, 65) and sorted(set(orbits)) == list(range(64))
    assert state_dependence.own_cost(bank) - 0.005 < cost < 0.95
    assert distilled.cost(bank) > 1


def test_each_sample_on_a_grid_of_its_own():
    x = torch.tensor([[3.0], [-5.0]])
    grids = np.array([[3.0, 1.0, 0.2, 0.0], [3.0, 2.0, 0.5, 0.0]])
    found = state_dependence.euler_each(gaussian(), x, grids)
    for row, grid in enumerate(grids):
        assert torch.allclose(found[row:row + 1], euler(gaussian(), x[row:row + 1], torch.from_numpy(grid)), atol=1e-6)


def test_table_gives_medians_over_seeds_in_units_of_the_shared_clock():
    target = dataclasses.replace(EXACT[0], shape=(8, 1))
    rows = [state_dependence.measure(target, seed, reference_steps=50) for seed in range(1)]
    one = rows[0].errors["one clock for all"]
    better = {**rows[0].errors, "each orbit's own": {k: (0.5 * a, 0.25 * b) for k, (a, b) in one.items()}}
    lines = state_dependence.table({"it": [dataclasses.replace(rows[0], bound=0.8, errors=better)]})
    assert lines[2].startswith("| it | 0.800 | 1.00")
    assert lines[-1].startswith("| it | 20 | 0.50 (0.25) | ")
    assert 1 <= rows[0].shared < 1.05
