"""Statistics of end errors."""

import numpy as np
import pytest

from art_nodes.core.scores import ratio_interval, total


def errors(count=64, seed=0):
    return np.random.default_rng(seed).lognormal(size=count)


def test_total_by_hand():
    assert total(np.array([3.0, 4.0])) == pytest.approx(12.5**0.5)
    assert np.isnan(total(np.array([1.0, np.nan])))
    assert total(np.array([3.0, 4.0], dtype=np.float32)) == total(np.array([3.0, 4.0]))


def test_a_constant_ratio_has_no_width():
    assert ratio_interval(0.5 * errors(), errors()) == pytest.approx((0.5, 0.5))
    assert ratio_interval(np.array([2.0]), np.array([4.0])) == pytest.approx((0.5, 0.5))


def test_the_interval_holds_the_ratio_and_repeats():
    ours, theirs = errors(seed=1), errors(seed=2)
    low, high = ratio_interval(ours, theirs)
    assert low < total(ours) / total(theirs) < high
    assert ratio_interval(ours, theirs) == (low, high)
    inverse = ratio_interval(theirs, ours)
    assert inverse == pytest.approx((1 / high, 1 / low))


def test_pairs_stay_together():
    """Two schedules that differ by a little on each noise: seen as paired, invisible once the pairs are torn."""
    theirs = errors()
    ours = theirs * np.random.default_rng(3).uniform(0.85, 0.95, len(theirs))
    low, high = ratio_interval(ours, theirs)
    assert 0.85 < low < high < 0.95
    torn = ratio_interval(ours, theirs[::-1].copy())
    assert torn[1] - torn[0] > 5 * (high - low)


@pytest.mark.parametrize("count", [2, 3, 4, 8, 40, 100])
def test_coverage_is_near_95_percent(count):
    """Of equal schedules about 1 in 20 is called different, however few noises there are."""
    generator = np.random.default_rng(5)
    wrong = 0
    for _ in range(200):
        a, b = np.abs(1 + 0.1 * generator.normal(size=(2, count)))
        low, high = ratio_interval(a, b)
        wrong += not low <= 1 <= high
    assert 1 <= wrong <= 22


def test_few_noises_with_a_rare_large_error():
    """The mean of heavy tails: quantiles of the bootstrap alone hold the truth in two thirds of the draws of 4."""
    generator = np.random.default_rng(6)
    everything = np.exp(generator.normal(size=(2, 4096)) + generator.normal(size=4096))
    truth, held, by_quantiles = total(everything[0]) / total(everything[1]), 0, 0
    for _ in range(200):
        a, b = everything[:, generator.integers(0, 4096, 4)]
        low, high = ratio_interval(a, b)
        held += low <= truth <= high
        drawn = np.random.default_rng(0).integers(0, 4, (500, 4))
        low, high = np.quantile(total(a[drawn], axis=1) / total(b[drawn], axis=1), [0.025, 0.975])
        by_quantiles += low <= truth <= high
    assert held >= 170
    assert by_quantiles <= 150


def test_few_noises_at_the_edge():
    """Two noises, equal ratios, errors of exactly 0 among ours: an interval all the same, which has the ratio in it."""
    low, high = ratio_interval(np.array([1.0, 3.0]), np.array([2.0, 2.0]))
    assert 0 < low < total(np.array([1.0, 3.0])) / 2 < high
    assert ratio_interval(np.zeros(4), np.ones(4)) == (0.0, 0.0)
    low, high = ratio_interval(np.array([0.0, 0.0, 0.0, 1.0]), np.ones(4))
    assert low == 0 < 0.5 < high < np.inf


@pytest.mark.parametrize("ours, theirs, words", [
    ([1.0, 2.0], [1.0], "from the same noises"), ([], [], "from the same noises"),
    ([[1.0]], [[1.0]], "from the same noises"), ([1.0, np.nan], [1.0, 1.0], "finite"), ([1.0], [np.inf], "finite"),
    ([1.0, 1.0], [1.0, 0.0], "above 0"),
])
def test_what_cannot_be_compared(ours, theirs, words):
    with pytest.raises(ValueError, match=words):
        ratio_interval(np.array(ours), np.array(theirs))


def test_where_nothing_is_known_an_interval_is_wide_and_finite():
    ours, theirs = np.array([1e-6, 1.0]), np.array([1.0, 1e-6])
    low, high = ratio_interval(ours, theirs)
    assert 0 < low <= 1e-3 and 1e3 <= high < 1e7
