"""Models other than the demo as MODELs of the host, in its dresses: any denoiser of data of unit variance."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import comfy.latent_formats
import comfy.model_management
import torch
from comfy.model_base import BaseModel, ModelType
from comfy.model_patcher import ModelPatcher

from art_nodes.core.exact import Denoiser, image_gaussian
from art_nodes.demo.unet import IMAGE_SIZE
from art_nodes.host.demo_model import DRESSES, DemoConfig, Dress, class_weights
from benchmarks.digits import kernel_denoiser, load
from benchmarks.labelled import Labelled, labelled_digits, labelled_garments
from benchmarks.targets import PATCH, photo_denoiser

GAUSSIAN_SIDE, DIGIT = 28, (1, 8, 8)


@dataclass(frozen=True)
class Other:
    """A denoiser D(x, sigma) of pictures of `shape` (C, H, W), or D(x, sigma, weights) of pictures by class."""

    shape: tuple[int, int, int]
    make: Callable[[torch.device], Denoiser | Labelled]  # for tensors on that device
    by_class: bool = False


def _flat(make: Callable[[], Denoiser | Labelled]) -> Callable[[torch.device], Denoiser | Labelled]:
    """Of pictures, from one of their elements (B, F)."""
    def pictures(_device):
        flat = make()
        return lambda x, *asked: flat(x.flatten(1), *asked).reshape(x.shape)

    return pictures


OTHERS = {
    "photos": Other(PATCH, photo_denoiser),
    "digits": Other(DIGIT, _flat(lambda: kernel_denoiser(load()))),
    "labelled-digits": Other(DIGIT, _flat(labelled_digits), by_class=True),
    "labelled-garments": Other((1, IMAGE_SIZE, IMAGE_SIZE), _flat(labelled_garments), by_class=True),
    "gaussian": Other((1, GAUSSIAN_SIDE, GAUSSIAN_SIDE), lambda _device: image_gaussian(GAUSSIAN_SIDE)),
}


class Raw(torch.nn.Module):
    """What the host asks of a diffusion model, answered by a denoiser.

    `x` (B, C, H, W) comes divided by sqrt(sigma^2 + 1), `sigma` (B,) is the noise level, `context` (B, tokens, 10)
    holds the weights of classes, which a denoiser `by_class` is told. Answers noise, or with
    `predicts_noise` False what the host's EDM prediction expects.
    """

    def __init__(self, denoiser: Denoiser | Labelled, by_class: bool, predicts_noise: bool, **_build_options):
        super().__init__()
        self.denoiser, self.by_class = denoiser, by_class
        self.predicts_noise, self.dtype = predicts_noise, torch.float32

    def forward(self, x, sigma, context=None, **_conditions):
        s = sigma.reshape(-1, 1, 1, 1)
        scale = torch.sqrt(s**2 + 1)
        noised = x * scale
        asked = (class_weights(context, len(x)).to(x),) if self.by_class else ()
        clean = self.denoiser(noised, sigma, *asked)
        return (noised - clean) / s if self.predicts_noise else (clean - x / scale) * scale / s


class OtherModel(BaseModel):
    """The host's model around a denoiser."""

    def __init__(self, other: Other, dress: Dress, device=None):
        config = DemoConfig(dress)
        config.latent_format = comfy.latent_formats.LatentFormat()
        config.latent_format.latent_channels = other.shape[0]
        build = partial(Raw, other.make(device), other.by_class, dress.model_type == ModelType.EPS)
        super().__init__(config, dress.model_type, device=device, unet_model=build)

    def process_timestep(self, timestep, **_):
        """The noise level sigma (B,) that a timestep stands for."""
        return self.model_sampling.sigma(timestep)


def build_other(name: str, dress: str) -> ModelPatcher:
    """One of OTHERS in one of the demo model's DRESSES."""
    device = comfy.model_management.get_torch_device()
    with torch.inference_mode(False):
        model = OtherModel(OTHERS[name], DRESSES[dress], device=device)
    return ModelPatcher(model, load_device=device, offload_device=device)
