"""Other published methods, as `python -m benchmarks methods` has them, against sums, brute force and k-diffusion."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from art_nodes.core import record_orbits, recording_grid
from art_nodes.core.compare import euler
from art_nodes.core.dynamic import best_on_nodes
from art_nodes.core.exact import gaussian
from art_nodes.core.grids import power_grid
from art_nodes.core.objectives import SamplerError
from benchmarks import methods, other_methods, seed_tables
from benchmarks.matched_cells import Cell
from tests.core import targets

RANGE = (3.0, 0.01)
DOCS = Path(__file__).parents[1] / "docs"


def small_bank(nodes: int = 12):
    return record_orbits(gaussian(), targets.noise((16, 4), RANGE[0]), *RANGE, nodes=nodes)


# GITS

def test_what_an_euler_step_from_an_orbit_misses():
    """On N(0, 1), where an orbit is x0 sqrt(1 + sigma^2) and D is x / (1 + sigma^2)."""
    bank = small_bank(64)
    costs, sigmas = other_methods.euler_costs(bank), bank.edges
    spread = np.sqrt(1 + sigmas**2)
    size = float(targets.noise((16, 4), RANGE[0]).square().mean(1).sqrt().mean()) / spread[0]
    for i, j in ((0, 20), (10, 40), (30, 64)):
        keep = sigmas[j] / sigmas[i]
        missed = abs(keep * spread[i] + (1 - keep) / spread[i] - spread[j])
        assert costs[i, j] == pytest.approx(size * missed, rel=0.02, abs=1e-5)
    assert np.isinf(costs[np.tril_indices(65)]).all()


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_the_grid_costs_the_least(steps):
    """Of all ways along the nodes, the costs of each step after the first counted ever more."""
    bank = small_bank()
    costs, sigmas = other_methods.euler_costs(bank), bank.edges
    ways = [(0, *inner, 12) for inner in itertools.combinations(range(1, 12), steps - 1)]
    totals = [sum(other_methods.LATER**k * costs[pair] for k, pair in enumerate(itertools.pairwise(way)))
              for way in ways]
    assert other_methods.gits(bank, steps).tolist() == sigmas[list(ways[int(np.argmin(totals))])].tolist()


def test_with_all_steps_alike_it_is_dynamic_programming_of_residuals(monkeypatch):
    monkeypatch.setattr(other_methods, "LATER", 1.0)
    bank = targets.bank("image")
    for steps in (3, 6, 10):
        expected = best_on_nodes(SamplerError(bank, "residual:euler"), steps)
        assert other_methods.gits(bank, steps).tolist() == expected.tolist()


# OSS

def test_of_two_steps_each_picture_takes_the_best():
    """By all nodes that the one between may be; of several pictures the median."""
    start, sigmas = targets.noise((5, 2), RANGE[0]), np.append(recording_grid(*RANGE, 16), 0.0)
    denoise = targets.two_modes()
    truth = other_methods.fine_states(denoise, start, sigmas)[-1]
    errors = [(euler(denoise, start, torch.tensor([sigmas[0], sigma, 0.0])) - truth).square().mean(1)
              for sigma in sigmas[1:-1]]
    best = 1 + torch.stack(errors).argmin(dim=0).numpy()
    assert len(set(best)) > 1, "or the median tells nothing"
    assert other_methods.oss(denoise, start, sigmas, 2).tolist() == [
        sigmas[0], sigmas[int(np.median(best))], 0.0]


def test_more_steps_end_nearer():
    start, sigmas = targets.noise((4, 8), RANGE[0]), np.append(recording_grid(*RANGE, 24), 0.0)
    truth = other_methods.fine_states(gaussian(), start, sigmas)[-1]
    found = [other_methods.oss(gaussian(), start, sigmas, steps) for steps in (1, 3, 6)]
    assert [len(grid) for grid in found] == [2, 4, 7] and all((np.diff(grid) < 0).all() for grid in found)
    far = [float((euler(gaussian(), start, torch.from_numpy(grid)) - truth).norm()) for grid in found]
    assert far[0] > 2 * far[1] > 3 * far[2]


# DMN

@pytest.mark.parametrize("knots", [[0.3], [-0.5, 0.3], [-1.0, -0.5, 0.3]])
def test_weights_of_a_multistep_method(knots):
    """The integral of e^t times Lagrange's polynomials, by quadrature."""
    knots = np.array(knots)
    weights = other_methods._exponential_weights(knots, 0.3, 1.1)
    for j, weight in enumerate(weights):
        others = np.delete(knots, j)
        exact, _ = quad(lambda t, o=others, j=j: math.exp(t) * np.prod((t - o) / (knots[j] - o)), 0.3, 1.1)
        assert weight == pytest.approx(exact, rel=1e-8)


def test_the_bound_is_least():
    sigmas = other_methods.dmn(14.6146, 0.0292, 6)
    assert len(sigmas) == 7 and sigmas[0] == pytest.approx(14.6146) and sigmas[-1] == 0 and (np.diff(sigmas) < 0).all()
    found = -np.log(np.append(sigmas[:-1], 0.0292))
    bound, generator = other_methods.multistep_bound(found), np.random.default_rng(0)
    assert bound < 0.9 * other_methods.multistep_bound(np.linspace(found[0], found[-1], 7))
    for _ in range(20):
        moved = found + np.pad(generator.normal(0, 0.05, 5), 1)
        assert other_methods.multistep_bound(moved) > bound
    assert other_methods.dmn(3.0, 0.1, 1).tolist() == [3.0, 0.0]


# Gradient descent

@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m"])
def test_what_is_differentiated_is_the_sampler(sampler, k_diffusion_sampling):
    start, sigmas = targets.noise((4, 8), RANGE[0]), torch.from_numpy(power_grid(6, *RANGE)).float()
    expected = getattr(k_diffusion_sampling, f"sample_{sampler}")(targets.two_modes(), start, sigmas, disable=True)
    assert torch.allclose(other_methods.followed(targets.two_modes(), start, sigmas, sampler), expected, atol=1e-5)


def test_descent_ends_nearer_than_where_it_began():
    denoise, start = targets.two_modes(), targets.noise((40, 8), 10.0)
    fresh = targets.noise((256, 8), 10.0, seed=1)
    truth = other_methods.fine_states(denoise, fresh, power_grid(128, 10.0, 0.002))[-1]
    found = other_methods.by_gradient(lambda numbers: denoise, start, 10.0, 0.002, "euler", 5, 64, 0)
    again = other_methods.by_gradient(lambda numbers: denoise, start, 10.0, 0.002, "euler", 5, 64, 0)
    even = 10 ** (1 / 7) + (0.002 ** (1 / 7) - 10 ** (1 / 7)) * np.arange(6) / 5
    began = np.append(even[:-1] ** 7, 0.0)
    assert np.array_equal(found, again) and len(found) == 6 and found[-1] == 0 and (np.diff(found) < 0).all()
    errors = [float((euler(denoise, fresh, torch.from_numpy(grid)) - truth).square().mean(1).sqrt().mean())
              for grid in (found, began)]
    assert errors[0] < 0.9 * errors[1]


# Tables

@pytest.fixture
def cells(monkeypatch):
    """Cells of every schedule in every column, with errors made up of their names."""
    noise, sizes = np.random.default_rng(0).uniform(0.9, 1.1, 128), {"karras": 1.0, "beta": 0.9}
    sizes |= {seed_tables.title(kind, seed): size * (1 + 0.01 * seed) for seed in methods.SEEDS
              for kind, size in zip(methods.KINDS, (0.95, 0.8, 1.2, 0.7, 0.85, 0.75, 0.6), strict=True)}
    monkeypatch.setattr(Cell, "load", lambda cell, folder: noise * sizes[cell.schedule])
    return [Cell(place, sampler, steps, name, (1.0, 0.0)) for place in methods.PLACES for sampler in methods.SAMPLERS
            for steps in methods.STEPS for name in sizes]


def test_ours_against_each_method(cells, tmp_path):
    rows = methods.ours_against(cells, tmp_path)
    duels = len(methods.PLACES) * len(methods.STEPS) * len(methods.SEEDS)
    assert [row[:2] for row in rows[1:]] == [[sampler, other] for sampler in methods.SAMPLERS
                                             for other in methods.OTHERS]
    assert rows[1][2:] == [f"{duels}, 0, 0; 0.79", f"{duels}, 0, 0; 0.63"]  # GITS
    assert rows[4][2:] == [f"0, 0, {duels}; 1.07", f"{duels}, 0, 0; 0.86"]  # gradient descent
    [head, first, *_] = seed_tables.rows_of(cells, methods.KINDS, tmp_path, methods.CHUNKS)
    assert head[5:] == list(methods.KINDS) and first[3] == "beta" and first[8] == "0.78, 0.79, 0.79"


def test_what_each_took_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(methods.Found, "load", lambda job, root: {"calls": 1000 * job.steps + len(job.method)})
    jobs = [methods.Found(place, method, "any", steps, 0) for place in methods.PLACES for method in methods.METHODS
            for steps in methods.STEPS]
    [head, six, ten] = methods.spent(jobs, tmp_path)
    assert head == ["steps", *methods.METHODS, methods.TRIED]
    assert six[:2] == ["6", "6,004"] and ten[1] == "10,004"
    assert ten[-1] == f"{10_000 + len(methods.OURS) + methods.BUDGET:,d}"


def tables(page: str) -> list[list[str]]:
    """Rows of a page's tables."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in (DOCS / page).read_text().splitlines()
            if line.startswith("|")]


def test_what_is_quoted_is_what_the_page_has():
    found, quoted = ([row for row in tables(page) if row[0] in methods.SAMPLERS and len(row) == 1 + len(methods.KINDS)
                      and row[1].count(",") == 1] for page in ("methods.md", "measured.md"))
    assert len(found) == len(methods.SAMPLERS)
    assert [[cell.removesuffix(" of 6") for cell in row] for row in found] == quoted
    verdicts = {other: np.zeros((2, 3), int) for other in methods.OTHERS}  # without a trial and with one
    for row in tables("methods.md"):
        if len(row) == 4 and row[1] in verdicts:
            verdicts[row[1]] += [[int(count) for count in cell.split(";")[0].split(", ")] for cell in row[2:]]
    assert {other: counts[0].tolist() for other, counts in verdicts.items()} == {
        "GITS": [36, 0, 0], "OSS": [22, 14, 0], "DMN": [36, 0, 0], "gradient": [11, 21, 4]}
    assert verdicts["gradient"][1].tolist() == [15, 19, 2]
    readme, measured = (" ".join((DOCS / page).read_text().split()) for page in ("../README.md", "measured.md"))
    assert "win 36 of 36 comparisons each against GITS and DMN, as we read these papers, and 22 against OSS, the " \
           "rest tied" in readme and "they win 11, tie 21 and lose 4, with DPM++ 2M" in readme
    assert "wins 36 against GITS and against DMN, 22 against OSS, with 14 tied, and 11 against gradient descent, " \
           "with 21 tied and 4 lost, all with DPM++ 2M; with a trial 15, 19 and 2" in measured
    calls = {row[0]: row[1:] for row in tables("methods.md") if row[0] in ("6", "10")}
    assert "It took 5,120 sample calls" in measured and calls["6"][5] == calls["10"][5] == "5,120"
    assert f"OSS {calls['6'][1]} to {calls['10'][1]} for one number of steps, gradient descent {calls['6'][3]} to " \
           f"{calls['10'][3]} for one" in measured
