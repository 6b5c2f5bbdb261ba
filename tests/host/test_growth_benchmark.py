"""The benchmark of the growth of errors: what its table says of made-up errors."""

import numpy as np
import pytest

from art_nodes.core.objectives import SamplerError, growth_of
from benchmarks import growth, objectives
from benchmarks.matched_cells import SAMPLERS

pytestmark = pytest.mark.host


@pytest.fixture
def modes(monkeypatch):
    """Two modes, a few grids."""
    monkeypatch.setattr(growth, "GRIDS", 20)
    return growth.TARGETS[-2]


def test_random_grids_are_of_the_targets_range(modes):
    grids = objectives.random_grids(6, 5, modes)
    np.testing.assert_allclose(grids[:, 0], modes.sigma_max)
    assert (grids[:, -2] >= 0.99 * modes.sigma_min).all() and (np.diff(grids) < 0).all()


def test_the_growth_that_errors_follow_orders_them(modes, tmp_path, monkeypatch):
    bank = modes.record(0)
    for sampler in growth.SAMPLERS:
        for steps in growth.STEPS:
            grids = objectives.random_grids(steps, growth.GRIDS, modes)
            monkeypatch.setattr(growth, "_measure", lambda *_, grids=grids, sampler=sampler: np.repeat(
                SamplerError(bank, f"end:{sampler}", growth=0.25)(grids)[:, None], growth.NOISES, axis=1))
            growth.true_errors(modes, sampler, steps, tmp_path)
    monkeypatch.setattr(growth, "_measure", None)  # all is there
    rows = {name: columns for name, *columns in growth.rows_of(modes, bank, tmp_path)}
    assert set(rows["γ = 0.25"]) == {"1.000 / 1.000 / 1.000"}
    assert "1.000 / 1.000 / 1.000" not in rows["γ = 1"]
    assert f"γ = {growth_of(bank):.3g}, as recorded" in rows
    # Of one dimension there are no bands, and another reading orders these made-up errors a little less well.
    assert "linear scores" not in rows and len(rows["errors that shrink"]) == len(rows["γ = 1"])
    assert set(rows["errors that shrink"]) != {"1.000 / 1.000 / 1.000"}


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_errors_are_measured_by_the_hosts_sampler(comfy, modes, tmp_path, monkeypatch, sampler):
    """Finer grids end nearer, and what was measured is kept."""
    monkeypatch.setattr(growth, "NOISES", 8)
    few, many = (growth.true_errors(modes, sampler, steps, tmp_path) for steps in (4, 30))
    assert few.shape == (20, 8) and np.median(many) < (0.4 if sampler == "euler" else 0.2) * np.median(few)
    monkeypatch.setattr(growth, "_measure", None)
    np.testing.assert_array_equal(growth.true_errors(modes, sampler, 4, tmp_path), few)
