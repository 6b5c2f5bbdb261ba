"""Where clocks are learned and judged, and how a clock is read on a range that it was not learned on."""

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch

from art_nodes.core import Schedule
from art_nodes.core.grids import geometric_grid, power_grid, uniform_grid
from benchmarks.digits import DIGITS
from benchmarks.targets import DEMO, EXACT, IMAGE, Target

CLASSIC = ("uniform", "geometric", "EDM")
OWN = 64  # pieces of the default clock, the one that is carried elsewhere
TAIL_POWER = 1.5  # density ~ sigma^-3/2: the law of the optimum far above the spread of the data
FINE = 1024
EXCHANGE = ("demo, EDM range", "demo, SDXL range", "digits", "64x64 Gaussian")  # every clock on every other
EXCHANGE_STEPS = (6, 10, 20)
OTHER_STEPS = ("demo, EDM range", "demo, SDXL range", "64x64 Gaussian", "N(0, 1)", "two modes")
# The other ways to carry the clock of the SDXL range up to the EDM range.
TAIL, ONE_STEP = "demo, SDXL range (3/2 above)", "demo, SDXL range (one step first)"


@dataclass(frozen=True)
class Place:
    """A target to learn on, and the same with batches of held-out orbits to judge on."""

    name: str
    target: Target
    judged: Target  # its shape is one batch
    batches: int = 1
    reference_nodes: int = 400
    network: bool = False  # a model call costs: expensive cells take one batch only

    def grids(self, steps: int) -> dict[str, np.ndarray]:
        """The classic grids on this range, (steps + 1,) each."""
        high, low = self.target.sigma_max, self.target.sigma_min
        return {"uniform": uniform_grid(steps, high), "geometric": geometric_grid(steps, high, low),
                "EDM": power_grid(steps, high, low)}


def demo_places(orbits: int) -> tuple[Place, Place]:
    """The demo model in its two dresses, with two batches of that many orbits.

    To the core a dress is a range of sigma: the network and the orbits are the same.
    """
    return tuple(Place(name, target, dataclasses.replace(target, shape=(orbits, *IMAGE)),
                       batches=2, reference_nodes=128, network=True)
                 for name, target in zip(("demo, EDM range", "demo, SDXL range"), DEMO, strict=True))


def exact_place(name: str, target: Target, orbits: int) -> Place:
    """A target whose denoiser is known in closed form."""
    return Place(name, target, dataclasses.replace(target, shape=(orbits, *target.shape[1:])))


def places(demo_orbits: int, image_orbits: int, orbits: int) -> dict[str, Place]:
    """All of them by name; `demo_orbits` is one of the demo model's two batches."""
    normal, modes, image = EXACT
    found = [*demo_places(demo_orbits), exact_place("digits", DIGITS, orbits),
             exact_place("64x64 Gaussian", image, image_orbits), exact_place("N(0, 1)", normal, orbits),
             exact_place("two modes", modes, orbits)]
    return {place.name: place for place in found}


def density_at_the_top(schedule: Schedule) -> tuple[float, float, float]:
    """(sigma, density, power): density * (s / sigma)^-power fits the first quarter of a clock's pieces.

    The density is clock time per unit of sigma. The power is kept between 0 and 3/2.
    """
    pieces = len(schedule.clock) - 1
    top = schedule.clock[:max(3, pieces // 4) + 1]
    middle, density = np.log(np.sqrt(top[1:] * top[:-1])), -np.log(-np.diff(top) * pieces)
    power = float(np.clip(-np.polyfit(middle, density, 1)[0], 0, TAIL_POWER))
    return float(np.exp(middle.mean())), float(np.exp(density.mean())), power


def carried_on(schedule: Schedule, sigma_max: float, power: float | None = None) -> Schedule:
    """The clock continued above its range up to `sigma_max`, with no model call.

    The optimum's density is sqrt(E|Q|). Far above the spread of the data D - mean falls like 1/sigma on every
    orbit, so |Q| ~ sigma^-3 and the density ~ sigma^-3/2; nearer it falls more slowly. So the power that the clock
    has in its first quarter is kept, at most 3/2. `power` sets it instead.
    """
    if sigma_max <= schedule.sigma_max:
        raise ValueError(f"sigma_max must lie above the clock's {schedule.sigma_max:g}; got {sigma_max:g}; "
                         "pass it to .sigmas(...) instead")
    at, level, own = density_at_the_top(schedule)
    above = np.geomspace(sigma_max, schedule.sigma_max, FINE + 1)
    density = level * (above / at) ** -(own if power is None else power)
    extra = np.append(0.0, np.cumsum(0.5 * (density[1:] + density[:-1]) * -np.diff(above)))
    below = schedule.sigmas(FINE).double().numpy()
    times = np.concatenate([extra, extra[-1] + np.linspace(0, 1, FINE + 1)[1:]])
    clock = np.interp(np.linspace(0, times[-1], FINE + 1), times, np.concatenate([above, below[1:]]))
    clock[0], clock[-1] = sigma_max, 0.0
    return Schedule(clock, {**schedule.provenance, "carried_on_to": sigma_max})


def one_step_first(schedule: Schedule, sigma_max: float, steps: int) -> torch.Tensor:
    """The other road: one step from `sigma_max` to the clock's own top, the rest of the steps on the clock."""
    return torch.cat([torch.tensor([sigma_max], dtype=torch.float32), schedule.sigmas(steps - 1)])


def fitted(schedule: Schedule, sigma_max: float) -> Schedule:
    """A schedule that reads on a range starting at `sigma_max`: carried on where its own ends below."""
    return carried_on(schedule, sigma_max) if sigma_max > schedule.sigma_max * (1 + 1e-6) else schedule


def read(schedule: Schedule, sigma_max: float, steps: int) -> torch.Tensor:
    """(steps + 1,) sigmas of any clock on a range that starts at `sigma_max`."""
    return fitted(schedule, sigma_max).sigmas(steps, sigma_max=sigma_max)
