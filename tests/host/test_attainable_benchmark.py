"""The benchmark of what any grid could reach: its descent, and what it starts from."""

import numpy as np
import pytest
import torch

from benchmarks import attainable
from benchmarks.attainable import CRITERIA, SAMPLERS, Search, descend, ground, searches, sizes_of
from benchmarks.matched_cells import Cell

pytestmark = pytest.mark.host
GRID = (14.6, 4.0, 1.3, 0.4, 0.0)


@pytest.fixture
def few(comfy, monkeypatch):
    """Few noises, few tries."""
    monkeypatch.setattr(attainable, "NOISES", 32)
    monkeypatch.setattr(attainable, "TRIES", 40)
    return ground(GRID[0], 1, 32)


def test_descent_lowers_the_error_that_it_is_given(few):
    for sampler in SAMPLERS:
        run = sizes_of(sampler)
        for criterion in CRITERIA.values():
            def error(grid, run=run, criterion=criterion):
                return float(criterion(run(*few, torch.tensor(grid, dtype=torch.float32))))

            found = descend(error, GRID)
            assert found[0] == GRID[0] and found[-1] == 0 and (np.diff(found) < 0).all()
            assert error(found) < 0.98 * error(GRID)


def test_a_search_starts_from_the_best_grid_by_its_criterion(few, monkeypatch):
    monkeypatch.setattr(attainable, "descend", lambda _, start: list(start))
    poor = (14.6, 14.0, 13.0, 12.0, 0.0)
    for criterion in CRITERIA:
        assert Search("euler", 4, criterion, (poor, GRID)).find()["sigmas"] == list(GRID)


def test_grids_that_do_not_fit_are_no_starts():
    """Some start elsewhere, or repeat a sigma."""
    cells = [Cell(attainable.PLACE, "euler", 4, name, sigmas) for name, sigmas in {
        "fits": GRID, "starts low": (10.0, *GRID[1:]), "repeats": (14.6, 4.0, 4.0, 0.4, 0.0)}.items()]
    found = searches(cells)
    assert [search.criterion for search in found] == list(CRITERIA)
    assert all(search.grids == (GRID,) for search in found)
