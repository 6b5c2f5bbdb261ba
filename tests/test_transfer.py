"""The transfer benchmark: the digits' exact denoiser, clocks on other ranges, and the arithmetic of the tables."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from art_nodes.core import Schedule, grid_cost, optimal_schedule, record_orbits
from art_nodes.core import scores as core_scores
from art_nodes.core.exact import gaussian
from benchmarks import digits, transfer, transfer_docs, transfer_report
from benchmarks import transfer_places as where
from benchmarks import transfer_scores as scores
from benchmarks.transfer_results import Results

CENTRES = digits.load()
PLACES = where.places(demo_orbits=2, image_orbits=8, orbits=64)


def noisy(sigma: float, count: int = 4, seed: int = 0) -> torch.Tensor:
    """Draws of the digits with noise, (count, 64) float64."""
    noise = torch.randn(count, 64, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64)
    return digits.draw(CENTRES, count, seed) + sigma * noise


def closed(target, seed: int = 0):
    """A recording of a target and its closed-form clock: no learning, a tenth of a second."""
    bank = target.record(seed)
    return bank, optimal_schedule(bank)


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    """The arithmetic does not depend on how many."""
    monkeypatch.setattr(core_scores, "RESAMPLES", 40)


@pytest.fixture(scope="module")
def modes():
    """The place with two modes, its bank and its clock."""
    place = PLACES["two modes"]
    return place, *closed(place.target)


def test_a_sigma_that_comes_twice_is_one_step_fewer():
    """Laplace's schedule does so on a flow's range; it is judged like any other there."""
    start, denoiser = 10 * torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), gaussian(2.0)
    twice, once = (scores.two_step(denoiser, start, torch.tensor(sigmas)) for sigmas in (
        [10.0, 10.0, 4.0, 1.0, 1.0, 0.3, 0.0], [10.0, 4.0, 1.0, 0.3, 0.0]))
    assert torch.equal(twice, once) and twice.isfinite().all()


def test_digits_are_standardised():
    assert CENTRES.shape == (1797, 64) and CENTRES.dtype == torch.float64
    assert float(CENTRES.mean()) == pytest.approx(0, abs=1e-12)
    assert float(CENTRES.square().mean()) == pytest.approx(1)


@pytest.mark.parametrize("sigma", [0.05, 0.5, 3.0, 40.0])
def test_digits_denoiser_is_tweedies(sigma):
    """D = x + sigma^2 grad log p, with log p of the noisy mixture from torch.distributions and autograd."""
    x = noisy(sigma).requires_grad_()
    kernels = Independent(Normal(CENTRES, math.hypot(digits.KERNEL_STD, sigma)), 1)
    mixture = MixtureSameFamily(Categorical(torch.ones(len(CENTRES), dtype=torch.float64)), kernels)
    score, = torch.autograd.grad(mixture.log_prob(x).sum(), x)
    found = digits.kernel_denoiser(CENTRES)(x.detach(), torch.full((4,), sigma, dtype=torch.float64))
    torch.testing.assert_close(found, x.detach() + sigma**2 * score, rtol=1e-9, atol=1e-9)


def test_digits_denoiser_at_its_limits():
    denoise, x = digits.kernel_denoiser(CENTRES), noisy(0.0)
    far = denoise(1e5 * torch.ones(2, 64, dtype=torch.float64) * torch.tensor([[0.0], [1e-3]]), torch.full((2,), 1e5))
    torch.testing.assert_close(far, CENTRES.mean(dim=0).expand(2, -1), atol=1e-3, rtol=0)
    torch.testing.assert_close(denoise(x, torch.full((4,), 1e-4)), x, atol=1e-4, rtol=0)
    near = digits.kernel_denoiser(CENTRES, std=1e-3)(CENTRES[:5] + 0.01, torch.full((5,), 0.02))
    torch.testing.assert_close(near, CENTRES[:5], atol=1e-3, rtol=0)  # narrow kernels: the nearest image


@pytest.mark.parametrize("sigma", [0.002, 0.1, 1.0, 80.0])
def test_digits_denoiser_in_float32(sigma):
    denoise, x, level = digits.kernel_denoiser(CENTRES), noisy(sigma, 64), torch.full((64,), sigma)
    single = denoise(x.float(), level)
    assert single.dtype == torch.float32
    assert float((single - denoise(x, level)).abs().max()) < 1e-3


def test_draws_have_the_moments_of_the_mixture():
    drawn = digits.draw(CENTRES, 20000, seed=0).numpy()
    mean, covariance = digits.kernel_moments(CENTRES)
    np.testing.assert_allclose(drawn.mean(axis=0), mean, atol=0.05)
    np.testing.assert_allclose(np.cov(drawn.T), covariance, atol=0.12)
    assert np.trace(covariance) == pytest.approx(64 * (1 - (mean**2).mean() + digits.KERNEL_STD**2))


def test_reference_is_second_order(modes):
    place = modes[0]
    noise = place.judged.noise(5)
    ends = {n: scores.reference(place.judged.make(), noise, 10.0, n) for n in (50, 100, 1600)}
    coarse, fine = (scores.total((ends[n] - ends[1600]).numpy()) for n in (50, 100))
    assert 3 < coarse / fine < 6
    assert scores.reference_error(place) < 1e-3


def test_judge_by_hand():
    """Euler on N(0, 1) multiplies x by a known factor, the exact orbit by 1 / sqrt(1 + T^2)."""
    place, grid = PLACES["N(0, 1)"], torch.tensor([3.0, 1.0, 0.0])
    found = scores.judge(place, {("euler", "by hand", 2): grid}, seed=0)["euler", "by hand", 2]
    factor = (0.1 + 1 / 3 * 0.9) * 0.5
    noise = place.judged.noise(1000).numpy()[:, 0]
    np.testing.assert_allclose(found, np.abs(noise) * abs(factor - 10**-0.5), atol=1e-4)


def test_only_cheap_cells_of_a_network_take_every_batch():
    grid = torch.tensor([80.0, 1.0, 0.0])
    jobs = {("euler", "a", 2): grid, ("heun", "a", 2): grid, ("euler", "a", 40): grid}
    place = where.demo_places(2)[0]
    found = scores.judge(dataclasses.replace(place, reference_nodes=4), jobs, seed=0)
    assert [len(found[job]) for job in jobs] == [4, 2, 2]


def test_ratios_by_hand():
    errors = np.random.default_rng(0).uniform(1, 2, 50)
    assert scores.total(np.array([3.0, 4.0])) == pytest.approx(12.5**0.5)
    assert scores.ratios([errors, 3 * errors], [2 * errors, errors]).tolist() == pytest.approx([0.5, 3.0])


def test_a_clock_carried_on_is_nearly_the_optimum_of_the_larger_range():
    """The law of the density above: learned up to 3 on N(0, 1), carried on to 10."""
    noise = torch.randn(32, 1, generator=torch.Generator().manual_seed(0))
    small, large = (record_orbits(gaussian(), noise * math.hypot(1, top), top, 0.002) for top in (3.0, 10.0))
    clock = optimal_schedule(small)
    carried = where.carried_on(clock, 10.0)
    assert carried.sigma_max == 10.0
    assert grid_cost(large, carried.sigmas(64)) < 1.01
    flat = where.carried_on(clock, 10.0, power=0.0)
    assert grid_cost(large, flat.sigmas(64)) > 1.1 * grid_cost(large, carried.sigmas(64))
    torch.testing.assert_close(carried.sigmas(10, sigma_max=3.0), clock.sigmas(10), rtol=1e-2, atol=1e-3)


def test_carrying_on_needs_a_larger_range(modes):
    with pytest.raises(ValueError, match="must lie above the clock's 10; got 3"):
        where.carried_on(modes[2], 3.0)


def test_reading_on_any_range(modes):
    clock = modes[2]
    torch.testing.assert_close(where.read(clock, 3.0, 5), clock.sigmas(5, sigma_max=3.0))
    torch.testing.assert_close(where.read(clock, 10.0, 5), clock.sigmas(5))
    assert float(where.read(clock, 80.0, 5)[0]) == 80.0
    assert where.one_step_first(clock, 80.0, 5).tolist() == [80.0, *clock.sigmas(4).tolist()]


def test_a_wrong_clock_is_clearly_worse(modes):
    """Negative control: the same steps in reverse order, dense where they should be sparse."""
    place, bank, clock = modes
    wrong = Schedule(clock.sigma_max - clock.clock[::-1])
    jobs = {("euler", name, 10): where.read(s, 10.0, 10) for name, s in (("right", clock), ("wrong", wrong))}
    found = scores.judge(place, jobs, seed=0)
    assert scores.total(found["euler", "wrong", 10]) > 2 * scores.total(found["euler", "right", 10])
    assert grid_cost(bank, wrong.sigmas(64)) > 2 * grid_cost(bank, clock.sigmas(64))


def test_grids_of_a_place(modes):
    place, bank, clock = modes
    known = {place.name: transfer.Learned(bank, {64: clock, 10: clock})}
    grids = transfer.all_grids(place, known, transfer.Setting(steps=(6, 10)))
    assert {name for solver, name, steps in grids if (solver, steps) == ("heun", 6)} == {"64", *where.CLASSIC}
    assert {name for solver, name, steps in grids if (solver, steps) == ("euler", 10)} == {"64", "K", *where.CLASSIC}
    assert all(len(grid) == steps + 1 and grid[-1] == 0 for (_, _, steps), grid in grids.items())


def test_grids_from_elsewhere_start_where_the_place_does(modes):
    known = {name: transfer.Learned(modes[1], {64: closed(PLACES[name].target)[1]})
             for name in ("digits", "64x64 Gaussian")}
    known |= {name: known["digits"] for name in where.EXCHANGE[:1]} | {where.EXCHANGE[1]: known["64x64 Gaussian"]}
    for name in where.EXCHANGE:
        grids = transfer.foreign_grids(PLACES[name], known, "euler", 6)
        assert set(where.EXCHANGE) - {name} <= set(grids)
        top = PLACES[name].target.sigma_max
        assert [float(grid[0]) for grid in grids.values()] == pytest.approx([top] * len(grids))


def made_up(**sizes) -> Results:
    """Results in which every clock has one error in all cells; 1 where `sizes` does not say."""
    shape = np.random.default_rng(0).uniform(1, 2, 30)
    results = Results({"date": "today", "machine": "here", "seeds": 2, "samples": 10, "wall": 60, "processor": 60})
    for name in PLACES:
        others = [other for other in where.EXCHANGE if other != name] if name in where.EXCHANGE else []
        clocks = ["8", "64", "K", *where.CLASSIC, *others]
        jobs = {(solver, clock, steps): sizes.get(clock, 1.0) * shape for clock in clocks
                for solver in ("euler", "heun") for steps in (6, 10)}
        for seed in range(2):
            results.add_errors(name, {job: (1 + seed * (job[1] == "8")) * values for job, values in jobs.items()})
            for clock in ("8", "64", *others):
                results.add_cost(name, clock, 1.25)
    results.frechet = {("euler", "64", 6): [1.0, 2.0], ("euler", "EDM", 6): [3.0, 3.0]}
    results.floor, results.checks = [0.5, 0.5], {"digits": 0.001}
    return results


SIZES = {"64": 0.5, "EDM": 0.83, "digits": 1.6}


def test_tables_by_hand():
    results = made_up(**SIZES)
    first = transfer_report.steps_table(results, "two modes").rows
    assert first[0] == ["pieces trained", "Euler 6", "Euler 10", "Heun 6", "Heun 10", "J/J*"]
    assert first[1][:3] == ["8", "3.00 (4.00)", "1.50 (2.00)"]  # below 8 steps over the clock of 64
    assert first[2][:3] == ["64", "–", "0.50 (0.50)"]
    against = transfer_report.classic_table(results, "two modes").rows
    assert against[3][1] == "EDM" and against[4][1].startswith("0.60 (0.60–0.60") and against[5][1] == "60"
    own, classic = transfer_report.exchange_tables(results, "demo, EDM range")
    assert ["digits", "1.250 (1.250)", *["3.20 (3.20)"] * 4] in own.rows
    assert ["digits", *["1.93 (1.93–1.93)"] * 4] in classic.rows
    assert transfer_report.frechet_table(results).rows[1:] == [["(its own)", "1.50 (2.00)"], ["EDM", "3.00 (3.00)"]]


def test_losses_are_named():
    lines = transfer_docs.duel_sentences(made_up(**SIZES), own=False)
    assert "in 0 of 48 cells, ties in 0 and loses in 48:" in lines[0]
    assert "  - demo, EDM range: clock of digits, Euler 6, 1.93 (1.93–1.93) × EDM" in lines
    # Heun on N(0, 1) does not count.
    assert "in 22 of 22 cells" in transfer_docs.duel_sentences(made_up(**SIZES), own=True)[0]


def test_a_lower_error_at_a_higher_objective_is_told():
    results = made_up(**{"64": 1.0, "digits": 0.9})
    for name in where.EXCHANGE:
        results.costs[name]["64"] = [1.0, 1.0]
    assert "in 12 of 48 cells" in transfer_docs.paradox_sentence(results)


def test_results_come_back_from_their_file(tmp_path):
    results = made_up(**SIZES)
    results.save(tmp_path / "build" / "results.json")
    again = Results.load(tmp_path / "build" / "results.json")
    assert transfer_docs.as_text(again) == transfer_docs.as_text(results)
    with pytest.raises(FileNotFoundError, match="run 'python -m benchmarks transfer' first"):
        Results.load(tmp_path / "none.json")


def test_docs_hold_every_table_and_the_plot(tmp_path):
    results = made_up(**SIZES)
    transfer_docs.write_docs(results, tmp_path)
    page = (tmp_path / "transfer.md").read_text()
    assert all(table.markdown() in page for table in transfer_report.tables(results))
    assert (tmp_path / "images" / "transfer.png").read_bytes().startswith(b"\x89PNG")


def test_docs_refuse_the_figures_of_a_quick_run(capsys):
    with pytest.raises(SystemExit):
        transfer.main(["--quick", "--docs"])
    assert "--docs needs the figures of a full run" in capsys.readouterr().err
