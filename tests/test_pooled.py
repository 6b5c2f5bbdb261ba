"""Grids for a flow that is not here, from several that are: against exact errors on fields that disagree."""

import dataclasses

import numpy as np
import pytest
import torch

from art_nodes.core.compare import euler
from art_nodes.core.exact import image_gaussian
from art_nodes.core.refine import best_grid
from art_nodes.core.scores import total
from art_nodes.core.stiffness import rms
from benchmarks import pooled
from benchmarks.bundled_report import HOST, TOGETHER, tally
from benchmarks.carry_sources import DEMO, DIGITS, GAUSSIAN, POOL, SOURCES, Dress

FLOW = Dress("flow", 1.0, 0.003, share=True)
STEPS = 12
# Data far smaller than its noise and far larger: their pictures take shape at opposite ends of a flow's range.
FIELDS = {spread: dataclasses.replace(GAUSSIAN, make=lambda: image_gaussian(16), shape=(1, 16, 16), side=16,
                                      name=f"spread {spread}") for spread in (0.2, 4.0)}


def dress(spread):
    return dataclasses.replace(FLOW, spread=spread)


@pytest.fixture(scope="module")
def banks():
    return {spread: source.bank(dress(spread), 0) for spread, source in FIELDS.items()}


def end_error(grid, spread):
    """RMS of Euler's end error on noise that no recording saw, against a fine solution."""
    denoiser, noise = dress(spread).wear(image_gaussian(16)), FIELDS[spread].noise(32, 5000)
    fine = torch.from_numpy(np.append(dress(spread).nodes(1000, 1e-5), 0.0))
    return total(rms(euler(denoiser, noise, torch.from_numpy(grid)) - euler(denoiser, noise, fine)).numpy())


def test_a_pooled_grid_is_good_where_each_ones_own_is_bad_for_the_other(banks):
    """By exact errors: no worse than `simple` on either field and far better on one; the fields' own are worse."""
    plain = {spread: end_error(pooled.simple(STEPS), spread) for spread in FIELDS}

    def ratios(*recordings):
        grid = pooled.pooled_grids(recordings, "euler", (STEPS,))[STEPS]
        return [end_error(grid, spread) / plain[spread] for spread in FIELDS]

    ours = ratios(*banks.values())
    assert max(ours) < 1.02 and min(ours) < 0.8
    for bank in banks.values():  # the control: without the other model in the pool the same search is no help there
        assert max(ratios(bank)) > 1.08


def test_what_is_least_is_near_the_worst_ratio(banks):
    """The mean of high powers lies between the mean and the largest; for `simple` itself every ratio is 1."""
    error = pooled.PooledRatio(list(banks.values()), "euler")
    np.testing.assert_allclose(error.ratios(pooled.simple(STEPS)[None]), 1.0, rtol=1e-12)
    grid = best_grid(error.errors[0], STEPS)[None]
    ratios = error.ratios(grid)[:, 0]
    assert ratios.mean() < error(grid)[0] < ratios.max() < 1.2 * error(grid)[0]
    assert len(ratios) == len(banks) * len(pooled.KINDS)


def test_grids_are_as_the_search_promises(banks):
    """For every number of steps asked for: from pure noise to 0, falling, the same each time."""
    found = [pooled.pooled_grids(list(banks.values()), "dpmpp_2m", (7, 3)) for _ in range(2)]
    assert list(found[0]) == [3, 7]
    for steps, grid in found[0].items():
        assert len(grid) == steps + 1 and grid[0] == 1.0 and grid[-1] == 0.0 and (np.diff(grid) < 0).all()
        np.testing.assert_array_equal(grid, found[1][steps])


def test_part_of_the_way_lies_between():
    """All of it is the grid, nothing of it `simple`, and half of it the geometric mean."""
    grid = np.append(np.geomspace(1, 0.01, STEPS), 0.0)
    np.testing.assert_allclose(pooled.part_of_the_way(grid, 1.0), grid)
    np.testing.assert_allclose(pooled.part_of_the_way(grid, 0.0), pooled.simple(STEPS))
    np.testing.assert_allclose(pooled.part_of_the_way(grid, 0.5), np.sqrt(grid * pooled.simple(STEPS)))


def test_no_pool_is_asked_for_what_it_is_judged_on():
    for place in SOURCES:
        left = [source.name for source in POOL if not source.akin(place)]
        assert left and not any(name.startswith(place.name) for name in left)
    assert sum(not source.akin(DIGITS) for source in POOL) == len(POOL) - 1
    assert sum(not source.akin(DEMO) for source in POOL) == len(POOL) - 2


def test_the_tally_tells_bundled_kinds_from_single_models():
    """On added noise what is carried from photographs counts as bundled, on a flow what is from all together."""
    ones = np.ones(8)
    added = {"demo": 0.5 * ones, "photographs": 0.8 * ones, "digits": 3 * ones, f"{HOST}simple": ones}
    flow = {"demo": 0.5 * ones, TOGETHER: 2 * ones, f"{HOST}simple": ones}
    rows = tally({place: {"columns": {"euler 6": {name: list(errors) for name, errors in column.items()}}}
                  for place, column in (("demo, SDXL", added), ("demo, flow", flow))})
    told = {row[1]: row[2:7] for row in rows[1:]}
    assert told == {"itself": ["2", "0", "0", "0.500", "0.500"],
                    "as bundled ones are, elsewhere": ["1", "0", "1", "1.265", "2.000"],
                    "any one other model": ["1", "0", "1", "1.549", "3.000"]}
