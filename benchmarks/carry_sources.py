"""The models that are here and the dresses they are recorded in: what schedules are carried from."""

import dataclasses
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from art_nodes.core import OrbitBank, flow_recording_grid, record_orbits, recording_grid
from art_nodes.core.exact import Denoiser, image_gaussian
from benchmarks.carrying import as_flow, rescaled
from benchmarks.digits import kernel_denoiser
from benchmarks.digits import load as load_digits
from benchmarks.targets import IMAGE, PATCH, demo_denoiser_of_all_classes, photo_denoiser

NODES, REFERENCE_NODES, REFERENCE_END = 64, 128, 0.5  # the last in units of sigma_min


@dataclass(frozen=True)
class Dress:
    """A range of sigma and what it means; `spread` is that of the data in its units."""

    name: str
    high: float
    low: float
    share: bool = False
    spread: float = 1.0

    def wear(self, denoiser: Denoiser) -> Denoiser:
        """The denoiser of the same data of unit variance, told sigma as the dress means it."""
        scaled = rescaled(denoiser, self.spread)
        return as_flow(scaled) if self.share else scaled

    def start(self, noise: torch.Tensor) -> torch.Tensor:
        """States at the top, from unit noise (B, ...)."""
        return noise if self.share else noise * math.hypot(self.spread, self.high)

    def nodes(self, count: int, low: float) -> np.ndarray:
        """(count,) descending sigmas from the top to `low`, fine where pictures take shape."""
        return (flow_recording_grid if self.share else recording_grid)(self.high, low, count)

    def record(self, denoiser: Denoiser, noise: torch.Tensor) -> OrbitBank:
        """Orbits from unit noise (B, ...) of a denoiser of data of unit variance."""
        return record_orbits(self.wear(denoiser), self.start(noise), self.high, self.low,
                             sigmas=self.nodes(NODES, self.low), share=self.share)

    def reference(self) -> torch.Tensor:
        """(129,) sigmas to 0 of the solution that errors are measured against."""
        return torch.from_numpy(np.append(self.nodes(REFERENCE_NODES, REFERENCE_END * self.low), 0.0))


SDXL, EDM = Dress("SDXL", 14.6146, 0.0292), Dress("EDM", 80.0, 0.002)
FLOW = Dress("flow", 1.0, 0.002994, share=True)
DRESSES = (SDXL, EDM, FLOW)


@dataclass(frozen=True)
class Source:
    """A model of data of unit variance; `side` of its pictures in pixels, `orbits` recorded, `judged` held out.

    like: the name of the one that it is a variant of.
    """

    name: str
    make: Callable[[], Denoiser]
    shape: tuple[int, ...]
    side: int
    orbits: int
    judged: int = 0
    like: str = ""

    def akin(self, other: "Source") -> bool:
        """Whether one is the other, or both are variants of one."""
        return (self.like or self.name) == (other.like or other.name)

    def noise(self, count: int, seed: int) -> torch.Tensor:
        """Unit noise (count, ...)."""
        return torch.randn(count, *self.shape, generator=torch.Generator().manual_seed(seed))

    @property
    def denoiser(self) -> Denoiser:
        """D(x, sigma) -> x0; a network is loaded once."""
        return _denoiser(self)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of its pictures."""
        return self.side, self.side

    def bank(self, dress: Dress, seed: int) -> OrbitBank:
        """Its orbits in a dress."""
        return dress.record(self.denoiser, self.noise(self.orbits, seed))


@functools.cache
def _denoiser(source: Source) -> Denoiser:
    return source.make()


PHOTOS = Source("photographs", photo_denoiser, PATCH, PATCH[-1], 64, 128)
DEMO = Source("demo", demo_denoiser_of_all_classes(), IMAGE, IMAGE[-1], 60, 128)
GAUSSIAN = Source("64x64 Gaussian", image_gaussian, (1, 64, 64), 64, 16, 128)
DIGITS = Source("digits", lambda: kernel_denoiser(load_digits()), (64,), 8, 128, 256)
SOURCES = (PHOTOS, DEMO, GAUSSIAN, DIGITS)
# Beside them in pools: guidance, as large models are used with, and fields with more and with less in their details.
GUIDED = Source("demo at cfg 3", demo_denoiser_of_all_classes(3.0), IMAGE, IMAGE[-1], 60, like=DEMO.name)
FINE, COARSE = (dataclasses.replace(GAUSSIAN, name=f"64x64 Gaussian of slope {slope:g}", like=GAUSSIAN.name,
                                    make=functools.partial(image_gaussian, slope=slope)) for slope in (1.5, 3.0))
POOL = (*SOURCES, GUIDED, FINE, COARSE)
