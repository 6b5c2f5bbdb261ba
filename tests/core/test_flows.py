"""Rectified flows: the same orbits in another coordinate, and what that makes of a sampler's end error."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from art_nodes.core import OrbitBank, flow_recording_grid, record_orbits
from art_nodes.core.compare import euler, heun
from art_nodes.core.exact import image_gaussian, mixture
from art_nodes.core.linear import LinearError
from art_nodes.core.objectives import SamplerError, growth_of
from art_nodes.core.refine import best_grid
from art_nodes.core.spectrum import Bands

LOW, SIZE = 0.002, 32


def flow(x, share):
    """The image-like Gaussian as a rectified flow predicts it: x = (1 - share) x0 + share eps."""
    column = share.reshape(-1, 1, 1, 1).clamp(max=0.9975)
    return image_gaussian(SIZE)(x / (1 - column), (share / (1 - share)).clamp(max=400))


def noise(count, seed):
    return torch.randn(count, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def bank():
    return record_orbits(flow, noise(16, 0), 1.0, LOW, sigmas=flow_recording_grid(1.0, LOW, 64), share=True)


@pytest.fixture(scope="module")
def error_of():
    """RMS end error of Euler's method on a grid, over unseen noise."""
    start, fine = noise(32, 1), np.append(flow_recording_grid(1.0, LOW / 2, 200), 0.0)
    truth = heun(flow, start, torch.from_numpy(fine))
    return lambda grid: (euler(flow, start, torch.from_numpy(grid)) - truth).square().mean().sqrt().item()


def random_grids(count, steps):
    """Even grids of time, shaken, under shifts from 0.7 to 12."""
    rng, grids = np.random.default_rng(0), []
    for _ in range(count):
        shift, lengths = np.exp(rng.uniform(np.log(0.7), np.log(12))), rng.dirichlet(np.full(steps, rng.uniform(3, 30)))
        time = 1 - np.append(0.0, lengths.cumsum())
        time[-1] = 0.0
        grids.append(shift * time / (1 + (shift - 1) * time))
    return np.stack(grids)


@pytest.mark.parametrize("steps", [6, 10])
def test_end_errors_of_a_flow_are_foretold(bank, error_of, steps):
    """They rank grids as the true errors do; taken for added noise the same recording does not."""
    grids = random_grids(60, steps)
    true = [error_of(grid) for grid in grids]
    rank = {known.share: spearmanr(SamplerError(known, "end:euler")(grids), true).statistic
            for known in (bank, dataclasses.replace(bank, share=False))}
    assert rank[True] > 0.93 and rank[False] < 0.9, rank
    best = best_grid(SamplerError(bank, "end:euler"), steps)
    assert error_of(best) < 1.01 * min(true)


@pytest.mark.parametrize("steps", [6, 10])
def test_the_spectrum_that_a_flow_ends_with_is_foretold(bank, steps):
    """Over unseen noise; control: the end error ranks grids otherwise."""
    bands, start, grids = Bands((1, SIZE, SIZE)), noise(32, 1), random_grids(60, steps)

    def power(solver, grid):
        return bands.powers(solver(flow, start, torch.from_numpy(grid))).mean(axis=0)

    wanted = power(heun, np.append(flow_recording_grid(1.0, LOW / 2, 200), 0.0))
    true = [np.sqrt(bands.share @ np.log(power(euler, grid) / wanted) ** 2) for grid in grids]
    rank = {kind: spearmanr(SamplerError(bank, f"{kind}:euler")(grids), true).statistic for kind in ("spectrum", "end")}
    assert rank["spectrum"] > 0.96 > rank["end"] + 0.1, rank


def test_errors_of_a_gaussian_flow_are_told_not_to_grow(bank):
    """As little as those of the same field under added noise; control: taken for that, they seem to."""
    assert growth_of(bank) < 0.02 < growth_of(dataclasses.replace(bank, share=False))


@pytest.mark.parametrize("shift", [5.0, 8.0, 12.0])
def test_strong_shifts_have_a_growth_too(bank, shift):
    """Several of their nodes lie so near to a share of 1 that all noise counts as the same there."""
    time = np.linspace(1, 0, 65)[:-1]
    nodes = shift * time / (1 + (shift - 1) * time)
    shifted = record_orbits(flow, noise(16, 0), 1.0, nodes[-1], sigmas=nodes, share=True)
    assert growth_of(shifted) == pytest.approx(growth_of(bank), abs=0.1)
    assert np.isfinite(SamplerError(shifted, "end:euler")(random_grids(3, 6))).all()


def test_a_bank_remembers_what_its_sigma_means(bank, tmp_path):
    bank.save(tmp_path / "bank.safetensors")
    loaded = OrbitBank.load(tmp_path / "bank.safetensors")
    assert loaded.share and OrbitBank.merge([loaded, bank]).share and not dataclasses.replace(bank, share=False).share


def test_recordings_of_a_flow_are_those_of_added_noise(bank):
    """The orbits are the same, so the last predictions are, within what 64 nodes leave."""
    fine = record_orbits(flow, noise(16, 0), 1.0, LOW, sigmas=flow_recording_grid(1.0, LOW, 256), share=True)
    np.testing.assert_allclose(bank.gram[:, -1, -1], fine.gram[:, -1, -1], rtol=0.03)


def test_recordings_of_a_flow_hold_what_is_widest_in_a_large_picture():
    """Its mean, which shows first of all, right below pure noise; control: without the node there ends are off."""
    widest, start = 100.0, noise(1, 0).reshape(-1, 1)

    def denoise(x, share):
        column = share.reshape(-1, 1)
        return (1 - column) * widest**2 * x / ((1 - column) ** 2 * widest**2 + column**2)

    def off(nodes):
        known = record_orbits(denoise, start, 1.0, LOW, sigmas=nodes, share=True)
        return np.abs(known.ends / (widest * start.numpy()) - 1).max()

    nodes = flow_recording_grid(1.0, LOW, 64)
    assert off(nodes) < 0.004 and off(np.delete(nodes, 1)) > 0.03


def test_many_steps_of_a_flow_may_be_short_ones(monkeypatch):
    """In large pictures something happens right below pure noise; control: with a bound on them grids are worse."""
    spreads = torch.logspace(2, -1, 13).repeat_interleave(torch.arange(13) ** 2 + 1)  # few wide directions, many narrow

    def denoise(x, share):
        column = share.reshape(-1, 1)
        return (1 - column) * spreads**2 * x / ((1 - column) ** 2 * spreads**2 + column**2)

    start = torch.randn(16, len(spreads), generator=torch.Generator().manual_seed(0))
    error = SamplerError(record_orbits(denoise, start, 1.0, LOW, share=True), "end:dpmpp_2m")

    def found():
        grid = best_grid(error, 30)
        return error(grid[None])[0], np.log(grid[0] / grid[1])

    least, shortest = found()
    monkeypatch.setattr("art_nodes.core.refine.SHORTEST", np.log(5e-3))
    assert shortest < 0.004 and found()[0] > 1.2 * least


def test_the_spectrum_of_a_flow_counts_what_each_step_leaves_of_the_picture():
    """Eq. (17) worked out on pictures: an error at a share s of noise is 1/(1 - s) times as large in the picture."""
    seen = [noise(6, 3)]

    def spying(x, share):
        seen.append(flow(x, share))
        return seen[-1]

    known = record_orbits(spying, seen[0], 1.0, LOW, share=True)
    pictures, grid = torch.stack(seen).double().numpy(), np.array([1.0, 0.93, 0.8, 0.55, 0.25, 0.0])
    error = SamplerError(known, "spectrum:euler")
    runs = error.replay(1, len(grid) - 1)
    residuals = [np.tensordot(runs.step(np.array([there]))[0], pictures, 1) for there in grid[1:]]
    bands = Bands((1, SIZE, SIZE))

    def distance(off):
        got, lost, want = (bands.powers(torch.from_numpy(part)).mean(axis=0)
                           for part in (pictures[-1] + off, off, pictures[-1]))
        share = bands.share
        return (np.log(got / want) ** 2 + 0.3 * lost / want) @ share + (lost @ share) / (want @ share)

    scaled = sum(part / (1 - there) for part, there in zip(residuals, grid[1:], strict=True))
    assert error(grid[None])[0] ** 2 == pytest.approx(distance(scaled), rel=1e-4)
    assert error(grid[None])[0] ** 2 != pytest.approx(distance(sum(residuals)), rel=0.05)  # negative control


def test_errors_of_a_flow_grow_as_those_of_the_same_data_under_added_noise():
    """Two modes, of which pictures may choose the other; the range of noise is the same."""
    plain = mixture([-1.0, 1.0], [1.0, 1.0], [0.5, 0.5])

    def as_flow(x, share):
        column = share.reshape(-1, 1).clamp(max=0.9975)
        return plain(x / (1 - column), (share / (1 - share)).clamp(max=400))

    start = torch.randn(64, 1, generator=torch.Generator().manual_seed(0))
    added = growth_of(record_orbits(plain, 400 * start, 400.0, LOW))
    assert growth_of(record_orbits(as_flow, start, 1.0, LOW, share=True)) == pytest.approx(added, rel=0.3)
    assert added > 0.05


def test_a_share_of_noise_is_recorded_on_nodes_of_its_own(bank):
    again = record_orbits(flow, noise(16, 0), 1.0, LOW, share=True)
    assert np.array_equal(again.sigmas, bank.sigmas) and np.array_equal(again.gram, bank.gram)
    with pytest.raises(ValueError, match="sigma_max must be 1 or less where sigma is a share of noise; got 14.6"):
        record_orbits(flow, noise(2, 0), 14.6, LOW, share=True)


@pytest.mark.parametrize("low", [0.02, 0.2])
def test_linear_scores_of_a_flow_contract_errors_as_they_do(bank, error_of, low):
    """On the Gaussian field the end error of Euler's method is foretold within 6 %, other noises than were recorded.

    With shares taken for added noise it is not.
    """
    grid = np.append(np.linspace(1.0, low, 8), 0.0)
    told = LinearError(bank, "end:euler", banded=True)
    assert told(grid[None])[0] == pytest.approx(error_of(grid), rel=0.06)
    told.arrival.share = False
    assert told(grid[None])[0] != pytest.approx(error_of(grid), rel=0.1)  # negative control
