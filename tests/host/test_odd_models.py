"""Models that do not answer for themselves, and devices that lack something."""

import numpy as np
import pytest
import torch

from tests.host import workflows

pytestmark = pytest.mark.host


@pytest.fixture(scope="module")
def demo(comfy):
    """Model, positive, negative, latent of two pictures."""
    from art_nodes.host.demo_model import demo_outputs

    return demo_outputs(workflows.EDM, "sneaker", 2)[:4]


def test_a_model_that_turns_a_picture_into_another_is_refused(recording, demo):
    from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete

    model, *others = demo
    [patched] = ModelSamplingDiscrete().patch(model, "img_to_img", False)
    with pytest.raises(ValueError, match="must have noise levels .* turns a picture into another and has none"):
        recording.record(patched, *others, cfg=1.0, seed=1, orbits=2, nodes=8)


def test_a_patch_that_draws_numbers_draws_the_same_from_one_seed(recording, demo):
    """As those do that merge tokens at random places."""
    model, *others = demo
    patched = model.clone()
    patched.set_model_unet_function_wrapper(
        lambda apply, given: apply(given["input"] + 0.1 * torch.randn(given["input"].shape), given["timestep"],
                                   **given["c"]))
    first, again, other = (recording.record(patched, *others, cfg=1.0, seed=seed, orbits=2, nodes=8).stiffness
                           for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


# Caches

@pytest.mark.parametrize("node", ["EasyCacheNode", "LazyCacheNode"])
def test_a_model_that_answers_from_a_cache_is_refused(recording, demo, node):
    import comfy_extras.nodes_easycache as caches

    from art_nodes.host.comparing import make_plan

    model, *others = demo
    cached = getattr(caches, node).execute(model, 0.2, 0.15, 0.95, False).result[0]
    words = f"a cache on it .*{node.removesuffix('Node').lower()}.* here; for sampling you may keep it"
    with pytest.raises(ValueError, match=words):
        recording.record(cached, *others, cfg=1.0, seed=1, orbits=2, nodes=8)
    with pytest.raises(ValueError, match=words):
        make_plan(cached, "euler", "4", "karras")


def test_what_a_cache_does(recording, demo):
    """The network is called less often than it is asked, which a recording would not notice."""
    import comfy_extras.nodes_easycache as caches

    from art_nodes.host.comparing_samplers import sample

    model, positive, negative, latent = demo
    cached = caches.LazyCacheNode.execute(model, 0.2, 0.15, 0.95, False).result[0]
    sigmas = torch.tensor([*np.geomspace(80.0, 0.002, 40), 0.0]).float()
    noise = recording.gaussian(latent["samples"], 1)

    def network_calls(asked) -> int:
        calls = []
        hook = model.model.diffusion_model.register_forward_hook(lambda *_: calls.append(1))
        with torch.inference_mode():
            sample(asked, positive, negative, 1.0, noise, latent["samples"], "euler", sigmas, 1, lambda _: None)
        hook.remove()
        return len(calls)

    assert network_calls(model) == 40 > network_calls(cached) > 0


@pytest.mark.parametrize("name", ["enable_teacache", "rel_l1_thresh", "magcache_thresh"])
def test_caches_of_other_packs_are_known_by_what_they_leave(demo, name):
    from art_nodes.host.caches import check_uncached

    model = demo[0].clone()
    check_uncached(model)
    model.model_options.setdefault("transformer_options", {})[name] = 0.3
    with pytest.raises(ValueError, match=name):
        check_uncached(model)


# Devices

def test_the_demo_model_on_a_device_without_autocast(demo, monkeypatch):
    def refuse(*_given, **_more):
        raise RuntimeError("User specified an unsupported autocast device_type")

    model = demo[0].model.diffusion_model
    device = next(model.parameters()).device
    x, sigma = torch.ones(1, 1, 28, 28, device=device), torch.ones(1, device=device)
    wanted = model(x, sigma)
    monkeypatch.setattr(torch, "autocast", refuse)
    assert torch.equal(model(x, sigma), wanted)


def test_the_demo_model_stays_where_its_weights_are_left(comfy, monkeypatch):
    """With --novram the host leaves weights off the device, and these layers do not fetch them."""
    from art_nodes.host.demo_model import build_model

    management = comfy.model_management
    monkeypatch.setattr(management, "get_torch_device", lambda: torch.device("meta"))
    assert build_model(workflows.EDM).load_device == torch.device("meta")
    monkeypatch.setattr(management, "vram_state", management.VRAMState.NO_VRAM)
    model = build_model(workflows.EDM)
    assert model.load_device == model.offload_device == management.unet_offload_device()


def test_a_newer_host_fits_an_empty_latent_in_time_too(comfy, recording, monkeypatch):
    """As KSampler has it there: sound of another length would be learned on otherwise."""
    def fix(model, latent, downscale_ratio_spacial=None, downscale_ratio_temporal=None):
        return latent[..., :latent.shape[-1] * downscale_ratio_temporal // 4096]

    monkeypatch.setattr(comfy.sample, "fix_empty_latent_channels", fix)
    found = recording.empty_like(None, {"samples": torch.ones(1, 64, 1024), "downscale_ratio_temporal": 2048})
    assert found.shape == (1, 64, 512)
