"""The exact distributions of samplers that add noise, against what the host's code samples."""

import numpy as np
import pytest
import torch

from art_nodes.core.exact import gaussian
from benchmarks import stochastic
from benchmarks.comfy.inprocess import BareModel

VARIANCES, GRID, SAMPLES = np.array([0.01, 0.3, 4.0]), np.array([10.0, 4.0, 1.5, 0.7, 0.2, 0.0]), 100_000


@pytest.fixture
def three(monkeypatch):
    """The three variances instead of an image's spectrum."""
    monkeypatch.setattr(stochastic, "VARIANCES", VARIANCES)


def sampled(name, comfy):
    """Variances of what the host's sampler makes of the exact denoiser and its own noise."""
    import comfy.k_diffusion.sampling as sampling

    generator = torch.Generator().manual_seed(0)
    variances = torch.from_numpy(VARIANCES)
    x = torch.randn(SAMPLES, 3, generator=generator, dtype=torch.float64) * (variances + GRID[0] ** 2).sqrt()
    options = {} if name == "euler" else {
        "noise_sampler": lambda *_: torch.randn(SAMPLES, 3, generator=generator, dtype=torch.float64)}
    exact = gaussian(variances)
    sample = getattr(sampling, f"sample_{name}")
    end = sample(BareModel(exact), x, torch.from_numpy(GRID), extra_args={}, disable=True, **options)
    return end.var(dim=0).numpy()


@pytest.mark.parametrize("name", stochastic.SAMPLERS)
def test_distributions_are_those_that_the_host_samples(name, comfy, three):
    """Within four standard errors of a variance."""
    expected = stochastic.SAMPLERS[name](GRID[None])[0]
    np.testing.assert_allclose(sampled(name, comfy), expected, rtol=4 * (2 / SAMPLES) ** 0.5)


def test_control_another_samplers_distribution_is_told_apart(three):
    """Negative control: the noise matters, and so does the memory."""
    found = {name: run(GRID[None])[0] for name, run in stochastic.SAMPLERS.items()}
    for one, other in (("euler", "euler_ancestral"), ("euler_ancestral", "dpmpp_2m_sde")):
        assert np.abs(found[one] / found[other] - 1).max() > 0.05


def test_the_table_marks_the_best_and_nothing_beats_what_descent_finds():
    grids = {"even": np.geomspace(14.6146, 0.1, 5), "low": np.geomspace(14.6146, 0.01, 5)}
    columns = {5: {name: np.append(grid, 0.0) for name, grid in grids.items()}}
    rows = stochastic.table("euler_ancestral", columns)
    values = {row[0]: float(row[1].strip("*")) for row in rows[1:]}
    assert sum(row[1].startswith("**") for row in rows) == 1
    assert values["least found"] <= min(values["even"], values["low"])


def test_a_grid_that_does_not_end_at_zero_is_refused():
    with pytest.raises(ValueError, match="grids must end at 0"):
        stochastic.dpmpp_2m_sde(np.array([[3.0, 1.0]]))
