"""Errors contracted as linear scores have it: against samplers on exact Gaussians, where that is the truth."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from art_nodes.core import record_orbits, recording_grid
from art_nodes.core.arrival import Arrival
from art_nodes.core.compare import heun
from art_nodes.core.linear import LinearError, common_square, tells_spread
from art_nodes.core.objectives import SamplerError
from art_nodes.core.orbits import BandOrbits, Orbits
from art_nodes.core.refine import best_grid
from art_nodes.core.samplers import REPLAYS
from tests.core import targets

HIGH, LOW = targets.SDXL_RANGE
SAMPLERS = ("euler", "heun", "dpmpp_2m")
ACCURACY = {"dpmpp_2m": 0.15}
GRIDS = np.stack([np.append(np.geomspace(HIGH, low, 6), 0.0) for low in (0.03, 0.3, 1.0)])


@pytest.fixture(scope="module")
def bank():
    return targets.bank("image")


@pytest.fixture(scope="module")
def true_errors(k_diffusion_sampling):
    """RMS end errors of a sampler on grids (G, K + 1), on the exact field and from noise that was not recorded."""
    model, start = targets.image_gaussian(64), targets.noise((32, 1, 64, 64), HIGH, seed=9)
    truth = heun(model, start, torch.from_numpy(np.append(np.geomspace(HIGH, LOW / 4, 150), 0.0)))

    def found(sampler, grids):
        sample = getattr(k_diffusion_sampling, f"sample_{sampler}")
        ends = (sample(lambda x, sigma: model(x, sigma), start, torch.from_numpy(grid).float(), disable=True)
                for grid in grids)
        return np.array([(end - truth).square().mean().sqrt().item() for end in ends])

    return found


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_on_a_gaussian_field_errors_are_foretold(bank, true_errors, sampler):
    """Within 2 % of the true RMS in each of three grids, within 15 % where residuals cancel.

    Not if weak bands are taken for the strong ones.
    """
    true, error = true_errors(sampler, GRIDS), LinearError(bank, f"end:{sampler}", banded=True)
    off = np.abs(error(GRIDS) / true - 1).max()
    error.arrival.reach = error.arrival.reach[::-1]
    assert off < ACCURACY.get(sampler, 0.02) and np.abs(error(GRIDS) / true - 1).max() > 2 * off  # negative control


@pytest.mark.parametrize("banded", [False, True])
def test_ends_may_be_in_other_units(bank, banded):
    """As a host's latents are, whose format the model has another scale for."""
    other = dataclasses.replace(bank, ends=7 * bank.ends)
    found = LinearError(other, "end:dpmpp_2m", banded)(GRIDS)
    np.testing.assert_allclose(found, LinearError(bank, "end:dpmpp_2m", banded)(GRIDS), rtol=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_grids_for_linear_scores_are_the_best_where_scores_are_linear(true_errors, seed):
    """With DPM++ 2M at 8 steps their error is less than half of that of the grids of `end`; three recordings."""
    model, start = targets.image_gaussian(64), targets.noise((8, 1, 64, 64), HIGH, seed=seed)
    bank = record_orbits(model, start, HIGH, LOW)
    errors = (LinearError(bank, "end:dpmpp_2m", banded=True), LinearError(bank, "end:dpmpp_2m"),
              SamplerError(bank, "end:dpmpp_2m"))
    banded, whole, plain = true_errors("dpmpp_2m", [best_grid(error, 8) for error in errors])
    assert banded < 0.5 * plain and whole < plain


@pytest.mark.parametrize("spread", [0.5, 2.0])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_replays_follow_a_gaussian_off_its_orbit(sampler, spread, k_diffusion_sampling):
    """A run from the orbit ends where the sampler does on the exact prediction D = x s^2/(s^2 + sigma^2).

    Other samplers are the host's, see tests/host/test_replays.py.
    """
    nodes = recording_grid(HIGH, LOW, 256)
    values = np.append(np.hypot(spread, HIGH), spread**2 / np.hypot(spread, nodes))
    sample = getattr(k_diffusion_sampling, f"sample_{sampler}")
    runs, plain = (REPLAYS[sampler](Orbits(nodes), np.full(3, HIGH), arrival=arrival)
                   for arrival in (Arrival(spread), None))
    for there in GRIDS.T[1:]:
        runs.step(there)
        plain.step(there)
    model = lambda x, sigma: x * spread**2 / (spread**2 + sigma[:1] ** 2)  # noqa: E731
    ends = [sample(model, torch.tensor(values[:1]), torch.from_numpy(grid), disable=True).item() for grid in GRIDS]
    off = [np.abs((run.error @ values + values[-1]) / ends - 1).max() for run in (runs, plain)]
    assert off[0] < 2e-3 and off[1] > 10 * off[0]


@given(st.floats(0.01, 50), st.floats(0.0, 2.0), st.floats(0.05, 5.0), st.booleans())
def test_predictions_follow_errors_as_they_arrive(reach, growth, power, share):
    """d e/d ln sigma = (1 - follows) e is what makes an error arrive with the gain: 1 + d ln g/d ln sigma."""
    arrival = Arrival(reach, growth, power, share)
    sigma = np.geomspace(1e-3, 0.9 if share else 50.0, 40)
    above, below = (np.log(arrival.gain(sigma * np.exp(step))) for step in (1e-5, -1e-5))
    np.testing.assert_allclose(arrival.follows(sigma), 1 + (above - below) / 2e-5, rtol=1e-3, atol=1e-5)


def test_bands_are_replayed_side_by_side():
    """The squares of a band's vectors are those of the weights in its Gram matrix."""
    nodes, rng = recording_grid(HIGH, LOW, 16), np.random.default_rng(0)
    roots, sigma = rng.normal(size=(2, 17, 5)), np.repeat([12.0, 3.0, 0.2, 0.0], 2)
    side, plain = BandOrbits(nodes, roots), Orbits(nodes)
    for read in ("state", "denoised"):
        found, weights = getattr(side, read)(sigma[:6]), getattr(plain, read)(sigma[:6])
        for band in (0, 1):
            gram = roots[band] @ roots[band].T
            np.testing.assert_allclose((found[band::2] ** 2).sum(axis=1),
                                       np.einsum("en,nm,em->e", weights[band::2], gram, weights[band::2]))
    np.testing.assert_allclose(side.state(sigma)[6:], roots[:, -1])


def test_how_alike_pictures_are_is_told_without_bias():
    """Five samples of a few strong directions and many weak ones, many times over; the plain mean is far too large."""
    spreads, rng = np.array([3.0, 2.0, 2.0, *np.full(200, 0.4)]), np.random.default_rng(0)
    variances, found, naive, total = spreads**2, [], [], []
    for _ in range(600):
        samples = 7.0 + spreads * rng.normal(size=(5, len(spreads)))
        found.append(common_square(samples))
        off = samples - samples.mean(axis=0)
        gram = off @ off.T
        total.append(np.trace(gram) / 4)
        naive.append((gram[~np.eye(5, dtype=bool)] ** 2).mean() / total[-1])
    true = (variances**2).sum() / variances.sum()
    assert np.average(found, weights=total) == pytest.approx(true, rel=0.1) and np.mean(naive) > 1.3 * true


def test_pictures_of_one_direction_or_of_all_are_the_ends_of_the_scale():
    rng, one = np.random.default_rng(0), np.ones((1, 300)) / np.sqrt(300)
    along, all_alike = rng.normal(size=(64, 1)) * one, rng.normal(size=(64, 300))
    assert common_square(along) == pytest.approx(np.var(along @ one.T, ddof=1), rel=0.1)
    assert common_square(all_alike) == pytest.approx(1.0, rel=0.1) and common_square(np.ones((4, 9))) == 0.0
    kept = rng.permutation(300)[:60]
    assert common_square(along[:, kept], 0.2) == pytest.approx(common_square(along), rel=0.02)


def test_a_random_part_of_uneven_pictures_tells_of_all():
    """Independent elements of which half do not vary at all: only covariances are rarer in a part."""
    samples = np.random.default_rng(0).normal(size=(200, 1000)) * np.where(np.arange(1000) % 2, 2**0.5, 0.0)
    assert common_square(samples) == pytest.approx(2.0, rel=0.1)
    assert common_square(samples[:, :250], 0.25) == pytest.approx(2.0, rel=0.1)


def test_of_large_samples_a_part_tells_the_spread(monkeypatch, bank):
    """A sixteenth of the elements tells of the same spread as all do; taken for all of them it tells of a third."""
    error = LinearError(bank, "end:euler")
    monkeypatch.setattr("art_nodes.core.record.MAX_ELEMENTS", 256)
    few = record_orbits(targets.image_gaussian(64), targets.noise((16, 1, 64, 64), HIGH), HIGH, LOW)
    part = LinearError(few, "end:euler")
    assert part.arrival.reach == pytest.approx(error.arrival.reach, rel=0.35)
    np.testing.assert_allclose(part(GRIDS), error(GRIDS), rtol=0.1)


def test_banks_that_cannot_tell_the_spread_are_refused(bank):
    few = record_orbits(targets.image_gaussian(64), targets.noise((3, 1, 64, 64), HIGH), HIGH, LOW, nodes=16)
    for poor, banded in ((few, False), (dataclasses.replace(bank, ends=None), False),
                         (dataclasses.replace(bank, spectrum=None), True)):
        assert not tells_spread(poor, banded)
        with pytest.raises(ValueError, match="how alike pictures are is told by 4 orbits or more.*take end:euler"):
            LinearError(poor, "end:euler", banded)
    assert tells_spread(bank) and tells_spread(bank, True)
    assert tells_spread(record_orbits(targets.gaussian(), targets.noise((4, 9), HIGH), HIGH, LOW, nodes=8))


def test_samples_of_one_element_have_a_spread_too():
    """Of N(0, 1) it is 1, within what 64 orbits tell."""
    error = LinearError(targets.bank("normal"), "end:dpmpp_2m")
    assert error.arrival.reach == pytest.approx(1.0, rel=0.3)
    assert np.isfinite(error(np.array([[3.0, 1.0, 0.1, 0.0]]))).all()
