"""The best grid of recorded nodes by dynamic programming, against all grids there are."""

import itertools

import numpy as np
import pytest

from art_nodes.core import dynamic, record_orbits
from art_nodes.core.dynamic import best_on_nodes
from art_nodes.core.objectives import SamplerError
from tests.core import targets

HIGH, LOW = targets.SDXL_RANGE


@pytest.fixture(scope="module")
def small():
    """A bank of nine nodes, so that every grid of nodes can be tried."""
    return record_orbits(targets.image_gaussian(8), targets.noise((4, 1, 8, 8), HIGH), HIGH, LOW, nodes=9)


@pytest.mark.parametrize("name", ["euler", "heun", "dpmpp_2m", "res_multistep", "rk4"])
@pytest.mark.parametrize("steps", [1, 2, 4])
def test_dynamic_programming_finds_the_best_of_all_grids(small, name, steps):
    error, sigmas = SamplerError(small, f"residual:{name}"), np.append(small.sigmas, 0.0)
    every = np.stack([sigmas[[0, *inner, 9]] for inner in itertools.combinations(range(1, 9), steps - 1)])
    np.testing.assert_allclose(error(best_on_nodes(error, steps)[None])[0], error(every).min(), rtol=1e-9)


def test_long_recordings_are_solved_on_fewer_nodes(small, monkeypatch):
    """All triples of many nodes would fill the memory; steps are still those of recorded nodes, and nearly as good."""
    error = SamplerError(small, "residual:dpmpp_2m")
    best = best_on_nodes(error, 3)
    monkeypatch.setattr(dynamic, "MOST_PAIRS", 7)
    found = best_on_nodes(error, 3)
    assert len(found) == 4 and set(found) <= {*small.sigmas, 0.0} and (found[0], found[-1]) == (small.sigma_max, 0.0)
    assert error(best[None])[0] <= error(found[None])[0] < 1.5 * error(best[None])[0]
    assert len(best_on_nodes(error, 8)) == 9  # as many nodes as it takes


def test_dynamic_programming_wants_a_sum_over_steps(small):
    with pytest.raises(ValueError, match="dynamic programming needs .*got end:euler; use residual:euler"):
        best_on_nodes(SamplerError(small, "end:euler"), 3)
    with pytest.raises(ValueError, match="looks back one step at most; got deis; use best_grid"):
        best_on_nodes(SamplerError(small, "residual:deis"), 3)
    with pytest.raises(ValueError, match="steps must be 1 to 9.*got 10"):
        best_on_nodes(SamplerError(small, "residual:euler"), 10)


def test_long_recordings_are_solved_in_parts(monkeypatch):
    error = SamplerError(targets.bank("image"), "residual:heun")
    whole = best_on_nodes(error, 6)
    monkeypatch.setattr(dynamic, "AT_ONCE", 100)
    np.testing.assert_array_equal(best_on_nodes(error, 6), whole)
