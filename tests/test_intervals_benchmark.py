"""The benchmark of intervals, on errors whose distribution is known."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import intervals


def cells(errors):
    """Schedules of one column, with the errors (N,) of each."""
    return [SimpleNamespace(sampler=intervals.COLUMNS[0][0], steps=intervals.COLUMNS[0][1], load=lambda _, one=one: one)
            for one in errors]


@pytest.fixture
def gentle(monkeypatch):
    """Two schedules whose errors differ by a tenth, with light tails."""
    monkeypatch.setattr(intervals, "DRAWS", 60)
    return np.array([[1.0], [1.1]]) * (1 + 0.1 * np.random.default_rng(0).uniform(-1, 1, (2, 1024)))


def test_of_light_tails_the_intervals_hold_and_none_is_reversed(gentle):
    held, reversed_, median_held, median_reversed = map(float, intervals.held(cells(gentle), Path(), 32))
    assert held > 0.85 and median_held > 0.85
    assert reversed_ == median_reversed == 0


def test_a_rare_picture_that_decides_is_missed_by_few_noises(gentle):
    """One noise in a hundred makes the better schedule the worse one: 16 noises mostly do not have it."""
    gentle[0, ::100] = 30
    held, reversed_, median_held, median_reversed = map(float, intervals.held(cells(gentle), Path(), 16))
    assert held < 0.5 and reversed_ > 0.3
    assert median_held > 0.85 and median_reversed == 0
    assert float(intervals.held(cells(gentle), Path(), 512)[1]) < 0.1
