"""|Q| = |dD/dsigma| / sigma from secants: against closed forms, and in half precision."""

import numpy as np
import pytest
import torch

from art_nodes.core import OrbitBank, optimal_schedule, record_orbits, stiffness
from art_nodes.core.exact import gaussian, image_gaussian, power_spectrum
from art_nodes.core.record import MAX_ELEMENTS, kept_elements
from tests.core import targets


def rounded(denoiser, dtype):
    """A denoiser that answers in half precision."""
    return lambda x, sigma: denoiser(x, sigma).to(dtype).float()


@pytest.mark.parametrize("nodes, tolerance", [(64, 0.01), (256, 0.001)])
def test_normal_distribution(nodes, tolerance):
    """For N(0, 1), D = x/(1 + s^2) and x = x0 sqrt(1 + s^2): |Q| = |x0| (1 + s^2)^(-3/2); second order in the nodes."""
    start = targets.noise((256, 1), 3.0)
    bank = record_orbits(gaussian(), start, 3.0, 0.02, nodes=nodes)
    middle = 0.5 * (bank.edges[:-1] + bank.edges[1:])
    truth = float(start.abs().mean()) / np.sqrt(10) * (1 + middle**2) ** -1.5
    seen = middle > 0.1  # below, one number's change drowns in float32 rounding
    assert np.abs(bank.mean_stiffness / truth - 1)[seen].max() < tolerance


def test_far_above_all_data_stiffness_is_what_it_is(monkeypatch):
    """At the top of a range of thousands |Q| is a tiny share of its mean: a floor under it would misplace steps."""
    high, low, variance = 4518.76, 0.0292, 0.05

    def excess():
        start = targets.noise((4, 64), high)
        clock = optimal_schedule(record_orbits(gaussian(variance), start, high, low)).clock
        # |Q| = v / (v + s^2)^1.5 of RMS 1, whose integral from 0 is s / sqrt(v + s^2)
        charged = -np.diff(clock / np.sqrt(variance + clock**2))
        fine = np.append(0.0, np.geomspace(1e-6, high, 100_001))
        best = np.trapezoid(np.sqrt(variance / (variance + fine**2) ** 1.5), fine) ** 2 / high
        return float(((len(clock) - 1) / high * -np.diff(clock) * charged).sum() / best) - 1

    assert 0 < excess() < 0.06
    monkeypatch.setattr("art_nodes.core.stiffness.RELATIVE_FLOOR", 1e-8)
    assert excess() > 0.1  # negative control


def test_image_like_gaussian():
    """Each frequency is a normal of its own variance v: |Q| = |x0| sqrt(v) (v + s^2)^(-3/2), added in squares."""
    start = targets.noise((4, 1, 64, 64), 14.6146)
    bank = record_orbits(image_gaussian(64), start, *targets.SDXL_RANGE)
    power = coefficient_power()
    x0 = np.abs(np.fft.fft2(start[:, 0].numpy()) / 64) * np.sqrt(power / (power + 14.6146**2))
    middle = 0.5 * (bank.sigmas[:-1] + bank.sigmas[1:])
    truth = np.stack([np.sqrt((x0**2 * power / (power + s**2) ** 3).mean(axis=(1, 2))) for s in middle], axis=1)
    assert np.abs(bank.stiffness[:, :-1] / truth - 1).max() < 0.02


def coefficient_power() -> np.ndarray:
    """Variance of every one of the 64 x 64 Fourier coefficients."""
    half = power_spectrum(64).numpy()
    mirrored = np.roll(half[:, 1:-1][::-1, ::-1], 1, axis=0)
    return np.concatenate([half, mirrored], axis=1)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("sigma_range", [targets.SDXL_RANGE, (80.0, 0.002)])
def test_half_precision_learns_the_same_grid(dtype, sigma_range):
    start = targets.noise((8, 1, 64, 64), sigma_range[0])
    exact = optimal_schedule(record_orbits(image_gaussian(), start, *sigma_range))
    half = optimal_schedule(record_orbits(rounded(image_gaussian(), dtype), start, *sigma_range))
    assert targets.disagreement(exact, half) < 0.02


def test_half_precision_needs_the_wide_secants(monkeypatch):
    """Negative control: take every secant at face value and bfloat16 grids are far off."""
    start = targets.noise((8, 1, 64, 64), targets.SDXL_RANGE[0])
    exact = optimal_schedule(record_orbits(image_gaussian(), start, *targets.SDXL_RANGE))
    monkeypatch.setattr(stiffness, "OF_KNOWN_NOISE", 0.0)
    half = optimal_schedule(record_orbits(rounded(image_gaussian(), torch.bfloat16), start, *targets.SDXL_RANGE))
    assert targets.disagreement(exact, half) > 0.1


def straight(values, sigmas):
    """Predictions (N, 1, 4) of one orbit with the |Q| that `values` has as a function of sigma."""
    nodes = np.linspace(sigmas[-1], sigmas[0], 20_001)
    grown = np.append(0.0, np.cumsum(0.5 * np.diff(nodes) * (values(nodes) * nodes)[1:]
                                     + 0.5 * np.diff(nodes) * (values(nodes) * nodes)[:-1]))
    return torch.from_numpy(np.interp(sigmas, nodes, grown))[:, None, None] * torch.tensor([1.0, -1.0, 1.0, -1.0])


def test_below_the_lowest_secant_stiffness_is_carried_on_by_little():
    """|Q| = 1/sigma behind noise: the line through the lowest two secants would rise by e^0.5 at 0."""
    sigmas = np.linspace(4.0, 0.01, 65)
    denoised, noise = straight(lambda sigma: 1 / sigma, sigmas), np.full(65, 0.2**2)
    _, q, kept = stiffness.secants(sigmas, denoised, noise)
    cells = stiffness.stiffness_cells(sigmas, denoised, noise)[0]
    assert kept[-2] < 60 and 0.25 < np.log(cells[-1] / q[-1, 0]) <= 0.3


@pytest.mark.parametrize("power, noise, carried_on", [(-6, 0.02, -3), (-1, 0.02, -1), (2, 0.1, 0)])
def test_above_the_highest_secant_stiffness_falls_as_data_have_it(power, noise, carried_on):
    """As the power of sigma of the highest two secants, from sigma^-3, which is all that data can do, to none."""
    sigmas = np.geomspace(8.0, 1.0, 65)
    denoised = straight(lambda sigma: sigma ** float(power), sigmas)
    squares = np.full(65, (noise * float(denoised[0, 0, 0] - denoised[-1, 0, 0])) ** 2)
    centres, q, kept = stiffness.secants(sigmas, denoised, squares)
    cells, middle = stiffness.stiffness_cells(sigmas, denoised, squares)[0], 0.5 * (sigmas[0] + sigmas[1])
    found = np.log(cells[0] / q[0, 0]) / np.log(middle / centres[0])
    assert kept[1] > 1 and found == pytest.approx(carried_on, abs=0.3)


def test_noise_inside_the_model_is_measured():
    """Noise that is no rounding of the answer: the floor finds it, and the grid stays within a few percent."""
    generator = torch.Generator().manual_seed(1)
    clean = image_gaussian()

    def noisy(x, sigma):
        return clean(x, sigma) + 1e-3 * torch.randn(x.shape, generator=generator)

    start = targets.noise((8, 1, 64, 64), targets.SDXL_RANGE[0])
    exact = optimal_schedule(record_orbits(clean, start, *targets.SDXL_RANGE))
    assert targets.disagreement(exact, optimal_schedule(record_orbits(noisy, start, *targets.SDXL_RANGE))) < 0.03


def test_subset_of_a_large_sample():
    """A sample above MAX_ELEMENTS is judged by a fixed random subset, within its stated error."""
    side = 2 * int(MAX_ELEMENTS**0.5)
    start = targets.noise((1, 1, side, side), 14.6)
    few = record_orbits(gaussian(), start, 14.6, 0.03)
    again = record_orbits(gaussian(), start, 14.6, 0.03)
    per_element = (start.abs() / np.sqrt(1 + 14.6**2)).square().mean().sqrt()
    middle = 0.5 * (few.edges[:-1] + few.edges[1:])
    whole = float(per_element) * (1 + middle**2) ** -1.5
    assert np.array_equal(few.stiffness, again.stiffness)
    ratio = (few.stiffness[0] / whole)[middle > 0.1]
    assert ratio.std() < 0.01 and abs(ratio.mean() - 1) < 0.02


def test_the_stated_error_of_a_subset_holds_for_edges_of_photographs():
    """What predictions differ by from node to node is edges, whose elements are far from Gaussian."""
    from scipy.ndimage import gaussian_filter
    from sklearn.datasets import load_sample_images

    pixels = np.stack([image[:384, :384].reshape(128, 3, 128, 3, 3).mean((1, 3)) / 127.5 - 1
                       for image in load_sample_images().images])  # (2, 128, 128, 3)
    picture = np.moveaxis(pixels, -1, 1).reshape(6, 128, 128)
    for fine, coarse in ((0.7, 1.5), (1.5, 3.0)):
        edges = np.ravel([gaussian_filter(channel, fine) - gaussian_filter(channel, coarse) for channel in picture])
        norm, kurtosis = np.sqrt(np.mean(edges**2)), np.mean(edges**4) / np.mean(edges**2) ** 2
        draw = np.random.default_rng(0)
        found = [np.sqrt(np.mean(draw.permutation(edges)[:MAX_ELEMENTS] ** 2)) / norm - 1 for _ in range(100)]
        stated = np.sqrt((kurtosis - 1) / (4 * MAX_ELEMENTS))
        assert kurtosis > 5 and 0.006 < stated < 0.015
        assert 0.7 * stated < np.std(found) < 1.2 * stated  # of all elements some are drawn, so a little below
        ours = np.sqrt(np.mean(edges[kept_elements(edges.size).numpy()] ** 2)) / norm - 1
        assert abs(ours) < 3 * stated


def test_a_bank_of_a_large_model_is_small():
    """SDXL at 1024 x 1024, 16 orbits, 64 nodes: all that is kept stays far below 256 MB of the host's memory."""
    start = targets.noise((16, 4, 128, 128), targets.SDXL_RANGE[0])
    bank = OrbitBank.merge([record_orbits(gaussian(), part, *targets.SDXL_RANGE) for part in start.split(4)])
    arrays = (bank.sigmas, bank.stiffness, bank.gram, bank.detail, bank.ends, bank.spectrum.gram, bank.spectrum.share)
    assert bank.gram.shape == (16, 65, 65) and bank.ends.shape == (16, 65536)
    assert 5e6 < sum(array.nbytes for array in arrays) < 10e6
