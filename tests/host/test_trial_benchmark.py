"""The benchmark of trials: what it tries, and what its page says."""

import functools
import json

import numpy as np
import pytest

from art_nodes.demo import load_network
from benchmarks import guidance, matched, trial, trial_cells, trial_report
from benchmarks.chunks import save_whole
from benchmarks.matched_cells import ART, BATCH, PLACES, Cell
from benchmarks.matched_tables import measured
from benchmarks.trial_cells import BUDGETS, SEEDS, Ground, Job, title

pytestmark = pytest.mark.host
SDXL, STEPS = PLACES[0], 4
GUIDED = next(place for place in guidance.PLACES if place not in PLACES)


def test_a_trial_is_made_in_the_host_and_keeps_its_budget(comfy, monkeypatch):
    monkeypatch.setattr(trial_cells, "NODES", 16)
    monkeypatch.setattr(trial_cells, "BUDGETS", (256, 1024))
    ground = Ground(SDXL, 0, batches=6)
    assert len(ground.bank.stiffness) == 12 and ground.runs("end:euler").sizes == [2] * 6
    # Batches are of different garments, and each is judged by its own ends.
    fine = np.append(np.geomspace(ground.bank.sigma_max, ground.bank.sigma_min, 60), 0.0)
    runs = ground.runs("end:dpmpp_2m")
    assert max(np.sqrt(np.square(runs.errors(fine, batch)).mean()) for batch in (0, 5)) < 0.05
    found = ground.found("euler", STEPS, 0)
    assert set(found) == {f"{ART}end:euler, seed 0", *(title(budget, 0) for budget in trial_cells.BUDGETS)}
    for name, told in found.items():
        assert len(told["sigmas"]) == STEPS + 1 and (np.diff(told["sigmas"]) < 0).all()
        assert "budget" not in told or told["sample_calls"] <= told["budget"], name


@pytest.mark.parametrize("many, model, compiled", [(True, "demo", True), (False, "demo", False),
                                                   (True, "gaussian", False)])
def test_many_trials_share_a_compiled_network(comfy, tmp_path, monkeypatch, many, model, compiled):
    """Few are not worth compiling for, and other models have no such network."""
    asked, calls, network = [], [], load_network()
    network.register_forward_hook(lambda *_: calls.append(1))
    monkeypatch.setattr(trial_cells, "fastest_network", lambda setting: asked.append(setting.batch) or (network, ""))
    monkeypatch.setattr(trial_cells, "COMPILED_FROM", 2 if many else 3)
    monkeypatch.setattr(trial_cells, "NODES", 8)
    monkeypatch.setattr(trial_cells, "_grounds", {})
    monkeypatch.setattr(trial_cells, "_network", None)
    monkeypatch.setattr(trial_cells, "on_gpu", lambda: False)  # there nothing is compiled
    place = next(place for place in PLACES if place.model == model)
    ground = functools.partial(trial_cells.ground, place, 0, batches=1)
    monkeypatch.setattr(Job, "find", lambda job: {"orbits": len(ground().bank.stiffness)})
    jobs = [Job(place, "euler", steps, 0) for steps in (4, 5)]
    assert list(trial_cells.compute(jobs, tmp_path, 1)) == jobs and jobs[0].load(tmp_path) == {"orbits": 2}
    assert asked == [trial_cells.SIZE] * compiled and bool(calls) == compiled


@pytest.fixture(params=[SDXL, GUIDED], ids=lambda place: place.name)
def judged(request, tmp_path):
    """One column, three seeds: karras off by 1.0, the objective's grid by 1.2, trials of 512 by .9, of 4096 by .8."""
    rng, jobs, cells = np.random.default_rng(0), [Job(request.param, "euler", STEPS, seed) for seed in SEEDS], []
    base = rng.uniform(0.9, 1.1, BATCH)

    def add(name, size, last):
        cells.append(Cell(request.param, "euler", STEPS, name, (10.0, 3.0, 2.0, last, 0.0)))
        save_whole(cells[-1].path(tmp_path, 0), errors=size * base * rng.uniform(0.99, 1.01, BATCH))
        return {"sigmas": cells[-1].sigmas}

    add("karras", 1.0, 1.0)
    for job in jobs:
        found = {f"{ART}end:euler, seed {job.seed}": add(f"{ART}end:euler, seed {job.seed}", 1.2, 0.9 - job.seed / 10)}
        for budget, size in zip(BUDGETS, (0.9, 0.8), strict=True):
            name = title(budget, job.seed)
            found[name] = {**add(name, size, 0.5 - job.seed / 10 - size / 50), "sample_calls": budget // 2,
                           "from": ("karras", "ART, errors that grow", "ART")[job.seed],
                           "ratio": (size, size, 1)[job.seed]}
        job.path(tmp_path).parent.mkdir(parents=True, exist_ok=True)
        job.path(tmp_path).write_text(json.dumps(found))
    return jobs, cells


def test_the_page_counts_every_seed(judged, tmp_path):
    jobs, cells = judged
    assert {cell.schedule for cell in trial.ours(jobs, tmp_path)} == {cell.schedule for cell in cells} - {"karras"}
    rows = {row[1]: row[2:] for row in trial_report.summary(measured(matched.columns(cells), tmp_path))[1:]}
    assert rows["objective alone"][:3] == ["0", "0", "3"] and rows["tried, 512 calls"][:3] == ["3", "0", "0"]
    assert float(rows["tried, 4096 calls"][3]) == pytest.approx(0.8, abs=0.01)
    trial_report.write(matched.columns(cells), jobs, tmp_path, lambda line: None)
    page = (tmp_path / trial_report.PAGE).read_text()
    assert "| 512 calls | 256 | 1 of 3 | 1 of 3 | 2 of 3 | 1 of 3 |" in page
    assert f"`python -m benchmarks trial --places {jobs[0].place.name} --samplers euler --steps 4 --docs`" in page
    assert "1.20l 1.20l" in page and "karras" in page


def test_control_trials_that_are_not_there_are_not_counted(judged, tmp_path):
    """Negative control: without its files a seed has no say."""
    jobs, cells = judged
    jobs[0].path(tmp_path).unlink()
    left = [cells[0], *trial.ours(jobs, tmp_path)]
    rows = {row[1]: row[2:] for row in trial_report.summary(measured(matched.columns(left), tmp_path))[1:]}
    assert rows["objective alone"][:3] == ["0", "0", "2"]
