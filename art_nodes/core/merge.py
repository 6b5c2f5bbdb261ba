"""Merging schedules: the geometric mean of sigma at equal clock time."""

import math
from collections.abc import Sequence

import numpy as np

from .clock import read_clock, time_of_sigma
from .schedule import Schedule

SAME_RANGE = 1.01  # ratio of starts that counts as one range, since tables of the same kind differ by less
MOST_RATIO = 8.0  # of starts; beyond it the merged part of the longer clock would be a small rest
MOST_SOURCES = 64
# Entries that stay true of a merged schedule if all its sources agree on them.
SHARED = ("family", "model", "model_sampling", "latent_format", "shift", "cfg", "objective", "learned_on",
          "carried_over", "meant_for", "data_std")


def merge_schedules(schedules: Sequence[Schedule], weights: Sequence[float] | None = None) -> Schedule:
    """The weighted average of ln sigma at equal clock time, so that no schedule's units or ends weigh more.

    weights: >= 0, not all 0, in any unit; None weighs all alike. A weight of 0 leaves a schedule out.
    Schedules that start at different sigmas, up to a ratio of 8, are merged from the lowest start on: the rest of
    an optimal clock is optimal for the rest of the range. Grids for single numbers of steps are merged alike where
    every schedule has them and none was cut. Provenance: "merged_from" lists every source with its weight.
    Raises ValueError for no schedule, bad weights, or starts further apart. Whether sigma means the same in all
    of them is the caller's to know.
    """
    shares = _shares(schedules, weights)
    used = [(schedule, share) for schedule, share in zip(schedules, shares, strict=True) if share > 0]
    chosen, shares = [schedule for schedule, _ in used], np.array([share for _, share in used])
    tops = [schedule.sigma_max for schedule in chosen]
    if max(tops) > MOST_RATIO * min(tops):
        raise ValueError(f"schedules to merge must start at sigmas within a ratio of {MOST_RATIO:g}; got "
                         f"{', '.join(f'{top:g}' for top in tops)}; merge schedules of models with the same range")
    cut = max(tops) > SAME_RANGE * min(tops)
    times = np.linspace(0, 1, max(len(schedule.clock) for schedule in chosen))
    clock = _mean([_read(schedule, times, min(tops) if cut else None) for schedule in chosen], shares)
    counts = [] if cut else set.intersection(*(set(schedule.grids) for schedule in chosen))
    grids = {steps: _mean([schedule.grids[steps] for schedule in chosen], shares) for steps in sorted(counts)}
    provenance = _provenance(chosen, shares, float(clock[0]))
    if not grids and any(schedule.grids for schedule in chosen):  # the clock is of no sampler
        provenance["objective"] = "euler"
    return Schedule(clock, provenance, grids)


def _shares(schedules, weights) -> np.ndarray:
    """Weights that sum to 1, one a schedule."""
    values = np.array([1.0] * len(schedules) if weights is None else list(weights), dtype=float)
    if not len(schedules) or len(values) != len(schedules):
        raise ValueError(f"merging needs one weight for each of one schedule or more; got {len(schedules)} schedules "
                         f"and {len(values)} weights; pass as many of each")
    if not np.isfinite(values).all() or (values < 0).any() or not values.any():
        raise ValueError(f"weights must be finite, >= 0 and not all 0; got {values.tolist()}; 1 and 1 weigh alike")
    return values / values.max() / (values / values.max()).sum()  # sums of tiny or huge weights would lose digits


def _read(schedule: Schedule, times: np.ndarray, top: float | None) -> np.ndarray:
    """Sigma at clock times of the part of a clock below `top`, the whole clock for None."""
    start = 0.0 if top is None else time_of_sigma(schedule.clock, top)
    sigmas = read_clock(schedule.clock, start + (1 - start) * times)
    if top is not None:
        sigmas[0] = top
    return sigmas


def _mean(rows: list[np.ndarray], shares: np.ndarray) -> np.ndarray:
    """Weighted geometric mean of descending rows that all end at 0."""
    mean = np.zeros(len(rows[0]))
    mean[:-1] = np.exp(shares @ np.log(np.stack([row[:-1] for row in rows])))
    if all(row[0] == rows[0][0] for row in rows):
        mean[0] = rows[0][0]  # a common start stays what it is, to the last digit
    return mean


def _provenance(schedules, shares, top: float) -> dict:
    """What all sources agree on, and each source with its weight; merged ones are taken apart again."""
    sources = [source for schedule, share in zip(schedules, shares, strict=True)
               for source in _sources(schedule.provenance, float(share))]
    if len(sources) > MOST_SOURCES:
        raise ValueError(f"a merged schedule must have at most {MOST_SOURCES} sources; got {len(sources)}; "
                         "learn one schedule on all these models' recordings instead")
    each = [schedule.provenance for schedule in schedules]
    shared = {key: each[0][key] for key in SHARED
              if key in each[0] and all(key in other and other[key] == each[0][key] for other in each)}
    carried = any(not str(known.get("carried_over", "no")).startswith("no") for known in each)
    if carried and "carried_over" not in shared:
        shared["carried_over"] = "in part, see merged_from"
    lows = [known.get("sigma_min") for known in each]
    if all(isinstance(low, int | float) and 0 < low < top for low in lows):
        shared["sigma_min"] = math.exp(float(shares @ np.log(lows)))
    return {"method": "merged", "sigma_max": top, **shared, "merged_from": sources}


def _sources(provenance: dict, share: float) -> list[dict]:
    """The provenance of a schedule with its weight, or those it was itself merged from."""
    known, alone = provenance.get("merged_from"), [{"weight": share, "provenance": provenance}]
    if not isinstance(known, list):
        return alone
    try:
        return [{"weight": share * float(source["weight"]), "provenance": dict(source["provenance"])}
                for source in known] or alone
    except (TypeError, ValueError, KeyError, OverflowError):  # no list of sources: a file may say anything
        return alone
