"""Models other than the demo as MODELs of the host: any denoiser of data of unit variance, in the demo's dresses and
as a rectified flow."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import comfy.latent_formats
import comfy.model_management
import torch
from comfy.model_base import BaseModel, ModelType
from comfy.model_patcher import ModelPatcher

from art_nodes.core.exact import Denoiser, image_gaussian
from art_nodes.demo import demo_denoiser, load_network
from art_nodes.demo.unet import IMAGE_SIZE
from art_nodes.host.demo_model import DRESSES, DemoConfig, Dress, class_weights
from benchmarks.carrying import as_flow
from benchmarks.digits import kernel_denoiser, load
from benchmarks.labelled import Labelled, labelled_digits, labelled_garments
from benchmarks.targets import PATCH, photo_denoiser

GAUSSIAN_SIDE, DIGIT = 28, (1, 8, 8)
# The shift is Stable Diffusion 3's.
ALL_DRESSES = {**DRESSES, "flow (shift 3)": Dress(ModelType.FLOW, {"shift": 3.0})}


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


def garments(device: torch.device) -> Labelled:
    """The demo model's network, told weights of classes."""
    network = load_network(device=device).to(memory_format=torch.channels_last)
    return lambda x, sigma, weights: demo_denoiser(network, weights)(x, sigma)


OTHERS = {
    "garments": Other((1, IMAGE_SIZE, IMAGE_SIZE), garments, by_class=True),
    "photos": Other(PATCH, photo_denoiser),
    "digits": Other(DIGIT, _flat(lambda: kernel_denoiser(load()))),
    "labelled-digits": Other(DIGIT, _flat(labelled_digits), by_class=True),
    "labelled-garments": Other((1, IMAGE_SIZE, IMAGE_SIZE), _flat(labelled_garments), by_class=True),
    "gaussian": Other((1, GAUSSIAN_SIDE, GAUSSIAN_SIDE), lambda _device: image_gaussian(GAUSSIAN_SIDE)),
}


class Raw(torch.nn.Module):
    """What the host asks of a diffusion model, answered by a denoiser.

    `sigma` (B,) is the noise level, `x` (B, C, H, W) comes divided by sqrt(sigma^2 + 1), or as it is of a flow.
    `context` (B, tokens, 10) holds the weights of classes, which a denoiser `by_class` is told. Answers noise, a flow's
    velocity, or what the host's EDM prediction expects.
    """

    def __init__(self, denoiser: Denoiser | Labelled, by_class: bool, predicts: ModelType, **_build_options):
        super().__init__()
        self.denoiser, self.by_class = denoiser, by_class
        self.predicts, self.dtype = predicts, torch.float32

    def forward(self, x, sigma, context=None, **_conditions):
        s = sigma.reshape(-1, 1, 1, 1)
        asked = (class_weights(context, len(x)).to(x),) if self.by_class else ()
        if self.predicts == ModelType.FLOW:
            return (x - as_flow(lambda noised, added: self.denoiser(noised, added, *asked))(x, sigma)) / s
        scale = torch.sqrt(s**2 + 1)
        noised = x * scale
        clean = self.denoiser(noised, sigma, *asked)
        return (noised - clean) / s if self.predicts == ModelType.EPS else (clean - x / scale) * scale / s


class OtherModel(BaseModel):
    """The host's model around a denoiser."""

    def __init__(self, other: Other, dress: Dress, device=None):
        config = DemoConfig(dress)
        config.latent_format = comfy.latent_formats.LatentFormat()
        config.latent_format.latent_channels = other.shape[0]
        build = partial(Raw, other.make(device), other.by_class, dress.model_type)
        super().__init__(config, dress.model_type, device=device, unet_model=build)

    def process_timestep(self, timestep, **_):
        """The noise level sigma (B,) that a timestep stands for."""
        if self.model_type == ModelType.FLOW:  # whose `sigma` of a timestep has the shift in it, as `timestep` has not
            return timestep / self.model_sampling.multiplier
        return self.model_sampling.sigma(timestep)


def build_other(name: str, dress: str) -> ModelPatcher:
    """One of OTHERS in the dress whose name begins so."""
    device = comfy.model_management.get_torch_device()
    known = next(one for title, one in ALL_DRESSES.items() if title.startswith(dress))
    with torch.inference_mode(False):
        model = OtherModel(OTHERS[name], known, device=device)
    return ModelPatcher(model, load_device=device, offload_device=device)
