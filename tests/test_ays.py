"""AYS tables and their inversion, against Gaussians, where all of it is known in closed form."""

import numpy as np
import pytest
import torch

from art_nodes.core.exact import gaussian
from benchmarks import ays

HIGH, LOW = 14.6146, 0.0292
VARIANCES, SHARES = np.array([30.0, 3.0, 0.3, 0.03]), np.array([0.01, 0.1, 0.3, 0.59])
MMSE = ays.gaussian_mmse(VARIANCES, SHARES)


def stiffness(sigma):
    """RMS of dD/dsigma on the orbits."""
    s = np.asarray(sigma)[:, None] ** 2
    return np.sqrt((VARIANCES**2 * s / (VARIANCES + s) ** 3) @ SHARES)


def off(curve):
    """Standard deviation of the log ratio to the truth, so that no common factor counts."""
    inside = np.geomspace(4.0, 0.06, 50)
    return float(np.log(curve(inside) / stiffness(inside)).std())


def test_mmse_of_gaussians():
    sigma = np.array([0.1, 1.0, 10.0])
    np.testing.assert_allclose(ays.gaussian_mmse([2.0], [1.0])(sigma), 2 * sigma**2 / (2 + sigma**2))
    np.testing.assert_allclose(ays.mixture_mmse([0.0], [2**0.5], [1.0])(sigma), 2 * sigma**2 / (2 + sigma**2),
                               rtol=1e-6)


def test_measured_both_ways():
    """The changes along noising paths add up to the distance to the data, as they do for a martingale."""
    generator, sigmas = torch.Generator().manual_seed(0), np.geomspace(10, 0.05, 24)
    walked, direct = ays.measured_mmse(gaussian(), torch.randn(20000, 1, generator=generator), sigmas, generator)
    expected = sigmas**2 / (1 + sigmas**2)
    np.testing.assert_allclose(walked, expected, rtol=0.05)
    np.testing.assert_allclose(direct, expected, rtol=0.05)


def test_relation_of_paths_and_orbits():
    """(c) of benchmarks/ays.py holds for a whole spectrum."""
    logs = np.linspace(np.log(LOW), np.log(HIGH), 4001)
    rise = np.gradient(MMSE(np.exp(logs)), logs) * np.exp(-2 * logs)  # m'/sigma
    squared = -np.gradient(rise, logs) / 8
    np.testing.assert_allclose(squared[5:-5], stiffness(np.exp(logs))[5:-5] ** 2, rtol=1e-3)


def test_table_beats_its_neighbours():
    table, generator = ays.optimal_table(MMSE, HIGH, LOW), np.random.default_rng(0)
    best = ays.kl_bound(MMSE, table)
    for size in (0.03, 0.1):
        for _ in range(10):
            moved = table.copy()
            moved[1:-1] *= np.exp(size * generator.standard_normal(9))
            assert ays.kl_bound(MMSE, np.sort(moved)[::-1]) > best


def other_cost(mmse, sigmas):
    """The same without the weight 1/sigma^3."""
    change = mmse[:, None] - mmse[None]
    length = sigmas[:, None] - sigmas[None]
    return np.where(length > 0, change * length, np.inf)


@pytest.mark.parametrize("name, limit", [("spectrum", 0.1), ("leading order", 0.2)])
def test_a_fine_table_gives_its_stiffness_back(name, limit):
    table = ays.optimal_table(MMSE, HIGH, LOW, steps=40, points=3500)  # fine: differences of steps amplify its grid
    assert off(ays.INVERSIONS[name](table)) < limit


def test_control_another_exponent_or_another_cost_does_not():
    """Negative control: the check above can fail."""
    fine = ays.optimal_table(MMSE, HIGH, LOW, steps=40)
    assert off(ays.invert_power(fine)) > 0.4
    other = ays.optimal_table(MMSE, HIGH, LOW, steps=40, cost=other_cost)
    assert off(ays.invert_spectrum(other)) > 0.4 and off(ays.invert_leading(other)) > 0.4


def test_a_clock_from_a_table_starts_where_the_table_does():
    table = ays.optimal_table(MMSE, HIGH, LOW)
    assert ays.implied_schedule(ays.invert_spectrum(table), HIGH, LOW).sigma_max == HIGH
