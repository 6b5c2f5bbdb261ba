"""Exact targets shared by the tests of the mathematics, recorded once a session."""

import functools
import math

import torch

from art_nodes.core import OrbitBank, Schedule, record_orbits
from art_nodes.core.exact import gaussian, image_gaussian, mixture

SDXL_RANGE = (14.6146, 0.0292)
TARGETS = ("normal", "two modes", "image")


def noise(shape, sigma_max: float, seed: int = 0) -> torch.Tensor:
    """Start states of the given shape at sigma_max, for data of about unit variance."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator) * math.sqrt(1 + sigma_max**2)


def two_modes():
    """Denoiser of two narrow modes of different width, one-dimensional."""
    return mixture([-2.0, 2.0], [0.3, 0.5], [0.5, 0.5])


@functools.cache
def bank(target: str) -> OrbitBank:
    """The recorded bank of one of TARGETS."""
    if target == "normal":
        return record_orbits(gaussian(), noise((64, 1), 3.0), 3.0, 0.002)
    if target == "two modes":
        return record_orbits(two_modes(), noise((64, 1), 10.0), 10.0, 0.002)
    return record_orbits(image_gaussian(64), noise((16, 1, 64, 64), SDXL_RANGE[0]), *SDXL_RANGE)


def disagreement(first: Schedule, second: Schedule, counts=(6, 10, 20, 30)) -> float:
    """Largest difference in ln sigma over the grids of so many steps."""
    return max(float((first.sigmas(k)[:-1] / second.sigmas(k)[:-1]).log().abs().max()) for k in counts)
