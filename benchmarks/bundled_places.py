"""The models that are here in three dresses: where bundled schedules are judged, and the host's schedules there."""

import functools
from dataclasses import dataclass

import numpy as np

from art_nodes.core import OrbitBank
from art_nodes.core.exact import Denoiser
from benchmarks import carrying
from benchmarks.carry_sources import DEMO, DIGITS, DRESSES, FLOW, GAUSSIAN, PHOTOS, SDXL, Dress, Source
from benchmarks.comfy.inprocess import import_host
from benchmarks.matched_cells import DEMO_PLACES, Stage, host_grids
from benchmarks.pooled import SHIFT


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
        return self.dress.wear(self.source.denoiser)


PLACES = (*(Place(PHOTOS, dress) for dress in DRESSES), *(Place(DEMO, dress) for dress in DRESSES),
          Place(GAUSSIAN, SDXL), Place(GAUSSIAN, FLOW), Place(DIGITS, SDXL))


def carried_bank(source: Source, place: Place, seed: int, *, prepared: bool = True) -> OrbitBank:
    """The source's orbits in the dress of a place; of another source as the bundled families' are prepared."""
    bank = source.bank(place.dress, seed)
    if not prepared or source == place.source:
        return bank
    return carrying.prepared(bank, place.source.size, source.size)


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
    sampling.set_parameters(shift=SHIFT)
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
