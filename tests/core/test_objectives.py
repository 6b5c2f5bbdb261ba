"""Objectives that replay a sampler: against true end errors, brute force, and what ART-RL learns from them."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from scipy.stats import spearmanr

from art_nodes.core import (
    LiveModel,
    OrbitBank,
    Schedule,
    TrainConfig,
    dynamic,
    exact,
    learn,
    learn_schedule,
    optimal_schedule,
    record_orbits,
    with_grids,
)
from art_nodes.core.clock import optimal_clock
from art_nodes.core.compare import euler, heun
from art_nodes.core.dynamic import best_on_nodes
from art_nodes.core.environment import ReplayEnvironment
from art_nodes.core.exact import gaussian
from art_nodes.core.grids import edm_clock
from art_nodes.core.objectives import (
    LARGEST_GROWTH,
    NOISY,
    OBJECTIVES,
    SamplerError,
    growth_of,
    split_objective,
    spread,
)
from art_nodes.core.refine import best_grid, descend, lengths_of, refine
from art_nodes.core.samplers import REPLAYS
from tests.core import targets

HIGH, LOW = targets.SDXL_RANGE
HOST_SAMPLERS = ("euler", "heun", "dpmpp_2m")  # RK4 is the paper's alone


def geometric(steps, low=0.1):
    return np.append(np.geomspace(HIGH, low, steps), 0.0)


@pytest.fixture(scope="module")
def bank():
    return targets.bank("image")


def test_objectives_are_named_after_their_samplers():
    assert split_objective("euler") == ("euler", "euler") and split_objective("end:heun") == ("end", "heun")
    kinds = ("residual", "end", "detail", "spectrum")
    assert set(OBJECTIVES) == {"euler", *(f"{kind}:{name}" for kind in kinds for name in REPLAYS),
                               *(f"spectrum:{name}" for name in NOISY)}
    with pytest.raises(ValueError, match="objective must be one of: euler, .*got 'end:ddim'; choose end:<the sampler"):
        split_objective("end:ddim")
    with pytest.raises(ValueError, match="got 'heun'; choose end:heun"):
        split_objective("heun")


@pytest.mark.parametrize("steps", [6, 10])
def test_one_step_residuals_are_those_of_the_sampler(bank, steps):
    """Euler's first step from recorded orbits misses the true orbit by as much as is charged for it, within 3 %."""
    noise, model = targets.noise((16, 1, 64, 64), HIGH), targets.image_gaussian(64)
    error, grid = SamplerError(bank, "residual:euler"), geometric(steps)
    runs = error.replay(16, steps)
    charged = error.ledger(bank.gram).charge(runs.step(np.full(16, grid[1])), grid[0], grid[1])
    ends = [euler(model, noise, torch.from_numpy(grid[:2])),
            heun(model, noise, torch.from_numpy(np.geomspace(HIGH, grid[1], 60)))]
    truth = (ends[0] - ends[1]).flatten(1).double().square().mean(1).sqrt().numpy()
    np.testing.assert_allclose(charged, truth, rtol=0.03)


def test_the_residuals_of_a_step_add_up_along_a_run(bank):
    """Without turning and contraction the end error is the length of the sum of all residuals."""
    error, grid = SamplerError(bank, "end:euler"), geometric(8)
    runs = error.replay(1, 8)
    total = sum(runs.step(np.array([there])) for there in grid[1:])
    np.testing.assert_allclose(total, runs.error, atol=1e-12)


def test_what_a_ledger_adds_up_is_never_negative(bank):
    error = SamplerError(bank, "end:heun")
    assert (error.per_orbit(geometric(12)) > 0).all() and error(geometric(12)[None])[0] > 0


@pytest.mark.parametrize("name", REPLAYS)
def test_shorter_steps_leave_less(bank, name):
    """Twice the steps leave less than 0.6 of the error, less than 0.35 with a sampler of higher order.

    The last sigma stays, and with it the error of the last step, which is Euler's with every sampler.
    """
    error, low = SamplerError(bank, f"end:{name}"), 0.01 if REPLAYS[name].order > 2 else 0.1
    few, many = error(np.stack([geometric(10, low)]))[0], error(np.stack([geometric(20, low)]))[0]
    assert many < (0.35 if REPLAYS[name].order > 1 else 0.6) * few


@pytest.mark.parametrize("objective", [name for name in OBJECTIVES if split_objective(name)[1] in REPLAYS
                                       and name != "euler"])
def test_descent_beats_every_start_and_random_grids(bank, objective):
    """Nothing among 200 random grids, nor the closed form's, is better than the grid that is found."""
    error, rng = SamplerError(bank, objective), np.random.default_rng(0)
    falls = np.cumsum(rng.dirichlet(np.full(6, 2.0), 200), axis=1)[:, :-1] * np.log(HIGH / 0.01)
    others = np.concatenate([np.full((200, 1), HIGH), HIGH * np.exp(-falls), np.zeros((200, 1))], axis=1)
    best = best_grid(error, 6)
    assert (np.diff(best) < 0).all() and best[0] == HIGH and best[-1] == 0
    clock = optimal_schedule(bank).sigmas(6).double().numpy()
    assert error(best[None])[0] <= min(error(others).min(), error(clock[None])[0]) * (1 + 1e-9)


def test_the_best_of_all_descents_is_taken():
    """Where starts lead to minima that differ; negative control: the worst of them is three times as bad."""
    error = SamplerError(targets.bank("two modes"), "end:heun")
    high, low = error.bank.sigma_max, error.bank.sigma_min
    starts = [optimal_clock(error.bank, 6), high * (1 - edm_clock(high, low, 6)),
              np.append(np.geomspace(high, 3 * low, 6), 0.0)]
    found = [error(refine(error, [start])[None])[0] for start in starts]
    assert error(best_grid(error, 6)[None])[0] <= (1 + 1e-9) * min(found) and max(found) > 3 * min(found)


def test_residuals_are_averaged_over_orbits_not_squared():
    """E|r|, by the objective as by dynamic programming; control: the root of the mean square is clearly more."""
    error = SamplerError(targets.bank("two modes"), "residual:euler")
    grid = best_on_nodes(error, 6)
    each = error.per_orbit(grid)
    assert error(grid[None])[0] == pytest.approx(each.mean()) and np.sqrt((each**2).mean()) > 1.05 * each.mean()
    chain = [dynamic._mean_norms(error, np.array(pair)[:, None])[0] for pair in zip(grid[:-1], grid[1:], strict=True)]
    assert sum(chain) == pytest.approx(each.mean())


@pytest.mark.parametrize("name", ["dpmpp_2m", "deis", "uni_pc"])
def test_samplers_that_look_back_get_no_tiny_step_before_a_long_one(bank, name):
    """Where it would pay, as for dpmpp_2m here, growth is held near 3 and costs at most 3 % of the end error."""
    error = SamplerError(bank, f"end:{name}")
    free, steady = descend(error, [geometric(8, 0.3)]), best_grid(error, 8)
    grown = [np.log(grid[:-2] / grid[1:-1]) for grid in (free, steady)]
    assert (grown[1][1:] / grown[1][:-1]).max() < 3.3
    assert name != "dpmpp_2m" or (grown[0][1:] / grown[0][:-1]).max() > 4
    assert error(steady[None])[0] <= 1.03 * error(free[None])[0]


@pytest.mark.parametrize("steps", [8, 20])
def test_grids_stay_where_the_model_was_recorded(bank, steps):
    """Heun would gain from a last sigma next to 0, at which no model was ever asked; it stays near sigma_min."""
    error = SamplerError(bank, "end:heun")
    grid, tiny = best_grid(error, steps), np.append(np.geomspace(HIGH, 0.1, steps - 1), [1e-5, 0.0])
    assert grid[-2] > 0.7 * bank.sigma_min
    assert refine(error, [tiny])[-2] > 0.7 * bank.sigma_min


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 9))
def test_descent_keeps_any_number_of_steps(bank, steps):
    grid = refine(SamplerError(bank, "end:euler"), [geometric(steps)])
    assert len(grid) == steps + 1 and (np.diff(grid) < 0).all() and grid[-1] == 0


@pytest.mark.parametrize("freedom", [1, 3, 7])
def test_a_grid_of_less_freedom_is_smooth_and_not_better(bank, freedom):
    """Its ln step lengths are straight lines between so many knots; with a knot for each step it is any grid."""
    error, steps = SamplerError(bank, "end:dpmpp_2m"), 12
    grid, free = best_grid(error, steps, freedom=freedom), best_grid(error, steps)
    lengths, knots = lengths_of(grid, grid[0]), np.linspace(0, steps - 2, freedom) if freedom > 1 else np.zeros(1)
    at_knots = np.linalg.lstsq(np.stack([np.interp(np.arange(steps - 1), knots, one) for one in np.eye(freedom)]).T,
                               lengths, rcond=None)[0]
    np.testing.assert_allclose(np.interp(np.arange(steps - 1), knots, at_knots), lengths, atol=1e-6)
    assert error(free[None])[0] <= 1.001 * error(grid[None])[0]
    np.testing.assert_allclose(best_grid(error, steps, freedom=steps - 1), free)


def test_errors_that_grow_count_more_where_pictures_take_shape(bank):
    """Square of a residual's count: 1 + growth times the share of noise in x; control: no growth."""
    plain, grown = (SamplerError(bank, "end:euler", growth=growth) for growth in (0.0, 1.0))
    there = np.array([5.0, 0.5, 0.01])
    residual = np.ones((3, len(bank.sigmas) + 1))
    before, after = (error.ledger(error.mean_gram).charge(residual, 1.1 * there, there) for error in (plain, grown))
    np.testing.assert_allclose(after / before, 1 + there**2 / (there**2 + grown.power))
    ends = grown.orbits.state(np.zeros(1))[0]
    assert grown.power == pytest.approx(ends @ bank.gram.mean(axis=0) @ ends)


def test_orbits_tell_how_much_errors_grow():
    """Linear scores: not at all; one of two narrow modes: as much as is ever taken. More nodes tell the same."""
    told = {name: growth_of(targets.bank(name)) for name in targets.TARGETS}
    assert told["normal"] < 1e-6 and told["image"] < 0.01 and told["two modes"] == LARGEST_GROWTH
    wide = exact.mixture([-1.0, 1.0], [1.0, 1.0], [0.5, 0.5])
    banks = [record_orbits(wide, targets.noise((64, 1), HIGH), HIGH, LOW, nodes=nodes) for nodes in (32, 64, 128)]
    some = [growth_of(bank) for bank in banks]
    assert 0.05 < some[2] < 0.5 and some == pytest.approx([some[2]] * 3, rel=0.1)
    assert SamplerError(banks[1], "end:euler").growth == some[1]
    assert growth_of(OrbitBank.merge(banks[1:2] * 2)) == pytest.approx(some[1], rel=0.02)
    one = record_orbits(wide, targets.noise((1, 1), HIGH), HIGH, LOW)
    assert growth_of(one) == 0
    few = torch.tensor([4.0, 1.0, 0.25, 0.06, 0.01])  # directions: errors do not grow, yet orbits differ
    noise = targets.noise((64, 5), targets.SDXL_RANGE[0])
    assert growth_of(record_orbits(gaussian(few), noise, *targets.SDXL_RANGE)) > 0.5


def test_grids_are_for_the_growth_that_they_are_told():
    """Of errors that grow on two modes, whose recording tells the most there is, and of ones that do not."""
    bank, steps = targets.bank("two modes"), 6
    clock = optimal_schedule(bank)
    grids = {growth: with_grids(clock, bank, "end:euler", (steps,), growth=growth).grids[steps]
             for growth in (None, LARGEST_GROWTH, 0.0)}
    np.testing.assert_array_equal(grids[None], grids[LARGEST_GROWTH])
    for growth, other in ((0.0, LARGEST_GROWTH), (LARGEST_GROWTH, 0.0)):
        error = SamplerError(bank, "end:euler", growth=growth)
        assert error(grids[growth][None])[0] < 0.997 * error(grids[other][None])[0]


@pytest.mark.parametrize(("sigma", "grows"), [(1.0, True), (0.05, False)])
def test_where_pictures_part_errors_grow(sigma, grows):
    """The closed form of two narrow modes: an error at the sigma where they part ends larger, in the mean square."""
    denoiser = exact.mixture([-1.0, 1.0], [0.1, 0.1], [0.5, 0.5])
    modes = torch.randint(0, 2, (4000, 1), generator=torch.Generator().manual_seed(0)) * 2.0 - 1
    start = modes + (sigma**2 + 0.1**2) ** 0.5 * torch.randn(modes.shape, generator=torch.Generator().manual_seed(1))
    grid = torch.cat([torch.linspace(np.log(sigma), np.log(1e-3), 120).exp(), torch.zeros(1)])
    ends = [heun(denoiser, x, grid.double()) for x in (start, start + 0.02)]
    gain = ((ends[1] - ends[0]) / 0.02).square().mean().sqrt()
    assert (gain > 1.3) if grows else (gain < 1.05)


@pytest.mark.parametrize("name", HOST_SAMPLERS)
@pytest.mark.parametrize("seed", range(3))
def test_art_rl_comes_within_3_percent_of_dynamic_programming(bank, name, seed):
    """ART-RL sees rewards only, and no formula for the best grid."""
    objective = f"residual:{name}"
    learned = learn_schedule(bank, TrainConfig(objective=objective, clock_nodes=8, seed=seed))
    error = SamplerError(bank, objective)
    assert error(learned.clock[None])[0] <= 1.03 * error(best_on_nodes(error, 8)[None])[0]


def test_control_art_rl_with_the_reward_turned_around_does_not(bank, monkeypatch):
    """Negative control: paid for what it should avoid, 40 updates leave it where it began; rightly paid they do not."""
    objective, advance = "residual:dpmpp_2m", ReplayEnvironment.advance
    config = TrainConfig(objective=objective, clock_nodes=8, iterations=40)
    error = SamplerError(bank, objective)
    least = error(best_on_nodes(error, 8)[None])[0]
    assert error(learn_schedule(bank, config).clock[None])[0] < 1.1 * least
    monkeypatch.setattr(ReplayEnvironment, "advance", lambda *step: -advance(*step))
    assert error(learn_schedule(bank, config).clock[None])[0] > 1.2 * least


@pytest.mark.parametrize("name", [*HOST_SAMPLERS, "rk4"])
def test_art_rl_learns_the_end_error_too(bank, name):
    """Of a sampler of fourth order it finds one of many minima only, yet below the closed form's clock."""
    records = list(learn(bank, TrainConfig(objective=f"end:{name}", clock_nodes=6)))
    last, costs = records[-1], [record.cost for record in records]
    assert last.cost < 1.06 or name == "rk4"
    assert costs == sorted(costs, reverse=True)  # a bad update is not kept
    error = SamplerError(bank, f"end:{name}")
    assert error(last.schedule.clock[None])[0] < error(optimal_clock(bank, 6)[None])[0]
    assert last.schedule.provenance["objective"] == f"end:{name}"
    np.testing.assert_allclose(last.schedule.sigmas(6), last.schedule.clock, rtol=1e-6)


def test_an_episode_that_hurries_to_the_end_still_descends(bank):
    """However early it would be at 0, the sampler that is replayed gets sigmas that fall, and is charged for them."""
    world = ReplayEnvironment(bank, "end:dpmpp_2m", 6)
    world.start(4, np.random.default_rng(0))
    seen = [world.runs.sigma]
    for _ in range(6):
        charge = world.advance(np.ones(4), 1 / 6)
        assert np.isfinite(charge).all()
        seen.append(world.runs.sigma)
    assert (np.diff(seen, axis=0) < 0).all() and not seen[-1].any() and (np.stack(seen[:-1]) > 0).all()


def test_the_same_seed_learns_the_same_grid(bank):
    config = TrainConfig(objective="end:dpmpp_2m", clock_nodes=6, iterations=20, seed=4)
    np.testing.assert_array_equal(learn_schedule(bank, config).clock, learn_schedule(bank, config).clock)


def test_a_live_model_cannot_be_replayed():
    model = LiveModel(targets.image_gaussian(8), lambda batch: targets.noise((batch, 1, 8, 8), HIGH), HIGH, LOW)
    with pytest.raises(ValueError, match="objective end:euler is replayed on recorded orbits; got a LiveModel"):
        learn(model, TrainConfig(objective="end:euler", clock_nodes=6))


def test_a_bank_of_stiffness_alone_cannot_be_replayed(bank):
    bare = OrbitBank(bank.sigmas, bank.stiffness)
    with pytest.raises(ValueError, match="needs the predictions' inner products, which this bank lacks"):
        optimal_schedule(bare, objective="end:euler")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("high, low", [(14.6146, 0.0292), (80.0, 0.002)])
@pytest.mark.parametrize("objective", ["end:euler", "end:dpmpp_2m"])
def test_half_precision_leads_to_the_same_grids(dtype, high, low, objective):
    """Of a mixture on which rounding hides how predictions change at large and at small sigma."""
    def rounded(x, sigma):
        return targets.two_modes()(x, sigma).to(dtype).float()

    full, half = (record_orbits(model, targets.noise((64, 1), high), high, low)
                  for model in (targets.two_modes(), rounded))
    wanted, found = (np.log(best_grid(SamplerError(bank, objective), 6)[:-1]) for bank in (full, half))
    assert np.abs(wanted - found).max() < 0.1 and spread(half) == pytest.approx(spread(full), rel=0.1)
    # control: taken for exact, what rounding left misleads
    assert spread(dataclasses.replace(half, rounding=None)) > 1.15 * spread(full)


@pytest.mark.parametrize("objective", ["end:euler", "residual:euler", "end:dpmpp_2m"])
def test_orbits_on_which_nothing_changes_are_refused(objective):
    constant = record_orbits(lambda x, sigma: torch.ones_like(x), targets.noise((4, 2), 3.0), 3.0, 0.01, nodes=16)
    with pytest.raises(ValueError, match="predictions that are constant"):
        learn_schedule(constant, TrainConfig(objective=objective, clock_nodes=4, iterations=10))


def test_grids_are_made_for_the_range_of_the_schedule(bank):
    other = record_orbits(targets.two_modes(), targets.noise((4, 1), 3.0), 3.0, 0.01, nodes=16)
    with pytest.raises(ValueError, match="bank must start where the schedule does, at sigma"):
        with_grids(optimal_schedule(bank), other, "end:euler")


def test_the_spread_is_that_of_the_leading_directions():
    """Of coordinates of spread 4 and 0.1, the predictions change along the wide ones: 4 times their root number."""
    wide = torch.cat([torch.full((4,), 4.0), torch.full((60,), 0.1)])
    noise = torch.randn(64, 64, generator=torch.Generator().manual_seed(0)) * (wide**2 + 80.0**2).sqrt()
    bank = record_orbits(lambda x, s: x * wide**2 / (wide**2 + s[:, None] ** 2), noise, 80.0, 0.01)
    assert 3.5 < spread(bank) < 10
    unknown = dataclasses.replace(bank, elements=0)  # as an old file has it: taken for one
    assert spread(unknown) == pytest.approx(spread(bank) / 8)


# Schedules that hold a grid for each number of steps

@pytest.fixture(scope="module")
def refined(bank):
    return optimal_schedule(bank, objective="end:dpmpp_2m")


def test_a_schedule_reads_its_own_grid_where_it_has_one(bank, refined):
    error, clock = SamplerError(bank, "end:dpmpp_2m"), optimal_schedule(bank)
    for steps in (4, 10):
        np.testing.assert_allclose(refined.sigmas(steps), refined.grids[steps], rtol=1e-6)
        both = np.stack([schedule.sigmas(steps).double().numpy() for schedule in (refined, clock)])
        assert error(both[:1])[0] < error(both[1:])[0]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.floats(0.05, 1.0), st.none() | st.floats(0.5, 20.0))
def test_any_other_number_of_steps_works_too(refined, steps, denoise, top):
    grid = refined.sigmas(steps, denoise=denoise, sigma_max=top)
    assert len(grid) == steps + 1 and grid[-1] == 0 and (grid.diff() < 0).all()
    assert grid[0] <= refined.sigma_max * 1.0001


def test_less_denoise_takes_the_last_steps_of_the_longer_grid(refined):
    np.testing.assert_allclose(refined.sigmas(5, denoise=0.5), refined.sigmas(10)[5:], rtol=1e-6)


def test_only_the_grids_that_are_asked_for_are_fitted(bank):
    told = []
    found = optimal_schedule(bank, objective="end:euler", steps=(4, 6), progress=lambda *done: told.append(done))
    assert list(found.grids) == [4, 6] and told == [(1, 2), (2, 2)]


def test_grids_survive_the_file(refined, tmp_path):
    refined.save(tmp_path / "s.safetensors")
    dataclasses.replace(refined, grids={}).save(tmp_path / "plain.safetensors")
    for name, version in (("s", "2"), ("plain", "1")):  # what knows no grids must refuse the file, not drop them
        with safe_open(str(tmp_path / f"{name}.safetensors"), framework="pt") as file:
            assert json.loads(file.metadata()["art_schedule"])["version"] == version
    again = Schedule.load(tmp_path / "s.safetensors")
    assert list(again.grids) == list(refined.grids) == refined.provenance["grids"]
    for steps, grid in refined.grids.items():
        np.testing.assert_array_equal(again.grids[steps], grid)


def test_a_grid_must_fit_its_number_of_steps_and_the_clock():
    clock = np.array([10.0, 5.0, 0.0])
    for grid in (np.array([10.0, 5.0, 1.0, 0.0]), np.array([9.0, 5.0, 0.0])):
        with pytest.raises(ValueError, match="a grid of 2 steps must have 3 sigmas from the clock's first, 10; got"):
            Schedule(clock, grids={2: grid})


def sloped(errors):
    """RMS over pictures (B, C, H, W) of value and slope together, per element, by differences of wave numbers."""
    power = torch.fft.fft2(errors.double(), norm="ortho").abs().square()
    waves = torch.fft.fftfreq(errors.shape[-1]) * errors.shape[-1]
    return float((power * (1 + waves[:, None] ** 2 + waves**2)).mean().sqrt())


def test_detail_orders_grids_by_error_of_value_and_slope(bank):
    """On the Gaussian field; negative control: the plain end error orders them worse."""
    model, noise = targets.image_gaussian(64), targets.noise((16, 1, 64, 64), HIGH)
    rng, steps = np.random.default_rng(0), 6
    grids = [np.append(HIGH * np.exp(-np.append(0, np.cumsum(rng.dirichlet(np.full(steps - 1, 3.0)))) *
                                     np.log(HIGH / rng.uniform(0.03, 1.0))), 0.0) for _ in range(60)]
    truth = euler(model, noise, torch.from_numpy(np.append(np.geomspace(HIGH, 1e-3, 400), 0.0)))
    true = [sloped(euler(model, noise, torch.from_numpy(grid)) - truth) for grid in grids]
    rank = {kind: spearmanr(SamplerError(bank, f"{kind}:euler")(np.stack(grids)), true).statistic
            for kind in ("detail", "end")}
    assert rank["detail"] > 0.9 > rank["end"] + 0.1


def test_detail_spends_more_steps_where_sigma_is_small(bank):
    plain, sharp = (best_grid(SamplerError(bank, f"{kind}:euler"), 8) for kind in ("end", "detail"))
    assert (sharp[1:-1] < plain[1:-1]).all()


def test_detail_needs_pictures():
    flat = OrbitBank(np.array([3.0, 1.0]), np.ones((1, 2)), gram=np.eye(3)[None])
    with pytest.raises(ValueError, match="detail:heun needs orbits of pictures.*take end:heun"):
        SamplerError(flat, "detail:heun")


def test_orbits_that_have_settled_tell_nothing_of_the_spread():
    """Where one of a few pictures is sure, predictions stay the same to the bit, and their change has no direction."""
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randn(16, 64, generator=generator)

    def denoise(x, sigma):
        return torch.softmax(-torch.cdist(x, pictures) ** 2 / (2 * sigma[:, None] ** 2), dim=1) @ pictures

    settled = record_orbits(denoise, HIGH * torch.randn(8, 64, generator=generator), HIGH, LOW)
    changes = np.diff(np.eye(len(settled.sigmas) + 1), axis=0)[1:]
    assert (np.einsum("in,bnm,im->bi", changes, settled.gram, changes)[:, -10:] < 1e-14).all()
    assert 4 < spread(settled) < 2 * 64**0.5  # pictures are sqrt(64) long, and differ by sqrt(2) times that at most


@pytest.mark.parametrize("steps, said", [
    (8, r"list of numbers of steps; got 8; write \(8,\)"), ((33,), r"got \[33\]"), ((0,), "whole number >= 1; got 0"),
    ((6, 3.5), "got 3.5"), ((), "got none"), ((40,), r"at most half the recorded nodes, here 32; got \[40\]")])
def test_numbers_of_steps_that_no_grid_can_have_are_told(bank, steps, said):
    """Not a schedule without grids, which would step as the paper's clock and call itself another."""
    with pytest.raises(ValueError, match=said):
        optimal_schedule(bank, objective="end:euler", steps=steps)


def test_half_as_many_steps_as_nodes_are_the_most():
    bank = record_orbits(gaussian(), targets.noise((2, 4), HIGH), HIGH, LOW, nodes=8)
    assert list(optimal_schedule(bank, objective="end:euler", steps=(4,)).grids) == [4]
    schedule = optimal_schedule(bank, objective="end:euler", steps=(3, 4, 5))
    assert list(schedule.grids) == schedule.provenance["grids"] == [3, 4]
    assert schedule.provenance["objective"] == "end:euler"
    wider = Schedule(np.array([1.0005 * HIGH, 1.0, 0.0]))  # as near as a host's rounding
    assert with_grids(wider, bank, "end:euler", (4,)).grids[4][0] == wider.sigma_max


def test_grids_that_are_asked_about_stay_as_they_are(bank):
    grid = np.array([[20.0, 1.0, 1.0, 0.0]])  # from above the range, and with a step of no length
    error = SamplerError(bank, "end:euler")
    assert error(grid)[0] == pytest.approx(error(np.array([[HIGH, 1.0, 1.0, 0.0]]))[0])
    best_grid(error, 3, grid)
    np.testing.assert_array_equal(grid, [[20.0, 1.0, 1.0, 0.0]])


@pytest.mark.parametrize("settings, said", [
    ({"nodes": "64"}, "nodes must be a whole number >= 8; got '64'"), ({"sigma_max": "high"}, "finite"),
    ({"sigma_min": None}, "finite"), ({"sigma_max": True}, "finite")])
def test_what_is_no_number_is_told(settings, said):
    given = {"sigma_max": 14.6, "sigma_min": 0.03, **settings}
    with pytest.raises(ValueError, match=said):
        record_orbits(gaussian(), targets.noise((1, 4), 14.6), **given)


@pytest.mark.filterwarnings("error")
def test_predictions_of_0_have_a_spread_too():
    """What rounding leaves on the diagonal of inner products may be below 0."""
    bank = record_orbits(lambda x, sigma: torch.zeros_like(x), targets.noise((4, 8), HIGH), HIGH, LOW, nodes=16)
    below = dataclasses.replace(bank, gram=bank.gram - 1e-60 * np.eye(bank.gram.shape[1]))
    for each in (bank, below):
        assert np.isfinite(spread(each)) and SamplerError(each, "end:euler")(np.array([[HIGH, 1.0, 0.0]])) < 1e-9


@pytest.mark.parametrize("sampler", [name for name in REPLAYS if name != "rk4"])
def test_a_scheduler_that_repeats_a_sigma_has_a_finite_objective(sampler):
    bank = targets.bank("image")
    found = SamplerError(bank, f"end:{sampler}")(np.array([[HIGH, 5.0, 5.0, 1.0, 0.1, 0.0]]))
    assert np.isfinite(found).all() and found > 0
