"""What the benchmarks learn on: exact-score targets, the demo model and the photo model, recorded from a seed."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from art_nodes.core import LiveModel, OrbitBank, record_orbits
from art_nodes.core.exact import Denoiser, gaussian, image_gaussian, mixture
from art_nodes.demo import demo_denoiser, load_network
from art_nodes.demo.unet import CLASSES, IMAGE_SIZE
from benchmarks import photo_model as photo


@dataclass(frozen=True)
class Target:
    """A denoiser with its range of sigma and how many orbits of which shape to record."""

    name: str
    sigma_max: float
    sigma_min: float
    shape: tuple[int, ...]  # (orbits, ...)
    make: Callable[[], Denoiser]

    def noise(self, seed: int) -> torch.Tensor:
        """Start states at sigma_max, for data of unit variance."""
        return self.draw(self.shape[0], torch.Generator().manual_seed(seed))

    def draw(self, batch: int, generator: torch.Generator) -> torch.Tensor:
        """`batch` start states of the generator's."""
        return torch.randn(batch, *self.shape[1:], generator=generator) * math.sqrt(1 + self.sigma_max**2)

    def record(self, seed: int, nodes: int = 64) -> OrbitBank:
        """A bank of this target's orbits."""
        return record_orbits(self.make(), self.noise(seed), self.sigma_max, self.sigma_min, nodes=nodes)

    def live(self, **options) -> LiveModel:
        """The same to learn on by live roll-outs; `options` are LiveModel's."""
        return LiveModel(self.make(), self.draw, self.sigma_max, self.sigma_min, **options)


def demo_denoiser_of_all_classes(cfg: float = 1.0) -> Callable[[], Denoiser]:
    """The demo model; a batch of any size cycles over the classes."""
    def make():
        network = load_network().to(memory_format=torch.channels_last)  # a quarter off the time of a convolution
        classes = torch.eye(len(CLASSES))
        return lambda x, sigma: demo_denoiser(network, classes[torch.arange(len(x)) % len(CLASSES)], cfg)(x, sigma)

    return make


def photo_denoiser(device="cpu") -> Denoiser:
    """The photo model's."""
    return photo.photo_denoiser(photo.load_network(device=device).to(memory_format=torch.channels_last))


IMAGE = (1, IMAGE_SIZE, IMAGE_SIZE)
EXACT = (
    Target("N(0, 1), T = 3", 3.0, 0.002, (64, 1), gaussian),
    Target("two modes, T = 10", 10.0, 0.002, (64, 1), lambda: mixture([-2.0, 2.0], [0.3, 0.5], [0.5, 0.5])),
    Target("64x64 Gaussian, T = 14.61", 14.6146, 0.0292, (16, 1, 64, 64), image_gaussian),
)
DEMO = (
    Target("demo model, EDM", 80.0, 0.002, (20, *IMAGE), demo_denoiser_of_all_classes()),
    Target("demo model, SDXL range", 14.6146, 0.0292, (20, *IMAGE), demo_denoiser_of_all_classes()),
)
PATCH = (photo.CHANNELS, photo.IMAGE_SIZE, photo.IMAGE_SIZE)
PHOTOS = (
    Target("photo model, EDM", 80.0, 0.002, (32, *PATCH), photo_denoiser),
    Target("photo model, SDXL range", 14.6146, 0.0292, (32, *PATCH), photo_denoiser),
)
