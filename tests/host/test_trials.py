"""Trials of grids on a model of the host: ART Train's trial_calls."""

import dataclasses

import numpy as np
import pytest
import torch

from art_nodes.core import OrbitBank, optimal_schedule, with_grids
from art_nodes.core.clock import read_clock
from art_nodes.core.objectives import GUIDED, SamplerError
from benchmarks.comfy.inprocess import on_gpu
from tests.host import schedules, workflows

pytestmark = pytest.mark.host
BATCH, ORBITS, CFG, SEED, STEPS = 2, 6, 2.0, 3, 5


@pytest.fixture(scope="module")
def inputs(comfy):
    """Dress -> model, positive, negative, latent of two pictures."""
    from art_nodes.host.demo_model import demo_outputs

    return {dress: demo_outputs(dress, "all classes in turn", BATCH)[:4] for dress in workflows.DRESSES}


@pytest.fixture(scope="module")
def recorded(inputs):
    """Dress -> a bank with the ends of its orbits."""
    from art_nodes.host.recording import record

    with torch.inference_mode():
        return {dress: record(*given, cfg=CFG, seed=SEED, orbits=ORBITS, nodes=40) for dress, given in inputs.items()}


def runs_of(inputs, bank, sampler="euler", kind="end", **more):
    from art_nodes.host.trials import HostRuns

    return HostRuns(*inputs, bank, cfg=CFG, seed=SEED, objective=f"{kind}:{sampler}", **more)


@pytest.mark.parametrize("dress", workflows.DRESSES)
def test_the_ends_of_orbits_are_where_a_fine_sampler_ends(inputs, recorded, dress):
    """From the same noise, in every batch: the order of orbits, seeds and the host's scaling are right."""
    bank = recorded[dress]
    fine = np.append(np.geomspace(bank.sigma_max, bank.sigma_min, 60), 0.0)
    runs = runs_of(inputs[dress], bank, "dpmpp_2m")
    with torch.inference_mode():
        off = [np.sqrt(np.square(runs.errors(fine, batch)).mean()) for batch in range(len(runs.sizes))]
    assert runs.sizes == [2, 2, 2] and max(off) < 0.02
    # control: another batch's ends are nowhere near
    swapped = runs_of(inputs[dress], OrbitBank(**{**vars(bank), "ends": np.roll(bank.ends, BATCH, axis=0)}), "dpmpp_2m")
    with torch.inference_mode():
        assert np.sqrt(np.square(swapped.errors(fine, 0)).mean()) > 0.3


def test_the_noise_that_a_sampler_adds_is_not_the_start_noise(comfy, inputs, monkeypatch):
    """Nor that of the next batch, which newer hosts' samplers would add on the CPU. Control: the start noise's seed."""
    import comfy.k_diffusion.sampling as sampling

    from art_nodes.host import comparing_samplers
    from art_nodes.host.recording import gaussian

    added, plain = [], sampling.default_noise_sampler

    def watched(x, seed=None):
        draw = plain(x, seed=seed)
        return lambda *sigmas: added.append(draw(*sigmas)) or added[-1]

    monkeypatch.setattr(sampling, "default_noise_sampler", watched)
    *given, latent = inputs[workflows.SDXL]
    starts = [gaussian(latent["samples"], seed) for seed in (SEED, SEED + 1)]
    sigmas = torch.tensor([14.6, 3.0, 0.7, 0.0])

    def largest_correlation() -> float:
        added.clear()
        with torch.inference_mode():
            comparing_samplers.sample(*given, CFG, starts[0], latent["samples"], "euler_ancestral", sigmas, SEED,
                                      lambda sigma: None)
        return max(float((noise.cpu() * start).mean().abs()) for noise in added for start in starts)

    assert largest_correlation() < 0.1 and len(added) == 2
    monkeypatch.setattr(comparing_samplers, "NOISE_APART", 0)
    assert largest_correlation() > 0.9 or on_gpu()  # which draws with a generator of its own


def test_details_are_judged_as_the_objective_counts_them(inputs, recorded):
    """Error and slope of the same pictures: squares sum to those of the error with every frequency weighed."""
    from art_nodes.core.spectrum import frequency_gain

    grid = optimal_schedule(recorded[workflows.SDXL]).sigmas(4).numpy()
    with torch.inference_mode():
        plain, weighed = (runs_of(inputs[workflows.SDXL], recorded[workflows.SDXL], kind=kind).errors(grid, 0)
                          for kind in ("end", "detail"))
    spectrum = np.fft.fft2(plain.reshape(BATCH, 28, 28)) * frequency_gain(28, 28).numpy()
    np.testing.assert_allclose(np.square(weighed).sum(), np.square(np.abs(spectrum)).sum() / 28**2, rtol=1e-3)
    assert np.square(weighed).sum() > 2 * np.square(plain).sum()


def test_errors_are_in_the_models_units(inputs, recorded, monkeypatch):
    """A latent format that scales as SDXL's does changes neither errors nor floor."""
    import comfy.latent_formats

    given = inputs[workflows.SDXL]
    plain, scaled = runs_of(given, recorded[workflows.SDXL]), comfy.latent_formats.SDXL()
    scaled.latent_channels = 1
    monkeypatch.setattr(given[0].model, "latent_format", scaled)
    from art_nodes.host.recording import record

    with torch.inference_mode():
        bank = record(*given, cfg=CFG, seed=SEED, orbits=ORBITS, nodes=40)
        same, grid = runs_of(given, bank), optimal_schedule(bank).sigmas(4).numpy()
        errors = same.errors(grid, 1)
        monkeypatch.undo()
        np.testing.assert_allclose(errors, plain.errors(grid, 1), atol=1e-4)
    assert same.floor == pytest.approx(plain.floor, rel=1e-3)
    assert np.std(bank.ends) > 5 * np.std(recorded[workflows.SDXL].ends)  # the scaling was there


def test_every_model_call_is_counted(inputs, recorded):
    from art_nodes.host.trials import try_steps

    dress, made = workflows.SDXL, []
    bank = recorded[dress]
    schedule = with_grids(optimal_schedule(bank), bank, "end:heun", (STEPS,))
    runs = runs_of(inputs[dress], bank, "heun", on_call=made.append)
    with torch.inference_mode():
        tried_schedule, tried = try_steps(schedule, bank, runs, "end:heun", STEPS, 600)
    assert tried.sample_calls == sum(made) <= 600 and sum(made) > 0.4 * 600
    assert set(made) <= {0, BATCH} and tried_schedule.provenance["trial"]["from"] == tried.name
    np.testing.assert_array_equal(tried_schedule.grids[STEPS], tried.grid)


@pytest.mark.parametrize("linear", [True, False])
def test_the_hosts_schedules_are_candidates_and_ours_come_first(inputs, recorded, monkeypatch, linear):
    """After ours, where scores are linear, those for errors that shrink, which have to prove better like the host's."""
    from art_nodes.core import objectives
    from art_nodes.host.trials import OURS, READINGS, candidates, linear_readings

    monkeypatch.setattr(objectives, "growth_of", lambda bank: 0.02 if linear else 0.07)

    bank = recorded[workflows.SDXL]
    schedule = with_grids(optimal_schedule(bank), bank, "end:dpmpp_2m", (STEPS,))
    found, ours = candidates(inputs[workflows.SDXL][0], bank, schedule, "end:dpmpp_2m", STEPS)
    names, more = list(found), [f"{OURS}, {name}" for name in READINGS] if linear else []
    assert names[0] == OURS and names[ours:ours + len(more)] == more
    assert all(name.startswith(OURS) == (i < ours + len(more)) for i, name in enumerate(names))
    assert not linear_readings(bank, {OURS: found[OURS]}, "detail:dpmpp_2m")
    assert ours > 1 and {"karras", "beta", "simple", "AYS SDXL", "GITS", "polyexponential", "beta57"} <= found.keys()
    # The second starts below the model's range, the third is a flow's.
    assert not {"art", "ddim_uniform", "OptimalSteps Wan"} & found.keys()
    for grid in found.values():
        assert len(grid) == STEPS + 1 and (np.diff(grid) < 0).all() and (grid[0], grid[-1]) == (bank.sigma_max, 0.0)


def test_a_flows_tables_are_candidates_though_they_start_a_little_below_pure_noise(inputs):
    """As other nodes take them, from the model's own sigma_max; control: those of other ranges are none."""
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3

    from art_nodes.host.recording import record
    from art_nodes.host.trials import candidates

    flow = (ModelSamplingSD3().patch(inputs[workflows.SDXL][0], 3.0)[0], *inputs[workflows.SDXL][1:])
    with torch.inference_mode():
        bank = record(*flow, cfg=1.0, seed=SEED, orbits=2, nodes=16)
    found, _ = candidates(flow[0], bank, optimal_schedule(bank), "end:euler", STEPS)
    assert {"OptimalSteps FLUX", "OptimalSteps Chroma"} <= found.keys() and not {"AYS SDXL", "GITS"} & found.keys()
    assert found["OptimalSteps FLUX"][0] == bank.sigma_max == 1.0


@pytest.mark.parametrize(("objective", "steps", "smooth"), [("end:heun", 12, True), ("detail:euler", 6, False)])
def test_objectives_of_ends_are_read_in_several_ways(recorded, monkeypatch, objective, steps, smooth):
    """The schedule's own grid first, all of one kind, no two alike; smooth ones only where that leaves less freedom."""
    from art_nodes.host import trials
    from art_nodes.host.trials import ALIKE, OURS, readings

    monkeypatch.setattr(trials, "FREEDOM", 5)
    bank = recorded[workflows.SDXL]
    own = with_grids(optimal_schedule(bank), bank, objective, (steps,)).grids[steps]
    found = readings(bank, own, objective)
    assert list(found)[0] == OURS and found[OURS] is own and len(found) > 1
    assert any("smooth" in name for name in found) == smooth
    for name, grid in found.items():
        assert grid.shape == own.shape and (np.diff(grid) < 0).all() and (grid[0], grid[-1]) == (own[0], 0.0)
        assert name == OURS or all(np.abs(np.log(grid[1:-1] / other[1:-1])).max() > ALIKE
                                   for which, other in found.items() if which != name)
    assert list(readings(bank, own, "residual:euler")) == [OURS]


@pytest.mark.parametrize(("told", "reading"), [(0.3, "errors that grow"), (0.7, "errors that do not grow")])
def test_one_reading_is_far_from_the_growth_that_is_told(recorded, monkeypatch, told, reading):
    from art_nodes.core import objectives
    from art_nodes.host.trials import OURS, readings

    monkeypatch.setattr(objectives, "growth_of", lambda bank: told)
    bank = recorded[workflows.SDXL]
    own = with_grids(optimal_schedule(bank), bank, "end:euler", (STEPS,)).grids[STEPS]
    assert {name.removeprefix(f"{OURS}, ") for name in readings(bank, own, "end:euler")} & {
        "errors that grow", "errors that do not grow"} == {reading}


def test_under_guidance_errors_may_shrink_sooner_or_later(recorded):
    """By other powers of the cfg than the objective's own; without guidance there is nothing to try."""
    from art_nodes.host.trials import GUIDANCE, OURS, _fitted, readings

    bank = dataclasses.replace(recorded[workflows.SDXL], metadata={"cfg": 7.0})
    own = with_grids(optimal_schedule(bank), bank, "end:euler", (STEPS,)).grids[STEPS]
    found = readings(bank, own, "end:euler")
    for name, power in GUIDANCE.items():
        as_told = dataclasses.replace(bank, metadata={"cfg": 7.0 ** (power / GUIDED)})
        expected = _fitted(SamplerError(as_told, "end:euler"), own)
        np.testing.assert_allclose(found[f"{OURS}, {name}"], expected, rtol=1e-6)
    plain = dataclasses.replace(bank, metadata={"cfg": 1.0})
    assert not {f"{OURS}, {name}" for name in GUIDANCE} & readings(plain, own, "end:euler").keys()


class Lucky:
    """Runs in which one grid is better than another on the average of these orbits, but not beyond chance."""

    def __init__(self, own, other, lead):
        rng = np.random.default_rng(3)
        self.sizes, self.floor, self.pool, self.given = [2] * 6, 0.0, None, (None,)
        luck = rng.normal(size=(2, 12))
        luck -= luck.mean(axis=1, keepdims=True)
        self.known = {own.tobytes(): 1 + 0.2 * luck[0], other.tobytes(): 1 - lead + 0.2 * luck[1]}

    def calls(self, steps):
        return steps

    def errors(self, grid, batch):
        found = self.known.get(np.asarray(grid).tobytes(), np.full(12, 2.0))[2 * batch:2 * batch + 2]
        return np.repeat(found[:, None], 3, axis=1)


@pytest.mark.parametrize(("lead", "trusted", "wins"), [(0.05, 1, False), (0.05, 2, True), (0.6, 1, True)])
def test_a_schedule_of_the_host_wins_only_beyond_chance(recorded, lead, trusted, wins):
    """Unless it is trusted as ours are: with luck alone the best of twenty would often be one of the host's."""
    from art_nodes.host.trials import try_steps

    bank = recorded[workflows.SDXL]
    schedule = with_grids(optimal_schedule(bank), bank, "end:euler", (STEPS,))
    own = schedule.grids[STEPS]
    other = np.append(np.geomspace(own[0], 0.1, STEPS), 0.0)
    _, tried = try_steps(schedule, bank, Lucky(own, other, lead), "end:euler", STEPS, 4000,
                         ({"ART": own, "host": other}, trusted))
    assert tried.name == ("host" if wins else "ART") and tried.ratio == 1


def test_the_demo_model_is_not_taken_for_linear_scores(recorded):
    from art_nodes.core.objectives import SamplerError
    from art_nodes.host.trials import STRAIGHT

    assert all(SamplerError(bank, "end:euler").growth > STRAIGHT for bank in recorded.values())


def test_a_trial_finds_the_best_of_bad_schedules(inputs, recorded):
    """Whose first candidate is a schedule no one would take: another one is chosen, and it ends nearer."""
    from art_nodes.core.trial import try_grids

    bank = recorded[workflows.SDXL]
    runs, own = runs_of(inputs[workflows.SDXL], bank), optimal_schedule(bank).sigmas(STEPS).double().numpy()
    uniform = read_clock(np.array([bank.sigma_max, 0.0]), np.linspace(0, 1, STEPS + 1))
    with torch.inference_mode():
        found = try_grids(runs, {"uniform": uniform, "clock": own}, 400)
        ends = [np.sqrt(np.square(runs.errors(grid, 2)).mean()) for grid in (uniform, found.grid)]
    assert found.name == "clock" and ends[1] < 0.8 * ends[0]


def quick(training, inputs, name="s", **settings):
    settings = {**schedules.QUICK, "orbits": ORBITS, "nodes": 24, "objective": "end:euler", "steps": STEPS, **settings}
    with torch.inference_mode():
        return training.train(*inputs, cfg=CFG, seed=SEED, name=name, **settings)


def test_too_few_calls_try_nothing_and_the_report_says_so(library, training, inputs):
    trained = quick(training, inputs[workflows.SDXL], trial_calls=20)
    assert "tried nothing: trial_calls or orbits are too few" in trained.report
    assert trained.schedule.provenance["trial"]["sample_calls"] == 0


def test_training_tries_the_grid_of_its_steps_and_says_so(library, training, inputs):
    """The same seed gives the same schedule; other numbers of steps keep the grids of the objective alone."""
    plain = quick(training, inputs[workflows.SDXL], "plain")
    first, again = (quick(training, inputs[workflows.SDXL], name, trial_calls=500) for name in ("a", "b"))
    assert first.schedule.grids.keys() == plain.schedule.grids.keys()
    for steps, grid in plain.schedule.grids.items():
        np.testing.assert_array_equal(first.schedule.grids[steps], again.schedule.grids[steps])
        if steps != STEPS:
            np.testing.assert_array_equal(first.schedule.grids[steps], grid)
    np.testing.assert_allclose(first.sigmas, first.schedule.grids[STEPS], rtol=1e-6)
    known = library.load_schedule("a").provenance["trial"]
    assert known["steps"] == STEPS and 0 < known["sample_calls"] <= known["budget"] == 500
    assert f"tried with euler on the model at {STEPS} steps: {known['sample_calls']} model calls" in first.report
    assert "trial" not in plain.schedule.provenance and "tried with" not in plain.report


@pytest.mark.parametrize("settings, match", [
    ({"trial_calls": 512, "objective": "euler"}, "trial_calls need an objective that names the sampler.*end:euler"),
    ({"trial_calls": -1}, "trial_calls must be at least 0; got -1"),
    ({"trial_calls": 512, "steps": 5000}, "steps must be at most 4096 with trial_calls; got 5000"),
    ({"trial_calls": 512, "objective": "spectrum:dpmpp_2m_sde"}, "must be 0 with dpmpp_2m_sde, which adds noise"),
])
def test_what_cannot_be_tried_is_refused_before_the_model_is_called(library, training, inputs, settings, match):
    with pytest.raises(ValueError, match=match):
        quick(training, (None, None, None, None), **settings)


def test_a_sampler_that_cannot_take_so_few_steps_is_refused_before_the_model_is_called(library, training, monkeypatch):
    from art_nodes.host import comparing_samplers

    def fails(*_given, **_named):
        raise IndexError("too few")

    monkeypatch.setattr(comparing_samplers._Trial, "run", fails)
    with pytest.raises(ValueError, match="steps must suit the sampler; euler fails at 5"):
        quick(training, (None, None, None, None), trial_calls=512)


def test_an_interrupt_during_the_trial_leaves_nothing(comfy, library, training, inputs, monkeypatch):
    import comfy.model_management as management

    begun = training.TrainingProgress.tried

    def stop(progress, samples):
        management.interrupt_current_processing(True)
        begun(progress, samples)

    monkeypatch.setattr(training.TrainingProgress, "tried", stop)
    with pytest.raises(management.InterruptProcessingException):
        quick(training, inputs[workflows.SDXL], trial_calls=500)
    assert "s" not in library.schedule_names()


def test_a_trial_that_fails_costs_no_schedule(library, training, inputs, monkeypatch, caplog):
    """As where memory runs out in its middle: what was learned before it is whole."""
    class Heard:
        def __init__(self):
            self.saved, self.client = None, None

        def finished(self, saved, _schedule):
            self.saved = saved

        def __getattr__(self, _name):
            return lambda *_given, **_named: None

    plain, heard = quick(training, inputs[workflows.SDXL], "plain"), Heard()
    monkeypatch.setattr(training.TrainingProgress, "tried", lambda *_: (_ for _ in ()).throw(
        torch.cuda.OutOfMemoryError("no memory left")))
    with pytest.raises(torch.cuda.OutOfMemoryError, match="no memory left"):
        quick(training, inputs[workflows.SDXL], "tried", trial_calls=500, events=heard)
    saved = library.load_schedule("tried")
    assert saved.grids.keys() == plain.schedule.grids.keys() and "trial" not in saved.provenance
    for steps, grid in plain.schedule.grids.items():
        np.testing.assert_array_equal(saved.grids[steps], grid)
    assert heard.saved == "tried" and 'without a trial the schedule "tried" saved in' in caplog.text
    # Where saving fails too the host must hear of what went wrong first: it frees memory when it hears of this.
    monkeypatch.setattr(training, "save_schedule", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(torch.cuda.OutOfMemoryError, match="no memory left"):
        quick(training, inputs[workflows.SDXL], "lost", trial_calls=500)
    assert "saving the schedule without a trial too: disk full" in caplog.text


def test_the_bar_leaves_room_for_the_trial(training):
    """Recording 10 calls of 2 samples in 10 s, no learning, 20 calls counted per sample to try: half each."""
    now = [0.0]
    progress = training.TrainingProgress(0.0, 0.0, 20, clock=lambda: now[0])
    now[0] = 10.0
    progress.recorded(10, 10, samples=2)
    assert progress.shown == 500
    for begin in (progress.start_learning, progress.start_fitting, progress.start_trying):
        begin()
    shown = [progress.tried(2) or progress.shown for _ in range(10)]
    assert shown == [550, 600, 650, 700, 750, 800, 850, 900, 950, 1000]


def test_a_last_batch_may_be_smaller(inputs, recorded):
    """As where orbits are no multiple of the batch: that of the latent, of which only the first samples count."""
    bank = recorded[workflows.SDXL]
    fewer = OrbitBank.merge([bank])
    object.__setattr__(fewer, "ends", bank.ends[:ORBITS - 1])
    runs, whole = (runs_of(inputs[workflows.SDXL], which) for which in (fewer, bank))
    grid = optimal_schedule(bank).sigmas(4).numpy()
    with torch.inference_mode():
        assert runs.sizes == [2, 2, 1] and runs.errors(grid, 2).shape[0] == 1
        np.testing.assert_array_equal(runs.errors(grid, 1), whole.errors(grid, 1))


def test_parts_of_nested_latents_are_compared_in_the_hosts_units(comfy, recorded, monkeypatch):
    """Video with sound: each end beside that of its own orbit, the parts side by side; of their own error no floor."""
    from comfy.nested_tensor import NestedTensor

    from art_nodes.host import trials

    def nested(flat):
        return NestedTensor([flat[:, :560].reshape(-1, 1, 20, 28), flat[:, 560:].reshape(-1, 8, 28)])

    bank = recorded[workflows.SDXL]
    ends = torch.from_numpy(bank.ends[2:4].copy())
    ends[0, 3] += 1
    ends[1, 700] -= 2
    monkeypatch.setattr(trials, "empty_like", lambda *_given: nested(torch.zeros(2, 784)))
    monkeypatch.setattr(trials, "sample", lambda *_given: nested(ends))
    runs = runs_of((None, "positive", "negative", {}), bank)
    expected = np.zeros((2, 784))
    expected[0, 3], expected[1, 700] = 1, -2
    np.testing.assert_allclose(runs.errors(np.array([14.6, 0.0]), 1), expected, atol=1e-5)
    assert runs.floor == 0 and runs_of((None, "positive", "negative", {}), bank, kind="detail").floor == 0


def test_the_floor_is_of_what_errors_are_of(inputs, recorded):
    """Of value and slope together it is larger, as their errors are; of a spectrum there is none."""
    end, detail, spectrum = (runs_of(inputs[workflows.SDXL], recorded[workflows.SDXL], kind=kind).floor
                             for kind in ("end", "detail", "spectrum"))
    assert detail > 1.2 * end > 0 == spectrum


def test_of_large_samples_as_many_elements_count_as_banks_keep(inputs, recorded, monkeypatch):
    """All errors of a trial stay in memory."""
    from art_nodes.host import trials

    monkeypatch.setattr(trials, "kept_elements", lambda count: torch.tensor([1, 5, count - 1]))
    runs = runs_of(inputs[workflows.SDXL], recorded[workflows.SDXL])
    monkeypatch.undo()
    grid = optimal_schedule(recorded[workflows.SDXL]).sigmas(2).numpy()
    with torch.inference_mode():
        whole = runs_of(inputs[workflows.SDXL], recorded[workflows.SDXL]).errors(grid, 0)
        np.testing.assert_array_equal(runs.errors(grid, 0), whole[:, [1, 5, -1]])


def test_an_interrupt_is_heard_while_grids_are_read(inputs, recorded, monkeypatch):
    """Each takes seconds, in which no model call asks; of ends, of other guidance, and of linear scores."""
    from art_nodes.core import objectives
    from art_nodes.host import trials

    bank, asked = recorded[workflows.SDXL], []
    monkeypatch.setattr(objectives, "growth_of", lambda bank: 0.02)
    monkeypatch.setattr(trials, "_fitted", lambda _error, own, *_freedom: own)
    schedule = with_grids(optimal_schedule(bank), bank, "end:euler", (STEPS,))
    own = schedule.grids[STEPS]
    trials.readings(bank, own, "end:euler", lambda: asked.append(1))
    assert len(asked) == 2 + len(trials.GUIDANCE)
    trials.linear_readings(bank, {trials.OURS: own}, "end:euler", lambda: asked.append(1))
    assert len(asked) == 2 + len(trials.GUIDANCE) + len(trials.READINGS)

    class Stop(Exception):
        pass

    def stop(samples):
        raise Stop(samples)

    runs = runs_of(inputs[workflows.SDXL], bank, on_call=stop)
    with pytest.raises(Stop, match="0"):
        trials.try_steps(schedule, bank, runs, "end:euler", STEPS, 600)


def test_the_hosts_schedules_are_tried_in_the_order_that_the_objective_foretells(comfy, inputs, recorded, monkeypatch):
    """A budget that is too small for all tries the first; what rises, repeats or has other steps is none."""
    import comfy.samplers

    from art_nodes.host.trials import OURS, candidates

    def add(name, grid):
        handler = comfy.samplers.SchedulerHandler(lambda _, steps: torch.tensor(grid))
        monkeypatch.setitem(comfy.samplers.SCHEDULER_HANDLERS, name, handler)
        monkeypatch.setattr(comfy.samplers.KSampler, "SCHEDULERS", [*comfy.samplers.KSampler.SCHEDULERS, name])

    bank = recorded[workflows.SDXL]
    top = float(bank.sigma_max)
    add("generous", [top, 5.0, 2.0, 1.0, 0.5, 0.2, 0.1, 0.0])
    add("repeats", [top, 5.0, 5.0, 1.0, 0.5, 0.0])
    add("theirs", [top, 5.0, 2.0, 1.0, 0.5, 0.0])
    schedule = with_grids(optimal_schedule(bank), bank, "end:dpmpp_2m", (STEPS,))
    found, ours = candidates(inputs[workflows.SDXL][0], bank, schedule, "end:dpmpp_2m", STEPS)
    theirs, error = [name for name in found if not name.startswith(OURS)], SamplerError(bank, "end:dpmpp_2m")
    foretold = [float(error(np.minimum(found[name], bank.sigma_max)[None])[0]) for name in theirs]
    assert foretold == sorted(foretold) and foretold[0] < 0.5 * foretold[-1]
    assert "theirs" in found and not {"generous", "repeats"} & found.keys()


def test_many_steps_are_read_off_a_clock_of_thirty(recorded, monkeypatch):
    """More take long and differ little."""
    from art_nodes.host import trials

    bank, fitted = recorded[workflows.SDXL], []

    def best(_error, steps, also, _freedom):
        fitted.append(steps)
        return also[0]

    monkeypatch.setattr(trials, "best_grid", best)
    own = optimal_schedule(bank).sigmas(100).double().numpy()
    grid = trials._fitted(SamplerError(bank, "end:euler"), own)
    assert fitted == [30] and grid.shape == own.shape and (grid[0], grid[-1]) == (own[0], 0.0)
