"""Trials of grids on the model: budgets, how many orbits, moves that fail, runs that break."""

import numpy as np
import pytest
import torch

from art_nodes.core import SolverRuns, record_orbits, try_grids
from art_nodes.core.compare import euler
from art_nodes.core.refine import lengths_of
from art_nodes.core.trial import _damped_step, better, sizes_of
from tests.core import targets
from tests.core.runs import Constant, Linear, Scattered, Trap, geometric, moved

HIGH, LOW = targets.SDXL_RANGE


class Cusp(Linear):
    """Runs whose error grows with every move away from a grid, whichever way, so that no move helps."""

    def errors(self, grid, batch):
        self.made += self.sizes[batch] * (len(grid) - 1)
        return self.slopes[batch] @ np.abs(lengths_of(grid, grid[0]) - self.place) + self.rest[batch]


def test_a_budget_is_kept_where_moves_fail():
    """Each round may try several dampings of its move, of which the last ones may be too much."""
    start, spent = geometric(), set()
    for budget in range(150, 700, 4):
        found = try_grids(runs := Cusp(start), {"start": start}, budget)
        assert found.sample_calls == runs.made <= budget and found.ratio == 1
        spent.add(runs.made)
    assert len(spent) > 4  # control: some budgets ended between two attempts


class Bent(Linear):
    """Runs whose error grows as a root of the distance from the best grid: what slopes foretell goes too far."""

    def errors(self, grid, batch):
        away = lengths_of(grid, grid[0]) - self.place
        return self.slopes[batch] @ (np.sign(away) * np.abs(away) ** 0.4) + self.rest[batch]


def test_a_move_that_goes_too_far_is_tried_again_shorter():
    best = geometric()
    assert try_grids(Bent(best), {"start": moved(best, 0.15 * np.array([1, -1, 1, -1, 1]))}, 4000).ratio < 0.9


def test_no_move_is_longer_than_half_an_e_fold_of_a_step():
    """Slopes hold nearby; which way it goes stays."""
    for pull, expected in (([-3.0, 1.0], [0.5, -1 / 6]), ([0.2, 0.1], [-0.2, -0.1])):
        np.testing.assert_allclose(_damped_step(np.eye(2), np.array(pull), 0.0), expected, rtol=1e-6)


def test_one_orbit_of_another_picture_does_not_rule_the_improvement():
    """Its error is five times the others', and least elsewhere; means of RMS errors are what is to fall."""
    best = geometric()
    runs, other = Linear(best, (2,) * 12), moved(best, 0.4 * np.array([-1, 1, 1, 1, -1]))
    runs.rest[0][0] += 5 * runs.slopes[0][0] @ (lengths_of(best, best[0]) - lengths_of(other, other[0]))
    runs.slopes[0][0] *= 5
    found = try_grids(runs, {"start": moved(best, 0.5 * np.array([1, -1, 1, -1, 1]))}, 8000)
    away = lengths_of(found.grid, found.grid[0]) - lengths_of(best, best[0])
    assert np.abs(away).max() < 0.15


def test_an_orbit_that_every_grid_ends_right_does_not_stop_the_improvement():
    """As where a batch holds an empty picture."""
    best = geometric()
    runs = Linear(best)
    runs.slopes[0][0], runs.rest[0][0] = 0.0, 0.0
    assert try_grids(runs, {"start": moved(best, 0.5 * np.array([1, -1, 1, -1, 1]))}, 4000).ratio < 0.9


def watched(runs):
    """The runs, and grid -> the batches that it ran on."""
    ran, errors = {}, runs.errors

    def watch(grid, batch):
        ran.setdefault(grid.tobytes(), set()).add(batch)
        return errors(grid, batch)

    runs.errors = watch
    return runs, ran


def test_candidates_are_judged_on_sixteen_orbits_and_as_many_are_fitted_to():
    """More would cost what further rounds need; of fewer, luck decides."""
    best = geometric()
    grids = {"far": moved(best, 0.8), "near": moved(best, 0.5)}
    runs, ran = watched(Linear(best, (2,) * 40))
    try_grids(runs, grids, 50_000, improve=False)
    assert {2 * len(batches) for batches in ran.values()} == {16}
    runs, ran = watched(Linear(best, (2,) * 40))
    assert try_grids(runs, {"near": grids["near"]}, 50_000).ratio < 0.9
    tried = [2 * len(batches) for grid, batches in ran.items() if grid != grids["near"].tobytes()]
    assert sorted(tried)[:-1] == [16] * (len(tried) - 1) and max(tried) == 16 + 2 * (40 // 3)


def test_of_many_orbits_not_all_of_a_third_are_kept_where_that_takes_the_budget():
    best = geometric()
    found = try_grids(Linear(best, (4,) * 60), {"start": moved(best, 0.5 * np.array([1, -1, 1, -1, 1]))}, 1000)
    assert found.ratio < 0.9 and found.sample_calls <= 1000


def test_where_an_average_counts_eight_orbits_are_the_least():
    best = geometric()
    grids = {"far": moved(best, 0.8), "near": moved(best, 0.3)}
    few, enough = (try_grids(Scattered(best, 6.0, orbits=orbits), grids, 4000) for orbits in (6, 8))
    assert (few.name, few.sample_calls) == ("far", 0) and enough.name == "near"


def test_many_trusted_candidates_leave_calls_for_others():
    best = geometric()
    grids = {str(i): moved(best, 0.8 + 0.01 * i) for i in range(40)} | {"other": best}
    assert try_grids(Linear(best), grids, 965, improve=False, trusted=40).name == "other"


class Breaking(Constant):
    """Runs that are not finite on some grids."""

    def __init__(self, *broken):
        self.broken = [grid.tobytes() for grid in broken]

    def errors(self, grid, batch):
        return np.full((2, 5), np.inf if grid.tobytes() in self.broken else 1.0 + 0.1 * batch)


def test_a_candidate_whose_runs_are_finite_beats_one_whose_are_not():
    grids = {"first": geometric(), "other": geometric(low=0.03)}
    assert try_grids(Breaking(grids["first"]), grids, 5000).name == "other"
    assert try_grids(Breaking(grids["other"]), grids, 5000).name == "first"  # control
    assert better(np.ones(4), np.array([1.0, np.inf, 1, 1]))
    assert not better(np.array([0.1, np.inf, 0.1, 0.1]), np.ones(4))


def test_grids_that_run_are_finite_where_slopes_are_not():
    """A move along broken slopes would be no grid."""
    best, ran = geometric(), []
    start = moved(best, 0.5)

    class Broken(Linear):
        def errors(self, grid, batch):
            ran.append(grid)
            return super().errors(grid, batch) * (1.0 if np.array_equal(grid, start) else np.inf)

    assert try_grids(Broken(best), {"start": start}, 4000).ratio == 1 and len(ran) > 4
    assert np.isfinite(ran).all()


def test_what_only_chooses_spends_all_of_its_budget_on_that():
    best = geometric()
    grids = {str(i): moved(best, 0.8 + 0.01 * i) for i in range(13)} | {"last": best}
    runs = Linear(best)
    assert try_grids(runs, grids, 600, improve=False).name == "last"
    assert try_grids(runs, grids, 600).name != "last"  # control: half of it is for the improvement


def test_solvers_that_write_into_what_they_are_given_repeat():
    noise = targets.noise((4, 1, 8, 8), HIGH)
    bank = record_orbits(targets.image_gaussian(8), noise, HIGH, LOW)

    def careless(denoiser, x, sigmas):
        end = euler(denoiser, x, sigmas)
        x.zero_()
        return end

    runs, expected = (SolverRuns(targets.image_gaussian(8), noise, bank, solver) for solver in (careless, "euler"))
    for _ in range(2):
        np.testing.assert_array_equal(runs.errors(geometric(4), 0), expected.errors(geometric(4), 0))


def test_a_third_trusted_candidate_is_improved_where_the_first_two_cannot_be():
    best = geometric()
    traps = {"trap": moved(best, -1.5), "another": moved(best, -3.0)}
    near = moved(best, 0.5 * np.array([2, -2, 2, -2, 2]))
    found = try_grids(Trap(best, *traps.values()), {**traps, "near": near}, 4000, trusted=3)
    assert found.name == "near" and found.ratio < 0.9


def test_where_the_best_of_the_trusted_cannot_be_told_no_other_is_chosen():
    """Although another one's error is clear; control: a finer recording."""
    best = geometric()
    grids = {"start": moved(best, 0.5), "far": moved(best, 0.9), "better": best}
    for share, name in ((1 / 1.5, "start"), (0.05, "better")):
        runs = Linear(best)
        runs.floor = share * sizes_of(runs.errors(grids["start"], 0)).mean()
        assert sizes_of(runs.errors(grids["far"], 0)).mean() > 2 * runs.floor
        assert try_grids(runs, grids, 4000).name == name


def test_the_first_is_trusted_whatever_is_said():
    best = geometric()
    for trusted in (0, 1):
        found = try_grids(Linear(best), {"first": best, "other": moved(best, 0.5)}, 1000, False, trusted)
        assert found.name == "first"


def test_no_gradients_are_kept_of_a_network_whose_weights_have_them():
    weight, model = torch.ones((), requires_grad=True), targets.image_gaussian(8)
    noise = targets.noise((4, 1, 8, 8), HIGH)

    def network(x, sigma):
        return weight * model(x, sigma)

    runs = SolverRuns(network, noise, record_orbits(network, noise, HIGH, LOW))
    assert np.isfinite(runs.errors(geometric(4), 0)).all()


@pytest.mark.parametrize(("orbits", "one", "four"), [(2, 0.066, 0.17), (8, 0.05, 0.10)])
def test_how_often_chance_gets_an_attempt_accepted(orbits, one, four):
    """Of grids that are as good as the one that they are to replace: one attempt, and any of four together."""
    generator = np.random.default_rng(0)
    old, new = generator.normal(1.0, 0.3, (4000, orbits)), generator.normal(1.0, 0.3, (4000, 4, orbits))
    accepted = np.array([[better(attempt, kept, k + 1) for k, attempt in enumerate(attempts)]
                         for kept, attempts in zip(old, new, strict=True)])
    assert accepted[:, 0].mean() == pytest.approx(one, abs=0.01)
    assert accepted.any(axis=1).mean() == pytest.approx(four, abs=0.015)
