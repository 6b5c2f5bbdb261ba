"""ART on the host's own networks of SD, SDXL, SD3, Flux and others, narrow and with random weights."""

import importlib

import numpy as np
import pytest
import torch

from art_nodes.core import optimal_schedule
from benchmarks.comfy import networks
from benchmarks.comfy.install import ROOT
from tests.host import schedules, workflows

pytestmark = pytest.mark.host
FAMILIES = {
    "SD 1.5": "sd15", "SDXL": "sdxl", "SDXL refiner": "sdxl-refiner", "SVD": "svd", "SD3": "sd3", "Flux": "flux",
    "Flux Schnell": "flux", "Flux 2": "flow", "Chroma": "flux", "Lumina 2": "flow", "Z-Image": "flow",
    "Qwen-Image": "flow", "Wan 2.1": "flow", "Cosmos Predict 2": "svd",
}
CFG, SEED = 4.0, 1
# Nodes of the host that patch a model: module of comfy_extras, and what they are given besides the model.
PATCHES = {
    "APG": ("nodes_apg", 1.0, 5.0, 0.0), "CFGNorm": ("nodes_cfg", 0.5),
    "FreeU_V2": ("nodes_freelunch", 1.3, 1.4, 0.9, 0.2),
    "PatchModelAddDownscale": ("nodes_model_downscale", 1, 2.0, 0.0, 0.35, True, "bicubic", "bicubic"),
    "PerturbedAttentionGuidance": ("nodes_pag", 3.0), "SelfAttentionGuidance": ("nodes_sag", 0.5, 2.0),
    "TCFG": ("nodes_tcfg",),
}
WEIGHTS = "a LoRA's kind of patch, of weights"


def fine_end(recording, model, positive, negative, latent) -> torch.Tensor:
    """Where the host's own sampler ends in many steps, from the noise of a recording."""
    from art_nodes.host.comparing import reference_grid
    from art_nodes.host.comparing_samplers import sample

    noise = recording.gaussian(latent["samples"], SEED)
    grid = reference_grid(model.get_model_object("model_sampling"), 100)
    with torch.inference_mode():
        end = sample(model, positive, negative, CFG, noise, latent["samples"], "dpmpp_2m", grid, SEED, lambda _: None)
    return recording.flat(end)


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_recorded_orbits_end_where_the_host_does(comfy, recording, name):
    model, positive, negative, latent = networks.inputs(name)
    fine = fine_end(recording, model, positive, negative, latent)

    def off(first, second) -> float:
        with torch.inference_mode():
            bank = recording.record(model, first, second, latent, cfg=CFG, seed=SEED, orbits=2, nodes=64)
        return float(np.linalg.norm(bank.ends - fine.numpy()) / np.linalg.norm(fine))

    found, control = off(positive, negative), off(negative, positive)  # the prompts the wrong way round
    assert found < 0.1 and found < control / 2, (found, control)


def patched(name: str, model):
    """A clone of a narrow SDXL with a patch on it."""
    if name == WEIGHTS:
        clone, key = model.clone(), "diffusion_model.out.2.weight"
        assert clone.add_patches({key: ("diff", (0.1 * torch.ones(4, 32, 3, 3),))}, 1.0) == [key]
        return clone
    module, *given = PATCHES[name]
    node = getattr(importlib.import_module(f"comfy_extras.{module}"), name)
    return (node.execute if hasattr(node, "execute") else getattr(node(), node.FUNCTION))(model, *given)[0]


@pytest.fixture(scope="module")
def sdxl(comfy):
    """The inputs of a narrow SDXL, one sample."""
    return networks.inputs("SDXL", batch=1)


@pytest.fixture(scope="module")
def unpatched(sdxl, recording):
    return fine_end(recording, *sdxl)


@pytest.mark.parametrize("name", [*PATCHES, WEIGHTS])
def test_recorded_orbits_end_where_the_patched_model_does(sdxl, unpatched, recording, name):
    model, *others = sdxl
    model = patched(name, model)
    fine = fine_end(recording, model, *others)
    with torch.inference_mode():
        bank = recording.record(model, *others, cfg=CFG, seed=SEED, orbits=1, nodes=40)
    found, control = (np.linalg.norm(bank.ends - end.numpy()) / np.linalg.norm(end) for end in (fine, unpatched))
    assert found < 0.05 and found < control / 2, (found, control)


@pytest.mark.parametrize("name, dtype, cast", [
    *[(name, torch.bfloat16, None) for name in networks.NETWORKS],
    *[(name, *precision) for name in ("SDXL", "Flux")
      for precision in ((torch.float32, None), (torch.float16, torch.float32), (torch.float8_e4m3fn, torch.bfloat16))],
])
def test_learns_saves_and_compares(comfy, library, tmp_path, monkeypatch, name, dtype, cast):
    from art_nodes.host import comparing, training
    from art_nodes.host.families import family_of
    from art_nodes.host.families_reading import model_facts

    inputs = networks.inputs(name, dtype, cast)
    assert family_of(model_facts(inputs[0])).name == FAMILIES[name]
    with torch.inference_mode():
        trained = training.train(*inputs, cfg=CFG, seed=SEED, steps=5, name="own", trial_calls=96,
                                 **{**schedules.QUICK, "orbits": 4, "nodes": 32, "objective": "end:euler"})
        monkeypatch.setattr(library, "BUNDLED", ROOT / "learned_schedules")
        compared = comparing.compare(*inputs, cfg=CFG, seed=SEED + 5, seeds=1, sampler_name="euler", steps="5",
                                     schedules="karras, auto", reference_steps=20, schedule=trained.schedule)
    assert [path.name for path in (tmp_path / "trained").iterdir()] == ["own.safetensors"]
    assert trained.schedule.provenance["dtype"] == str(dtype).removeprefix("torch.")
    sigmas = trained.sigmas
    assert len(sigmas) == 6 and sigmas[-1] == 0 and bool((sigmas.diff() < 0).all())
    assert float(sigmas[0]) == pytest.approx(float(inputs[0].get_model_object("model_sampling").sigma_max), rel=1e-5)
    assert "tried with euler on the model at 5 steps" in trained.report
    assert "could not be improved" not in trained.report, "there is a batch to judge by"
    names = [cell.name for cell in compared.measured.cells]
    assert names == ["ART (connected)", "karras", FAMILIES[name]]
    assert all(np.isfinite(cell.rms) for cell in compared.measured.cells)


@pytest.mark.parametrize("dtype, cast, expected", [
    (torch.float32, None, torch.float32), (torch.bfloat16, None, torch.bfloat16),
    (torch.float16, torch.float32, torch.float32), (torch.float32, torch.float16, torch.float16),
])
def test_what_a_model_computes_in(comfy, recording, dtype, cast, expected):
    model = networks.inputs("SDXL", dtype, cast)[0]
    assert recording.computed_in(model) == expected
    changed = model.clone()
    changed.set_model_compute_dtype(torch.bfloat16)
    assert recording.computed_in(changed) == torch.bfloat16
    assert recording.computed_in(object()) is None


def test_half_precision_is_measured_in_the_first_batch_only(comfy, recording):
    model, positive, negative, latent = networks.inputs("Flux", torch.bfloat16)
    seen = []
    with torch.inference_mode():
        bank = recording.record(model, positive, negative, latent, cfg=1.0, seed=SEED, orbits=6, nodes=16,
                                progress=lambda done, total: seen.append((done, total)))
    assert bank.calls == 3 * 16 + 10 and seen[-1] == (58, 58) and seen[15] == (26, 58) and seen[16] == (27, 58)
    assert bank.rounding.shape == (17,) and (bank.rounding[1:] > 0).all()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_demo_models_clock_in_bfloat16_is_near_that_of_float32(comfy, recording, monkeypatch, seed):
    from art_nodes.host.demo_model import demo_outputs

    model, positive, negative, latent, _ = demo_outputs(workflows.SDXL, "all classes in turn", 10)
    half = model.clone()
    half.set_model_compute_dtype(torch.bfloat16)

    def clock(of) -> torch.Tensor:
        with torch.inference_mode():
            bank = recording.record(of, positive, negative, latent, cfg=1.0, seed=seed, orbits=10, nodes=64)
        return optimal_schedule(bank).sigmas(10)[:-1].log()

    exact = clock(model)
    told = float((clock(half) - exact).abs().max())
    monkeypatch.setattr(recording, "computed_in", lambda model: None)
    plain = float((clock(half) - exact).abs().max())
    # What is left are the ripples of this model in sigma, over which secants reach that are wide enough for the noise.
    assert told < 0.12
    assert plain > 0.17  # control: taken for float32, rounding passes for stiffness


def test_the_frames_of_a_video_are_followed_together(comfy, recording, library):
    """SVD's network sees a batch as one video: fewer frames would be another one."""
    from art_nodes.host import comparing, training

    inputs, seen = networks.inputs("SVD", batch=6), []
    model = inputs[0].clone()

    def watch(apply_model, args):
        seen.append((len(args["input"]) // len(args["cond_or_uncond"]), args["c"]["num_video_frames"]))
        return apply_model(args["input"], args["timestep"], **args["c"])

    model.set_model_unet_function_wrapper(watch)
    with torch.inference_mode():
        trained = training.train(model, *inputs[1:], cfg=CFG, seed=SEED, steps=4, name="video", trial_calls=192,
                                 **{**schedules.QUICK, "orbits": 4, "nodes": 8, "objective": "end:euler"})
        compared = comparing.compare(model, *inputs[1:], cfg=CFG, seed=SEED, seeds=2, sampler_name="euler", steps="4",
                                     schedules="karras, simple", reference_steps=20)
        bank = recording.record(networks.inputs("SDXL", batch=6)[0], *networks.inputs("SDXL", batch=6)[1:], cfg=CFG,
                                seed=SEED, orbits=4, nodes=8)
    assert set(seen) == {(6, 6)}
    assert "recording: 6 orbits x 8 nodes" in trained.report
    assert "6 orbits instead of 4: the 6 latents of a batch are the frames of one video" in trained.report
    assert "it could not be improved: set orbits to three times the batch size" in trained.report
    assert compared.measured.noises == 2 and all(len(cell.errors) == 2 for cell in compared.measured.cells)
    assert len(bank.stiffness) == 4, "pictures are followed one by one"


def test_a_patch_that_draws_numbers_draws_the_same_ones_again(sdxl, recording):
    """As token merging does, of the generator that all share."""
    from art_nodes.host.comparing_samplers import sample

    model, noise = sdxl[0].clone(), recording.gaussian(sdxl[3]["samples"], SEED)
    model.set_model_sampler_post_cfg_function(lambda args: args["denoised"] + 0.1 * torch.randn(args["denoised"].shape))
    with torch.inference_mode():
        first, again, other = (sample(model, *sdxl[1:3], CFG, noise, sdxl[3]["samples"], "euler",
                                      torch.tensor([14.0, 1.0, 0.0]), seed, lambda _: None) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_a_wrapper_that_counts_steps_is_told_each_node(sdxl, recording):
    """As packs with windows over frames place these by the step that the sampler tells."""
    import comfy.patcher_extension as extension

    model, told = sdxl[0].clone(), []

    def outer(executor, *args, **more):
        args = list(args)
        args[5] = lambda step, denoised, x, total: told.append((step, tuple(denoised.shape), tuple(x.shape), total))
        return executor(*args, **more)

    model.add_wrapper(extension.WrappersMP.OUTER_SAMPLE, outer)
    with torch.inference_mode():
        recording.record(model, *sdxl[1:], cfg=CFG, seed=SEED, orbits=1, nodes=8)
    shape = tuple(sdxl[3]["samples"].shape)
    assert told == [(step, shape, shape, 8) for step in range(8)]
