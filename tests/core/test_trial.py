"""Grids tried on the model: closed-form truth, the oracle's sampler, budgets, chance, and controls."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from art_nodes.core import OrbitBank, SolverRuns, Tried, optimal_schedule, record_orbits, try_grids
from art_nodes.core.compare import euler, heun
from art_nodes.core.exact import gaussian
from art_nodes.core.objectives import SamplerError
from art_nodes.core.refine import best_grid, lengths_of
from art_nodes.core.trial import _damped_step, better, sizes_of
from tests.core import targets
from tests.core.runs import STEPS, Constant, Linear, Scattered, Trap, geometric, moved

HIGH, LOW = targets.SDXL_RANGE


def test_gauss_newton_finds_the_minimum_of_a_linear_sampler():
    """From a grid half an e-fold of every step's logarithm away, to 2 % of that."""
    best = geometric()
    start = moved(best, 0.5 * np.array([1, -1, 1, -1, 1]))
    found = try_grids(Linear(best), {"start": start}, 4000)
    assert found.name == "start" and found.ratio < 0.9
    np.testing.assert_allclose(np.log(found.grid[1:-1]), np.log(best[1:-1]), atol=0.01)


def test_a_trial_may_only_choose():
    best = geometric()
    grids = {"far": moved(best, 0.8), "near": moved(best, 0.3)}
    found = try_grids(Linear(best), grids, 4000, improve=False)
    assert (found.name, found.ratio) == ("near", 1.0) and (found.grid == grids["near"]).all()
    assert try_grids(Linear(best), grids, 4000).ratio < 0.9  # control


def test_where_an_average_counts_the_best_candidate_needs_no_trust():
    """The least error of all orbits together stays, by however little; control: also where it is the first one's."""
    best = geometric()
    for first, near in ((0.5, 0.49), (0.49, 0.5)):
        grids = {"first": moved(best, first), "near": moved(best, near), "far": moved(best, -1)}
        assert try_grids(Scattered(best, 6.0), grids, 2000).name == ("near" if near < first else "first")


def test_where_an_average_counts_grids_are_only_chosen_on_64_orbits():
    best, ran = geometric(), set()
    far, near = moved(best, 0.8), moved(best, 0.5)

    class Watched(Scattered):
        def errors(self, grid, batch):
            if np.array_equal(grid, far):
                ran.add(batch)
            return super().errors(grid, batch)

    found = try_grids(Watched(best, 3.0, orbits=80), {"far": far, "near": near}, 50_000)
    assert found.name == "near" and 2 * len(ran) == 64
    assert found.ratio == 1.0 and (found.grid == near).all()


def test_what_the_recording_cannot_tell_is_left_as_it_is():
    """Errors near those of the recorded ends themselves: neither chosen nor improved, and little is spent."""
    runs, start = Linear(geometric()), moved(geometric(), 0.5)
    runs.floor = sizes_of(runs.errors(start, 0)).mean() / 1.5
    found = try_grids(runs, {"start": start, "better": geometric()}, 4000)
    assert found.name == "start" and found.ratio == 1.0 and found.sample_calls < 200
    runs.floor /= 10  # control: a finer recording
    found = try_grids(runs, {"start": start, "better": geometric()}, 4000)
    assert found.name == "better"


def test_no_start_is_improved_to_what_the_recording_cannot_tell():
    """The best of the trusted is as near as can be told, so the next is no start; control: a finer recording."""
    best = geometric()
    runs, grids = Linear(best, (2,) * 8), {"near": moved(best, 0.5), "far": moved(best, 0.9)}
    sizes = [sizes_of(runs.errors(grid, 0)).mean() for grid in grids.values()]
    runs.floor = np.mean(sizes) / 2
    assert sizes[0] < 2 * runs.floor < sizes[1]
    found = try_grids(runs, grids, 4000, trusted=2)
    assert (found.name, found.ratio) == ("near", 1.0)
    runs.floor = 0.0
    assert try_grids(runs, grids, 4000, trusted=2).ratio < 0.95


def test_the_better_candidate_is_chosen():
    best = geometric()
    grids = {"far": moved(best, 0.8), "nearer": moved(best, 0.4), "near": moved(best, 0.05), "farther": moved(best, -1)}
    assert try_grids(Linear(best), grids, 700).name == "near"


@given(budget=st.integers(0, 6000), batches=st.lists(st.integers(1, 5), min_size=1, max_size=8), pools=st.booleans())
@settings(max_examples=80, deadline=None)
def test_a_budget_is_kept_and_what_is_told_was_spent(budget, batches, pools):
    runs, best = Linear(geometric(), batches), geometric()
    runs.pool = (lambda errors: errors.mean(axis=0)) if pools else None
    found = try_grids(runs, {"a": moved(best, 0.5), "b": moved(best, 0.2), "c": moved(best, -0.4)}, budget)
    assert found.sample_calls == runs.made <= budget
    assert found.grid[0] == HIGH and found.grid[-1] == 0 and (np.diff(found.grid) < 0).all()


def test_without_a_budget_the_first_candidate_stays():
    runs, first = Linear(geometric()), moved(geometric(), 0.5)
    found = try_grids(runs, {"first": first, "better": geometric()}, 40)
    assert found == Tried(pytest.approx(first), "first", 1.0, 0) and runs.made == 0


def test_a_single_step_has_nothing_to_improve():
    found = try_grids(Constant(), {"one": np.array([HIGH, 0.0])}, 1000)
    assert found.grid.tolist() == [HIGH, 0.0] and found.sample_calls == 0


def test_control_where_no_grid_helps_the_first_one_stays():
    found = try_grids(Constant(), {"first": geometric(), "other": geometric(low=0.03)}, 5000)
    assert found.name == "first" and found.ratio == 1.0
    np.testing.assert_array_equal(found.grid, geometric())


class Luck:
    """Runs whose errors know nothing of the grid: every candidate is as good as any other."""

    sizes, floor = (1,) * 8, 0.0

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def calls(self, steps):
        return steps

    def errors(self, grid, batch):
        return self.rng.lognormal(sigma=0.4) * self.rng.normal(size=(1, 200))


@pytest.mark.parametrize("budget", [512, 2048])
def test_the_luckiest_of_many_candidates_seldom_wins(budget):
    """At most one trial in ten leaves the first of thirteen candidates that are all alike."""
    grids = {str(i): geometric(low=0.1 * 0.9**i) for i in range(13)}
    left = [try_grids(Luck(seed), grids, budget).name != "0" for seed in range(150)]
    assert np.mean(left) <= 0.1


def test_the_best_of_trusted_candidates_needs_no_proof():
    """Of thirteen that are all alike any may stay, where luck seldom moves a trial from one; the order counts not."""
    grids = {str(i): geometric(low=0.1 * 0.9**i) for i in range(13)}
    found = [try_grids(Luck(seed), grids, 4000, trusted=13).name for seed in range(40)]
    assert len(set(found)) > 5 and np.mean([name == "0" for name in found]) < 0.4
    best = geometric()
    for order in (("far", "near"), ("near", "far")):
        places = {"far": moved(best, 0.5), "near": moved(best, 0.3)}
        named = {name: places[name] for name in order} | {"not trusted": moved(best, -0.6)}
        assert try_grids(Linear(best), named, 1000, improve=False, trusted=2).name == "near"


def test_another_candidate_must_beat_the_best_of_the_trusted():
    best = geometric()
    grids = {"far": moved(best, 0.8), "near": moved(best, 0.1), "other": moved(best, 0.4)}
    assert try_grids(Linear(best), grids, 1500, improve=False, trusted=2).name == "near"
    assert try_grids(Linear(best), grids | {"other": best}, 1500, improve=False, trusted=2).name == "other"


@pytest.mark.parametrize("trusted", [1, 2])
def test_where_the_best_cannot_be_improved_the_next_is(trusted):
    """The next of the trusted, or the best of the others."""
    best = geometric()
    grids = {"trap": moved(best, -1.5), "near": moved(best, 0.5 * np.array([2, -2, 2, -2, 2]))}
    runs = Trap(best, grids["trap"])
    assert sizes_of(runs.errors(grids["near"], 0)).mean() > 2  # so the trap is the best of the two
    found = try_grids(runs, grids, 4000, trusted=trusted)
    assert found.name == "near" and found.ratio < 0.9
    np.testing.assert_allclose(np.log(found.grid[1:-1]), np.log(best[1:-1]), atol=0.05)
    control = try_grids(Trap(best, *grids.values()), grids, 4000, trusted=trusted)  # neither moves
    assert control.ratio == 1.0 and (control.grid == grids[control.name]).all()


class Valleys:
    """Runs with a least error near each of two grids, the first so many times larger there than the second."""

    def __init__(self, first, second, times):
        self.parts, self.made, self.floor = [Linear(best, (2,) * 8) for best in (first, second)], 0, 0.0
        self.parts[0].rest = [times * rest for rest in self.parts[0].rest]
        self.sizes, self.calls = self.parts[0].sizes, self.parts[0].calls

    def errors(self, grid, batch):
        self.made += self.sizes[batch] * (len(grid) - 1)
        place = lengths_of(grid, grid[0])
        return min(self.parts, key=lambda part: np.abs(part.place - place).max()).errors(grid, batch)


def test_what_another_becomes_may_beat_what_the_best_became():
    """It is worse at first, and its valley deeper; controls: its valley is shallower, and no calls are left for it."""
    first, second = geometric(), moved(geometric(), 1.2 * np.array([1, -1, 1, -1, 1]))
    grids = {"own": moved(first, 0.2), "other": moved(second, 0.6 * np.array([1, 1, -1, -1, 1]))}
    deep, shallow = Valleys(first, second, 1.5), Valleys(first, second, 0.5)
    start, least = (sizes_of(np.concatenate([deep.errors(grid, batch) for batch in range(8)])).mean()
                    for grid in (grids["own"], second))
    assert sizes_of(deep.errors(grids["other"], 0)).mean() > start
    for runs, budget, name, place in ((deep, 4000, "other", second), (shallow, 4000, "own", first),
                                      (deep, 600, "own", first)):
        runs.made = 0
        found = try_grids(runs, grids, budget)
        assert found.name == name and found.sample_calls == runs.made <= budget
        np.testing.assert_allclose(np.log(found.grid[1:-1]), np.log(place[1:-1]), atol=0.1)
        if name == "other":  # told against the best candidate, not against what that became
            assert found.ratio == pytest.approx(least / start, rel=0.1)


def test_runs_that_are_not_finite_lose_and_never_raise():
    found = try_grids(Constant(np.nan), {"first": geometric(), "other": geometric(low=0.03)}, 5000)
    assert found.name == "first" and found.ratio == 1.0
    assert np.isinf(sizes_of(np.full((2, 3), np.nan))).all()


def test_candidates_must_have_the_same_number_of_steps():
    for candidates in ({}, {"a": geometric(5), "b": geometric(6)}):
        with pytest.raises(ValueError, match="candidates must be grids of one number of steps"):
            try_grids(Linear(geometric()), candidates)


@pytest.mark.parametrize("other, message", [
    (geometric(5)[:-1].tolist() + [0.01], "candidate 'b' must be two or more finite sigmas that fall to exactly 0"),
    ((0.5 * geometric(5)).tolist(), "candidates must start at the same sigma"),
])
def test_candidates_must_be_whole_and_of_one_range(other, message):
    with pytest.raises(ValueError, match=message):
        try_grids(Linear(geometric()), {"a": geometric(5), "b": np.array(other)})


def test_directions_that_change_nothing_are_no_step():
    """In float32 too, where a number that should keep the matrix regular rounds to 0."""
    for kind in (np.float32, np.float64):
        move = _damped_step(np.zeros((2, 2), kind), np.zeros(2, kind), 0.03)
        np.testing.assert_array_equal(move, 0)


@pytest.mark.parametrize("count", [2, 4, 12])
def test_luck_is_seldom_taken_for_an_improvement(count):
    """Among errors that differ by chance alone one in twenty passes, up to one in ten where there are only two."""
    rng = np.random.default_rng(3)
    passed = np.mean([better(*(1 + 0.1 * rng.normal(size=(2, count)))) for _ in range(4000)])
    assert 0.03 < passed < 0.1
    assert np.mean([better(0.7 + 0.1 * rng.normal(size=count), np.ones(count)) for _ in range(500)]) > 0.5


class Oracle(SolverRuns):
    """k-diffusion's dpmpp_2m on an exact Gaussian, from the noise of recorded orbits."""

    def __init__(self, sampling, ends=None):
        model, noise = targets.image_gaussian(64), targets.noise((8, 1, 64, 64), HIGH, seed=5)
        self.bank = record_orbits(model, noise, HIGH, LOW)
        if ends is not None:
            self.bank = dataclasses.replace(self.bank, ends=ends(self.bank.ends))
        super().__init__(model, noise, self.bank, lambda *given: sampling.sample_dpmpp_2m(
            *given[:2], given[2].float(), disable=True), batch=2)

    def end(self, grid, noise):
        return self.solver(self.denoiser, noise, torch.from_numpy(grid))

    def unseen_error(self, grid):
        noise = targets.noise((8, 1, 64, 64), HIGH, seed=77)
        truth = self.end(np.append(np.geomspace(HIGH, 0.01, 300), 0.0), noise)
        return float((self.end(grid, noise) - truth).square().mean().sqrt())


def test_recorded_ends_are_those_of_a_fine_solution(k_diffusion_sampling):
    oracle = Oracle(k_diffusion_sampling)
    noise = torch.cat(oracle.noise)
    finer = record_orbits(oracle.denoiser, noise, HIGH, LOW, nodes=512)
    off = np.sqrt(np.square(finer.ends - oracle.bank.ends).mean())
    assert off < 3e-4 and off / 2 < oracle.floor < off * 2
    fine = oracle.end(np.append(np.geomspace(HIGH, LOW, 2000), 0.0), noise).flatten(1).numpy()
    assert np.sqrt(np.square(fine - finer.ends).mean()) < 1e-4
    merged = OrbitBank.merge([oracle.bank, oracle.bank])
    np.testing.assert_array_equal(merged.ends, np.concatenate([oracle.bank.ends] * 2))


@pytest.mark.parametrize("budget, gain", [(512, 2.0), (2048, 3.0)])
def test_a_trial_beats_the_recording_where_that_misjudges(k_diffusion_sampling, budget, gain):
    """With DPM++ 2M on a Gaussian, whose errors cancel: less than 1/gain of the objective's own error."""
    oracle = Oracle(k_diffusion_sampling)
    own = best_grid(SamplerError(oracle.bank, "end:dpmpp_2m"), STEPS)
    clock = optimal_schedule(oracle.bank).sigmas(STEPS).double().numpy()
    found = try_grids(oracle, {"own": own, "clock": clock, "geometric": geometric(low=LOW)}, budget)
    assert oracle.unseen_error(found.grid) < oracle.unseen_error(own) / gain


def test_control_with_the_ends_of_other_orbits_nothing_is_gained(k_diffusion_sampling):
    """Judged by the wrong pictures no grid is better than another: none is chosen or improved."""
    oracle = Oracle(k_diffusion_sampling, lambda ends: np.roll(ends, 1, axis=0))
    own = best_grid(SamplerError(oracle.bank, "end:dpmpp_2m"), STEPS)
    found = try_grids(oracle, {"own": own, "geometric": geometric(low=LOW)}, 2048)
    assert oracle.unseen_error(found.grid) > 0.8 * oracle.unseen_error(own)


@pytest.mark.parametrize("solver, calls", [("euler", 5), ("heun", 9)])
def test_solvers_run_on_the_noise_they_were_recorded_from(solver, calls):
    """A fine grid ends where the orbits do; calls are counted; the last batch may be smaller."""
    noise = targets.noise((5, 1, 8, 8), HIGH)
    bank = record_orbits(targets.image_gaussian(8), noise, HIGH, LOW)
    runs = SolverRuns(targets.image_gaussian(8), noise, bank, solver, batch=2)
    assert runs.sizes == [2, 2, 1] and runs.calls(5) == calls
    fine = np.append(np.geomspace(HIGH, LOW, 2000), 0.0)
    assert max(np.abs(runs.errors(fine, batch)).max() for batch in range(3)) < 0.02
    coarse = geometric(4)
    assert min(np.abs(runs.errors(coarse, batch)).max() for batch in range(3)) > 0.05


@pytest.mark.parametrize("orbits, sizes", [(1, [1]), (4, [1] * 4), (8, [2] * 4), (13, [4, 4, 4, 1])])
def test_of_few_orbits_some_are_left_to_judge_by(orbits, sizes):
    noise = targets.noise((orbits, 1, 8, 8), HIGH)
    runs = SolverRuns(targets.image_gaussian(8), noise, record_orbits(targets.image_gaussian(8), noise, HIGH, LOW))
    assert runs.sizes == sizes
    if orbits == 4:
        found = try_grids(runs, {"poor": geometric(low=2.0)}, 4000)
        assert found.sample_calls > 0 and found.ratio < 1


def test_of_large_samples_as_much_is_kept_as_banks_keep():
    noise = targets.noise((2, 3, 128, 128), HIGH)
    bank = record_orbits(gaussian(), noise, HIGH, LOW, nodes=8)
    runs = SolverRuns(gaussian(), noise, bank)
    errors = runs.errors(geometric(), 0)
    assert errors.shape == (1, 16384) and errors.dtype == np.float32
    whole = heun(gaussian(), noise[:1], torch.from_numpy(geometric()))  # another solver: not these errors
    assert not np.allclose(errors.std(), (whole.flatten(1).numpy() - bank.ends[:1]).std(), rtol=0.01)
    end = euler(gaussian(), noise[:1], torch.from_numpy(geometric()))
    assert np.isclose(errors.std(), (end.flatten(1).numpy() - bank.ends[:1]).std(), rtol=0.01)


def test_solvers_need_the_ends_of_these_orbits(tmp_path):
    noise = targets.noise((4, 1, 8, 8), HIGH)
    bank = record_orbits(targets.image_gaussian(8), noise, HIGH, LOW)
    bank.save(tmp_path / "bank.safetensors")
    with pytest.raises(ValueError, match="solver must be one of"):
        SolverRuns(targets.image_gaussian(8), noise, bank, "dpmpp_2m")
    with pytest.raises(ValueError, match="grids must start at the sigma of the recorded noise"):
        SolverRuns(targets.image_gaussian(8), noise, bank).errors(0.5 * geometric(4), 0)
    for other, start in ((OrbitBank.load(tmp_path / "bank.safetensors"), noise), (bank, noise[:3])):
        with pytest.raises(ValueError, match="a trial needs the bank that was just recorded from this noise"):
            SolverRuns(targets.image_gaussian(8), start, other)
    assert SolverRuns(targets.image_gaussian(8), noise.clone().requires_grad_(), bank, batch=4).sizes == [4]
    for start in (noise / HIGH, noise.flip(0)):  # not scaled, or of other orbits
        with pytest.raises(ValueError, match="a trial needs the noise that the bank was recorded from, scaled"):
            SolverRuns(targets.image_gaussian(8), start, bank)
    with pytest.raises(ValueError, match="batch must be a whole number of at least 1; got 0"):
        SolverRuns(targets.image_gaussian(8), noise, bank, batch=0)


def test_solvers_see_samples_of_their_shape():
    noise = targets.noise((4, 1, 8, 8), HIGH)
    bank = record_orbits(gaussian(), noise, HIGH, LOW, nodes=16)

    def of_pictures(denoiser, x, sigmas):
        _batch, _channels, _height, _width = x.shape
        return euler(denoiser, x, sigmas)

    assert SolverRuns(gaussian(), noise, bank, of_pictures).calls(5) == 5
    with pytest.raises(ValueError, match="noise must be a torch tensor"):
        SolverRuns(gaussian(), noise.numpy(), bank)


def test_no_grid_is_said_to_be_better_than_the_recording_can_tell():
    """The ratio of errors stops at the recorded ends' own."""
    best = geometric()
    runs = Linear(best)
    runs.rest = [np.zeros_like(part) for part in runs.rest]  # so that descent gets to 0
    start = moved(best, 0.5 * np.array([1, -1, 1, -1, 1]))
    assert try_grids(runs, {"start": start}, 4000).ratio < 0.01
    runs.floor = 0.1 * float(np.mean([sizes_of(runs.errors(start, batch)).mean() for batch in range(4)]))
    assert 0.05 < try_grids(runs, {"start": start}, 4000).ratio < 0.2


def test_runs_of_a_denoiser_that_uses_its_input_repeat():
    def careless(x, sigma):
        found = targets.image_gaussian(8)(x, sigma)
        x.zero_()
        return found

    noise = targets.noise((4, 1, 8, 8), HIGH)
    bank = record_orbits(careless, noise, HIGH, LOW)
    runs, expected = SolverRuns(careless, noise, bank), SolverRuns(targets.image_gaussian(8), noise, bank)
    first = runs.errors(geometric(4), 0)
    np.testing.assert_array_equal(first, runs.errors(geometric(4), 0))
    np.testing.assert_array_equal(first, expected.errors(geometric(4), 0))
