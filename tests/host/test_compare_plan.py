"""What ART Compare makes of its inputs before anything is sampled: samplers, names, step counts, grids, the cost."""

import importlib

import numpy as np
import pytest
import torch

from art_nodes.core import Schedule
from benchmarks.comfy.install import ROOT
from tests.host import schedules, workflows

pytestmark = pytest.mark.host
STOCHASTIC = ["euler_ancestral", "dpmpp_sde", "dpmpp_2m_sde", "ddpm", "lcm", "er_sde", "seeds_2", "sa_solver",
              "res_multistep_ancestral"]


@pytest.fixture
def grids(library):
    from art_nodes.host import comparing_grids

    return comparing_grids


@pytest.fixture(scope="module")
def samplers(comfy):
    from art_nodes.host import comparing_samplers

    return comparing_samplers


@pytest.fixture(scope="module")
def models(comfy):
    from art_nodes.host.demo_model import build_model

    return {dress: build_model(dress) for dress in workflows.DRESSES}


@pytest.fixture
def model(models):
    return models[workflows.SDXL]


# Samplers

@pytest.mark.parametrize("name", ["euler", "heun", "heunpp2", "dpm_2", "lms", "dpmpp_2m", "ipndm", "deis",
                                  "res_multistep", "gradient_estimation", "ddim", "uni_pc", "uni_pc_bh2"])
def test_solvers_of_the_ode_are_taken(samplers, name):
    """res_multistep and gradient_estimation have the signatures of samplers that are refused."""
    assert samplers.check_sampler(name) == name


@pytest.mark.parametrize("name, words", [
    *[(name, "adds noise of its own") for name in STOCHASTIC],
    *[(f"{name}_cfg_pp", "solves another equation") for name in ("euler", "dpmpp_2m", "res_multistep")],
    *[(name, "chooses its own") for name in ("dpm_fast", "dpm_adaptive")],
])
def test_others_are_refused_with_the_reason_and_a_way_out(samplers, name, words):
    with pytest.raises(ValueError, match=rf"got '{name}', which .*{words}.*; choose .*euler, heun, .*dpmpp_2m"):
        samplers.check_sampler(name)


def test_an_unknown_sampler_is_told_what_exists(samplers):
    with pytest.raises(ValueError, match="got 'eular'; there are: euler, .*uni_pc"):
        samplers.check_sampler("eular")


def of_another_pack(comfy, monkeypatch, function):
    """Adds a sampler "theirs" as other packs do."""
    from comfy.k_diffusion import sampling

    monkeypatch.setattr(sampling, "sample_theirs", function, raising=False)
    monkeypatch.setattr(comfy.samplers.KSampler, "SAMPLERS", [*comfy.samplers.KSampler.SAMPLERS, "theirs"])


def their_euler(share=1.0, seeded=False):
    """Euler's method; of each step only a share, or with noise from the seed."""
    def sample_theirs(model, x, sigmas, extra_args=None, callback=None, disable=None):
        generator = torch.Generator().manual_seed(extra_args["seed"])
        for here, there in zip(sigmas[:-1], sigmas[1:], strict=True):
            denoised = model(x, here * x.new_ones(len(x)), **extra_args)
            x = x + share * (there - here) * (x - denoised) / here
        return x + 1e-4 * torch.randn(x.shape, generator=generator).to(x) if seeded else x

    return sample_theirs


def broken(*_args, **_options):
    raise RuntimeError("needs another model")


@pytest.mark.parametrize("function, words", [
    (their_euler(), None), (their_euler(share=0.5), "another equation"), (their_euler(seeded=True), "adds noise"),
    (broken, "fails on a plain model .needs another model."),
])
def test_samplers_of_other_packs_are_tried_out_too(comfy, monkeypatch, samplers, function, words):
    of_another_pack(comfy, monkeypatch, function)
    if words is None:
        assert samplers.check_sampler("theirs") == "theirs"
    else:
        with pytest.raises(ValueError, match=words):
            samplers.check_sampler("theirs")


def test_the_trial_has_the_solution_that_it_claims(samplers):
    trial = samplers._Trial()
    errors = [trial.error(trial.run("heun", steps, seed=0)) for steps in (50, 200)]
    assert errors[1] < errors[0] / 8 and errors[1] < 3e-4


@pytest.mark.parametrize("name, calls", [
    ("euler", {1: 1, 6: 6}), ("dpmpp_2m", {6: 6}), ("heun", {1: 1, 6: 11}), ("dpm_2", {6: 11}), ("heunpp2", {6: 15}),
    ("uni_pc", {1: 1, 6: 6}),
])
def test_calls_are_counted_by_trying(samplers, name, calls):
    assert {steps: samplers.count_calls(name, steps) for steps in calls} == calls


def test_counting_calls_can_be_stopped(comfy, monkeypatch, samplers):
    """Thousands of steps of several samplings take a minute even on the tiny model."""
    import comfy.model_management as management

    called = []

    def stopped_at_once(model, x, sigmas, extra_args=None, **_options):
        for sigma in sigmas[:-1]:
            called.append(sigma)
            management.interrupt_current_processing()
            model(x, sigma * x.new_ones(len(x)), **extra_args)
        return x

    of_another_pack(comfy, monkeypatch, stopped_at_once)
    with pytest.raises(management.InterruptProcessingException):
        samplers.count_calls("theirs", 20)
    assert len(called) < 20


def test_a_sampler_that_cannot_take_so_few_steps(comfy, monkeypatch, samplers):
    def needs_three(model, x, sigmas, **_options):
        if len(sigmas) < 4:
            raise IndexError("too short")
        return x

    of_another_pack(comfy, monkeypatch, needs_three)
    with pytest.raises(ValueError, match="theirs fails at 2 .too short.; take another number"):
        samplers.count_calls("theirs", 2)


# Step counts and names

@pytest.mark.parametrize("text, counts", [
    ("6, 10, 20", (6, 10, 20)), ("20 6;10\n6,", (6, 10, 20)), (" 7 ", (7,)), ([10, 6], (6, 10)),
])
def test_step_counts(grids, text, counts):
    assert grids.parse_steps(text) == counts


@pytest.mark.parametrize("text", ["", " , ", "six", "6, 0", "-3", "6.5", "1e2", "10001", "²", [], [0],
                                  ", ".join(map(str, range(1, 14)))])
def test_bad_step_counts(grids, text):
    with pytest.raises(ValueError, match="steps must be"):
        grids.parse_steps(text)


def test_names(grids):
    assert grids.parse_names(" karras,\nAYS SDXL ; karras,, my_schedule\r\n") == ("karras", "AYS SDXL", "my_schedule")
    assert grids.parse_names("") == ()


def find(grids, model, names, sampler="euler", **connected):
    """Name -> entry."""
    return {entry.name: entry for entry in grids.find_entries(model, sampler, names, **connected)}


@pytest.mark.parametrize("sampler", ["euler", "dpm_2", "uni_pc"])
@pytest.mark.parametrize("name", ["karras", "normal", "beta", "sgm_uniform", "kl_optimal"])
def test_the_hosts_schedulers_are_those_of_its_ksampler(comfy, grids, model, name, sampler):
    theirs = comfy.samplers.KSampler(model, 9, torch.device("cpu"), sampler=sampler, scheduler=name, denoise=1.0)
    ours = find(grids, model, name, sampler)[name].grid(9)
    assert torch.equal(ours, theirs.sigmas)
    plain = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), name, 9)
    assert len(ours) == len(plain) == 10
    assert torch.equal(ours, plain) == (sampler == "euler")


def test_ays_is_that_of_the_hosts_node(grids, model):
    from comfy_extras.nodes_align_your_steps import AlignYourStepsScheduler as Node

    made = Node.execute("SDXL", 8, 1.0).result if hasattr(Node, "execute") else Node().get_sigmas("SDXL", 8, 1.0)
    [theirs] = made
    assert torch.equal(find(grids, model, "AYS SDXL", "uni_pc")["AYS SDXL"].grid(8), theirs)


@pytest.mark.parametrize("name, module, node, kind", [
    ("GITS", "nodes_gits", "GITSScheduler", 1.2),
    ("OptimalSteps Wan", "nodes_optimalsteps", "OptimalStepsScheduler", "Wan"),
])
def test_tables_of_the_hosts_nodes_can_be_named(grids, model, name, module, node, kind):
    node = getattr(importlib.import_module(f"comfy_extras.{module}"), node)
    [theirs] = node.execute(kind, 8, 1.0).result if hasattr(node, "execute") else node().get_sigmas(kind, 8, 1.0)
    assert torch.equal(find(grids, model, name)[name].grid(8), theirs)
    assert grids.is_of_host(name) and name not in find(grids, model, "all")


def test_where_ksampler_drops_a_sigma_schedulers_are_compared_whole_too(grids, model):
    """As BasicScheduler gives them to SamplerCustom: often better with UniPC, and a rival too."""
    from comfy_extras.nodes_custom_sampler import BasicScheduler

    [theirs] = BasicScheduler.execute(model, "beta", 8, 1.0).result
    found = find(grids, model, "beta, beta whole", "uni_pc")
    assert torch.equal(found["beta whole"].grid(8), theirs) and not torch.equal(found["beta"].grid(8), theirs)
    every = find(grids, model, "all", "uni_pc")
    assert {f"{name} whole" for name in ("karras", "normal", "beta")} < set(every) and "art whole" not in every
    assert grids.is_of_host("beta whole") and not grids.is_of_host("mine whole")
    assert not [name for name in find(grids, model, "all", "euler") if name.endswith("whole")]


def test_formulas_of_the_hosts_nodes_can_be_named(comfy, grids, model):
    sampling, found = model.get_model_object("model_sampling"), find(grids, model, "polyexponential, laplace, beta57")
    exponential = comfy.samplers.k_diffusion_sampling.get_sigmas_exponential(8, float(sampling.sigma_min),
                                                                             float(sampling.sigma_max))
    torch.testing.assert_close(found["polyexponential"].grid(8), exponential)  # with rho 1
    for name, entry in found.items():
        grid = entry.grid(8)
        assert len(grid) == 9 and grid[-1] == 0 and (grid.diff() < 0).all(), name


def test_learned_schedules_are_as_art_sigmas_gives_them(grids, library, model):
    from art_nodes.host.sigmas import read_sigmas

    library.save_schedule(schedules.schedule(top=80.0, model="Flux"), "mine")
    entry = find(grids, model, "mine", "dpm_2")["mine"]
    assert torch.equal(entry.grid(7), read_sigmas("mine", 7, 1.0, model=model).sigmas)
    assert float(entry.grid(7)[0]) == pytest.approx(14.6146, rel=1e-4)  # not 80
    assert entry.learned and "mine: the schedule starts at sigma 80, the model at 14.6146" in entry.warnings[0]
    assert "mine: the schedule was learned on model family Flux" in entry.warnings[1]


def test_a_name_that_both_have_is_the_hosts(comfy, grids, library, model):
    schedules.schedule().save(library.BUNDLED / "karras.safetensors")
    found = find(grids, model, "karras, library/karras")
    assert not found["karras"].learned and found["library/karras"].learned
    assert not torch.equal(found["karras"].grid(5), found["library/karras"].grid(5))


def test_all(comfy, grids, library, models):
    library.save_schedule(schedules.schedule(), "mine")
    names = list(find(grids, models[workflows.SDXL], "all"))
    assert names == [*comfy.samplers.SCHEDULER_NAMES, "AYS SD1", "AYS SDXL"]
    assert list(find(grids, models[workflows.EDM], "mine, all, karras")) == ["mine", *comfy.samplers.SCHEDULER_NAMES]


@pytest.mark.parametrize("names", ["karas", "karras, my_schedule", "library/karras", "AYS", "../secret", "ALL"])
def test_an_unknown_schedule_is_told_what_exists(grids, library, model, names):
    library.save_schedule(schedules.schedule(), "mine")
    with pytest.raises(ValueError, match="schedules must be names that exist.*karras, .*AYS SDXL.*learned: mine"):
        find(grids, model, names)


def test_auto_is_what_art_sigmas_takes_for_it(grids, library, model, tmp_path):
    from art_nodes.host.sigmas import read_sigmas

    for name, rate in (("demo-sdxl", 1.0), ("demo-sdxl-clock", 2.0)):
        schedules.schedule(14.6, rate, family="demo-sdxl").save(tmp_path / "bundled" / f"{name}.safetensors")
    found = find(grids, model, "auto, auto-clock, demo-sdxl, auto-dpmpp_2m")
    assert list(found) == ["demo-sdxl", "demo-sdxl-clock"]  # there is no demo-sdxl-dpmpp_2m
    for kind, name in (("auto", "demo-sdxl"), ("auto-clock", "demo-sdxl-clock")):
        assert found[name].learned and torch.equal(found[name].grid(6), read_sigmas(kind, 6, 1.0, model=model).sigmas)
    assert not torch.equal(found["demo-sdxl"].grid(6), found["demo-sdxl-clock"].grid(6))
    assert found["demo-sdxl-clock"].warnings[0].startswith("auto-clock took demo-sdxl-clock: the model is of")
    before = grids.fingerprint_names("auto-clock")
    schedules.schedule(14.6, 3.0, family="demo-sdxl").save(tmp_path / "bundled" / "demo-sdxl-clock.safetensors")
    assert grids.fingerprint_names("auto-clock") != before


def test_auto_without_a_schedule_says_what_to_do(grids, library, model):
    with pytest.raises(ValueError, match="auto must find a schedule.*learn one on this model"):
        find(grids, model, "auto")


def test_a_schedule_of_another_kind_of_model_is_a_warning(grids, library, model):
    library.save_schedule(schedules.schedule(1.0, family="flux"), "a_flow")
    texts = find(grids, model, "a_flow")["a_flow"].warnings
    assert any(text.startswith("a_flow: sigma is the share of noise") for text in texts)


def test_no_schedule_at_all(grids, model):
    with pytest.raises(ValueError, match="at least one schedule; got none"):
        find(grids, model, " ,\n")
    assert list(find(grids, model, "", schedule=schedules.schedule(14.6))) == ["ART (connected)"]


@pytest.mark.parametrize("sigmas", [[1.0], [], [2.0, 1.0], [1.0, 2.0, 0.0], [float("nan"), 0.0], [0.0, 0.0],
                                    [[2.0, 0.0]], [float("inf"), 0.0]])
def test_sigmas_must_fall_to_zero(grids, model, sigmas):
    with pytest.raises(ValueError, match="sigmas must be finite and fall to exactly 0.*whole schedule"):
        find(grids, model, "", sigmas=torch.tensor(sigmas))


def test_fingerprint_follows_the_files_of_learned_schedules(grids, library):
    before = grids.fingerprint_names("karras, mine")
    library.save_schedule(schedules.schedule(), "mine")
    after = grids.fingerprint_names("karras, mine")
    assert len({before, after, grids.fingerprint_names("karras")}) == 3
    schedules.schedule(rate=2.0).save(library.trained_folders()[0] / "mine.safetensors")
    assert grids.fingerprint_names("karras, mine") != after
    assert grids.fingerprint_names("karras, all") == ""
    wired = grids.fingerprint_names(None)  # names that come over a wire are not told: any schedule may be among them
    schedules.schedule(rate=30.0).save(library.trained_folders()[0] / "other.safetensors")
    assert grids.fingerprint_names(None) not in ("", wired)


# The plan

def test_the_plan_counts_every_call(comparing, model):
    plan = comparing.make_plan(model, "heun", "3, 5", "karras, normal", 40)
    assert {(job.name, job.steps): job.calls for job in plan.jobs} == {
        ("karras", 3): 5, ("karras", 5): 9, ("normal", 3): 5, ("normal", 5): 9}
    assert plan.calls(1) == 40 + 20 + 28 and plan.calls(3) == 3 * (40 + 28) + 20
    assert len(plan.reference) == 41 and plan.reference[-1] == 0
    sampling = model.get_model_object("model_sampling")
    assert float(plan.reference[0]) == pytest.approx(float(sampling.sigma_max))
    assert float(plan.reference[-2]) == pytest.approx(float(sampling.sigma_min))


def test_connected_sigmas_add_their_number_of_steps(comparing, model):
    sigmas = torch.tensor([14.6, 5.0, 2.0, 1.0, 0.0])
    plan = comparing.make_plan(model, "euler", "6", "karras", 100, sigmas=sigmas)
    assert plan.steps == (4, 6)
    assert [(job.name, job.steps) for job in plan.jobs] == [("SIGMAS input", 4), ("karras", 4), ("karras", 6)]


@pytest.mark.parametrize("steps, reference, least", [("6, 10", 39, 40), ("26", 100, 104), ("2", 19, 20)])
def test_the_reference_must_be_finer(comparing, model, steps, reference, least):
    with pytest.raises(ValueError, match=f"reference_steps must .*got {reference}; set it to {least} or more"):
        comparing.make_plan(model, "euler", steps, "karras", reference)
    comparing.make_plan(model, "euler", steps, "karras", least)


def test_a_scheduler_that_gives_more_steps_than_asked_needs_a_finer_reference_too(comfy, comparing, model, monkeypatch):
    handler = comfy.samplers.SchedulerHandler(lambda _, steps: torch.linspace(14.6, 0, 3 * steps + 1))
    monkeypatch.setitem(comfy.samplers.SCHEDULER_HANDLERS, "karras", handler)
    with pytest.raises(ValueError, match="compared, 30; got 40; set it to 120"):
        comparing.make_plan(model, "euler", "10", "karras", 40)


def test_schedulers_without_a_grid_are_left_out(comparing, model):
    plan = comparing.make_plan(model, "euler", "1, 4", "karras, kl_optimal")
    assert ("kl_optimal", 1) not in {(job.name, job.steps) for job in plan.jobs} and len(plan.jobs) == 3
    with pytest.raises(ValueError, match=r"must have a grid on this model; got none at \[1\]"):
        comparing.make_plan(model, "euler", "1", "kl_optimal")


def test_our_own_entry_says_why_it_has_no_schedule(comfy, comparing, library, model, monkeypatch):
    from art_nodes.host import dropdown

    handlers, names = comfy.samplers.SCHEDULER_HANDLERS, [*comfy.samplers.SCHEDULER_NAMES, "art"]
    monkeypatch.setitem(handlers, "art", comfy.samplers.SchedulerHandler(dropdown.art_scheduler))
    monkeypatch.setattr(comfy.samplers.KSampler, "SCHEDULERS", names)
    [warning] = comparing.make_plan(model, "euler", "4", "art, karras").warnings
    assert warning.startswith("art: ") and "ART Train" in warning
    monkeypatch.setattr(library, "BUNDLED", ROOT / "learned_schedules")
    assert comparing.make_plan(model, "euler", "4", "art, karras").warnings == ()


def test_starts_elsewhere_are_told(comparing, model):
    plan = comparing.make_plan(model, "euler", "6", "AYS SVD, karras")
    [warning] = comparing.start_warnings(model, plan)
    assert warning == "AYS SVD starts at sigma 700 at 6 steps; the model at 14.6146"


def test_a_damaged_schedule_is_named(comparing, library, model):
    library.trained_folders()[0].mkdir()
    (library.trained_folders()[0] / "bad.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="bad.safetensors"):
        comparing.make_plan(model, "euler", "6", "bad")


def test_the_connected_schedule_is_a_schedule(comparing, model):
    plan = comparing.make_plan(model, "euler", "4", "karras", schedule=Schedule(np.linspace(14.6146, 0, 9)))
    assert plan.learned == {"ART (connected)"} and plan.names == ("ART (connected)", "karras")


def test_starts_below_the_models_are_told_too(comparing, model):
    plan = comparing.make_plan(model, "euler", "3", "karras", sigmas=torch.tensor([7.0, 3.0, 1.0, 0.0]))
    assert comparing.start_warnings(model, plan) == ["SIGMAS input starts at sigma 7 at 3 steps; the model at 14.6146"]


def test_a_model_without_a_range_is_refused(comparing, model):
    broken = model.clone()
    sampling = type("Sampling", (), {"sigma_max": 1.0, "sigma_min": 0.0, "sigmas": torch.linspace(0, 1, 10)})()
    broken.add_object_patch("model_sampling", sampling)
    with pytest.raises(ValueError, match="sigma_min < sigma_max; got sigma_max=1.0, sigma_min=0.0"):
        comparing.make_plan(broken, "euler", "3", "karras")


def test_all_leaves_our_own_entry_out(comfy, grids, library, models, monkeypatch):
    from art_nodes.host import dropdown

    monkeypatch.setitem(comfy.samplers.SCHEDULER_HANDLERS, dropdown.NAME,
                        comfy.samplers.SchedulerHandler(dropdown.art_scheduler))
    monkeypatch.setattr(comfy.samplers.KSampler, "SCHEDULERS", [*comfy.samplers.SCHEDULER_NAMES, dropdown.NAME])
    found = find(grids, models[workflows.SDXL], "all")
    assert dropdown.NAME not in found and "karras" in found
    assert dropdown.NAME in find(grids, models[workflows.SDXL], f"all, {dropdown.NAME}")


@pytest.mark.parametrize("error", ["InterruptProcessingException", "OutOfMemoryError"])
def test_an_interrupt_while_a_sampler_is_tried_out_is_no_flaw_of_it(comfy, monkeypatch, samplers, error):
    """Nor is a lack of memory; the host hears of both."""
    import comfy.model_management as management

    kind = getattr(management, error, None) or getattr(torch.cuda, error)

    def stopped(*_given, **_named):
        raise kind

    of_another_pack(comfy, monkeypatch, stopped)
    for asked in (lambda: samplers.check_sampler("theirs"), lambda: samplers.count_calls("theirs", 4)):
        with pytest.raises(kind):
            asked()


def test_a_sampler_that_steps_near_the_sigmas_but_not_on_them_is_refused(comfy, monkeypatch, samplers):
    """As one that moves each of them a little, so that a schedule would not be what is compared."""
    def sample_theirs(model, x, sigmas, extra_args=None, callback=None, disable=None):
        shifted = torch.cat([sigmas[:1], 0.98 * sigmas[1:]])
        for here, there in zip(shifted[:-1], shifted[1:], strict=True):
            x = x + (there - here) * (x - model(x, here * x.new_ones(len(x)), **extra_args)) / here
        return x

    of_another_pack(comfy, monkeypatch, sample_theirs)
    with pytest.raises(ValueError, match="chooses its own"):
        samplers.check_sampler("theirs")


@pytest.mark.parametrize("names", ["auto, demo-sdxl", "demo-sdxl, auto", "auto, auto-clock"])
def test_what_auto_took_is_told_wherever_it_stands(grids, library, model, tmp_path, names):
    for name in ("demo-sdxl", "demo-sdxl-clock"):
        schedules.schedule(14.6146, family="demo-sdxl").save(tmp_path / "bundled" / f"{name}.safetensors")
    assert find(grids, model, names)["demo-sdxl"].warnings[0].startswith("auto took demo-sdxl")


def test_a_reference_of_fewer_than_twenty_steps_is_refused_for_what_it_is(comparing, model):
    with pytest.raises(ValueError, match="must be at least 20, and 4 times .*compared, 2; got 19; set it to 20"):
        comparing.make_plan(model, "euler", "2", "karras", 19)
