"""Comparing schedules on the demo model, with the host imported into this process."""

import gc
import inspect
import weakref

import numpy as np
import pytest
import torch

from benchmarks.comfy.inprocess import on_gpu
from tests.host import schedules, workflows

pytestmark = pytest.mark.host
# Of a second or so on the demo model.
TINY = {"cfg": 1.0, "seed": 3, "seeds": 1, "sampler_name": "euler", "steps": "2, 3", "schedules": "karras, normal",
        "reference_steps": 20}


@pytest.fixture(scope="module")
def demo(comfy):
    """Dress -> model, positive, negative, latent of two pictures, VAE."""
    from art_nodes.host.demo_model import demo_outputs

    return {dress: demo_outputs(dress, "sneaker", 2) for dress in workflows.DRESSES}


@pytest.fixture
def inputs(demo):
    """Model, positive, negative, latent."""
    return demo[workflows.SDXL][:4]


def compare(comparing, inputs, **settings):
    """A tiny comparison under inference mode, as in the host."""
    with torch.inference_mode():
        return comparing.compare(*inputs, **{**TINY, **settings})


def watched(model):
    """A clone of the model, and the list that gets the sigma of each of its calls."""
    seen, clone = [], model.clone()

    def call(apply_model, args):
        seen.append(float(args["timestep"].flatten()[0]))
        return apply_model(args["input"], args["timestep"], **args["c"])

    clone.set_model_unet_function_wrapper(call)
    return clone, seen


# The numbers

@pytest.mark.parametrize("dress, cfg, sampler", [(workflows.SDXL, 3.0, "uni_pc"), (workflows.EDM, 1.0, "heun")])
def test_errors_are_those_of_the_hosts_own_sampling(comfy, comparing, demo, dress, cfg, sampler):
    """The host's KSampler path, from the same noise, measured here by hand."""
    import comfy.sample

    from art_nodes.host.recording import gaussian

    model, positive, negative, latent, _ = demo[dress]
    found = compare(comparing, (model, positive, negative, latent), cfg=cfg, sampler_name=sampler).measured

    def end(name, scheduler, steps):
        zeros = latent["samples"]
        return comfy.sample.sample(model, gaussian(zeros, 3), steps, cfg, name, scheduler, positive, negative, zeros,
                                   denoise=1.0, disable_pbar=True, seed=3)

    reference = end("dpmpp_2m", "karras", 20)
    # On a GPU the host's table of noise levels and its schedulers round otherwise once the model is loaded.
    rel = 1e-2 if on_gpu() else 1e-5
    for cell in found.cells:
        expected = (end(sampler, cell.name, cell.steps) - reference).double().square().mean(dim=(1, 2, 3)).sqrt()
        assert cell.errors == pytest.approx(expected.numpy(), rel=rel)
        assert cell.rms == pytest.approx(float(expected.square().mean().sqrt()), rel=rel)
    drift = (end("dpmpp_2m", "karras", 10) - reference).double().square().mean().sqrt()
    assert found.drift == pytest.approx(float(drift), rel=1e-5)


def test_the_same_schedule_twice_has_the_same_errors(comparing, library, inputs):
    """Nothing of one sampling gets into the next: noise, sigmas, model."""
    for name in ("first", "second"):
        library.save_schedule(schedules.schedule(14.6, note=name), name)
    for sampler in ("euler", "uni_pc"):  # uni_pc writes into its sigmas
        found = compare(comparing, inputs, sampler_name=sampler, schedules="first, karras, second", seeds=2).measured
        for steps in (2, 3):
            assert np.array_equal(found.cell("first", steps).errors, found.cell("second", steps).errors)
            assert not np.array_equal(found.cell("first", steps).errors, found.cell("karras", steps).errors)


def test_a_plan_is_not_changed_by_sampling_it(comparing, inputs):
    """uni_pc writes into the sigmas that it is given."""
    plan = comparing.make_plan(inputs[0], "uni_pc", "3", "karras", 20)
    before = [job.sigmas.clone() for job in plan.jobs] + [plan.reference.clone()]
    with torch.inference_mode():
        comparing.measure(*inputs, plan, cfg=1.0, seed=1)
    assert all(map(torch.equal, before, [*(job.sigmas for job in plan.jobs), plan.reference]))


def test_batches_are_drawn_from_seed_and_up(comparing, inputs):
    both = compare(comparing, inputs, seeds=2).measured
    second = compare(comparing, inputs, seed=4).measured
    assert both.noises == 4 and both.cell("karras", 2).errors.shape == (4,)
    assert np.allclose(both.cell("karras", 2).errors[2:], second.cell("karras", 2).errors, rtol=1e-6)
    assert not np.allclose(both.cell("karras", 2).errors[:2], second.cell("karras", 2).errors, rtol=1e-2)
    last = compare(comparing, inputs, seed=2**64 - 1, seeds=2).measured  # the seed after the largest is 0
    assert np.allclose(last.cell("karras", 2).errors[2:], compare(comparing, inputs, seed=0).measured.cells[0].errors)


def test_more_steps_come_closer(comparing, inputs):
    found = compare(comparing, inputs, steps="2, 16", schedules="karras", reference_steps=64).measured
    assert found.cell("karras", 16).rms < 0.5 * found.cell("karras", 2).rms


@pytest.mark.parametrize("sampler, calls", [("euler", [2, 3]), ("heun", [3, 5]), ("dpmpp_2m", [2, 3])])
def test_model_calls(comparing, inputs, sampler, calls):
    """Counted by the comparison, told before the first call, and made."""
    model, seen = watched(inputs[0])
    told = []

    def tell(text):
        told.append((text, len(seen)))

    found = compare(comparing, (model, *inputs[1:]), sampler_name=sampler, seeds=2, tell=tell).measured
    total = 2 * (20 + 2 * sum(calls)) + 10
    assert [cell.calls for cell in found.cells] == 2 * calls
    assert len(seen) == found.calls == total
    assert told[0] == (f"{total} model calls of 2 samples each, 2 batches of noise", 0)
    assert any("about" in text and "left" in text for text, _ in told[1:])


def test_the_latents_content_and_mask_do_not_matter(comparing, inputs):
    full = {"samples": torch.randn(2, 1, 28, 28), "noise_mask": torch.zeros(2, 1, 28, 28)}
    errors = [compare(comparing, (*inputs[:3], latent)).measured.cells[0].errors for latent in (inputs[3], full)]
    assert np.array_equal(*errors)


def test_schedule_and_sigmas_may_be_connected(comparing, inputs):
    """SIGMAS that are those of a schedule must give its errors."""
    schedule = schedules.schedule(14.6146)
    found = compare(comparing, inputs, schedules="karras", steps="2", schedule=schedule,
                    sigmas=schedule.sigmas(3)).measured
    assert found.names == ("ART (connected)", "SIGMAS input", "karras") and found.steps == (2, 3)
    assert np.array_equal(found.cell("SIGMAS input", 3).errors, found.cell("ART (connected)", 3).errors)
    assert found.cell("SIGMAS input", 2) is None


def test_other_parametrisations(comparing, inputs):
    from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete, ModelSamplingSD3

    flow = ModelSamplingSD3().patch(inputs[0], 3.0)[0]
    terminal = ModelSamplingDiscrete().patch(inputs[0], "v_prediction", True)[0]
    for model, words in ((flow, "ModelSamplingDiscreteFlow + CONST, shift 3"), (terminal, "V_PREDICTION")):
        compared = compare(comparing, (model, *inputs[1:]), schedules="simple, karras")
        assert all(np.isfinite(cell.rms) and cell.rms > 0 for cell in compared.measured.cells)
        assert words in compared.table
        name = "the nodes of a recording" if model is flow else "karras"
        assert f"dpmpp_2m on {name}" in compared.table


# What may and what may not win

def made_up(comfy, monkeypatch, name, grid):
    """A scheduler of another pack: grid(steps) is a list of sigmas."""
    handler = comfy.samplers.SchedulerHandler(lambda _, steps: torch.tensor(grid(steps)))
    monkeypatch.setitem(comfy.samplers.SCHEDULER_HANDLERS, name, handler)
    monkeypatch.setattr(comfy.samplers.KSampler, "SCHEDULERS", [*comfy.samplers.KSampler.SCHEDULERS, name])


def test_another_number_of_steps_does_not_win(comfy, comparing, inputs, monkeypatch):
    made_up(comfy, monkeypatch, "generous", lambda steps: [14.6 * 0.5**i for i in range(4 * steps)] + [0.0])
    compared = compare(comparing, inputs, schedules="karras, generous", steps="3", reference_steps=60)
    found = compared.measured
    generous = found.cell("generous", 3)
    assert (generous.taken, generous.calls) == (12, 12) and generous.rms < found.cell("karras", 3).rms
    assert found.winner(3).name == "karras" and found.ranked() == ["karras", "generous"]
    assert "! generous gives 12 steps when asked for 3 (12 model calls): does not compete" in compared.table
    assert "3 steps: only karras competes" in compared.table
    from art_nodes.host.comparing_plot import line_points

    assert line_points(found.cells, "generous") == [(12.0, generous.rms)]


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "uni_pc"])  # the first divides by 0, the second raises an error
def test_a_schedule_that_ends_in_nan_is_told_and_does_not_win(comfy, comparing, inputs, monkeypatch, sampler):
    made_up(comfy, monkeypatch, "twice", lambda steps: [14.6] * 3 + [1.0] * (steps - 3) + [0.0])
    compared = compare(comparing, inputs, schedules="karras, twice", sampler_name=sampler, steps="5", vae=None)
    assert np.isnan(compared.measured.cell("twice", 5).rms)
    assert compared.measured.winner(5).name == "karras"
    assert "twice at 5 steps ends in NaN or infinity: does not compete" in compared.table


def test_a_model_that_answers_nan_is_refused_at_once(comparing, inputs):
    model, seen = watched(inputs[0])
    model.set_model_sampler_cfg_function(lambda args: args["input"] * float("nan"))
    with pytest.raises(ValueError, match="the reference must be finite"):
        compare(comparing, (model, *inputs[1:]))
    assert len(seen) == 20


def test_a_patch_that_samples_by_itself_is_refused(comparing, inputs):
    import comfy.patcher_extension as extension

    model = inputs[0].clone()
    model.add_wrapper(extension.WrappersMP.SAMPLER_SAMPLE, lambda executor, guider, sigmas, *rest: rest[2])
    with pytest.raises(ValueError, match="must be called when it is sampled"):
        compare(comparing, (model, *inputs[1:]))


# Bad input

def badly(**settings):
    return pytest.param(settings, id=" ".join(f"{name}={value!r:.20}" for name, value in settings.items()))


class WrongVAE:
    """Decodes other latents, or none."""

    def __init__(self, answer):
        self.answer = answer

    def decode(self, latent):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize("settings", [
    badly(steps="six"), badly(steps=""), badly(schedules="karas"), badly(schedules=""), badly(sampler_name="eular"),
    badly(sampler_name="euler_ancestral"), badly(reference_steps=8), badly(seeds=0), badly(steps="2, 30"),
    badly(sigmas=torch.tensor([3.0, 1.0])), badly(vae=WrongVAE(RuntimeError("expected 4 channels"))),
    badly(vae=WrongVAE(torch.zeros(1, 2, 44100))),
])
def test_bad_input_is_refused_before_the_model_is_called(comparing, inputs, settings):
    model, seen = watched(inputs[0])
    with pytest.raises(ValueError, match="; got|fails on") as caught:
        compare(comparing, (model, *inputs[1:]), **settings)
    assert not seen and len(str(caught.value)) < 1500


# Interrupts, and what is left behind

@pytest.mark.parametrize("call", [1, 21, 32, 37])
def test_interrupt_at_any_moment(comfy, comparing, inputs, call):
    """In the reference, its check, the first and a later schedule: re-raised, and nothing is different afterwards."""
    import comfy.model_management as management

    model, seen = watched(inputs[0])
    before = compare(comparing, inputs).measured
    seen_by_wrapper = model.model_options["model_function_wrapper"]

    def stop(apply_model, args):
        answer = seen_by_wrapper(apply_model, args)
        if len(seen) == call:
            management.interrupt_current_processing()
        return answer

    model.set_model_unet_function_wrapper(stop)
    with pytest.raises(management.InterruptProcessingException):
        compare(comparing, (model, *inputs[1:]))
    assert len(seen) == call and not management.processing_interrupted()
    after = compare(comparing, inputs).measured
    assert all(np.array_equal(a.errors, b.errors) for a, b in zip(before.cells, after.cells, strict=True))


def test_an_interrupt_while_pictures_are_decoded_is_no_error_of_the_vae(comfy, comparing, demo):
    import comfy.model_management as management

    class Slow:
        def __init__(self, vae):
            self.vae, self.calls = vae, 0

        def decode(self, latent):
            self.calls += 1
            if self.calls == 4:
                management.interrupt_current_processing()
            return self.vae.decode(latent)

    *inputs, vae = demo[workflows.SDXL]
    slow = Slow(vae)
    with pytest.raises(management.InterruptProcessingException):
        compare(comparing, inputs, vae=slow)
    assert slow.calls == 4 and not management.processing_interrupted()


def test_pictures_that_fail_cost_no_measurement(comparing, demo, caplog):
    """Memory is least when all was sampled; the first decoding, before that, tells whether the VAE fits at all."""
    class Fails:
        def __init__(self, vae, after):
            self.vae, self.left = vae, after

        def decode(self, latent):
            self.left -= 1
            if self.left < 0:
                raise torch.cuda.OutOfMemoryError("no memory left")
            return self.vae.decode(latent)

    *inputs, vae = demo[workflows.SDXL]
    compared = compare(comparing, inputs, vae=Fails(vae, 3))
    assert "no pictures: decoding them failed (no memory left)" in compared.table
    assert compared.measured.cells and compared.plot.shape[0] == 1 and compared.pictures.shape == (1, 64, 320, 3)
    assert "no pictures" in caplog.text
    # The host frees memory when it hears of this error; in other words it would not know it.
    with pytest.raises(torch.cuda.OutOfMemoryError):
        compare(comparing, inputs, vae=Fails(vae, 0))


def test_the_model_is_left_as_it_was(comparing, inputs):
    model = inputs[0]
    before = repr(model.model_options), dict(model.object_patches), len(model.patches), model.hook_mode
    compare(comparing, inputs)
    assert (repr(model.model_options), dict(model.object_patches), len(model.patches), model.hook_mode) == before


def test_progress_reaches_the_end_and_never_goes_back(monkeypatch, watch_bar, comparing, inputs):
    from art_nodes.host import comparing_progress

    seen = []
    monkeypatch.setattr(comparing_progress, "UPDATE_SECONDS", 0.0)
    watch_bar(lambda value, total, *_, **__: seen.append((value, total)))
    found = compare(comparing, inputs).measured
    values = [value for value, _ in seen]
    assert values == [*range(1, found.calls + 1), found.calls] and {total for _, total in seen} == {found.calls}


def test_keeps_only_what_is_shown(comparing, demo):
    *inputs, vae = demo[workflows.SDXL]
    plain = compare(comparing, inputs, seeds=2).measured
    assert set(plain.ends.values()) == {None}
    shown = compare(comparing, inputs, seeds=2, vae=vae).measured
    assert {tuple(latents.shape) for latents in shown.ends.values()} == {(2, 1, 28, 28)}
    assert len(shown.ends) == 5


def test_leaves_no_memory_behind(comfy, comparing):
    from art_nodes.host.demo_model import demo_outputs

    def tensors():
        gc.collect()
        return sum(1 for thing in gc.get_objects() if issubclass(type(thing), torch.Tensor))

    def run():
        *inputs, vae = demo_outputs(workflows.EDM, "sneaker", 2)
        compare(comparing, inputs, vae=vae)
        return weakref.ref(inputs[0]), weakref.ref(inputs[0].model)

    run()
    before = tensors()
    references = [each for _ in range(3) for each in run()]
    assert tensors() <= before
    assert all(reference() is None for reference in references)


def test_the_node_passes_on_what_the_function_takes(comparing):
    from art_nodes.nodes.compare import ARTCompare

    schema = ARTCompare.define_schema()
    parameters = inspect.signature(comparing.compare).parameters
    assert [each.id for each in schema.inputs] == [name for name in parameters if name != "tell"]
    required = [each.id for each in schema.inputs if not each.optional]
    assert required == ["model", "positive", "negative", "latent_image", "cfg", "seed", "seeds", "sampler_name",
                        "steps", "schedules", "reference_steps"]


def test_pictures_are_of_the_first_noises_however_many_follow(comparing, demo):
    *inputs, vae = demo[workflows.SDXL]
    one, more = (compare(comparing, inputs, seeds=seeds, vae=vae).measured.ends for seeds in (1, 2))
    assert one.keys() == more.keys() and all(torch.equal(one[key], more[key]) for key in one)


def test_the_cost_tells_of_pictures_and_the_table_of_odd_starts(comparing, library, demo):
    """Before the first call; of the reference and of four cells, of two noises each."""
    *inputs, vae = demo[workflows.SDXL]
    library.save_schedule(schedules.schedule(14.6146, family="flux"), "mine")
    told = []
    compared = compare(comparing, inputs, schedules="AYS SVD, mine", vae=vae, tell=told.append)
    assert told[0].endswith("1 batch of noise, then 10 pictures to decode")
    assert "AYS SVD starts at sigma 700 at 2 steps, 700 at 3 steps; the model at 14.6146" in compared.table
    assert "mine: sigma is the share of noise" in compared.table


def test_of_a_latent_of_one_no_more_pictures_are_told_than_decoded(comparing, demo):
    model, positive, negative, latent, vae = demo[workflows.SDXL]
    told, seen = [], []

    class Counting:
        def decode(self, latents):
            seen.append(latents)
            return vae.decode(latents)

    one = {"samples": latent["samples"][:1]}
    compare(comparing, (model, positive, negative, one), vae=Counting(), tell=told.append)
    assert told[0].endswith("then 5 pictures to decode") and len(seen) == 1 + 5  # the first decoding is a trial
