"""The benchmark of half precision."""

import numpy as np
import pytest

from benchmarks import half

pytestmark = pytest.mark.host


@pytest.fixture(scope="module", autouse=True)
def _leave_no_model_behind(comfy):
    yield
    half.stage.cache_clear()


def test_told_of_half_precision_the_clock_is_nearer_to_float32s(comfy):
    found = half.ratios(1, ("bfloat16",), batches=1, orbits=10)
    told, untold = found["bfloat16", True], found["bfloat16", False]
    assert told[0] < 0.12 < untold[0] and np.all(np.abs(np.subtract(told[1:], 1)) < 0.2)
    table = half.rows({1: found, 2: found})
    assert table[1][:2] == ["bfloat16", "measured"] and table[2][1] == "not known"
    assert len(table[0]) == len(table[1]) == 9 and table[2][2] == f"{untold[0]:.2f}, {untold[0]:.2f}"


def test_in_float32_nothing_is_different_whether_told_or_not(comfy):
    told, untold = (half.recorded(None, told, 1, orbits=10, nodes=16) for told in (True, False))
    assert np.array_equal(told.stiffness, untold.stiffness) and told.rounding is None
