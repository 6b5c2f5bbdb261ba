"""Where schedules are carried from and to, among the models that are here, in three dresses."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from art_nodes.core import OrbitBank, flow_recording_grid, record_orbits, recording_grid
from art_nodes.core.arrival import added_noise
from art_nodes.core.exact import Denoiser, image_gaussian
from benchmarks.carry_over import as_flow, rescaled, size_factor, smoothed, stiffened, with_tail
from benchmarks.comfy.inprocess import import_host
from benchmarks.digits import kernel_denoiser
from benchmarks.digits import load as load_digits
from benchmarks.matched_cells import DEMO_PLACES, Stage, host_grids
from benchmarks.targets import IMAGE, PATCH, demo_denoiser_of_all_classes, photo_denoiser

FLOW_SHIFT = 3.0  # Stable Diffusion 3's
NODES, REFERENCE_NODES, REFERENCE_END = 64, 128, 0.5  # the last in units of sigma_min
ALIKE = 1.2  # pictures whose sides differ by less are taken to be of one size


@dataclass(frozen=True)
class Dress:
    """A range of sigma and what it means."""

    name: str
    high: float
    low: float
    share: bool = False

    def wear(self, denoiser: Denoiser) -> Denoiser:
        """The denoiser of the same data, told sigma as the dress means it."""
        return as_flow(denoiser) if self.share else rescaled(denoiser, 1.0)

    def start(self, noise: torch.Tensor) -> torch.Tensor:
        """States at the top, from unit noise (B, ...), for data of unit variance."""
        return noise if self.share else noise * (1 + self.high**2) ** 0.5

    def nodes(self, count: int, low: float) -> np.ndarray:
        """(count,) descending sigmas from the top to `low`, fine where pictures take shape."""
        return (flow_recording_grid if self.share else recording_grid)(self.high, low, count)

    def reference(self) -> torch.Tensor:
        """(129,) sigmas to 0 of the solution that errors are measured against."""
        return torch.from_numpy(np.append(self.nodes(REFERENCE_NODES, REFERENCE_END * self.low), 0.0))


SDXL, EDM = Dress("SDXL", 14.6146, 0.0292), Dress("EDM", 80.0, 0.002)
FLOW = Dress("flow", 1.0, 0.002994, share=True)
DRESSES = (SDXL, EDM, FLOW)


@dataclass(frozen=True)
class Source:
    """A model of data of unit variance; `side` of its pictures in pixels, `orbits` recorded, `judged` held out."""

    name: str
    make: Callable[[], Denoiser]
    shape: tuple[int, ...]
    side: int
    orbits: int
    judged: int

    def noise(self, count: int, seed: int) -> torch.Tensor:
        """Unit noise (count, ...)."""
        return torch.randn(count, *self.shape, generator=torch.Generator().manual_seed(seed))

    def bank(self, dress: Dress, seed: int) -> OrbitBank:
        """Its orbits in a dress."""
        return record_orbits(dress.wear(_denoiser(self)), dress.start(self.noise(self.orbits, seed)), dress.high,
                             dress.low, sigmas=dress.nodes(NODES, dress.low), share=dress.share)


@functools.cache
def _denoiser(source: Source) -> Denoiser:
    return source.make()


PHOTOS = Source("photographs", photo_denoiser, PATCH, PATCH[-1], 64, 128)
DEMO = Source("demo", demo_denoiser_of_all_classes(), IMAGE, IMAGE[-1], 60, 128)
GAUSSIAN = Source("64x64 Gaussian", image_gaussian, (1, 64, 64), 64, 16, 128)
DIGITS = Source("digits", lambda: kernel_denoiser(load_digits()), (64,), 8, 128, 256)
SOURCES = (PHOTOS, DEMO, GAUSSIAN, DIGITS)


@dataclass(frozen=True)
class Place:
    """A model in a dress: what schedules are judged on."""

    source: Source
    dress: Dress

    @property
    def name(self) -> str:
        """As tables and files call it."""
        return f"{self.source.name}, {self.dress.name}"

    @property
    def denoiser(self) -> Denoiser:
        """D(x, sigma) -> x0, sigma as the dress means it."""
        return self.dress.wear(_denoiser(self.source))


PLACES = (*(Place(PHOTOS, dress) for dress in DRESSES), *(Place(DEMO, dress) for dress in DRESSES),
          Place(GAUSSIAN, SDXL), Place(GAUSSIAN, FLOW), Place(DIGITS, SDXL))


def carried_bank(source: Source, place: Place, seed: int, *, prepared: bool = True) -> OrbitBank:
    """The source's orbits in the dress of a place; of another source as the bundled families' are prepared."""
    bank = source.bank(place.dress, seed)
    if not prepared or source == place.source:
        return bank
    middle = added_noise(0.5 * (bank.edges[:-1] + bank.edges[1:]), bank.share)
    ratio, bank = place.source.side / source.side, with_tail(smoothed(bank), middle)
    if 1 / ALIKE < ratio < ALIKE:
        return bank
    sides = [(one.side, one.side) for one in (place.source, source)]
    return stiffened(bank, size_factor(middle, *sides))


@functools.cache
def _sampling(dress: Dress):
    """The host's noise levels in a dress."""
    import_host()
    if not dress.share:
        return Stage(next(place for place in DEMO_PLACES if place.dress == dress.name)).sampling
    import comfy.model_sampling as host

    class Flow(host.ModelSamplingDiscreteFlow, host.CONST):
        """As the host builds it for Stable Diffusion 3."""

    sampling = Flow()
    sampling.set_parameters(shift=FLOW_SHIFT)
    return sampling


class _Model:
    """As much of a MODEL as the host's schedulers ask for."""

    def __init__(self, sampling):
        self.sampling = sampling

    def get_model_object(self, _name: str):
        """Its noise levels."""
        return self.sampling


def built_in(dress: Dress, sampler: str, steps: int) -> dict[str, np.ndarray]:
    """Name -> sigmas (steps + 1,) of the host's schedules in a dress, started at its top; ends at 0."""
    found = {name: grid.double().numpy() for name, grid in host_grids(
        _Model(_sampling(dress)), sampler, steps, dress.high).items() if grid[-1] == 0}
    for grid in found.values():
        grid[0] = dress.high
    return found
