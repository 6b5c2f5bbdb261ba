"""Samplers replayed on recorded orbits, against the host's own code for them and against exact solutions."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from art_nodes.core import OrbitBank, record_orbits, recording_grid
from art_nodes.core.orbits import Orbits
from art_nodes.core.samplers import REPLAYS
from benchmarks.solvers import rk4
from tests.core import targets

HIGH, LOW = 14.6146, 0.0292
GRID = recording_grid(HIGH, LOW, 64)
SPREADS = np.array([0.1, 0.5, 1.0, 2.0, 5.0])  # of five Gaussian coordinates whose orbits are known


def exact(sigma, spread):
    """State and prediction of a centred Gaussian coordinate at `sigma`, from 1 standard deviation."""
    size = np.hypot(spread, sigma)
    return size, spread**2 / size


def recorded(spread):
    """What a recording of such an orbit holds: (N + 1,)."""
    return np.append(exact(HIGH, spread)[0], exact(GRID, spread)[1])


@pytest.mark.parametrize("spread", SPREADS)
def test_orbits_are_read_between_their_nodes(spread):
    """An orbit read anywhere is within 1e-4 of the exact one, below sigma_min apart."""
    orbits, sigma = Orbits(GRID), np.geomspace(LOW, HIGH, 300)
    state, denoised = exact(sigma, spread)
    np.testing.assert_allclose(orbits.state(sigma) @ recorded(spread), state, atol=1e-4 * HIGH / 10)
    np.testing.assert_allclose(orbits.denoised(sigma) @ recorded(spread), denoised, atol=1e-4 * spread)


def test_an_orbit_starts_and_ends_where_it_should():
    """At sigma_max it is the recorded state, at 0 the last prediction."""
    ends = Orbits(GRID).state(np.array([HIGH, 0.0]))
    np.testing.assert_allclose(ends[0], np.eye(65)[0], atol=1e-12)
    np.testing.assert_allclose(ends[1], np.eye(65)[-1], atol=1e-12)


@given(st.lists(st.floats(0.0, HIGH), min_size=1, max_size=8))
def test_a_constant_prediction_is_followed_exactly(sigmas):
    """With D constant the orbit is the straight line x = D + sigma (x_max - D)/sigma_max, at any sigma."""
    held = np.append(HIGH, np.full(64, 0.7))
    line = 0.7 + np.array(sigmas) / HIGH * (HIGH - 0.7)
    np.testing.assert_allclose(Orbits(GRID).state(np.array(sigmas)) @ held, line, atol=1e-9)


def grids():
    """Three grids of six steps that end at 0."""
    return np.stack([np.append(np.geomspace(HIGH, low, 6), 0.0) for low in (0.03, 0.3, 1.0)])


@pytest.mark.parametrize("name", ["euler", "heun", "dpmpp_2m", "rk4"])
def test_replays_are_the_samplers_of_k_diffusion(name, k_diffusion_sampling):
    """A run of the independent code, with the prediction that a replay assumes, ends where the replay does.

    k-diffusion has no RK4; scipy-checked code of the benchmarks stands in.
    """
    orbits, values = Orbits(GRID), np.stack([recorded(spread) for spread in SPREADS], axis=1)  # (N + 1, 5)
    runs = REPLAYS[name](orbits, np.full(3, HIGH))
    for there in grids().T[1:]:
        runs.step(there)
    for grid, error in zip(grids(), runs.error, strict=True):
        def denoiser(x, sigma, **_):
            at = sigma[:1].double().numpy()
            return torch.from_numpy(orbits.denoised(at) @ values) + x - torch.from_numpy(orbits.state(at) @ values)

        start = torch.from_numpy(values[:1])
        if name == "rk4":
            end, accuracy = rk4(denoiser, start, torch.from_numpy(grid)), 1e-6  # it asks at float32 sigmas
        else:
            sample, accuracy = getattr(k_diffusion_sampling, f"sample_{name}"), 1e-8
            end = sample(denoiser, start, torch.from_numpy(grid), disable=True)
        np.testing.assert_allclose(end.numpy()[0], error @ values + values[-1], atol=accuracy)


@pytest.mark.parametrize("name", REPLAYS)
def test_on_the_orbit_every_step_starts_anew(name):
    """Judged one by one, the residuals of two runs that meet again are the same once their histories are."""
    orbits, way = Orbits(GRID), ((9.0, 3.0), (1.0, 1.0), (0.5, 0.5), (0.3, 0.3), (0.1, 0.1), (0.0, 0.0))
    runs = REPLAYS[name](orbits, np.full(2, HIGH), on_orbit=True, steps=len(way))
    found = [runs.step(np.array(there)) for there in way]
    assert not np.allclose(found[0][0], found[0][1]) and not runs.error.any()
    np.testing.assert_allclose(found[4][0], found[4][1], atol=1e-12)


def test_uni_pc_needs_to_know_how_many_steps_there_will_be():
    with pytest.raises(ValueError, match="uni_pc needs to know its number of steps"):
        REPLAYS["uni_pc"](Orbits(GRID), np.full(2, HIGH))


def test_a_bank_holds_the_inner_products_of_what_it_recorded():
    """The Gram matrix's diagonal is the mean square of the start and of each prediction."""
    seen = []

    def denoiser(x, sigma):
        seen.append(targets.image_gaussian(8)(x, sigma))
        return seen[-1]

    noise = targets.noise((3, 1, 8, 8), HIGH)
    bank = record_orbits(denoiser, noise, HIGH, LOW, nodes=16)
    assert bank.gram.shape == (3, 17, 17) and bank.elements == 64
    squares = torch.stack([noise, *seen]).flatten(2).double().square().mean(2).T
    np.testing.assert_allclose(np.diagonal(bank.gram, axis1=1, axis2=2), squares, rtol=1e-6)


@pytest.mark.parametrize("across, down", [(0, 0), (4, 0), (2, 5)])
def test_a_wave_counts_by_its_value_and_slope(across, down):
    """A prediction that is one wave, f cycles along the short side, has a detail of 1 + f^2 times its square."""
    x, y = torch.arange(24) / 16, torch.arange(16) / 16
    wave = torch.cos(2 * torch.pi * (across * x + down * y[:, None])).expand(2, 1, 16, 24)
    bank = record_orbits(lambda x, sigma: wave / (1 + sigma.reshape(-1, 1, 1, 1)), HIGH * torch.ones(2, 1, 16, 24),
                         HIGH, LOW, nodes=8)
    ratio = bank.detail[:, 1:, 1:] / bank.gram[:, 1:, 1:]
    np.testing.assert_allclose(ratio, 1 + across**2 + down**2, rtol=1e-4)


def test_samples_that_are_no_pictures_have_no_detail():
    bank = record_orbits(targets.gaussian(), targets.noise((4, 3), HIGH), HIGH, LOW, nodes=8)
    assert bank.gram is not None and bank.detail is None


def test_a_large_sample_is_told_by_a_fixed_part_of_it():
    """Of 65,536 elements a quarter is kept: norms are off by less than 2 %, and the bank stays small."""
    noise = torch.randn(2, 4, 128, 128, generator=torch.Generator().manual_seed(0)) * HIGH
    bank = record_orbits(lambda x, sigma: x / (1 + sigma.reshape(-1, 1, 1, 1) ** 2), noise, HIGH, LOW, nodes=8)
    exactly = noise.flatten(1).double().square().mean(1).numpy()
    np.testing.assert_allclose(bank.gram[:, 0, 0], exactly, rtol=0.02)
    assert bank.elements == 65536 and bank.gram.nbytes < 10_000


def test_banks_keep_their_gram_when_merged_and_saved(tmp_path):
    """Merging lays other nodes onto a common grid; a file brings everything back."""
    fine, coarse = (record_orbits(targets.image_gaussian(8), targets.noise((2, 1, 8, 8), HIGH), HIGH, LOW, nodes=nodes)
                    for nodes in (64, 48))
    both = OrbitBank.merge([fine, coarse])
    assert both.gram.shape[0] == 4 and both.gram.shape[1] == len(both.sigmas) + 1
    np.testing.assert_allclose(both.gram[0, -1, -1], both.gram[2, -1, -1], rtol=0.01)
    both.save(tmp_path / "bank.safetensors")
    again = OrbitBank.load(tmp_path / "bank.safetensors")
    np.testing.assert_array_equal(again.gram, both.gram)
    np.testing.assert_array_equal(again.detail, both.detail)
    assert both.detail.shape == both.gram.shape and (both.detail[:, -1, -1] > both.gram[:, -1, -1]).all()
    assert again.elements == both.elements


def test_a_bank_refuses_a_gram_of_another_shape():
    with pytest.raises(ValueError, match="gram must be finite, .*got"):
        OrbitBank(GRID, np.ones((1, 64)), gram=np.ones((1, 3, 3)))
