"""The learning benchmark: its counts, its tables, resuming, and the profile."""

import dataclasses
import json

import pytest
import torch

from art_nodes.core import TrainConfig, optimal_schedule
from art_nodes.core.exact import gaussian
from benchmarks import learn, learn_report
from benchmarks.learn_report import WAYS, Point, Result
from benchmarks.targets import DEMO, EXACT, Target

ORBITS, EPISODES, NODES, ITERATIONS = 3, 4, 8, 12
TINY = Target("tiny", 3.0, 0.01, (ORBITS, 1), gaussian)
SMALL = TrainConfig(iterations=ITERATIONS, episodes=EPISODES, clock_nodes=NODES, knots=4)


def job(way: str, seed: int = 0) -> learn.Job:
    return learn.Job(TINY, way, seed, None if way == "closed form" else dataclasses.replace(SMALL, seed=seed))


def result(way: str, seed: int, *costs: float, target: str = "a", own=None) -> Result:
    """A run whose point i has iteration 10 i and (seed + 1) sample calls times that."""
    points = [Point(10 * i, i, 10 * i * (seed + 1), 0.1 * i, 0.2 * i, cost) for i, cost in enumerate(costs, start=1)]
    return Result(target, way, seed, "4 × 8 × 20", tuple(points), own)


@pytest.mark.parametrize("way", ["closed form", "bank"])
def test_a_recording_is_all_that_a_bank_takes(way):
    found = learn.compute(job(way))
    for point in found.points:
        assert (point.calls, point.sample_calls) == (64, 64 * ORBITS)
    bank = TINY.record(0)
    best = optimal_schedule(bank)
    assert found.own == pytest.approx(best.cost(bank)) if way == "closed form" else found.own > best.cost(bank)


@pytest.mark.parametrize("way, calls", [("live", 1), ("published", 2)])
def test_a_live_call_is_over_all_episodes(way, calls):
    """One roll-out to survey the units, then one an iteration, each with a look at its start."""
    found = learn.compute(job(way))
    assert [point.iteration for point in found.points] == [1, 2, 5, 10, ITERATIONS]
    for point in found.points:
        assert point.calls == calls * (point.iteration + 1) * (NODES + 1)
        assert point.sample_calls == EPISODES * point.calls
    assert found.own is None


def test_time_goes_on_and_costs_are_of_held_out_orbits():
    found = learn.compute(job("bank"))
    seconds = [point.wall for point in found.points]
    assert seconds == sorted(seconds) and seconds[0] > 0
    held_out = learn.yardstick(TINY)
    assert len(held_out.stiffness) == 2 * ORBITS
    closed = learn.compute(job("closed form"))
    assert closed.last.cost == pytest.approx(optimal_schedule(TINY.record(0)).cost(held_out))


@pytest.mark.parametrize("target, batch", [(DEMO[0], 20), (DEMO[1], 6), (EXACT[2], 2)])
def test_every_target_has_a_live_model(target, batch):
    model = target.live()
    x = model.noise(batch, torch.Generator().manual_seed(0))
    assert x.shape == (batch, *target.shape[1:])
    assert model.denoiser(x, torch.full((batch,), target.sigma_max)).shape == x.shape


def test_the_demo_model_cycles_over_the_classes():
    """The same image in rows 0, 1 and 10: the class of row 0 comes again in row 10."""
    x = torch.randn(1, 1, 28, 28, generator=torch.Generator().manual_seed(0)).expand(11, -1, -1, -1)
    found = DEMO[0].make()(x, torch.ones(11))
    torch.testing.assert_close(found[0], found[10])
    assert float((found[0] - found[1]).abs().max()) > 1e-3


def test_resuming_computes_nothing_twice(tmp_path, monkeypatch):
    computed, said = [], []
    compute = learn.compute
    monkeypatch.setattr(learn, "compute", lambda job: computed.append((job.way, job.seed)) or compute(job))
    jobs = [job("closed form"), job("bank"), job("bank", 1)]
    learn.run(jobs[:2], tmp_path, said.append)
    first = learn.run(jobs, tmp_path, said.append)
    assert computed == [("closed form", 0), ("bank", 0), ("bank", 1)] and len(said) == 3
    assert learn.run(jobs, tmp_path, said.append) == first and len(computed) == 3
    assert {path.suffix for path in tmp_path.iterdir()} == {".json"}


def test_other_settings_are_other_results(tmp_path):
    longer = dataclasses.replace(job("bank"), config=dataclasses.replace(SMALL, iterations=20))
    wider = dataclasses.replace(job("bank"), target=dataclasses.replace(TINY, sigma_max=4.0))
    paths = {one.path(tmp_path) for one in (job("bank"), job("bank", 1), job("live"), longer, wider)}
    assert len(paths) == 5
    assert learn.kept(job("bank"), tmp_path) is None


def test_results_survive_json():
    one = result("bank", 0, 1.2, 1.1, own=1.05)
    assert Result.from_json(json.loads(json.dumps(dataclasses.asdict(one)))) == one


def test_medians_and_worst_by_hand():
    runs = [result("bank", seed, 1.3, cost, own=own)
            for seed, cost, own in ((0, 1.011, 1.005), (1, 1.05, 1.001), (2, 1.012, 1.003))]
    heading, row = learn_report.summary(runs)
    cells = dict(zip(heading, row, strict=True))
    assert cells["seeds"] == "3" and cells["setting"] == "4 × 8 × 20"
    assert (cells["J/J*"], cells["worst"]) == ("1.0120", "1.0500")
    assert cells["on its own bank (worst)"] == "1.0030 (1.0050)"
    assert (cells["model calls"], cells["sample calls"], cells["to 1.02"]) == ("2", "40", "40")
    assert (cells["core s"], cells["wall s"]) == ("0.2", "0.4")


def test_below_counts_only_if_it_stays():
    points = result("live", 0, 1.01, 1.03, 1.02, 1.015).points
    assert learn_report.first_below(list(points), 1.02) == points[2]
    assert learn_report.first_below(list(points[:2]), 1.02) is None


def test_progress_over_training():
    live = [result("live", 0, 1.4, 1.3), result("live", 1, 1.2, 1.1)]
    rows = learn_report.progress([result("closed form", 0, 1.0), *live])
    assert len(rows) == 2
    cells = dict(zip(*rows, strict=True))
    assert (cells["10"], cells["20"], cells["end"], cells["50"]) == ("1.3000", "1.2000", "1.2000", "")


def test_the_verdict_names_who_is_ahead_and_who_misses():
    closed, bank = result("closed form", 0, 1.003), result("bank", 0, 1.01, own=1.012)
    good = learn_report.verdict([closed, bank])
    assert "1.0120 at worst" in good and "beaten nowhere" in good and "No seed" in good
    bad = learn_report.verdict([closed, bank, result("live", 0, 1.03), result("published", 0, 1.001)])
    assert "a (published, 1.0010 to 1.0030)" in bad and "live on a (1.030)" in bad
    assert "Worse at the end" not in bad
    worse = learn_report.verdict([closed, result("live", 0, 1.1, 1.02, 1.03)])
    assert "Worse at the end than before: live on a (1.0200, then 1.0300)" in worse


def test_page_and_plot(tmp_path):
    results = [result(way, seed, 1.2, 1.05, target=target, own=1.01 if way == "bank" else None)
               for target in ("a", "b") for way in WAYS for seed in (0, 1)]
    page = learn_report.markdown(results, "the command", "the profile")
    assert all(text in page for text in ("`the command`", "the profile", "(images/learn.png)", "| a | published |"))
    assert page.count("| live |") == 4  # of two targets, in two tables
    learn_report.plot(results, tmp_path / "images" / "plot.png")
    assert (tmp_path / "images" / "plot.png").stat().st_size > 10_000


def test_the_plan():
    quick, full = learn.plan(2, quick=True), learn.plan(5, quick=False)
    assert len(quick) == 2 * 3 * 5 and len(full) == 5 * (3 * 5 + 2 * 3)
    assert {one.target for one in quick} == set(EXACT)
    assert all(one.config.seed == one.seed for one in full if one.config)
    assert all(one.config == TrainConfig(seed=one.seed) for one in full if one.way == "bank")
    assert all(one.config.budget == ("price" if one.way == "published" else "feedback") for one in full if one.config)


def test_profile_shares_sum_to_one():
    found = learn.profile(EXACT[0].record(0), episodes=(4, 8, 16), iterations=15)
    for book in found.values():
        shares = [book[name] / book["all"] for name in learn.PHASES]
        assert 0.85 < sum(shares) <= 1 and min(shares) > 0
        assert 0 < book["linear solves"] < book["all"]
    rows, words = learn.profile_report(found)
    assert [row[0] for row in rows[1:-2]] == list(learn.PHASES) and rows[-1][1] == "100%"
    assert "small numpy calls" in words
    assert learn.ActorCritic.roll_out.__name__ == "roll_out"  # the timers are gone
