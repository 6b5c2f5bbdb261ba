"""ART in a host whose models are on a GPU. On the pretended one the numbers must be those of the CPU."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch

from benchmarks.bundle_demo import FOLDER as BUNDLED
from benchmarks.comfy import networks
from tests.host import schedules, workflows

pytestmark = pytest.mark.host
CPU = torch.device("cpu")
MEMORY = 2**33  # of the GPU, in bytes
# Where latents wait between nodes: in the CPU's memory, or with --gpu-only on the GPU too.
PLACES = pytest.mark.parametrize("gpu_only", [False, True], ids=["latents on the cpu", "gpu only"])
BATCH = 4


@contextmanager
def host_on(device, monkeypatch, gpu_only=False):
    """The host as it is where it finds a GPU."""
    import comfy.model_management as management

    def memory(asked):
        def of(device=None, *more, **named):  # torch's own share is asked for by several names, or by none
            if device is not None and device.type == "cpu":
                return asked(device, *more, **named)
            return (MEMORY, MEMORY) if any((*more, *named.values())) else MEMORY

        return of

    with monkeypatch.context() as changed:
        changed.setattr(management, "cpu_state", management.CPUState.GPU)
        changed.setattr(management, "vram_state", management.VRAMState.NORMAL_VRAM)
        changed.setattr(management, "set_vram_to", management.VRAMState.NORMAL_VRAM, raising=False)
        changed.setattr(management, "get_torch_device", lambda: device)
        changed.setattr(management, "is_nvidia", lambda: False)  # a CUDA build of torch would be asked what it can do
        # As Apple's: the host then keeps float64 to the CPU.
        changed.setattr(management, "is_device_mps", lambda of: of.type == device.type)
        for name in ("get_free_memory", "get_total_memory"):
            changed.setattr(management, name, memory(getattr(management, name)))
        if gpu_only:
            changed.setattr(management, "intermediate_device", lambda: device)
        yield
        management.unload_all_models()


def demo(dress=workflows.SDXL):
    """Model, positive, negative, latent and VAE of four garments."""
    from art_nodes.host.demo_model import demo_outputs

    return demo_outputs(dress, "all classes in turn", BATCH)


def watched(model, devices: set):
    """A clone that adds the devices of its weights and of what it is asked to `devices`."""
    clone = model.clone()

    def call(apply_model, args):
        weights = next(model.model.diffusion_model.parameters())
        devices.update(tensor.device.type for tensor in (weights, args["input"], args["timestep"]))
        return apply_model(args["input"], args["timestep"], **args["c"])

    clone.set_model_unet_function_wrapper(call)
    return clone


def on_both(run, pretend_gpu, monkeypatch, gpu_only):
    """run(watch) on the GPU and on the CPU, where watch(model) sees to it that this is so."""
    results = []
    for device in (pretend_gpu, CPU):
        seen = set()
        with host_on(device, monkeypatch, gpu_only), torch.inference_mode():
            results.append(run(lambda model, seen=seen: watched(model, seen)))
        assert seen == {device.type}
    return results


@PLACES
@pytest.mark.parametrize("dress, settings", [
    (workflows.EDM, {"objective": "euler"}),
    (workflows.SDXL, {"objective": "end:heun", "method": "closed form"}),
    (workflows.SDXL, {"objective": "end:dpmpp_2m", "trial_calls": 128}),
    (workflows.SDXL, {"objective": "spectrum:euler", "trial_calls": 128, "nodes": 32}),
], ids=["a clock", "grids", "a trial", "references"])
def test_trains_as_on_the_cpu(training, pretend_gpu, monkeypatch, gpu_only, dress, settings):
    def run(watch):
        model, *others, latent, _ = demo(dress)
        pictures = np.random.default_rng(1).random((6, *latent["samples"].shape[1:]), dtype=np.float32)
        aim = {"samples": torch.from_numpy(pictures).to(latent["samples"].device)}
        return training.train(watch(model), *others, latent, cfg=2.0, seed=1, steps=5, name="s",
                              references=aim if settings["objective"].startswith("spectrum") else None,
                              **{**schedules.QUICK, "orbits": 6, **settings})

    found, expected = on_both(run, pretend_gpu, monkeypatch, gpu_only)
    assert found.sigmas.device.type == "cpu"
    np.testing.assert_array_equal(found.sigmas, expected.sigmas)
    np.testing.assert_array_equal(found.schedule.clock, expected.schedule.clock)


@pytest.mark.parametrize("name", ["SDXL", "SD3", "Flux", "Wan 2.1"])
def test_trains_networks_of_the_host_in_half_precision(training, pretend_gpu, monkeypatch, name):
    def run(watch):
        model, *others = networks.inputs(name, torch.bfloat16)
        return training.train(watch(model), *others, cfg=4.0, seed=1, steps=5, name="s", trial_calls=64,
                              **{**schedules.QUICK, "nodes": 16, "objective": "end:euler"})

    found, expected = on_both(run, pretend_gpu, monkeypatch, gpu_only=False)
    np.testing.assert_array_equal(found.sigmas, expected.sigmas)


@PLACES
@pytest.mark.parametrize("sampler", ["euler", "uni_pc"])
def test_compares_as_on_the_cpu(comparing, pretend_gpu, monkeypatch, gpu_only, sampler):
    def run(watch):
        model, *others, vae = demo()
        return comparing.compare(watch(model), *others, cfg=2.0, seed=3, seeds=1, sampler_name=sampler, steps="3, 5",
                                 schedules="karras, AYS SDXL", reference_steps=20, vae=vae,
                                 sigmas=torch.tensor([14.6, 3.0, 0.5, 0.0]))

    found, expected = on_both(run, pretend_gpu, monkeypatch, gpu_only)
    for cell, known in zip(found.measured.cells, expected.measured.cells, strict=True):
        np.testing.assert_array_equal(cell.errors, known.errors)
    assert torch.equal(found.pictures, expected.pictures)


@pytest.mark.parametrize("dress", workflows.DRESSES)
def test_noise_levels_on_the_gpu_are_read(library, pretend_gpu, monkeypatch, dress):
    """A loaded model holds its table of noise levels on the GPU too."""
    import comfy.model_management

    from art_nodes.host.dropdown import art_scheduler
    from art_nodes.host.recording import recording_nodes
    from art_nodes.host.sigmas import read_sigmas

    monkeypatch.setattr(library, "BUNDLED", BUNDLED)

    def read(model):
        sampling = model.get_model_object("model_sampling")
        return (torch.from_numpy(recording_nodes(sampling, 24)), read_sigmas("auto", 6, 0.7, model=model).sigmas,
                art_scheduler(sampling, 6))

    expected = read(demo(dress)[0])
    with host_on(pretend_gpu, monkeypatch), torch.inference_mode():
        model = demo(dress)[0]
        comfy.model_management.load_models_gpu([model])
        assert model.get_model_object("model_sampling").sigmas.device == pretend_gpu
        for found, known in zip(read(model), expected, strict=True):
            torch.testing.assert_close(found, known, rtol=0, atol=0)
