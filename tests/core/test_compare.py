"""compare() and our grids against independent samplers: k-diffusion's and diffusers'."""

import math

import pytest
import torch

from art_nodes.core import compare, optimal_schedule, record_orbits
from art_nodes.core.compare import SOLVERS
from art_nodes.core.exact import gaussian
from art_nodes.core.grids import power_grid, uniform_grid
from tests.core import targets

START = targets.noise((32, 8), 3.0, seed=5)


def grids() -> dict:
    return {
        "ours": optimal_schedule(targets.bank("normal")).sigmas(8),
        "uniform": torch.from_numpy(uniform_grid(8, 3.0)).float(),
        "edm": torch.from_numpy(power_grid(8, 3.0, 0.002)).float(),
    }


def test_errors_of_the_normal_distribution_are_exact():
    """Euler on N(0, 1) multiplies x by a known number; so does the exact solution."""
    rows = compare(gaussian(), START, grids(), "euler")
    for row in rows:
        factor = 1.0
        sigmas = grids()[row.name].double()
        for here, there in zip(sigmas[:-1], sigmas[1:], strict=True):
            factor *= float(1 - (1 - there / here) * here**2 / (1 + here**2))
        truth = START.double() * (factor - 10**-0.5)
        assert row.rms == pytest.approx(float(truth.square().mean().sqrt()), rel=1e-3)
        assert row.median == pytest.approx(float(truth.square().mean(dim=1).sqrt().quantile(0.5)), rel=1e-3)
        assert row.calls == row.steps == 8 and row.errors.shape == (32,)
    assert [row.name for row in rows][0] == "ours" and rows[0].rms <= rows[1].rms <= rows[2].rms


def test_heun_counts_two_calls_a_step_but_the_last():
    for row in compare(gaussian(), START, grids(), "heun"):
        assert row.calls == 15


@pytest.mark.parametrize("solver", ["euler", "heun"])
def test_solvers_agree_with_k_diffusion(solver, k_diffusion_sampling):
    sample = getattr(k_diffusion_sampling, f"sample_{solver}")
    for sigmas in grids().values():
        theirs = sample(gaussian(), START.clone(), sigmas, disable=True)
        assert torch.allclose(SOLVERS[solver](gaussian(), START, sigmas), theirs, atol=1e-5)


def test_grid_drives_diffusers_euler():
    """The same sigmas in diffusers' own Euler scheduler end in the same samples."""
    from diffusers import EulerDiscreteScheduler

    sigmas = grids()["ours"]
    scheduler = EulerDiscreteScheduler(prediction_type="sample", use_karras_sigmas=False)
    scheduler.set_timesteps(sigmas=sigmas.tolist())
    assert torch.allclose(scheduler.sigmas.float(), sigmas, rtol=1e-5)
    x = START.clone()
    for i, timestep in enumerate(scheduler.timesteps):
        scheduler.scale_model_input(x, timestep)  # diffusers insists on it; the denoiser below wants x unscaled
        denoised = gaussian()(x, sigmas[i].expand(len(x)))
        x = scheduler.step(denoised, timestep, x).prev_sample
    assert torch.allclose(x, SOLVERS["euler"](gaussian(), START, sigmas), atol=1e-4)


def test_refuses_unfair_comparisons():
    with pytest.raises(ValueError, match="start at the same sigma"):
        compare(gaussian(), START, {"a": torch.tensor([3.0, 1, 0]), "b": torch.tensor([2.0, 1, 0])})
    with pytest.raises(ValueError, match="solver must be one of"):
        compare(gaussian(), START, grids(), "magic")
    with pytest.raises(ValueError, match="at least one grid"):
        compare(gaussian(), START, {})
    with pytest.raises(ValueError, match="by name; got list"):
        compare(gaussian(), START, [grids()])
    with pytest.raises(ValueError, match="reference_nodes must be a whole number >= 8; got 0; 256 is"):
        compare(gaussian(), START, grids(), reference_nodes=0)
    with pytest.raises(ValueError, match="0 < sigma_min < sigma_max"):
        compare(gaussian(), START, grids(), sigma_min=1000.0)


@pytest.mark.parametrize("sigmas", [[3.0, 1.0], [3.0, 1.0, 2.0, 0.0], [3.0], [3.0, 0.0, 0.0], [3.0, float("nan"), 0.0]])
def test_a_grid_that_does_not_fall_to_0_is_no_grid(sigmas):
    """Without its final 0 a grid would stop short and seem the best."""
    with pytest.raises(ValueError, match="grid 'mine' must be two or more finite sigmas that fall to exactly 0"):
        compare(gaussian(), START, grids() | {"mine": torch.tensor(sigmas)})


def test_a_schedule_is_no_grid_yet():
    schedule = optimal_schedule(targets.bank("normal"))
    with pytest.raises(ValueError, match=r"grid 'mine' must be sigmas; got Schedule; .* what .sigmas\(steps\)"):
        compare(gaussian(), START, {"mine": schedule})


def test_a_grid_that_breaks_a_solver_is_the_worst():
    """As equal sigmas break multistep samplers, which divide by their distance."""
    broken = torch.tensor([3.0, 1.0, 1.0, 0.0])

    def solver(denoiser, x, sigmas):
        return SOLVERS["euler"](denoiser, x, sigmas) * (float("nan") if len(sigmas) == 4 else 1.0)

    rows = compare(gaussian(), START, {"broken": broken, **grids()}, solver)
    assert [row.name for row in rows] == [row.name for row in compare(gaussian(), START, grids())] + ["broken"]


@pytest.mark.parametrize("solver", [3, None, ["euler"], "dpmpp_2m"])
def test_what_is_no_solver_is_refused(solver):
    with pytest.raises(ValueError, match="solver must be one of"):
        compare(gaussian(), START, {"a": torch.linspace(3, 0, 4)}, solver)


def test_the_median_of_an_even_number_lies_between_two():
    def of_ends(*ends):  # the solution from anywhere is 0
        return compare(lambda x, sigma: torch.zeros_like(x), 3 * torch.ones(4, 1), {"a": [3.0, 0.0]},
                       lambda _denoiser, x, _sigmas: torch.tensor(ends)[:, None].to(x))[0]

    row = of_ends(1.0, 2.0, 4.0, 8.0)
    assert row.errors.tolist() == pytest.approx([1, 2, 4, 8], abs=1e-6) and row.median == pytest.approx(3.0, abs=1e-6)
    assert of_ends(1.0, math.inf, math.inf, math.inf).median == math.inf


def test_a_network_keeps_no_graph():
    """Hundreds of calls with gradients would fill the memory."""
    network = torch.nn.Linear(8, 8)
    rows = compare(lambda x, sigma: network(x), START, grids())
    assert not any(row.errors.requires_grad for row in rows)


def test_the_reference_asks_no_smaller_sigma_than_the_model_has():
    asked = []

    def denoiser(x, sigma):
        asked.append(float(sigma[0]))
        return gaussian()(x, sigma)

    coarse = {"coarse": torch.tensor([3.0, 1.0, 0.0])}
    compare(denoiser, START, coarse, sigma_min=0.03)
    assert min(asked) == pytest.approx(0.03)
    compare(denoiser, START, coarse)
    assert min(asked) == pytest.approx(0.003)


def test_a_reference_of_a_flow_has_its_nodes_where_the_composition_lies():
    """Of a wide Gaussian, whose exact end is spread * noise, a reference for added noise is off by a third."""
    spread, noise = 100.0, targets.noise((4, 8), 1.0, seed=6)

    def flow(x, sigma):
        added = (sigma / (1 - sigma)).reshape(-1, 1)
        return torch.where(added.isinf(), 0.0, gaussian(spread**2)(x / (1 - sigma.reshape(-1, 1)), added.flatten()))

    grid = {"any": torch.tensor([1.0, 0.9, 0.5, 0.0])}
    off = [compare(flow, noise, grid, lambda _, x, __: spread * x, sigma_min=1e-3, share=share)[0].rms
           / float((spread * noise).square().mean().sqrt()) for share in (True, False)]
    assert off[0] < 0.01 and off[1] > 0.2
    with pytest.raises(ValueError, match="sigma_max must be at most 1 for a rectified flow"):
        compare(gaussian(), START, grids(), share=True)


def test_noise_in_half_precision_is_sampled_in_single():
    """Else what is compared is rounding; the denoiser answers in the precision it is asked in."""
    def denoise(x, sigma):
        return gaussian()(x.float(), sigma).to(x.dtype)

    half = START.bfloat16()
    for here, there in zip(compare(denoise, half, grids()), compare(denoise, half.float(), grids()), strict=True):
        assert (here.name, here.rms) == (there.name, there.rms)


def test_grids_may_be_lists_and_arrays():
    as_lists = {name: grid.tolist() for name, grid in grids().items()}
    as_arrays = {name: grid.numpy() for name, grid in grids().items()}
    for given in (as_lists, as_arrays):
        assert [row.rms for row in compare(gaussian(), START, given)] == [
            row.rms for row in compare(gaussian(), START, grids())]


@pytest.mark.parametrize("grids", [torch.tensor([3.0, 1.0, 0.0]), {}, None, [3.0, 0.0]])
def test_what_is_no_table_of_grids_is_refused(grids):
    with pytest.raises(ValueError, match="grids must hold at least one grid, by name"):
        compare(gaussian(), targets.noise((2, 1), 3.0), grids)


def test_grids_in_half_precision_are_grids():
    rows = compare(gaussian(), targets.noise((2, 1), 3.0), {"a": torch.tensor([3.0, 1.0, 0.0], dtype=torch.bfloat16)})
    assert rows[0].steps == 2


def test_a_denoiser_may_use_its_input_and_one_buffer():
    buffer = torch.empty_like(START)

    def careless(x, sigma):
        buffer.copy_(gaussian()(x, sigma))
        x.mul_(7.0)
        return buffer

    before = START.clone()
    for solver in SOLVERS:
        found, expected = (compare(each, START, grids(), solver) for each in (careless, gaussian()))
        assert [row.rms for row in found] == [row.rms for row in expected]
    assert torch.equal(START, before)


def test_a_solver_may_write_into_what_it_is_given():
    """As the host's UniPC does into the last sigma."""
    def writing(denoiser, x, sigmas):
        found = SOLVERS["euler"](denoiser, x, sigmas)
        sigmas[-1] = 0.001
        x.zero_()
        return found

    mine, before = {"mine": grids()["ours"]}, START.clone()
    assert compare(gaussian(), START, mine, writing)[0].rms == compare(gaussian(), START, mine)[0].rms
    assert mine["mine"][-1] == 0 and torch.equal(START, before)


@pytest.mark.parametrize("top", [80.0, 700.0, 4518.8])
def test_the_reference_goes_down_to_the_data_in_wide_ranges(top):
    """N(0, 1) ends at x/sqrt(1 + T^2); a few good steps would else be nearer to it than the reference."""
    noise = targets.noise((16, 4), top)
    sigmas = optimal_schedule(record_orbits(gaussian(), noise, top, 0.002)).sigmas(12)
    row = compare(gaussian(), noise, {"ours": sigmas}, "heun", reference_nodes=1024)[0]
    end = SOLVERS["heun"](gaussian(), noise, sigmas)
    truth = float((end - noise / math.sqrt(1 + top**2)).double().square().mean().sqrt())
    assert row.rms == pytest.approx(truth, rel=0.2)
