"""Trying grids with the host's own sampler on orbits that were recorded: what ART Train's trial_calls buy."""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
import torch

from ..core import OrbitBank, Schedule
from ..core.clock import read_clock
from ..core.linear import READINGS, LinearError, tells_spread
from ..core.objectives import LARGEST_GROWTH, SamplerError, guidance_of, split_objective
from ..core.orbits import Orbits
from ..core.record import kept_elements
from ..core.refine import REFINED_STEPS, best_grid
from ..core.spectrum import bands_of, weigh_frequencies
from ..core.trial import Tried, ends_error, try_grids
from .comparing_grids import find_entries
from .comparing_samplers import count_calls, sample
from .host_schedules import NODES, starts_at
from .recording import batch_seed, batch_sizes, empty_like, first_samples, flat, gaussian, true_cfg

OURS = "ART"
LEAST_POWER = 1e-6  # of what is wanted
# Other readings of the objective, each better than its own on some models: errors that turn over so many e-folds, and
# that grow as much as they may, or not at all, eq. (16), and grids whose ln step lengths are so many hat functions.
SOON, FREEDOM = 2.0, 9
STRAIGHT = 0.03  # growth below which scores count as linear
# Powers of the cfg that errors shrink by on some models, beside the one that objectives take (GUIDED).
GUIDANCE = {"as of stronger guidance": 2.0, "as of weaker guidance": 0.75}
ALIKE = 0.01  # largest difference of ln sigma between grids that are not both worth trying


class HostRuns:
    """A sampler of the host on the orbits of a recording, which the same model, conditions, cfg and seed made.

    calls(steps): model calls of one sample, found by trying the sampler on a tiny model.
    objective: one that names the sampler; errors are those of value and slope together for "detail:<sampler>", and for
        "spectrum:<sampler>" of the power at each frequency, which all orbits together are judged by.
    on_call: called with the samples of a model call after each, and with 0 amid other work; what it raises ends the
        trial.
    """

    def __init__(self, model, positive, negative, latent_image: dict, bank: OrbitBank, *, cfg: float, seed: int,
                 objective: str, on_call: Callable[[int], None] | None = None):
        kind, self.sampler_name = split_objective(objective)
        self.given, self.seed = (model, positive, negative, true_cfg(model, positive, negative, cfg)), seed
        self.latent, self.on_call = empty_like(model, latent_image), on_call or (lambda samples: None)
        self.sizes = batch_sizes(len(bank.ends), self.latent.shape[0])
        self.ends = torch.from_numpy(bank.ends).split(self.sizes)
        self.spectral = _Spectral(bank) if kind == "spectrum" else None
        self.pool = self.spectral.pool if self.spectral else None
        # Ends of nested latents stay in the host's units, in which the recording's own error is not known.
        nested = getattr(self.latent, "is_nested", False)
        self.floor = 0.0 if self.spectral or nested else ends_error(bank, "detail" if kind == "detail" else "end")
        self.calls = functools.cache(functools.partial(count_calls, self.sampler_name))
        self.kept = kept_elements(bank.ends.shape[1])
        # A bank without details is none of pictures, and its objective has been refused before.
        self.weigh = weigh_frequencies if kind == "detail" else lambda difference: difference

    def errors(self, grid: np.ndarray, batch: int) -> np.ndarray:
        """End minus solution of a batch's orbits, of the elements that banks keep, or in power of each band.

        float32 (sizes[batch], elements).
        """
        latent, seed = first_samples(self.latent, self.sizes[batch]), batch_seed(self.seed, batch)
        sigmas = torch.from_numpy(np.asarray(grid)).float()
        end = sample(*self.given, gaussian(latent, seed), latent, self.sampler_name, sigmas, seed,
                     lambda sigma: self.on_call(self.sizes[batch]))
        if getattr(end, "is_nested", False):
            difference = flat(end) - self.ends[batch]
        else:  # in the model's units, as the objective and the floor are; the host gives latents out in others
            model_units = self.given[0].get_model_object("latent_format").process_in
            end, truth = (model_units(part) for part in (end.cpu().float(), self.ends[batch].reshape(end.shape)))
            if self.spectral:
                return self.spectral.errors(end, truth)
            difference = self.weigh(end - truth).flatten(1)
        return difference[:, self.kept].float().numpy()


class _Spectral:
    """Power of ends in each of F bands, against that of the solutions or of what the bank aims at."""

    def __init__(self, bank: OrbitBank):
        spectrum, self.bands = bank.spectrum, bands_of(bank.spectrum.shape)
        end = Orbits(bank.sigmas).state(np.zeros(1))[0]
        self.own, self.wanted = spectrum.powers(end[None])[0], spectrum.wanted(end)
        self.root = np.sqrt(spectrum.share * len(spectrum.share))  # so that the RMS is over coefficients

    def errors(self, end: torch.Tensor, truth: torch.Tensor) -> np.ndarray:
        """What each picture (B, ...) has too much, as a share of what is wanted; (B, F).

        A picture's own solution stands in for the average of all, so that its content does not count.
        """
        more = self.bands.powers(end) - self.bands.powers(truth)
        return ((more + self.own - self.wanted) / self.wanted).astype(np.float32)

    def pool(self, errors: np.ndarray) -> np.ndarray:
        """ln of how many times too strong the mean picture is in each band, weighed by its size; (n, F) -> (F,)."""
        with np.errstate(invalid="ignore"):
            return self.root * np.log(np.maximum(1 + errors.mean(axis=0), LEAST_POWER))


def readings(bank: OrbitBank, own: np.ndarray, objective: str, on_each: Callable[[], None] = lambda: None
             ) -> dict[str, np.ndarray]:
    """Ours: the schedule's own grid (K + 1,) first, and the best ones by other readings of an objective of ends.

    Which of them is best differs from model to model, which only runs of the sampler tell.
    on_each: called before each, which takes seconds.
    """
    found, steps, plain = {OURS: own}, len(own) - 1, SamplerError(bank, objective)
    if plain.kind != "end":
        return found
    # Whichever is further from what the bank says.
    reading, growth = ("errors that grow", LARGEST_GROWTH) if plain.growth < LARGEST_GROWTH / 2 else \
        ("errors that do not grow", 0.0)
    others = {"errors that soon turn": ({"turn": SOON}, None), reading: ({"growth": growth}, None),
              "a smooth clock": ({}, FREEDOM), f"{reading}, a smooth clock": ({"growth": growth}, FREEDOM)}
    if guidance_of(bank) > 1:
        others |= {name: ({"guided": power}, None) for name, power in GUIDANCE.items()}
    for name, (told, freedom) in others.items():
        if freedom is None or freedom < steps - 1:
            on_each()
            _add(found, name, _fitted(SamplerError(bank, objective, **told), own, freedom))
    return found


def linear_readings(bank: OrbitBank, found: dict[str, np.ndarray], objective: str,
                    on_each: Callable[[], None] = lambda: None) -> dict[str, np.ndarray]:
    """The best grids for errors that shrink as linear scores have it, eq. (19), where a recording tells of such.

    Where errors grow, as some pictures turn into others, these grids let more of them turn.
    found: what `readings` gives. on_each: as there.
    """
    more = dict(found)
    if split_objective(objective)[0] == "end" and SamplerError(bank, objective).growth < STRAIGHT:
        for name, banded in READINGS.items():
            if tells_spread(bank, banded):
                on_each()
                _add(more, name, _fitted(LinearError(bank, objective, banded), found[OURS]))
    return {name: grid for name, grid in more.items() if name not in found}


def _fitted(error: SamplerError, own: np.ndarray, freedom: int | None = None) -> np.ndarray:
    """The best grid of as many steps as `own` (K + 1,), from which descent starts too."""
    steps = len(own) - 1
    fitted = min(steps, max(REFINED_STEPS))  # more take long and differ little
    start = read_clock(own, np.linspace(0, 1, fitted + 1))
    return read_clock(best_grid(error, fitted, [start], freedom), np.linspace(0, 1, steps + 1))


def _add(found: dict[str, np.ndarray], name: str, grid: np.ndarray) -> None:
    """Add a grid of ours, if none is like it."""
    if all(np.abs(np.log(grid[1:-1] / known[1:-1])).max(initial=0.0) > ALIKE for known in found.values()):
        found[f"{OURS}, {name}"] = grid


def candidates(model, bank: OrbitBank, schedule: Schedule, objective: str, steps: int,
               on_each: Callable[[], None] = lambda: None) -> tuple[dict[str, np.ndarray], int]:
    """What is worth trying at `steps` steps: ours, then the host's schedules, the best by the objective first.

    Also returns how many of them need no proof. on_each: as for `readings`.
    """
    _, sampler_name = split_objective(objective)
    ours = readings(bank, schedule.sigmas(steps).double().numpy(), objective, on_each)
    top, error = ours[OURS][0], SamplerError(bank, objective)
    found = {entry.name: entry.grid(steps) for entry in find_entries(model, sampler_name, ["all", *NODES])}
    # Some start below the model's range, or repeat a sigma.
    found = {name: np.append(top, grid[1:].double().numpy()) for name, grid in found.items()
             if grid is not None and len(grid) == steps + 1 and (grid.diff() < 0).all()
             and starts_at(grid, top)}
    foretold = {name: float(error(grid[None])[0]) for name, grid in found.items()}
    linear = linear_readings(bank, ours, objective, on_each)
    return ours | linear | {name: found[name] for name in sorted(found, key=foretold.get)}, len(ours)


def try_steps(schedule: Schedule, bank: OrbitBank, runs: HostRuns, objective: str, steps: int, budget: int,
              found: tuple[dict[str, np.ndarray], int] | None = None) -> tuple[Schedule, Tried]:
    """The schedule with the grid for `steps` steps that a trial of at most `budget` sample calls found best.

    objective: one that names the sampler of `runs`. found: what `candidates` gives, if it is known. Raises ValueError
    where that sampler cannot take so few steps.
    By the spectrum it only chooses: the recording foretells that, and keeps to the picture too.
    """
    grids, ours = found or candidates(runs.given[0], bank, schedule, objective, steps, lambda: runs.on_call(0))
    tried = try_grids(runs, grids, budget, trusted=ours)
    known = {"steps": steps, "budget": budget, "sample_calls": tried.sample_calls, "from": tried.name,
             "ratio": tried.ratio}
    return dataclasses.replace(schedule, grids={**schedule.grids, steps: tried.grid},
                               provenance={**schedule.provenance, "trial": known}), tried
