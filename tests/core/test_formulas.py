"""Formulas of docs/theory.md worked out a second time, slowly: on pictures and term by term.

Constants are written out here, so that a change of one is noticed.
"""

from fractions import Fraction

import numpy as np
import pytest
import torch

from art_nodes.core import OrbitBank, Schedule, record_orbits
from art_nodes.core.exact import gaussian, image_gaussian
from art_nodes.core.objectives import SamplerError, spread
from art_nodes.core.stiffness import stiffness_cells
from tests.core import targets

HIGH, LOW = targets.SDXL_RANGE
SIDE, CHANNELS = 16, 2
WAVES = np.fft.fftfreq(SIDE) * SIDE
RADIUS2 = WAVES[:, None] ** 2 + WAVES**2  # squared, in cycles
GRID = np.append(np.geomspace(HIGH, 0.05, 8), 0.0)  # coarse: errors are large, and their signs differ
SAMPLERS = ("euler", "dpmpp_2m", "uni_pc")


def recorded(denoiser, start: torch.Tensor, *sigma_range: float) -> tuple[OrbitBank, np.ndarray]:
    """A bank and the pictures that it is made of: the start and every answer; (N + 1, B, C, H, W) float64."""
    seen = [start]

    def spying(x, sigma):
        seen.append(denoiser(x, sigma))
        return seen[-1]

    bank = record_orbits(spying, start, *sigma_range)
    return bank, torch.stack(seen).double().numpy()


@pytest.fixture(scope="module")
def field() -> tuple[OrbitBank, np.ndarray]:
    """Six orbits of a small Gaussian field of two channels, with their pictures."""
    return recorded(image_gaussian(SIDE), targets.noise((6, CHANNELS, SIDE, SIDE), HIGH), HIGH, LOW)


def residual_pictures(error: SamplerError, pictures: np.ndarray) -> list[np.ndarray]:
    """What each step of GRID adds to the error of each orbit, as pictures; K of (B, C, H, W)."""
    runs = error.replay(1, len(GRID) - 1)
    return [np.tensordot(runs.step(np.array([there]))[0], pictures, 1) for there in GRID[1:]]


def plain_product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Inner product per element of pictures (B, C, H, W); (B,)."""
    return (a * b).mean(axis=(1, 2, 3))


def product_with_slopes(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The same of value and slope together: a frequency of f cycles counts 1 + f^2 times, by Parseval; (B,)."""
    waves = [np.fft.fft2(pictures, norm="ortho") for pictures in (a, b)]
    return (waves[0] * waves[1].conj() * (1 + RADIUS2)).real.mean(axis=(1, 2, 3))


# Eqs. (16) and (18): how errors add up

def double_sum(residuals: list[np.ndarray], product, turn: float, growth: float, reach: float, power: float
               ) -> np.ndarray:
    """Eq. (16), every pair of steps for itself, with the growth of section 7; (B,)."""
    total = 0.0
    for i in range(len(residuals)):
        for j in range(len(residuals)):
            arrives = 1.0
            for there in (GRID[i + 1], GRID[j + 1]):
                arrives *= reach / (reach**2 + there**2) ** 0.5
                arrives *= (1 + growth * there**2 / (there**2 + power)) ** 0.5
            kept = np.exp(-abs(np.log(GRID[i] / GRID[j])) / turn)
            total = total + arrives * kept * product(residuals[i], residuals[j])
    return total


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("growth", [0.0, 0.3])
@pytest.mark.parametrize("turn", [None, 2.0])
@pytest.mark.parametrize("kind, product", [("end", plain_product), ("detail", product_with_slopes)])
def test_the_end_error_is_a_double_sum_over_the_steps(field, kind, product, turn, growth, sampler):
    """Over pictures, pooled and orbit by orbit; negative control: a memory of half as many e-folds is noticed."""
    bank, pictures = field
    error = SamplerError(bank, f"{kind}:{sampler}", growth=growth, **({} if turn is None else {"turn": turn}))
    residuals, turn = residual_pictures(error, pictures), turn or 5.0
    rest = {"growth": growth, "reach": 1.5 * spread(bank), "power": (pictures[-1] ** 2).mean()}
    truth = double_sum(residuals, product, turn, **rest)
    np.testing.assert_allclose(error.per_orbit(GRID) ** 2, truth, rtol=1e-5)
    np.testing.assert_allclose(error(GRID[None])[0] ** 2, truth.mean(), rtol=1e-5)
    assert abs(double_sum(residuals, product, turn / 2, **rest).mean() / truth.mean() - 1) > 1e-3


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("growth", [0.0, 0.3])
def test_each_step_is_charged_for_what_it_adds_to_the_double_sum(field, growth, sampler):
    """Eq. (18): after any number of steps the ledger holds the double sum over those."""
    bank, pictures = field
    error = SamplerError(bank, f"end:{sampler}", growth=growth)
    residuals, runs, orbits = residual_pictures(error, pictures), error.replay(1, 8), len(bank.gram)
    ledger, held = error.ledger(bank.gram), np.zeros(orbits)
    for k in range(8):
        step = np.repeat(runs.step(GRID[k + 1:k + 2]), orbits, axis=0)
        held = held + ledger.charge(step, np.full(orbits, GRID[k]), np.full(orbits, GRID[k + 1]))
        truth = double_sum(residuals[:k + 1], plain_product, 5.0, growth, 1.5 * spread(bank),
                           (pictures[-1] ** 2).mean())
        np.testing.assert_allclose(held, truth, rtol=1e-5)


# Eq. (17): how far spectra are off

def ring_powers(pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean power of a coefficient in each one-cycle ring of each channel of pictures, and each ring's share; (F,)."""
    power = np.abs(np.fft.fft2(pictures, norm="ortho")) ** 2
    rings = np.minimum(np.round(RADIUS2**0.5), SIDE // 2)  # the corners join the last
    inside = [rings == ring for ring in range(SIDE // 2 + 1)]
    powers = [power[:, channel, ring].mean() for channel in range(CHANNELS) for ring in inside]
    return np.array(powers), np.array([ring.mean() / CHANNELS for _ in range(CHANNELS) for ring in inside])


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("aimed", [False, True])
def test_the_distance_of_spectra_is_that_of_pictures_band_by_band(field, aimed, sampler):
    """Eq. (17) with kappa = 0.3 and kappa_0 = 1; negative control: each of its three terms is needed."""
    bank, pictures = field
    ends = wanted = pictures[-1]
    if aimed:
        wanted = 0.8 * ends[:4]
        bank = bank.aiming_at(torch.from_numpy(wanted))
    error = SamplerError(bank, f"spectrum:{sampler}")
    off = sum(residual_pictures(error, pictures))
    (want, share), (got, _), (lost, _) = (ring_powers(each) for each in (wanted, ends + off, off))
    terms = [sum(n * np.log(p / t) ** 2 for n, p, t in zip(share, got, want, strict=True)),
             0.3 * sum(n * e / t for n, e, t in zip(share, lost, want, strict=True)),
             1.0 * (off**2).mean() / (wanted**2).mean()]
    np.testing.assert_allclose(error(GRID[None])[0] ** 2, sum(terms), rtol=1e-5)
    assert min(terms) > 1e-3 * sum(terms)


# Half precision

HALF = [(torch.bfloat16, 2.0**-7), (torch.float16, 2.0**-10)]  # with the spacing of numbers from 1 to 2
NAMES = ["bfloat16", "float16"]


def rounded(values: torch.Tensor, dtype) -> torch.Tensor:
    """`values` as a model answers that computes in half precision."""
    return values.to(dtype).float()


@pytest.mark.parametrize("dtype, spacing", HALF, ids=NAMES)
def test_rounding_does_not_count_as_stiffness(dtype, spacing):
    """|Q| = |dD|/(sigma dsigma) of predictions that go straight in ln sigma, dithered and rounded as in a recording.

    Between 1 and 2 dither and rounding leave a mean square of spacing^2/12 each. The change from node to node is seven
    times what that makes of a difference. Negative control: rounded numbers as they are change by 1 % more.
    """
    generator, change = torch.Generator().manual_seed(0), 7 * spacing / 3**0.5
    sigmas, base = np.geomspace(1.0, 0.3, 8), 1.2 + 0.3 * torch.rand(4, 1 << 16, generator=generator)
    exact = torch.stack([base + change * i for i in range(8)])
    seen = rounded(exact + spacing * (torch.rand(exact.shape, generator=generator) - 0.5), dtype)
    width = 0.5 * (sigmas[:-1] + sigmas[1:]) * (sigmas[:-1] - sigmas[1:])
    np.testing.assert_allclose(stiffness_cells(sigmas, exact)[:, :-1] * width, change, rtol=1e-4)
    np.testing.assert_allclose(stiffness_cells(sigmas, seen)[:, :-1] * width, change, rtol=0.003)
    raw = (seen[1:] - seen[:-1]).double().square().mean(dim=2).sqrt().numpy()
    assert (raw > 1.007 * change).all()


def change_by_matrix(gram: np.ndarray) -> np.ndarray:
    """Mean square per element of what changes from one prediction to the next, of (orbits, N + 1, N + 1); (N - 1,)."""
    inner = gram.mean(axis=0)
    return np.array([inner[i, i] - 2 * inner[i, i + 1] + inner[i + 1, i + 1] for i in range(1, len(inner) - 1)])


def rounding_variance(values: np.ndarray, spacing: float) -> float:
    """spacing^2/6 of numbers from 1 to 2, and of others by their power of two: a dithered and rounded prediction's."""
    return float(np.mean((spacing * 2.0 ** (np.frexp(values)[1] - 1)) ** 2) / 6)


@pytest.fixture(scope="module", params=HALF, ids=NAMES)
def halves(request) -> tuple[OrbitBank, OrbitBank, np.ndarray, np.ndarray]:
    """Banks of a float32 model and of one that rounds; the latter's pictures, and what rounding makes of a change.

    At small sigma, where predictions hardly change; all but the change from the first node, where nothing is dithered.
    """
    start, denoiser, (dtype, spacing) = targets.noise((4, 1, 64, 64), 0.1), gaussian(), request.param
    whole, _ = recorded(denoiser, start, 0.1, 0.03)
    half, pictures = recorded(lambda x, sigma: rounded(denoiser(x, sigma), dtype), start, 0.1, 0.03)
    variance = np.array([rounding_variance(values, spacing) for values in pictures[2:]])
    return whole, half, pictures, variance[:-1] + variance[1:]


def too_much(half: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """By how much the changes from node to node are larger by one bank's matrices than by another's; (N - 2,)."""
    return (change_by_matrix(half) - change_by_matrix(whole))[1:]


def test_rounding_does_not_count_as_length(halves):
    """Predictions of a half-precision model change, by its bank's matrices, as those of the same in float32 do.

    Within a fifth of what rounding adds, since it also moves the orbit a little. Negative control: in the pictures
    all of it is there. Rounding is white, so slopes have as much of it as all frequencies together count.
    """
    whole, half, pictures, noise = halves
    seen = (np.diff(pictures[2:], axis=0) ** 2).mean(axis=(1, 2, 3, 4))
    waves = np.fft.fftfreq(64) * 64
    counts = (1 + waves[:, None] ** 2 + waves**2).mean()
    np.testing.assert_allclose(too_much(half.gram, whole.gram) / noise, 0.0, atol=0.2)
    np.testing.assert_allclose(too_much(half.detail, whole.detail) / (counts * noise), 0.0, atol=0.2)
    np.testing.assert_allclose((seen - change_by_matrix(whole.gram)[1:]) / noise, 1.0, atol=0.2)


def test_rounding_does_not_count_as_power_at_any_frequency(halves):
    """Nor does it in any band, the mean over nodes taken; one coefficient, the mean of a picture, is left to chance."""
    whole, half, _, noise = halves
    for before, after in list(zip(whole.spectrum.gram, half.spectrum.gram, strict=True))[1:]:
        assert abs((too_much(after[None], before[None]) / noise).mean()) < 0.2


# The grid that a number of steps is read from

@pytest.mark.parametrize("known", [(4, 12), (1, 2, 40), (5, 6, 8, 10, 20, 50)])
def test_steps_are_read_from_the_grid_of_the_nearest_ratio(known):
    """Of 4 and 12, 7 steps are nearer to 12, by a factor of 12/7 against 7/4, though 4 is the lesser difference."""
    schedule = Schedule(np.array([3.0, 1.0, 0.0]), grids={steps: np.linspace(3.0, 0.0, steps + 1) for steps in known})
    if known == (4, 12):
        assert len(schedule.clock_for(7)) == 12 + 1
    for steps in range(1, 100):
        ratios = {grid: max(Fraction(grid, steps), Fraction(steps, grid)) for grid in known}
        assert ratios[len(schedule.clock_for(steps)) - 1] == min(ratios.values())
