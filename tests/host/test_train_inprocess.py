"""Recording and learning, with the host imported into this process."""

import gc
import types
import weakref

import numpy as np
import pytest
import torch

from art_nodes.core import OrbitBank, TrainConfig, record_orbits, recording_grid
from art_nodes.core.objectives import SamplerError
from art_nodes.demo import demo_denoiser, load_network
from tests.host import schedules, workflows

pytestmark = pytest.mark.host


@pytest.fixture(scope="module")
def demo(comfy):
    """Dress -> model, positive, negative, latent of two pictures."""
    from art_nodes.host.demo_model import demo_outputs

    return {dress: demo_outputs(dress, "sneaker", 2)[:4] for dress in workflows.DRESSES}


def quick(training, inputs, name="s", cfg=3.0, seed=1, steps=6, **settings):
    """A training run of a second, under inference mode as in the host."""
    with torch.inference_mode():
        return training.train(*inputs, cfg=cfg, seed=seed, steps=steps, name=name, **{**schedules.QUICK, **settings})


def files(tmp_path) -> list[str]:
    folder = tmp_path / "trained"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


# Recording

@pytest.mark.parametrize("cfg", [1.0, 3.0])
def test_recorded_stiffness_is_that_of_the_bare_network(recording, demo, cfg):
    """The host's path against the mathematics on the network alone, from the same noise."""
    bank = recording.record(*demo[workflows.EDM], cfg=cfg, seed=4, orbits=2, nodes=16)
    noise = recording.gaussian(torch.zeros(2, 1, 28, 28), 4)
    high, low = float(np.float32(80.0)), float(np.float32(0.002))
    labels = torch.eye(10)[demo_class("sneaker")]
    alone = record_orbits(demo_denoiser(load_network(), labels, cfg), noise * (1 + high**2) ** 0.5, high, low, nodes=16)
    assert np.allclose(bank.sigmas, alone.sigmas, rtol=1e-6)
    assert np.allclose(bank.stiffness[:, :12], alone.stiffness[:, :12], rtol=2e-2)
    other = record_orbits(demo_denoiser(load_network(), 0 * labels, cfg), 80 * noise, high, low, nodes=16)
    assert not np.allclose(bank.stiffness[:, :12], other.stiffness[:, :12], rtol=2e-2)


def demo_class(name) -> int:
    from art_nodes.demo.unet import CLASSES

    return CLASSES.index(name)


def test_batches_make_up_the_orbits(recording, demo):
    seen = []
    bank = recording.record(*demo[workflows.EDM], cfg=1.0, seed=9, orbits=5, nodes=8,
                            progress=lambda done, total: seen.append((done, total)))
    assert bank.stiffness.shape == (5, 8)
    assert (bank.calls, bank.sample_calls) == (3 * 8, 5 * 8)
    assert seen == [(i + 1, 24) for i in range(24)]
    second = recording.record(*demo[workflows.EDM], cfg=1.0, seed=10, orbits=2, nodes=8)
    assert np.allclose(bank.stiffness[2:4], second.stiffness, rtol=1e-6)  # batch 1 is drawn from seed + 1
    assert not np.allclose(bank.stiffness[:2], second.stiffness, rtol=1e-2)


def test_the_latents_content_and_mask_do_not_matter(recording, demo):
    model, positive, negative, latent = demo[workflows.EDM]
    full = {"samples": torch.randn(2, 1, 28, 28), "noise_mask": torch.zeros(2, 1, 28, 28)}
    banks = [recording.record(model, positive, negative, each, cfg=1.0, seed=3, orbits=2, nodes=8)
             for each in (latent, full)]
    assert np.array_equal(banks[0].stiffness, banks[1].stiffness)


def test_a_bank_holds_plain_values_only(recording, demo, tmp_path):
    with torch.inference_mode():
        bank = recording.record(*demo[workflows.SDXL], cfg=2.0, seed=2**64 - 1, orbits=3, nodes=8)
    assert type(bank.sigmas) is type(bank.stiffness) is np.ndarray
    bank.save(tmp_path / "bank.safetensors")
    assert OrbitBank.load(tmp_path / "bank.safetensors").metadata == bank.metadata
    expected = {"model": "DemoModel", "model_sampling": "ModelSamplingDiscrete + EPS", "cfg": 2.0, "seed": 2**64 - 1,
                "latent_format": "DemoLatentFormat", "latent_shape": [1, 28, 28], "dtype": "float32", "batch_size": 2}
    assert expected.items() <= bank.metadata.items()
    assert bank.metadata["sigma_max"] == pytest.approx(14.6146, rel=1e-5)


def sampling(kind, **options):
    import comfy.model_sampling

    return getattr(comfy.model_sampling, kind)(**options)


def test_table_models_are_recorded_on_their_table(comfy, recording):
    table = sampling("ModelSamplingDiscrete")
    for count in (8, 64, 300):
        nodes = recording.recording_nodes(table, count)
        assert 0.98 * count <= len(nodes) <= count and (np.diff(nodes) < 0).all()
        assert np.isin(nodes.astype(np.float32), table.sigmas.numpy()).all()
        assert (nodes[0], nodes[-1]) == (float(table.sigma_max), float(table.sigma_min))
        assert not np.isin(recording_grid(nodes[0], nodes[-1], count).astype(np.float32), table.sigmas.numpy()).all()
    assert len(recording.recording_nodes(table, 1024)) == 1000


@pytest.mark.parametrize("kind", ["ModelSamplingContinuousEDM", "ModelSamplingContinuousV", "ModelSamplingDiscreteEDM",
                                  "StableCascadeSampling"])
def test_other_models_are_recorded_on_the_plain_grid(comfy, recording, kind):
    model_sampling = sampling(kind)
    nodes = recording.recording_nodes(model_sampling, 32)
    high, low = float(model_sampling.sigma_max), float(model_sampling.sigma_min)
    assert np.array_equal(nodes, recording_grid(high, low, 32))


@pytest.mark.parametrize("kind", ["ModelSamplingDiscreteFlow", "ModelSamplingFlux"])
def test_flows_are_recorded_where_pictures_take_shape(comfy, recording, kind):
    import comfy.model_sampling

    flow = type("Flow", (getattr(comfy.model_sampling, kind), comfy.model_sampling.CONST), {})()
    nodes = recording.recording_nodes(flow, 64)
    assert (nodes[0], nodes[-1], len(nodes)) == (1.0, float(flow.sigma_min), 64) and (np.diff(nodes) < 0).all()
    assert (nodes > 0.9).sum() > 20, "a rectified flow composes a picture at shares of noise from 0.9 to 1"


def test_a_flow_whose_shift_makes_its_sigma_1_and_a_rounding_is_recorded_from_1(comfy, recording):
    import comfy.model_sampling

    flow = type("Flow", (comfy.model_sampling.ModelSamplingDiscreteFlow, comfy.model_sampling.CONST), {})()
    flow.set_parameters(shift=2.14)
    assert float(flow.sigma_max) > 1, "the host's float32 leaves this shift above 1"
    nodes = recording.recording_nodes(flow, 64)
    assert nodes[0] == 1.0 and len(nodes) == 64 and (np.diff(nodes) < 0).all()


def test_zero_terminal_snr(training, demo):
    """sigma_max 4518; the table has wide gaps at its top."""
    from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete

    model, *others = demo[workflows.SDXL]
    patched = ModelSamplingDiscrete().patch(model, "v_prediction", True)[0]
    trained = quick(training, (patched, *others), nodes=32)
    assert float(trained.sigmas[0]) == pytest.approx(4518.76, rel=1e-4)
    assert "ModelSamplingDiscrete + V_PREDICTION" in trained.report and "sigma: 4518.76" in trained.report


def test_flow_with_shift(training, demo):
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3

    model, *others = demo[workflows.SDXL]
    trained = quick(training, (ModelSamplingSD3().patch(model, 3.0)[0], *others))
    assert float(trained.sigmas[0]) == 1.0
    assert trained.schedule.provenance["shift"] == 3.0
    assert "ModelSamplingDiscreteFlow + CONST, shift 3" in trained.report


def test_nested_latents_keep_their_parts(comfy, recording):
    from comfy.nested_tensor import NestedTensor

    nested = NestedTensor([torch.zeros(3, 4, 2, 2), torch.zeros(3, 8, 5)])
    noise = recording.gaussian(recording.first_samples(nested, 2), 1)
    assert [tuple(part.shape) for part in noise.unbind()] == [(2, 4, 2, 2), (2, 8, 5)]
    assert recording.describe_run(nested, 2, 1.0, 0)["latent_shape"] == [[4, 2, 2], [8, 5]]


# Training

@pytest.mark.parametrize("method", ["ART-RL", "closed form"])
@pytest.mark.parametrize("dress", workflows.DRESSES)
def test_outputs(training, library, demo, dress, method):
    trained = quick(training, demo[dress], method=method, steps=7)
    schedule, sigmas, plot, report = trained.outputs
    assert library.schedule_names() == ["s"]
    assert np.array_equal(library.load_schedule("s").clock, schedule.clock)
    assert schedule.provenance["method"] == method
    assert sigmas.shape == (8,) and sigmas.dtype == torch.float32 and sigmas[-1] == 0 and (sigmas.diff() < 0).all()
    assert plot.shape == (1, 420, 1000, 3) and plot.dtype == torch.float32
    assert 0 <= plot.min() and plot.max() == 1 and plot.std() > 0.05
    assert len(report.splitlines()) <= 40


def test_the_report(training, demo, tmp_path):
    trained = quick(training, demo[workflows.SDXL], steps=10, nodes=16, orbits=3)
    for words in [f'schedule "s" saved in {tmp_path / "trained"}', "DemoModel, ModelSamplingDiscrete + EPS, float32",
                  "sigma: 14.6146 to 0.0291", "3 orbits x 16 nodes at cfg 3: 32 model calls of up to 2, 48 counted",
                  "ART-RL, 10 iterations", "cost J/J* of the clock", "Euler objective of 10 steps", "karras",
                  "AYS SD1", "AYS SDXL", "strongest built-in:", "not picture quality"]:
        assert words in trained.report
    assert "AYS SVD" not in trained.report
    edm = quick(training, demo[workflows.EDM], steps=1)
    assert "AYS" not in edm.report
    assert f'saved in {tmp_path / "trained"} ("s" was taken)' in edm.report
    assert "no grid: kl_optimal" in edm.report


def test_the_same_seed_gives_the_same_schedule(training, library, demo, tmp_path):
    """safetensors writes its header in any order, so that files are compared by what they hold."""
    path = tmp_path / "trained" / "s.safetensors"
    first = quick(training, demo[workflows.EDM])
    content, saved = path.read_bytes(), library.load_schedule("s")
    assert quick(training, demo[workflows.EDM]).name == "s"  # the very same schedule is kept
    assert path.read_bytes() == content
    path.unlink()
    quick(training, demo[workflows.EDM])
    again, content = library.load_schedule("s"), path.read_bytes()
    assert np.array_equal(again.clock, saved.clock) and again.provenance == saved.provenance
    other = quick(training, demo[workflows.EDM], seed=2)
    assert other.name == "s_2" and not np.array_equal(other.schedule.clock, first.schedule.clock)
    assert path.read_bytes() == content


@pytest.mark.parametrize("settings, words", [
    *[({"name": name}, "name must") for name in schedules.BAD_NAMES],
    ({"steps": 0}, "steps must be a whole number >= 1; got 0"),
    ({"method": "magic"}, "method must be one of: ART-RL, closed form; got 'magic'"),
    ({"iterations": 3}, "iterations must be at least 10; got 3"),
    ({"orbits": 0}, "orbits must be at least 1; got 0"),
    ({"nodes": 7}, "nodes must be a whole number >= 8; got 7"),
    ({"orbits": 1024, "nodes": 1024}, "1024 orbits of 1024 nodes take 16.0 GiB, and 2 at most"),
])
def test_bad_input_is_refused_before_the_model_is_touched(training, tmp_path, settings, words):
    with pytest.raises(ValueError, match=words):
        quick(training, (None, None, None, None), **settings)
    assert files(tmp_path) == []


def test_a_failing_model_leaves_no_file(training, demo, tmp_path):
    model, *others = demo[workflows.EDM]
    patched = model.clone()
    patched.set_model_sampler_cfg_function(lambda args: args["input"] * float("nan"))
    with pytest.raises(ValueError, match="must answer finite values"):
        quick(training, (patched, *others))
    assert files(tmp_path) == []


# Progress and interrupts

@pytest.mark.parametrize("method", ["ART-RL", "closed form"])
def test_progress_reaches_the_end_and_never_goes_back(watch_bar, training, demo, method):
    seen = []
    watch_bar(lambda value, total, *_, **__: seen.append((value, total)))
    quick(training, demo[workflows.EDM], method=method)
    values = [value for value, _ in seen]
    assert {total for _, total in seen} == {1000}
    assert values == sorted(values) and values[0] < 1000 and values[-1] == 1000


def test_progress_shows_the_share_of_time(training):
    """10 model calls of 1 s, the first of which takes 5 s, and 14 s expected for learning: half each."""
    now = [0.0]
    progress = training.TrainingProgress(14.0, clock=lambda: now[0])
    shown = []
    for call in range(10):
        now[0] += 5.0 if call == 0 else 1.0
        progress.recorded(call + 1, 10)
        shown.append(progress.shown)
    assert shown == sorted(shown) and shown[-1] == 500
    assert progress.start_learning() == 14.0
    for i in range(4):
        progress.learned(i + 1, 4)
        shown.append(progress.shown)
    assert shown[-4:] == [625, 750, 875, 1000]


def test_progress_leaves_room_for_fitting(training):
    """Recording and learning as above, and as long again for fitting: a third each."""
    now = [0.0]
    progress = training.TrainingProgress(14.0, 14.0, clock=lambda: now[0])
    now[0] = 14.0
    progress.recorded(10, 10)
    progress.start_learning()
    progress.learned(4, 4)
    learned = progress.shown
    progress.start_fitting()
    shown = [progress.fitted(done, 3) or progress.shown for done in (1, 2, 3)]
    assert 330 <= learned - 333 <= 336 and shown == sorted(shown) and shown[-1] == 1000


def test_fits_grids_to_a_sampler(library, training, demo):
    """The schedule holds them, the node's sigmas are the one for its steps, and the report tells of both."""
    schedule, sigmas, _, report = quick(training, demo[workflows.SDXL], steps=7, nodes=32,
                                        objective="end:dpmpp_2m").outputs
    assert {5, 7} <= schedule.grids.keys() and max(schedule.grids) == 15
    assert schedule.provenance["objective"] == "end:dpmpp_2m"
    np.testing.assert_allclose(sigmas, schedule.grids[7], rtol=1e-6)
    assert library.load_schedule("s").grids.keys() == schedule.grids.keys()
    assert "grids fitted to the end error of dpmpp_2m: 3, 4, 5, 6, 7" in report
    ranked = [line for line in report.splitlines() if "RMS end error of 7 steps of dpmpp_2m" in line]
    assert len(ranked) == 1


def test_the_steps_of_the_node_have_a_grid_of_their_own(training, demo):
    """Also where they are none of those that every schedule has grids for."""
    trained = quick(training, demo[workflows.SDXL], steps=11, nodes=32, objective="end:euler")
    assert 11 in trained.schedule.grids
    np.testing.assert_allclose(trained.sigmas, trained.schedule.grids[11], rtol=1e-6)


def test_refuses_an_unknown_objective_before_the_model_is_called(training, demo):
    with pytest.raises(ValueError, match="objective must be one of: euler, .*got 'end:lcm'; choose end:<the sampler"):
        quick(training, demo[workflows.EDM], objective="end:lcm")


@pytest.mark.parametrize(("each", "timed"), [(0.02, 8), (0.3, 2)])
def test_the_estimate_of_learning_is_what_its_first_iterations_take(training, monkeypatch, each, timed):
    """Eight of them, or as many as half a second is enough for."""
    from art_nodes.core import TrainConfig

    made = []

    def learn(_bank, config):
        for i in range(config.iterations):
            made.append(each)
            yield types.SimpleNamespace(iteration=i + 1)

    monkeypatch.setattr(training, "learn", learn)
    monkeypatch.setattr(training, "time", types.SimpleNamespace(perf_counter=lambda: sum(made)))
    assert training.estimate_learning_seconds(TrainConfig(iterations=60)) == pytest.approx(60 * each)
    assert len(made) == timed


@pytest.mark.parametrize("update", [1, 5, 8, 12, 18, 19], ids=lambda n: f"update {n}")
def test_interrupt_at_any_moment(comfy, monkeypatch, watch_bar, training, demo, tmp_path, update):
    """8 model calls, then 10 iterations, then the end: whenever it comes, no file and no after-effect."""
    import comfy.model_management as management

    from art_nodes.host import training_progress

    seen = []

    def hook(value, *_, **__):
        seen.append(value)
        if len(seen) == update:
            management.interrupt_current_processing()
        management.throw_exception_if_processing_interrupted()

    monkeypatch.setattr(training_progress, "UPDATE_SECONDS", 0.0)  # an update after every call and iteration
    watch_bar(hook)
    with pytest.raises(management.InterruptProcessingException):
        quick(training, demo[workflows.EDM])
    assert len(seen) == update and files(tmp_path) == []
    assert not management.processing_interrupted()
    monkeypatch.undo()


@pytest.mark.parametrize("settings", [{"episodes": 4096, "clock_nodes": 1024},
                                      {"episodes": 4096, "clock_nodes": 512, "knots": 256}])
def test_learning_that_would_fill_the_memory_is_refused_at_once(training, demo, monkeypatch, settings):
    """Both are within the widgets' limits, and the second took ComfyUI with it."""
    monkeypatch.setattr(training, "record", lambda *_, **__: pytest.fail("the model was called"))
    with pytest.raises(ValueError, match="episodes, clock_nodes and knots must leave room in memory: 4096, .* GiB"):
        quick(training, demo[workflows.EDM], **settings)
    training.check_memory(TrainConfig(episodes=1024, clock_nodes=256, knots=128))


@pytest.mark.parametrize("orbits, nodes, batch", [(1024, 512, 1), (64, 1024, 64)], ids=["tables", "predictions"])
def test_a_recording_that_would_fill_the_memory_is_refused_at_once(comfy, orbits, nodes, batch):
    from art_nodes.host.recording import check_room

    with pytest.raises(ValueError, match="orbits, nodes and batch size must leave room in memory: .* GiB"):
        check_room(orbits, nodes, torch.zeros(batch, 4, 128, 128, device="meta"))
    check_room(80, 64, torch.zeros(16, 4, 128, 128, device="meta"))


def test_very_many_steps_are_not_compared(training, demo, monkeypatch):
    monkeypatch.setattr(training, "MOST_COMPARED", 5)
    assert "strongest built-in" in quick(training, demo[workflows.EDM], steps=5).report
    trained = quick(training, demo[workflows.EDM], steps=6)
    assert training.NOT_COMPARED in trained.report and "strongest built-in" not in trained.report
    assert len(trained.sigmas) == 7 and trained.plot.shape[0] == 1


@pytest.mark.parametrize("objective, alike", [("end:euler", True), ("euler", False)])
def test_method_and_learner_change_what_is_sampled_with_the_papers_objective_only(training, demo, objective, alike):
    """The others' grids are fitted to the recording, whatever clock is learned beside them."""
    runs = [quick(training, demo[workflows.EDM], name="s", nodes=16, objective=objective, **settings).schedule
            for settings in ({}, {"iterations": 30}, {"method": "closed form"})]
    for run in runs[1:]:
        assert not np.array_equal(run.clock, runs[0].clock)  # control
        for steps in (1, 4, 10, 50):
            assert torch.equal(run.sigmas(steps), runs[0].sigmas(steps)) == (alike or steps == 1)


def test_interrupt_within_the_first_grid(comfy, monkeypatch, training, demo, tmp_path):
    """Of a recording of many nodes a grid may take long: nothing more is replayed once Stop was pressed."""
    import comfy.model_management as management

    replayed, real = [], SamplerError.ledger

    def ledger(self, gram, at_end=False):
        replayed.append(gram)
        management.interrupt_current_processing()
        return real(self, gram, at_end)

    monkeypatch.setattr(SamplerError, "ledger", ledger)
    with pytest.raises(management.InterruptProcessingException):
        quick(training, demo[workflows.EDM], objective="end:dpmpp_2m")
    assert len(replayed) == 1 and files(tmp_path) == []


def test_no_half_file_when_saving_fails(training, demo, tmp_path, monkeypatch):
    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="no space"):
        quick(training, demo[workflows.EDM])
    assert files(tmp_path) == []


def test_leaves_no_memory_behind(comfy, training):
    from art_nodes.host.demo_model import demo_outputs

    def tensors():
        gc.collect()
        return sum(1 for thing in gc.get_objects() if issubclass(type(thing), torch.Tensor))

    def run():
        inputs = demo_outputs(workflows.EDM, "sneaker", 2)[:4]
        quick(training, inputs)
        return weakref.ref(inputs[0]), weakref.ref(inputs[0].model)

    run()
    before = tensors()
    references = [each for _ in range(3) for each in run()]
    assert tensors() <= before
    assert all(reference() is None for reference in references)


def test_a_trial_frees_the_model_at_once(comfy, training):
    """Without the garbage collector: the host may load the next checkpoint before it runs."""
    from art_nodes.host.demo_model import demo_outputs

    inputs = demo_outputs(workflows.EDM, "sneaker", 2)[:4]
    held = weakref.ref(inputs[0])
    gc.collect()
    gc.disable()
    try:
        quick(training, inputs, orbits=4, nodes=16, objective="end:euler", trial_calls=100)
        del inputs
        assert held() is None
    finally:
        gc.enable()


def test_a_library_that_cannot_be_written_to_is_told_before_the_model_is_called(training, tmp_path):
    (tmp_path / "trained").write_text("a file where the folder should be")
    with pytest.raises(ValueError, match="trained must be one that ComfyUI can write to; got .*another folder"):
        quick(training, (None, None, None, None))


def test_what_fails_after_learning_loses_no_schedule(training, demo, tmp_path, monkeypatch):
    def fails(*_):
        raise RuntimeError("no font")

    monkeypatch.setattr(training, "draw_plot", fails)
    with pytest.raises(RuntimeError, match="no font"):
        quick(training, demo[workflows.EDM])
    assert files(tmp_path) == ["s.safetensors"]


def test_a_workflow_without_an_objective_gets_the_nodes_default(training, demo):
    settings = {name: value for name, value in schedules.QUICK.items() if name != "objective"}
    with torch.inference_mode():
        trained = training.train(*demo[workflows.EDM], cfg=3.0, seed=1, steps=6, name="s", **settings)
    assert trained.schedule.provenance["objective"] == "end:euler"


def test_a_bank_knows_whether_sigma_is_a_share_of_noise(recording, demo):
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3

    model, *others = demo[workflows.SDXL]
    flow = ModelSamplingSD3().patch(model, 3.0)[0]
    assert [recording.record(each, *others, cfg=1.0, seed=1, orbits=3, nodes=8).share for each in (flow, model)] == [
        True, False]


def test_a_patch_that_samples_by_itself_is_not_recorded(recording, demo):
    import comfy.patcher_extension as extension

    model, *others = demo[workflows.SDXL]
    model = model.clone()
    model.add_wrapper(extension.WrappersMP.SAMPLER_SAMPLE, lambda executor, guider, sigmas, *rest: rest[2])
    with pytest.raises(ValueError, match="a patch on it answered without calling the sampler"):
        recording.record(model, *others, cfg=1.0, seed=1, orbits=2, nodes=8)
