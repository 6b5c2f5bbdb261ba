"""The demo model's arithmetic with the host imported into this process: one denoiser in two dresses."""

import copy

import pytest
import torch

from art_nodes.demo.unet import CLASSES, IMAGE_SIZE, DemoUNet, precondition
from benchmarks.comfy.inprocess import on_gpu
from tests.host import workflows

pytestmark = pytest.mark.host
SNEAKER = CLASSES.index("sneaker")
LOOSE = 10 if on_gpu() else 1  # convolutions are in TF32 there


@pytest.fixture(scope="module")
def host(comfy):
    """The module under test, which can be imported only once the host is there."""
    from art_nodes.host import demo_model

    return demo_model


@pytest.fixture(scope="module")
def network():
    """A random network whose last layers are not zero, so that sigma and class matter."""
    generator = torch.Generator().manual_seed(3)
    network = DemoUNet().eval().requires_grad_(False)
    for weight in network.parameters():
        weight.copy_(torch.randn(weight.shape, generator=generator) * 0.05)
    return network


def denoised(comfy, model, x, sigma, positive, negative, cfg):
    """x0 (B, 1, H, W) as the host's CFGGuider gives it to a sampler at x (B, 1, H, W), sigma (B,); on the CPU."""
    seen = {}

    def probe(denoise, start, sigmas, extra_args=None, callback=None, disable=None):
        seen["x0"] = denoise(x.to(start), sigma.to(start), **extra_args).cpu()
        return start

    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(positive, negative)
    guider.set_cfg(cfg)
    sigmas = torch.tensor([1.0, 0.0])
    guider.sample(torch.zeros_like(x), torch.zeros_like(x), comfy.samplers.KSAMPLER(probe), sigmas, disable_pbar=True)
    return seen["x0"]


def table(model):
    """Every 111th noise level of the SDXL table, smallest to largest."""
    return model.get_model_object("model_sampling").sigmas[::111].cpu()


@pytest.fixture(scope="module")
def models(host, network):
    return {dress: host.build_model(dress, copy.deepcopy(network)) for dress in workflows.DRESSES}


@pytest.fixture(scope="module")
def batch(models):
    """x (10, 1, 28, 28) at 10 noise levels of the SDXL table, and those sigma (10,)."""
    sigma = table(models[workflows.SDXL])
    noise = torch.randn(len(sigma), 1, IMAGE_SIZE, IMAGE_SIZE, generator=torch.Generator().manual_seed(5))
    return noise * torch.sqrt(1 + sigma**2).reshape(-1, 1, 1, 1), sigma


def largest_error(a, b, sigma):
    """Largest difference of two x0 (B, 1, H, W), for each sample in units of max(1, sigma)."""
    return ((a - b).abs().amax(dim=(1, 2, 3)) / sigma.clamp(min=1)).max().item()


def labels(index, batch):
    return torch.eye(len(CLASSES))[index].expand(batch, -1)


def test_sigma_ranges(models):
    for dress, low, high in [(workflows.EDM, 0.002, 80.0), (workflows.SDXL, 0.0292, 14.6146)]:
        sampling = models[dress].get_model_object("model_sampling")
        assert float(sampling.sigma_min) == pytest.approx(low, rel=2e-3)
        assert float(sampling.sigma_max) == pytest.approx(high, rel=1e-5)
    timesteps = models[workflows.SDXL].get_model_object("model_sampling").timestep(torch.tensor([0.01, 14.7]))
    assert timesteps.tolist() == [0, 999]


@pytest.mark.parametrize("cfg", [1.0, 3.0])
def test_both_dresses_denoise_alike(comfy, host, models, batch, cfg):
    x, sigma = batch
    positive, negative = host.class_conditioning("sneaker"), host.class_conditioning("no class")
    edm, sdxl = (denoised(comfy, models[dress], x, sigma, positive, negative, cfg) for dress in workflows.DRESSES)
    assert largest_error(edm, sdxl, sigma) < 5e-6 * cfg
    assert edm.std() > 0.01


@pytest.mark.parametrize("dress", workflows.DRESSES)
def test_host_x0_is_the_bundled_denoiser(comfy, host, models, network, batch, dress):
    x, sigma = batch
    x0 = denoised(comfy, models[dress], x, sigma, host.class_conditioning("sneaker"), [], 1.0)
    assert largest_error(x0, precondition(network, x, sigma, labels(SNEAKER, len(x))), sigma) < 5e-6 * LOOSE
    wrong_class = precondition(network, x, sigma, labels(SNEAKER - 1, len(x)))
    assert largest_error(x0, wrong_class, sigma) > 1e-3


@pytest.mark.parametrize("dress", workflows.DRESSES)
def test_guided_x0(comfy, host, models, network, batch, dress):
    x, sigma = batch
    x0 = denoised(comfy, models[dress], x, sigma, host.class_conditioning("sneaker"),
                  host.class_conditioning("no class"), 3.0)
    with_class = precondition(network, x, sigma, labels(SNEAKER, len(x)))
    without = precondition(network, x, sigma, 0 * labels(0, len(x)))
    assert largest_error(x0, without + 3 * (with_class - without), sigma) < 2e-5 * LOOSE


@pytest.mark.parametrize("dress", workflows.DRESSES)
def test_slope_of_the_ode(comfy, host, models, network, batch, dress):
    """(x - D) / sigma, which every sampler integrates, against the network's own noise prediction."""
    x, sigma = batch
    s = sigma.reshape(-1, 1, 1, 1)
    x0 = denoised(comfy, models[dress], x, sigma, host.class_conditioning("sneaker"), [], 1.0)
    x_in = x / torch.sqrt(s**2 + 1)
    raw = network(x_in, sigma.log() / 4, labels(SNEAKER, len(x)))
    # x0 is rounded to about 1e-7, which the division by the smallest sigma blows up.
    assert torch.allclose((x - x0) / s, host.noise_prediction(raw, x_in, sigma), atol=5e-5)


def test_table_dress_rounds_sigma_to_the_table(comfy, host, models, network, batch):
    """Between two entries the SDXL dress denoises for the nearer one, the EDM dress exactly."""
    x, sigma = batch
    between = sigma * 1.0005
    exact = precondition(network, x, between, labels(SNEAKER, len(x)))
    edm, sdxl = (denoised(comfy, models[dress], x, between, host.class_conditioning("sneaker"), [], 1.0)
                 for dress in workflows.DRESSES)
    assert largest_error(edm, exact, between) < 5e-6 * LOOSE
    assert 1e-6 < largest_error(sdxl, exact, between) < 1e-2


def test_clones_and_patches_leave_the_original_alone(comfy, host, models, batch):
    x, sigma = batch
    conds = host.class_conditioning("sneaker"), host.class_conditioning("no class")
    model = models[workflows.EDM]
    before = denoised(comfy, model, x, sigma, *conds, 3.0)
    patched = model.clone()
    patched.set_model_sampler_cfg_function(lambda args: args["input"] * 0)
    assert torch.equal(denoised(comfy, patched, x, sigma, *conds, 3.0), x)
    assert torch.equal(denoised(comfy, model, x, sigma, *conds, 3.0), before)


def test_weight_patches_are_applied_and_taken_back(comfy, host, models, batch):
    """A difference patch on one weight, as a LoRA node adds them."""
    x, sigma = batch
    model = models[workflows.SDXL]
    positive = host.class_conditioning("sneaker")
    before = denoised(comfy, model, x, sigma, positive, [], 1.0)
    patched = model.clone()
    key = "diffusion_model.network.conv_out.bias"
    assert patched.add_patches({key: ("diff", (torch.ones(1),))}, 1.0) == [key]
    assert largest_error(denoised(comfy, patched, x, sigma, positive, [], 1.0), before, sigma) > 0.1
    assert torch.equal(denoised(comfy, model, x, sigma, positive, [], 1.0), before)


def test_works_under_inference_mode_and_keeps_ordinary_weights(comfy, host, batch):
    x, sigma = batch
    with torch.inference_mode():
        model = host.build_model(workflows.EDM)
        x0 = denoised(comfy, model, x, sigma, host.class_conditioning("bag"), [], 1.0)
    assert x0.isfinite().all()
    weights = list(model.model.parameters())
    assert not any(weight.requires_grad for weight in weights)
    assert on_gpu() or not any(weight.is_inference() for weight in weights)  # the host has moved them there


def test_class_conditioning_shapes(host):
    for choice, batch_size, shape in [("coat", 5, (1, 1, 10)), ("no class", 5, (1, 1, 10)),
                                      ("all classes in turn", 12, (12, 1, 10))]:
        [[weights, extra]] = host.class_conditioning(choice, batch_size)
        assert weights.shape == shape
        assert extra["pooled_output"].shape == (shape[0], 10)
    assert host.class_conditioning("no class")[0][0].sum() == 0
    assert host.class_conditioning("all classes in turn", 12)[0][0][11, 0, 1] == 1


@pytest.mark.parametrize("call, words", [
    (lambda host: host.class_conditioning("hat"), "got 'hat'; choose one of: t-shirt"),
    (lambda host: host.build_model("tuxedo"), "got 'tuxedo'; choose one of: EDM"),
    (lambda host: host.empty_latent(0), "at least 1; got 0"),
    (lambda host: host.class_weights(torch.zeros(1, 77, 768), 1), r"got shape \(1, 77, 768\)"),
])
def test_bad_input_is_explained(host, call, words):
    with pytest.raises(ValueError, match=words):
        call(host)


def test_vae_goes_there_and_back(host):
    vae = host.DemoVAE()
    pixels = torch.rand(2, 28, 28, 1, generator=torch.Generator().manual_seed(1)).repeat(1, 1, 1, 3)
    latent = vae.encode(pixels)
    assert latent.shape == (2, 1, 28, 28)
    assert torch.allclose(vae.decode(latent), pixels, atol=1e-6)
    assert vae.decode(latent * 100).amax() == 1 and vae.decode(latent * 100).amin() == 0
    with pytest.raises(ValueError, match="connect a latent"):
        vae.decode(torch.zeros(1, 4, 28, 28))
