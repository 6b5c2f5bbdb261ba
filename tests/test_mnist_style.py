"""The FID tables on the demo model: solvers, the distance, and cells that survive any interruption."""

import re

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from art_nodes.core import Schedule
from art_nodes.core.exact import gaussian, image_gaussian
from art_nodes.core.grids import power_grid
from art_nodes.core.objectives import SamplerError
from benchmarks import frechet, mnist_cells, mnist_report, mnist_style, pages
from benchmarks.chunks import save_whole
from benchmarks.classifier import load_classifier
from benchmarks.mnist_cells import ART, ART_RK4, NFE, OURS, Cell, Setting, Worker, all_cells, missing
from benchmarks.solvers import SOLVERS, model_calls, rk4, steps_of
from benchmarks.targets import DEMO, Target

LEARNED = {ART: Schedule(power_grid(64, 80.0, 0.02)),
           ART_RK4: Schedule(power_grid(64, 80.0, 0.02), grids={5: power_grid(5, 80.0, 0.1)})}
TOP, BOTTOM, VARIANCE = 10.0, 0.5, 4.0


# --- solvers ---------------------------------------------------------------------------------------------------------


def solved(solver: str, steps: int) -> torch.Tensor:
    """Starts (3, 1) at sigma 10 carried to sigma 0.5 in even steps, for data of variance 4."""
    sigmas = torch.linspace(TOP, BOTTOM, steps + 1, dtype=torch.float64)
    return SOLVERS[solver](gaussian(VARIANCE), torch.tensor([[-7.0], [1.0], [12.0]], dtype=torch.float64), sigmas)


@pytest.fixture(scope="module")
def truth() -> torch.Tensor:
    """The same by SciPy's eighth-order method on the Gaussian's own slope, x sigma / (variance + sigma^2)."""
    answer = solve_ivp(lambda sigma, x: x * sigma / (VARIANCE + sigma**2), (TOP, BOTTOM), [-7.0, 1.0, 12.0],
                       method="DOP853", rtol=1e-12, atol=1e-12)
    return torch.from_numpy(answer.y[:, -1:].copy())


def test_rk4_on_a_fine_grid_agrees_with_scipy(truth):
    assert torch.allclose(solved("rk4", 200), truth, rtol=1e-6)


@pytest.mark.parametrize(("solver", "order"), [("rk4", 4), ("heun", 2), ("euler", 1)])
def test_error_falls_with_the_solvers_order(truth, solver, order):
    coarse, fine = (float((solved(solver, steps) - truth).abs().max()) for steps in (40, 80))
    assert np.log2(coarse / fine) == pytest.approx(order, abs=0.2)


def test_rk4_ends_with_an_euler_step():
    """From sigma to 0 Euler lands on D, here x / (1 + sigma^2)."""
    x = torch.tensor([[2.0], [-3.0]])
    assert torch.allclose(rk4(gaussian(), x, torch.tensor([3.0, 0.0])), x / 10)


@pytest.mark.parametrize(("solver", "calls"), [(solver, calls) for solver in NFE for calls in NFE[solver]])
def test_each_cell_calls_the_model_as_often_as_it_says_and_never_at_zero(solver, calls):
    asked = []

    def counting(x, sigma):
        asked.append(sigma)
        return x / (1 + sigma[:, None] ** 2)

    sigmas = torch.from_numpy(power_grid(steps_of(solver, calls), 80.0, 0.002))
    assert SOLVERS[solver](counting, torch.full((2, 1), 80.0), sigmas).isfinite().all()
    assert len(asked) == calls == model_calls(solver, steps_of(solver, calls))
    assert min(sigma.min() for sigma in asked) > 0
    assert all(sigma.shape == (2,) and sigma.dtype == torch.float32 for sigma in asked)


@pytest.mark.parametrize(("solver", "calls"), [("rk4", 6), ("heun", 4), ("euler", 0)])
def test_a_number_of_calls_that_no_steps_cost_is_an_error(solver, calls):
    with pytest.raises(ValueError, match=f"got {calls}"):
        steps_of(solver, calls)


# --- the distance ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dead", [0, 20], ids=["full rank", "with features that are always 0"])
def test_distance_of_two_gaussians_with_common_axes_in_closed_form(dead):
    """|m1 - m2|^2 + sum (s1 - s2)^2 where both covariances have the same eigenvectors."""
    generator = np.random.default_rng(0)
    axes = np.linalg.qr(generator.standard_normal((96, 96)))[0]
    stds, means = generator.uniform(0.2, 2, (2, 96)), generator.standard_normal((2, 96))
    stds[:, :dead] = 0
    covariances = [axes @ np.diag(s**2) @ axes.T for s in stds]
    expected = ((means[0] - means[1]) ** 2).sum() + ((stds[0] - stds[1]) ** 2).sum()
    assert frechet.distance((means[0], covariances[0]), (means[1], covariances[1])) == pytest.approx(expected, rel=1e-5)


def test_distance_to_oneself_is_zero_and_to_a_shifted_self_the_shift():
    features = np.random.default_rng(1).standard_normal((400, 96)).clip(0)
    real = frechet.moments(features)
    assert frechet.fid(features, real) == pytest.approx(0, abs=1e-6)
    assert frechet.fid(features + 0.1, real) == pytest.approx(0.96, rel=1e-6)


def test_moments_are_numpys_and_counts_repeat_rows():
    features = np.random.default_rng(2).standard_normal((6, 4))
    counts = np.array([0, 2, 1, 0, 3, 1])
    repeated = np.repeat(features, counts, axis=0)
    for ours, theirs in ((frechet.moments(features), features), (frechet.moments(features, counts), repeated)):
        assert np.allclose(ours[0], theirs.mean(axis=0))
        assert np.allclose(ours[1], np.cov(theirs.T))


def test_paired_interval_tells_better_from_worse_and_equal():
    generator = np.random.default_rng(3)
    real = frechet.moments(generator.standard_normal((2000, 8)))
    good = generator.standard_normal((500, 8))
    bad = good + 0.5
    low, high = frechet.paired_interval(good, bad, real)
    assert low < frechet.fid(good, real) - frechet.fid(bad, real) < high < 0
    assert frechet.paired_interval(bad, good, real)[0] > 0
    assert frechet.paired_interval(good, good.copy(), real) == (0, 0)
    with pytest.raises(ValueError, match="one shape"):
        frechet.paired_interval(good, bad[:-1], real)


# --- cells -----------------------------------------------------------------------------------------------------------


def test_cells_are_the_papers_cheap_first_and_end_at_zero():
    cells = all_cells(LEARNED)
    assert len({cell.key for cell in cells}) == len(cells) == 5 * 6 + 3 * 6 + 3 * 5
    for cell in cells:
        assert model_calls(cell.solver, len(cell.sigmas) - 1) == cell.calls
        assert cell.sigmas[0] == pytest.approx(80.0) and cell.sigmas[-1] == 0
        assert (np.diff(cell.sigmas) < 0).all()
        if cell.schedule in ("DPM", "EDM"):
            assert cell.sigmas[-2] == pytest.approx(0.002)
        if cell.schedule in OURS:
            assert cell.sigmas == tuple(LEARNED[cell.schedule].sigmas(len(cell.sigmas) - 1).tolist())
    for solver in NFE:
        costs = [cell.calls for cell in cells if cell.solver == solver]
        assert costs == sorted(costs)
    assert {cell.key[:2] for cell in all_cells(LEARNED, ["heun"], 9)} == {("heun", 3), ("heun", 5), ("heun", 9)}


def test_ours_are_learned_once_and_rk4s_for_each_number_of_steps(tmp_path, monkeypatch):
    """On an exact model: each grid foretells less of RK4's error than the clock of the paper's objective."""
    target = Target("exact", 80.0, 0.002, (4, 1, 8, 8), lambda: image_gaussian(8))
    monkeypatch.setattr(mnist_cells, "DEMO", (target,))
    monkeypatch.setitem(mnist_cells.NFE, "rk4", (17, 25))
    learned = mnist_cells.art_schedules(tmp_path, 0)
    assert list(learned) == [ART, ART_RK4] and not learned[ART].grids and list(learned[ART_RK4].grids) == [5, 7]
    error = SamplerError(target.record(0), "end:rk4")
    for steps in (5, 7):
        grids = np.stack([learned[name].sigmas(steps).double().numpy() for name in (ART_RK4, ART)])
        ours, clock = error(grids)
        assert ours < clock
    monkeypatch.setattr(mnist_cells, "learn_schedule", None)  # would fail if it were asked again
    again = mnist_cells.art_schedules(tmp_path, 0)
    assert all(np.array_equal(again[name].clock, learned[name].clock) for name in learned)


def test_noise_is_held_out_and_its_start_does_not_depend_on_how_much_follows(tmp_path):
    setting = Setting(tmp_path, 500, seed=1)
    first, labels = mnist_cells.chunk_inputs(setting, 0)
    second, _ = mnist_cells.chunk_inputs(setting, 1)
    assert first.shape == (250, 1, 28, 28) and first.dtype == torch.float32
    assert torch.equal(labels.sum(dim=0), torch.full((10,), 25.0))
    assert torch.equal(first, mnist_cells.chunk_inputs(Setting(tmp_path, 5000, seed=1), 0)[0])
    assert not torch.equal(first, second)
    trained_on = DEMO[0].noise(0) / DEMO[0].noise(0).std()
    correlation = torch.nn.functional.cosine_similarity(first[:, None].flatten(2), trained_on[None].flatten(2), dim=2)
    assert correlation.abs().max() < 0.25  # the same noise would give 1; 28 x 28 independent numbers about 0.04


def test_samples_that_fill_no_chunk_are_an_error(tmp_path):
    assert Setting(tmp_path, 1100, 1).samples == 1000
    with pytest.raises(ValueError, match="got 100 samples"):
        Setting(tmp_path, 100, 1)


class Recording:
    """Stands for network and classifier: data N(0, 1), features from the pixels; remembers what it was asked."""

    def __init__(self, fail_after: int | None = None):
        self.starts, self.judged, self.fail_after = [], 0, fail_after

    def network(self, x, c_noise, labels):
        if c_noise[0] > 1.09:  # ln(80)/4: the first call of a batch
            self.starts.append((x.clone(), labels.clone()))
        return torch.zeros_like(x)

    def features(self, images):
        self.judged += len(images)
        if self.fail_after is not None and self.judged > self.fail_after:
            raise KeyboardInterrupt
        return images.flatten(1)[:, :6]


@pytest.fixture
def setting(tmp_path) -> Setting:
    return Setting(tmp_path / "cells", samples=30, seed=1, chunk=10, batch=5)


@pytest.fixture
def run(setting, monkeypatch):
    """Runs cells in this process on a Recording: run(cells) -> (chunks computed, what was recorded, lines said)."""
    real = np.random.default_rng(0).standard_normal((50, 6))
    monkeypatch.setattr(mnist_style, "real_features", lambda *_: real)

    def go(cells, fail_after=None, setting=setting):
        fake, lines = Recording(fail_after), []
        monkeypatch.setattr(mnist_cells, "_computing",
                            lambda _: Worker(setting, fake.network, fake.features).compute)
        return mnist_style.run(cells, setting, 1, lines.append), fake, lines

    return go


CELLS = [Cell("euler", 2, "EDM", (80.0, 1.0, 0.0)), Cell("euler", 2, ART, (80.0, 9.0, 0.0))]


def test_all_cells_get_the_same_noise_and_labels(run):
    _, fake, _ = run(CELLS)
    half = len(fake.starts) // 2
    assert half == 6  # batches a cell
    for (x, labels), (same_x, same_labels) in zip(fake.starts[:half], fake.starts[half:], strict=True):
        assert torch.equal(x, same_x) and torch.equal(labels, same_labels)
    assert not torch.equal(fake.starts[0][0], fake.starts[1][0])


def test_a_second_run_computes_nothing_and_a_changed_schedule_only_its_own_cell(run, setting):
    assert run(CELLS)[0] == 6
    chunks, fake, _ = run(CELLS)
    assert chunks == 0 and fake.judged == 0
    changed = [CELLS[0], Cell("euler", 2, ART, (80.0, 8.0, 0.0))]
    assert run(changed)[0] == 3
    assert run(CELLS)[0] == 0  # what was there before is still right
    assert not np.allclose(changed[1].load(setting)[0], CELLS[1].load(setting)[0], atol=1e-2)


@pytest.mark.parametrize("other", [{"seed": 2}, {"chunk": 15}])
def test_other_noise_starts_anew(run, setting, other):
    run(CELLS)
    facts = {"samples": 30, "seed": 1, "chunk": 10, "batch": 5, **other}
    assert len(missing(CELLS, Setting(setting.folder, **facts))) == 2 * 30 // facts["chunk"]


def test_other_weights_start_anew(run, setting, monkeypatch):
    run(CELLS)
    monkeypatch.setattr(mnist_cells, "networks_hash", lambda: "retrained")
    assert len(missing(CELLS, setting)) == 6


def test_more_samples_go_on_from_what_is_there(run, setting):
    run(CELLS)
    assert run(CELLS, setting=Setting(setting.folder, 50, 1, chunk=10, batch=5))[0] == 4


def test_an_interrupted_run_keeps_whole_chunks_only_and_ends_like_an_undisturbed_one(run, setting, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(CELLS, fail_after=47)  # in the middle of the fifth chunk
    assert len(missing(CELLS, setting)) == 2
    assert [path.name for path in setting.folder.rglob("*") if path.is_file() and path.suffix != ".npz"] == []
    assert run(CELLS)[0] == 2
    undisturbed = Setting(tmp_path / "undisturbed", 30, 1, chunk=10, batch=5)
    run(CELLS, setting=undisturbed)
    for cell in CELLS:
        features, seconds = cell.load(setting)
        assert np.array_equal(features, cell.load(undisturbed)[0])
        assert features.shape == (30, 6) and features.dtype == np.float32 and seconds > 0


def test_a_chunk_is_what_the_solver_makes_of_its_noise(run, setting):
    """One Euler step to 1 and one to 0 with D = x / (1 + sigma^2), cut to pixels of 8 bits."""
    run(CELLS)
    noise, _ = mnist_cells.chunk_inputs(setting, 2)
    x = 80 * noise.double().flatten(1)[:, :6]
    at_one = x / 6401 + (x - x / 6401) / 80
    expected = mnist_cells.as_picture(at_one / 2)
    step = 1 / 255 / mnist_cells.PIXEL_STD
    found = CELLS[0].load(setting)[0][20:]
    assert np.abs(found - expected.numpy()).max() < step + 2e-3  # saved in half precision; rounding may go either way
    assert np.mean(np.abs(found - expected.numpy())) < 1e-3


def test_a_line_for_each_complete_cell_with_its_fid(run):
    _, _, lines = run(CELLS)
    assert lines[0] == "2 cells of 30 samples; 6 chunks of 10 to compute"
    assert [line.split()[:4] for line in lines[1:]] == [["euler", "NFE", "2", "EDM"], ["euler", "NFE", "2", "ART-RL"]]
    assert lines[-1].endswith("0 min left")


def test_the_demo_network_and_its_judge_fill_a_chunk(tmp_path):
    setting = Setting(tmp_path, 10, 1, chunk=10, batch=10)
    worker = Worker(setting, mnist_cells.load_network(), load_classifier().features)
    cell = Cell("heun", 3, ART, (80.0, 4.0, 0.0))
    worker.compute((cell, 0))
    features, _ = cell.load(setting)
    assert features.shape == (10, 96) and np.isfinite(features).all() and features.max() > 0.5


def broken_compiler(network, **_):
    raise RuntimeError("no g++")


@pytest.mark.parametrize(("compiler", "word"), [
    (broken_compiler, r"eager: no compiling here \(RuntimeError\)"),
    (lambda network, **_: lambda *inputs: network(*inputs) + 1e-3, "eager: compiled is .* off"),
    (lambda network, **_: lambda *inputs: network(*inputs) * float("nan"), "eager: compiled is nan off"),
    (lambda network, **_: lambda *inputs: network(*inputs) + 1e-6, "compiled, within .* of eager"),
])
def test_a_compiled_network_is_used_only_where_it_agrees(tmp_path, monkeypatch, compiler, word):
    monkeypatch.setattr(torch, "compile", compiler)
    network, said = mnist_cells.fastest_network(Setting(tmp_path, 250, 1))
    assert isinstance(network, torch.nn.Module) == said.startswith("eager")
    assert re.fullmatch(word, said)


# --- the report ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """Scores of three Heun cells: ART-RL best at NFE 3, equal to EDM at 5, worse at 9 where DPM is best."""
    setting = Setting(tmp_path_factory.mktemp("report"), 500, 1)
    generator = np.random.default_rng(4)
    base = generator.standard_normal((500, 6)).astype(np.float32)
    offsets = {3: (2.0, 1.0, 0.5), 5: (2.0, 1.0, 1.0), 9: (0.2, 0.4, 0.6)}
    cells = all_cells(LEARNED, ["heun"], 13)
    for cell in cells:
        if cell.calls in offsets:
            offset = offsets[cell.calls][("DPM", "EDM", ART).index(cell.schedule)]
            for part, path in zip(np.split(base + offset, setting.chunks), cell.paths(setting), strict=True):
                save_whole(path, features=part, seconds=1.0)
    real, floor = generator.standard_normal((2000, 6)), generator.standard_normal((500, 6))
    return mnist_report.score(cells, setting, real, floor), setting


def test_verdicts_follow_the_interval(scored):
    scores, _ = scored
    duels = {calls: scores.duels["heun", calls, ART] for calls in (3, 5, 9)}
    assert [(duel.other, duel.verdict) for duel in duels.values()] == [
        ("EDM", "best"), ("EDM", "tied within the interval"), ("DPM", "loses")]
    assert ("heun", 13, ART) not in scores.duels and ("heun", 13, ART) not in scores.fid
    assert scores.seconds == 2 * 9
    assert 0 < scores.floor < min(scores.fid.values())


def test_tables_mark_the_best_and_leave_out_what_is_not_there(scored):
    rows = mnist_report.solver_table(scored[0], "heun")
    assert rows[0] == ["NFE", "3", "5", "9"]
    assert [row[0] for row in rows[1:4]] == ["DPM", "EDM", ART]
    assert [[cell.startswith("**") for cell in row[1:]] for row in rows[1:4]] == [
        [False, False, True], [False, True, False], [True, True, False]]
    assert "*" in pages.as_text(rows) and "**" not in pages.as_text(rows)


def test_page_and_plot_are_written_and_copied(scored, tmp_path):
    scores, setting = scored
    facts = mnist_report.Facts.of_this_machine(setting, 0, LEARNED[ART])
    lines = []
    mnist_report.write(scores, facts, tmp_path, lines.append)
    pages.copy_to_docs(tmp_path / mnist_report.TABLES, tmp_path / "docs")
    page = (tmp_path / "docs" / "mnist-style.md").read_text()
    for expected in (facts.date, facts.command, "500 samples a cell", "ART-RL is, of 3 cells: 1 best, 1 tied",
                     "## Heun", "| 95 % interval |", "(images/mnist-style.png)"):
        assert expected in page
    assert "## RK4" not in page
    assert (tmp_path / "docs" / "images" / "mnist-style.png").read_bytes()[:4] == b"\x89PNG"
    assert any("Heun, FID of 500 samples" in line for line in lines)


@pytest.mark.parametrize(("arguments", "complaint"), [
    (["--seed", "0"], "held out"), (["--only", "rk4,dpm"], "unknown: dpm"), (["--workers", "0"], "got 0")])
def test_arguments_that_make_no_sense_are_refused(arguments, complaint, capsys):
    with pytest.raises(SystemExit):
        mnist_style.main(arguments)
    assert complaint in capsys.readouterr().err
