"""The bundled network as an ordinary ComfyUI model, in two dresses.

Both dresses hold the same network and give the same denoiser D(x, sigma); they differ in
what the host believes the network predicts and in the range of sigma:

- EDM: the network's own output under the host's EDM preconditioning with sigma_data = 1;
- SDXL: noise prediction on SDXL's table of 1000 noise levels. As with SDXL itself the
  network is told the nearest entry of the table, so between two entries D is that of a
  slightly wrong noise level.
"""

import contextlib
from dataclasses import dataclass
from functools import partial

import comfy.latent_formats
import comfy.model_management
import comfy.supported_models_base
import torch
from comfy.model_base import BaseModel, ModelType
from comfy.model_patcher import ModelPatcher

from ..demo import load_network
from ..demo.unet import CLASSES, IMAGE_SIZE, PIXEL_MEAN, PIXEL_STD
from .demo_vae import DemoVAE

NO_CLASS = "no class"
ALL_CLASSES = "all classes in turn"
CLASS_CHOICES = (*CLASSES, NO_CLASS, ALL_CLASSES)
# The network halves the picture twice.
SIZE_MULTIPLE = 4


@dataclass(frozen=True)
class Dress:
    """How the host sees the network: its prediction type and the settings of its noise levels."""

    model_type: ModelType
    sampling_settings: dict


DRESSES = {
    "EDM (sigma 0.002-80)": Dress(ModelType.EDM, {"sigma_min": 0.002, "sigma_max": 80.0, "sigma_data": 1.0}),
    # The host's own defaults are SDXL's; written out, since the label promises them.
    "SDXL (EPS, sigma 0.0292-14.61)": Dress(
        ModelType.EPS,
        {"beta_schedule": "linear", "linear_start": 0.00085, "linear_end": 0.012, "timesteps": 1000},
    ),
}


class DemoLatentFormat(comfy.latent_formats.LatentFormat):
    """One channel of normalised pixels at full resolution."""

    latent_channels = 1
    scale_factor = 1.0
    spacial_downscale_ratio = 1  # not read by ComfyUI 0.3.75, newer ones size empty latents by it

    def __init__(self):
        # Previews map [-1, 1] to black and white.
        self.latent_rgb_factors = [[2 * PIXEL_STD] * 3]
        self.latent_rgb_factors_bias = [2 * PIXEL_MEAN - 1] * 3


class DemoConfig(comfy.supported_models_base.BASE):
    """The description of a model that the host's BaseModel is built from."""

    unet_extra_config = {}
    latent_format = DemoLatentFormat
    supported_inference_dtypes = [torch.float32]
    # The host reckons in latent pixels that stand for 8x8 image pixels: this network needs
    # 1.3 MB a picture (measured on the CPU).
    memory_usage_factor = 0.05

    def __init__(self, dress: Dress):
        super().__init__({})
        self.sampling_settings = dict(dress.sampling_settings)


class DemoDiffusion(torch.nn.Module):
    """The network behind the call that the host makes of any diffusion model.

    `x` (B, 1, H, W) comes divided by sqrt(sigma^2 + 1), `sigma` (B,) is the noise level,
    `context` (B, tokens, 10) holds class weights. Answers what the host's EDM prediction
    expects, or with `predicts_noise` what its EPS prediction does; float32 (B, 1, H, W).
    """

    def __init__(self, network, predicts_noise: bool, **_build_options):
        super().__init__()
        self.network = network
        self.predicts_noise = predicts_noise
        self.dtype = torch.float32

    def forward(self, x, sigma, context=None, **_conditions):
        _check_size(x)
        labels = class_weights(context, len(x)).to(x)
        # The host casts x to the type it wants the computation in (ModelComputeDtype node).
        # Not entered needlessly: some devices have none, and refuse it even where it is not enabled.
        wanted = contextlib.nullcontext() if x.dtype == self.dtype else torch.autocast(x.device.type, dtype=x.dtype)
        with wanted:
            raw = self.network(x.to(self.dtype), sigma.log() / 4, labels.to(self.dtype))
        return noise_prediction(raw, x, sigma) if self.predicts_noise else raw


def noise_prediction(raw, x, sigma):
    """eps (B, 1, H, W) with x0 = x_t - sigma eps, from EDM's raw output and x = x_t / sqrt(sigma^2 + 1).

    EDM's x0 = x_t / (s^2 + 1) + s raw / sqrt(s^2 + 1), solved for (x_t - x0) / s; the
    difference x_t - x0 itself would lose its digits where sigma is small.
    """
    s = sigma.reshape(-1, 1, 1, 1)
    return (s * x.float() - raw.float()) / torch.sqrt(s**2 + 1)


def class_weights(context, batch: int) -> torch.Tensor:
    """Class weights (batch, 10): the mean over the tokens of `context` (batch, tokens, 10), zeros for None.

    Raises ValueError for a conditioning of another width, such as a text encoder's.
    """
    if context is None:
        return torch.zeros(batch, len(CLASSES))
    if context.ndim != 3 or context.shape[-1] != len(CLASSES):
        raise ValueError(
            f"the demo model's conditioning must hold {len(CLASSES)} class weights; got shape {tuple(context.shape)}; "
            "connect the positive and negative outputs of ART Demo Model"
        )
    return context.mean(dim=1)


def _check_size(x):
    if x.ndim != 4 or x.shape[1] != 1 or x.shape[2] % SIZE_MULTIPLE or x.shape[3] % SIZE_MULTIPLE:
        raise ValueError(
            f"the demo model's latent must be (batch, 1, height, width), both multiples of {SIZE_MULTIPLE}; "
            f"got {tuple(x.shape)}; connect the latent output of ART Demo Model"
        )


class DemoModel(BaseModel):
    """The host's model around the network; conditions, patches and guidance are the host's own."""

    def __init__(self, network, dress: Dress, device=None):
        build = partial(DemoDiffusion, network, dress.model_type == ModelType.EPS)
        super().__init__(DemoConfig(dress), dress.model_type, device=device, unet_model=build)

    def process_timestep(self, timestep, **_):
        """The noise level sigma (B,) that a timestep of the current model_sampling stands for."""
        return self.model_sampling.sigma(timestep)


def build_model(dress: str, network=None) -> ModelPatcher:
    """The demo network (`network` None: the bundled weights) as a MODEL; ValueError for an unknown dress."""
    _check_choice("dress", dress, DRESSES)
    management = comfy.model_management
    load_device, offload_device = management.get_torch_device(), management.unet_offload_device()
    if management.vram_state == management.VRAMState.NO_VRAM:
        load_device = offload_device  # the host would leave the weights there, and these layers do not fetch them
    # Nodes run in inference mode; weights made in it could never be patched or differentiated.
    with torch.inference_mode(False):
        network = load_network() if network is None else network  # a compiled one has no truth value
        model = DemoModel(network, DRESSES[dress], device=offload_device).to(offload_device)
    return ModelPatcher(model, load_device=load_device, offload_device=offload_device)


def class_conditioning(choice: str, batch_size: int = 1) -> list:
    """CONDITIONING of class weights: one row (1, 1, 10), or (batch_size, 1, 10) for all classes in turn.

    `choice` is one of CLASS_CHOICES, else ValueError. Zeros mean "no class", so that the
    host's ConditioningZeroOut, ConditioningAverage and ConditioningConcat keep their sense.
    """
    _check_choice("class", choice, CLASS_CHOICES)
    every = torch.eye(len(CLASSES))
    if choice == NO_CLASS:
        weights = torch.zeros(1, len(CLASSES))
    elif choice == ALL_CLASSES:
        weights = every[torch.arange(batch_size) % len(CLASSES)]
    else:
        weights = every[CLASSES.index(choice)].reshape(1, -1)
    return [[weights.unsqueeze(1), {"pooled_output": weights.clone()}]]


def empty_latent(batch_size: int) -> dict:
    """LATENT of zeros (batch_size, 1, 28, 28)."""
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1; got {batch_size}; ask for 1 or more pictures")
    device = comfy.model_management.intermediate_device()
    return {"samples": torch.zeros(batch_size, 1, IMAGE_SIZE, IMAGE_SIZE, device=device)}


def demo_outputs(dress: str, garment: str, batch_size: int) -> tuple:
    """The node's outputs: MODEL, positive, negative, LATENT, VAE."""
    latent = empty_latent(batch_size)
    positive = class_conditioning(garment, batch_size)
    return build_model(dress), positive, class_conditioning(NO_CLASS), latent, DemoVAE()


def _check_choice(what: str, value: str, known) -> None:
    # The server does not check the choices of V3 nodes.
    if value not in known:
        raise ValueError(f"unknown {what}; got {value!r}; choose one of: {', '.join(known)}")
