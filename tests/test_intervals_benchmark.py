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


def found(errors, size):
    """The row of a size, as numbers."""
    return list(map(float, intervals.held(cells(errors), Path(), size)))


@pytest.fixture
def gentle(monkeypatch):
    """Two schedules whose errors differ by a tenth, with light tails."""
    monkeypatch.setattr(intervals, "DRAWS", 60)
    return np.array([[1.0], [1.1]]) * (1 + 0.1 * np.random.default_rng(0).uniform(-1, 1, (2, 1024)))


def test_of_light_tails_the_intervals_hold_and_none_is_reversed(gentle):
    held, reversed_, alone, alone_reversed, median_held, median_reversed = found(gentle, 4)
    assert held > 0.9 > alone and median_held > 0.7
    assert reversed_ == alone_reversed == median_reversed == 0
    assert min(found(gentle, 64)[::2]) > 0.85


def test_a_rare_picture_that_decides_is_missed_by_few_noises(gentle):
    """One noise in a hundred makes the better schedule the worse one: 16 noises mostly do not have it."""
    gentle[0, ::100] = 30
    held, reversed_, *_, median_held, median_reversed = found(gentle, 16)
    assert held < 0.5 and reversed_ > 0.3
    assert median_held > 0.85 and median_reversed == 0
    assert found(gentle, 512)[1] < 0.1
