"""Schedules that are computed and not learned: the best clock that all orbits can share, and grids of a sampler."""

import dataclasses
from collections.abc import Callable

from .bank import OrbitBank
from .clock import STARTS_ALIKE, grid_cost, optimal_clock
from .objectives import split_objective
from .refine import REFINED_STEPS, refined_grids
from .schedule import Schedule
from .version import ART_VERSION

CLOCK_NODES = 64


def describe_bank(bank: OrbitBank) -> dict:
    """What a schedule's provenance says about the recording it was made from, and by which version of this pack."""
    return {
        "art_version": ART_VERSION,
        "orbits": len(bank.stiffness), "nodes": len(bank.sigmas), "model_calls": bank.calls,
        "sample_calls": bank.sample_calls, "sigma_max": bank.sigma_max, "sigma_min": bank.sigma_min, **bank.metadata,
    }


def optimal_schedule(bank: OrbitBank, *, objective: str = "euler", steps=REFINED_STEPS, progress=None) -> Schedule:
    """The clock that minimises E integral |Q| theta^2 dt under the time budget (docs/theory.md, eq. 8).

    objective: "euler", the paper's surrogate, needs no more; with one that replays a sampler the
        schedule also holds the best grid for each of `steps`, of those that `refined_grids` does not leave out;
        samplers that look back take longest.
    progress: called as progress(grids done, grids in all).
    Raises ValueError for any other objective.
    """
    split_objective(objective)
    clock = optimal_clock(bank, CLOCK_NODES)
    schedule = Schedule(clock, {
        "method": "closed form", "objective": "euler", "cost": grid_cost(bank, clock), **describe_bank(bank),
    })
    return schedule if objective == "euler" else with_grids(schedule, bank, objective, steps, progress)


def with_grids(schedule: Schedule, bank: OrbitBank, objective: str, steps=REFINED_STEPS, progress=None,
               growth: float | None = None, check: Callable[[], None] = lambda: None) -> Schedule:
    """The schedule with the best grids of an exact-step objective for several numbers of steps.

    bank: recorded on the model that the schedule is for; see `refined_grids`. ValueError where its range is another.
    """
    if abs(schedule.sigma_max / bank.sigma_max - 1) > STARTS_ALIKE:
        raise ValueError(f"a bank must start where the schedule does, at sigma {schedule.sigma_max:g}; got "
                         f"{bank.sigma_max:g}; record it on the model that the schedule is for")
    grids = refined_grids(bank, objective, steps, progress, growth, check)
    for grid in grids.values():
        grid[0] = schedule.sigma_max
    return dataclasses.replace(schedule, grids=grids,
                               provenance={**schedule.provenance, "objective": objective, "grids": list(grids)})
