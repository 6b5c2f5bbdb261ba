"""ART Demo Model in a real ComfyUI over HTTP, with the host's own samplers, guiders and VAE nodes."""

import inspect
import io

import numpy as np
import pytest
from PIL import Image

from benchmarks.comfy.server import HostError, HostInterrupted
from tests.host import workflows

pytestmark = pytest.mark.host
SAMPLERS = [workflows.ksampler, workflows.sampler_custom, workflows.sampler_custom_advanced]


def run_pictures(server, workflow, **options) -> np.ndarray:
    """The saved pictures of a workflow as uint8 (B, H, W, 3)."""
    images = server.run(workflow, timeout=120, **options)["save"]["images"]
    return np.stack([np.asarray(Image.open(io.BytesIO(server.view(**image))).convert("RGB")) for image in images])


def sampled(server, dress, sampling, **demo) -> np.ndarray:
    return run_pictures(server, {**workflows.demo_model(dress, **demo), **sampling,
                                 **workflows.pictures(["sample", 0])})


def test_the_node_describes_itself(server):
    info = server.object_info("ARTDemoModel")["ARTDemoModel"]
    assert info["display_name"] == "ART Demo Model"
    assert info["category"] == "ART"
    assert info["output"] == ["MODEL", "CONDITIONING", "CONDITIONING", "LATENT", "VAE"]
    inputs = info["input"]["required"]
    assert list(inputs) == ["dress", "garment", "batch_size"]
    assert all(options["tooltip"] for _, options in inputs.values())


@pytest.mark.parametrize("cfg", [1.0, 3.0])
@pytest.mark.parametrize("dress", workflows.DRESSES)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_node_makes_pictures(server, sampler, dress, cfg):
    pictures = sampled(server, dress, sampler(cfg=cfg))
    assert pictures.shape == (2, 28, 28, 3)
    assert pictures.std(axis=(1, 2, 3)).min() > 5  # of 255: neither of the two is a plain colour
    assert np.abs(pictures[0].astype(int) - pictures[1]).max() > 5  # each has noise of its own


@pytest.mark.parametrize("dress", workflows.DRESSES)
def test_the_sampler_nodes_agree(server, dress):
    first, *others = (sampled(server, dress, sampler(cfg=3.0)) for sampler in SAMPLERS)
    for other in others:
        assert np.abs(first.astype(int) - other).max() <= 1


def test_class_and_guidance_matter(server):
    plain = sampled(server, workflows.EDM, workflows.ksampler(cfg=1.0))
    guided = sampled(server, workflows.EDM, workflows.ksampler(cfg=3.0))
    other = sampled(server, workflows.EDM, workflows.ksampler(cfg=1.0), garment="trouser")
    assert np.abs(plain.astype(int) - guided).max() > 5
    assert np.abs(plain.astype(int) - other).max() > 5


def test_all_classes_in_turn(server):
    """Picture 7 of the batch is the seventh class, whatever the others are."""
    turn = sampled(server, workflows.SDXL, workflows.ksampler(cfg=3.0), garment="all classes in turn", batch_size=10)
    alike = sampled(server, workflows.SDXL, workflows.ksampler(cfg=3.0), garment="sneaker", batch_size=10)
    assert np.abs(turn[7].astype(int) - alike[7]).max() <= 1
    assert np.abs(turn[1].astype(int) - alike[1]).max() > 5


@pytest.mark.parametrize("dress", workflows.DRESSES)
def test_empty_latent_of_four_channels_is_fixed(server, comfy, dress):
    """EmptyLatentImage makes (1, 4, 28, 28) zeros; the host cuts the channels to the model's one."""
    import comfy.sample

    workflow = {**workflows.demo_model(dress), **workflows.ksampler(), **workflows.pictures(["sample", 0])}
    workflow["empty"] = {"class_type": "EmptyLatentImage", "inputs": {"width": 224, "height": 224, "batch_size": 1}}
    workflow["sample"]["inputs"]["latent_image"] = ["empty", 0]
    # Newer hosts give a model the size that was asked for in pixels.
    sizes = "downscale_ratio_spacial" in inspect.signature(comfy.sample.fix_empty_latent_channels).parameters
    side = 224 if sizes else 28
    assert run_pictures(server, workflow).shape == (1, side, side, 3)


@pytest.mark.parametrize("dress", workflows.DRESSES)
def test_zeroed_out_conditioning_is_no_class(server, dress):
    workflow = {**workflows.demo_model(dress), **workflows.ksampler(cfg=3.0), **workflows.pictures(["sample", 0])}
    ours = run_pictures(server, workflow)
    workflow["zero"] = {"class_type": "ConditioningZeroOut", "inputs": {"conditioning": ["demo", 1]}}
    workflow["sample"]["inputs"]["negative"] = ["zero", 0]
    assert np.array_equal(run_pictures(server, workflow), ours)


def test_averaged_and_joined_conditionings_are_mixtures(server):
    """Half sneaker and half no class is the same, averaged or joined token by token."""
    workflow = {**workflows.demo_model(), **workflows.ksampler(), **workflows.pictures(["sample", 0])}
    workflow["mix"] = {"class_type": "ConditioningAverage", "inputs": {
        "conditioning_to": ["demo", 1], "conditioning_from": ["demo", 2], "conditioning_to_strength": 0.5}}
    workflow["sample"]["inputs"]["positive"] = ["mix", 0]
    averaged = run_pictures(server, workflow)
    workflow["mix"] = {"class_type": "ConditioningConcat", "inputs": {
        "conditioning_to": ["demo", 1], "conditioning_from": ["demo", 2]}}
    assert np.abs(run_pictures(server, workflow).astype(int) - averaged).max() <= 1


def test_encode_and_partial_denoise(server):
    """Pictures encoded again and denoised a little stay close to what they were."""
    workflow = {**workflows.demo_model(workflows.SDXL), **workflows.ksampler(steps=10),
                **workflows.pictures(["again", 0])}
    workflow["first"] = {"class_type": "VAEDecode", "inputs": {"samples": ["sample", 0], "vae": ["demo", 4]}}
    workflow["keep"] = {"class_type": "SaveImage", "inputs": {"images": ["first", 0], "filename_prefix": "art-test"}}
    workflow["encode"] = {"class_type": "VAEEncode", "inputs": {"pixels": ["first", 0], "vae": ["demo", 4]}}
    again = workflows.ksampler(steps=4, denoise=0.1)["sample"]
    again["inputs"]["latent_image"] = ["encode", 0]
    workflow["again"] = again
    outputs = server.run(workflow, timeout=120)
    before, after = (
        np.stack([np.asarray(Image.open(io.BytesIO(server.view(**image)))) for image in outputs[node]["images"]])
        for node in ("keep", "save")
    )
    assert 0 < np.abs(before.astype(int) - after).mean() < 20


@pytest.mark.parametrize("node, inputs, dress", [
    ("ModelSamplingDiscrete", {"sampling": "eps", "zsnr": True}, workflows.SDXL),
    ("ModelSamplingContinuousEDM", {"sampling": "eps", "sigma_max": 40.0, "sigma_min": 0.01}, workflows.SDXL),
    ("ModelComputeDtype", {"dtype": "bf16"}, workflows.EDM),
    ("RescaleCFG", {"multiplier": 0.7}, workflows.EDM),
])
def test_model_patch_nodes(server, node, inputs, dress):
    workflow = {**workflows.demo_model(dress), **workflows.ksampler(cfg=3.0), **workflows.pictures(["sample", 0])}
    workflow["patch"] = {"class_type": node, "inputs": {"model": ["demo", 0], **inputs}}
    workflow["sample"]["inputs"]["model"] = ["patch", 0]
    assert run_pictures(server, workflow).std(axis=(1, 2, 3)).min() > 5


def test_unknown_choices_name_the_known_ones(server):
    with pytest.raises(HostError, match="sneaker") as caught:
        sampled(server, workflows.EDM, workflows.ksampler(), garment="hat")
    assert caught.value.node_type in (None, "ARTDemoModel")  # newer hosts refuse it before it runs
    with pytest.raises(HostError, match="EDM"):
        sampled(server, "no such dress", workflows.ksampler())


def test_foreign_latent_is_explained(server):
    workflow = {**workflows.demo_model(), **workflows.ksampler(), **workflows.pictures(["sample", 0])}
    workflow["resized"] = {"class_type": "LatentUpscale", "inputs": {
        "samples": ["demo", 3], "upscale_method": "nearest-exact", "width": 240, "height": 240, "crop": "disabled"}}
    workflow["sample"]["inputs"]["latent_image"] = ["resized", 0]
    with pytest.raises(HostError, match="multiples of 4") as caught:
        run_pictures(server, workflow)
    assert caught.value.node_type == "KSampler"


def test_progress_and_interrupt(server):
    """The client sees the host's progress bar, and an interrupt ends a long run early."""
    workflow = {**workflows.demo_model(batch_size=8), **workflows.ksampler(steps=400, seed=99),
                **workflows.pictures(["sample", 0])}
    seen = []

    def stop_early(progress):
        seen.append(progress)
        if progress.value >= 3:  # newer hosts do not tell every step
            server.interrupt()

    with pytest.raises(HostInterrupted):
        run_pictures(server, workflow, on_progress=stop_early)
    assert seen[0].node == "sample" and seen[0].total == 400
    assert max(progress.value for progress in seen) < 400
