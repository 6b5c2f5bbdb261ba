"""The best grid of recorded nodes by dynamic programming, against all grids there are."""

import itertools

import numpy as np
import pytest

from art_nodes.core import dynamic, optimal_schedule, record_orbits, with_grids
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


@pytest.fixture
def replayed(monkeypatch):
    """How many steps each replay for step costs had."""
    counts, real = [], dynamic._mean_norms
    monkeypatch.setattr(dynamic, "_mean_norms", lambda error, way: counts.append(way.shape[1]) or real(error, way))
    return counts


def test_long_recordings_are_solved_in_parts(monkeypatch, replayed):
    grids = []
    for most in (dynamic.AT_ONCE, 100):
        monkeypatch.setattr(dynamic, "AT_ONCE", most)
        grids.append(best_on_nodes(SamplerError(targets.bank("image"), "residual:heun"), 6))
    np.testing.assert_array_equal(*grids)
    assert replayed[0] > 2000 and set(replayed[1:-1]) == {100}


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m"])
def test_what_steps_leave_is_computed_once_for_all_numbers_of_steps(small, replayed, sampler):
    error = SamplerError(small, f"residual:{sampler}")
    found, once = best_on_nodes(error, 2), sum(replayed)
    np.testing.assert_array_equal(best_on_nodes(error, 4), best_on_nodes(SamplerError(small, f"residual:{sampler}"), 4))
    assert len(found) == 3 and sum(replayed) == 2 * once


@pytest.mark.parametrize("objective", ["residual:euler", "end:dpmpp_2m"])
def test_a_search_is_stopped_before_its_first_grid_is_done(small, objective):
    """At any replay, so that a recording of many nodes does not keep the user waiting."""
    asked, done = [], []

    class Stopped(Exception):
        pass

    def check():
        asked.append(len(done))
        if len(asked) == stop_at:
            raise Stopped

    schedule = optimal_schedule(small)
    stop_at = None
    with_grids(schedule, small, objective, (3, 4), lambda count, of: done.append(count), check=check)
    assert done == [1, 2] and asked.count(0) > 3 and asked.count(1) > 3
    for stop_at in (1, 3):
        asked.clear()
        done.clear()
        with pytest.raises(Stopped):
            with_grids(schedule, small, objective, (3, 4), lambda count, of: done.append(count), check=check)
        assert len(asked) == stop_at and done == []
