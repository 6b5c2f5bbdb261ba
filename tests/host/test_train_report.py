"""What ART Train reports and draws, with the host imported into this process."""

import dataclasses
import types

import numpy as np
import pytest
import torch

from art_nodes.core import OrbitBank, record_orbits
from tests.host import schedules

pytestmark = pytest.mark.host


@pytest.fixture(scope="module")
def report(comfy):
    from art_nodes.host import report

    return report


def on_its_table():
    """As much of a MODEL with SD's noise levels as schedulers look at."""
    import comfy.model_sampling

    table = comfy.model_sampling.ModelSamplingDiscrete()
    return types.SimpleNamespace(get_model_object=lambda name: {"model_sampling": table}[name], model_options={})


def test_grids_of_the_host(comfy, report, monkeypatch):
    def fails(*_):
        raise RuntimeError("another pack's scheduler")

    handlers = comfy.samplers.SCHEDULER_HANDLERS
    monkeypatch.setitem(handlers, "broken", comfy.samplers.SchedulerHandler(fails))
    monkeypatch.setitem(handlers, "rising", comfy.samplers.SchedulerHandler(lambda _, n: torch.tensor([1.0, 2.0, 0.0])))
    monkeypatch.setitem(handlers, "twice", comfy.samplers.SchedulerHandler(lambda _, n: torch.tensor([2.0, 0.0, 0.0])))
    names = [*comfy.samplers.SCHEDULER_NAMES, "broken", "rising", "twice"]
    monkeypatch.setattr(comfy.samplers.KSampler, "SCHEDULERS", names)
    grids = report.host_grids(on_its_table(), "euler", 1000)
    assert grids["broken"] is grids["rising"] is grids["twice"] is None
    assert len(grids["karras"]) == 1001 and len(grids["beta"]) < 1001
    assert {"AYS SD1", "AYS SDXL"} <= set(grids) and "AYS SVD" not in grids
    assert report.host_grids(on_its_table(), "euler", 1)["kl_optimal"] is None


def test_grids_of_the_host_are_those_that_its_ksampler_takes(comfy, report):
    """It drops the last sigma above 0 of some samplers, as ART Compare and trials know."""
    from art_nodes.host.comparing_grids import find_entries

    model = on_its_table()
    plain, shorter = (report.host_grids(model, sampler, 6)["karras"] for sampler in ("euler", "uni_pc"))
    assert shorter[-2] > 2 * plain[-2]
    for sampler, grid in (("euler", plain), ("uni_pc", shorter)):
        [entry] = find_entries(model, sampler, "karras")
        np.testing.assert_array_equal(entry.grid(6).double().numpy(), grid)


@pytest.mark.parametrize(("objective", "words"), [
    ("euler", "end:euler does not"), ("residual:dpmpp_2m", "end:dpmpp_2m does not"),
    ("spectrum:dpmpp_2m_sde", "steps otherwise with dpmpp_2m_sde"), ("end:heun", ""), ("spectrum:euler", "")])
def test_what_an_objective_leaves_out_of_a_flow_is_said(report, objective, words):
    """Of a flow only."""
    grid = np.geomspace(1.0, 0.01, 8)
    flow, added = (OrbitBank(grid, np.ones((2, 8)), share=share) for share in (True, False))
    assert report.flow_lines(added, objective) == [] and bool(words) == bool(report.flow_lines(flow, objective))
    assert all(words in line for line in report.flow_lines(flow, objective))


@pytest.mark.parametrize("steps", [1, 2, 10, 50])
def test_comparison_ranks_by_cost(report, steps):
    bank = OrbitBank(np.geomspace(14.6146, 0.0292, 64), np.ones((1, 64)))  # constant |Q|: even steps are the best
    grids = report.host_grids(on_its_table(), "euler", steps)
    best = np.linspace(14.6146, 0, steps + 1)
    lines = report.comparison_lines(bank, best, grids, steps)
    rows = [line.split() for line in lines if line.startswith("   ")]
    costs = [float(row[0]) for row in rows]
    assert costs == sorted(costs) and costs[0] == pytest.approx(1.0, abs=1e-3)
    assert "ART" in (rows[0][1], rows[1][1])
    if steps > 1:
        bad = report.comparison_lines(bank, 14.6146 * np.append(np.geomspace(1, 1e-4, steps), 0), grids, steps)
        assert not next(line for line in bad if line.startswith("   ")).split()[1] == "ART"
        strongest = next(line for line in bad if line.startswith("strongest"))
        assert float(strongest.rpartition("is ")[2].split()[0]) < 1


def test_a_grid_that_starts_lower_is_charged_for_the_whole_range(report):
    bank = OrbitBank(np.geomspace(10.0, 0.01, 32), np.ones((1, 32)))
    assert report.fair_cost(bank, [5.0, 2.5, 0.0]) == pytest.approx(report.fair_cost(bank, [10.0, 2.5, 0.0]))
    assert report.fair_cost(bank, [12.0, 5.0, 0.0]) == pytest.approx(1.0, abs=1e-6)


def test_prompts_that_were_not_learned_on_are_told(report):
    prompts = [[torch.zeros(8, 3, 4), {}]]
    assert report.prompts_lines(prompts, 8, 8) == report.prompts_lines([[torch.zeros(1, 3, 4), {}]], 4, 1) == []
    assert report.prompts_lines([[None, {}], *prompts], 8, 8) == []
    for orbits, batch, used in ((4, 8, 4), (8, 2, 2)):
        [line] = report.prompts_lines(prompts, orbits, batch)
        assert line.startswith(f"learned on the first {used} of 8 prompts") and line.endswith("latent_image to 8")


def test_a_mask_that_was_left_out_is_told(report):
    models = [types.SimpleNamespace(model=types.SimpleNamespace(concat_keys=keys)) for keys in ((), ("mask",))]
    assert [report.mask_lines(model, {"samples": None}) for model in models] == [[], []]
    (plain,), (inpainting,) = (report.mask_lines(model, {"noise_mask": None}) for model in models)
    assert "as if the whole picture were painted" in plain and "Inpaint" not in plain
    assert inpainting.startswith(plain) and inpainting.endswith("connect InpaintModelConditioning's positive and "
                                                                "negative, with noise_mask off")


@pytest.mark.parametrize("nodes", [8, 31, 32])
def test_few_nodes_are_told(report, nodes):
    known = {"cfg": 1.0, "batch_size": 1, "model": "M", "model_sampling": "S", "dtype": "float32"}
    bank = OrbitBank(np.geomspace(10.0, 0.01, nodes), np.ones((1, nodes)), metadata=known)
    assert any("nodes are few" in line for line in report.bank_lines(bank, 1.0)) is (nodes < 32)


def test_straight_orbits_are_told(report):
    """Of a model that always says the same no grid is off, and none is so many times better."""
    bank = record_orbits(lambda x, sigma: torch.ones_like(x), 10 * torch.ones(2, 4), 10.0, 0.01, nodes=16)
    lines = report.comparison_lines(bank, [10.0, 2.0, 0.0], {"karras": np.array([10.0, 4.0, 0.0])}, 2, "end:euler")
    assert any(line.startswith("strongest built-in: karras, 0.000; that of ART is less") for line in lines)


def test_shorter_grids_and_many_schedulers_in_the_report(report):
    bank = OrbitBank(np.geomspace(10.0, 0.01, 32), np.ones((1, 32)))
    grids = {f"grid{i}": np.array([10.0, 4.0, 0.0]) for i in range(60)} | {f"none{i}": None for i in range(60)}
    lines = report.comparison_lines(bank, [10.0, 6.0, 3.0, 0.0], grids, 3)
    assert len(lines) < 33 and max(map(len, lines)) < 160
    assert any("(gives 2 steps)" in line for line in lines) and any("and 37 worse ones" in line for line in lines)
    assert not any(line.startswith("strongest") for line in lines)  # none of them has 3 steps
    finer = {"finer": np.append(np.geomspace(10.0, 0.01, 20), 0.0), "even": np.array([10.0, 5.0, 2.0, 0.0])}
    assert any(line.startswith("strongest built-in: even")
               for line in report.comparison_lines(bank, [10.0, 6.0, 3.0, 0.0], grids | finer, 3))


def test_the_plot_draws_the_grid_that_is_used(training, monkeypatch):
    """Of a schedule with grids the line goes through the dots, which the clock does not."""
    from art_nodes.host import plot

    lines, dots = [], []
    monkeypatch.setattr(plot.Panel, "line", lambda self, points, *_: lines.append(points))
    monkeypatch.setattr(plot.Panel, "dots", lambda self, points, *_: dots.append(points))
    schedule = dataclasses.replace(schedules.schedule(), grids={3: [80.0, 79.0, 70.0, 0.0]})
    plot.draw_plot(schedule, 3, {}, [], 0.03)
    (line,), (dot,) = lines, dots
    assert len(dot) == 3
    across, sigma = map(np.array, zip(*line, strict=True))
    for step, expected in dot:
        assert sigma[np.abs(across - step).argmin()] == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("steps", [1, 3, 40, 10000])
@pytest.mark.parametrize("costs", [[], [30.0, 2.0, 1.0], [1.0] * 10])
def test_the_plot_takes_any_size(training, steps, costs):
    from art_nodes.host.plot import draw_plot

    schedule = schedules.schedule(top=4518.0)
    plot = draw_plot(schedule, steps, {"karras": np.array([4518.0, 1.0, 0.0])}, costs, 0.03)
    assert plot.shape == (1, 420, 1000, 3) and plot.isfinite().all()
