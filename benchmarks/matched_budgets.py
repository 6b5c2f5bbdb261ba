"""What so many model calls buy, whatever the sampler: the best pair of sampler and schedule, ours and the host's."""

from dataclasses import dataclass

import numpy as np

from art_nodes.core.scores import total
from benchmarks.duels import Duel
from benchmarks.matched_cells import ART, SAMPLERS, STEPS, Place
from benchmarks.matched_tables import Entries

BUDGETS = STEPS  # model calls a picture


@dataclass(frozen=True)
class Pair:
    """A sampler with a number of steps, a schedule, and the errors (noises,) that they leave."""

    sampler: str
    steps: int
    schedule: str
    errors: np.ndarray

    def __str__(self):
        return f"{self.sampler}, {self.steps} steps, {self.schedule.removeprefix(ART)}"


def model_calls(sampler: str, steps: int) -> int:
    """Of a picture in the host; the last step, to 0, is one call with any sampler."""
    return (steps - 1) * SAMPLERS[sampler] + 1


def noises(found: Entries, place: Place) -> int:
    """How many the best-measured two schedules of every column of a place have."""
    return min((sorted(len(entry.errors) for entry in column)[-2:][0]
                for (where, _, _), column in found.items() if where == place), default=0)


def best_within(found: Entries, place: Place, calls: int, ours: bool) -> Pair | None:
    """The pair with the least RMS error of at most so many model calls, ours or the host's; None if there is none."""
    count = noises(found, place)
    pairs = [Pair(sampler, steps, entry.schedule, entry.errors[:count])
             for (where, sampler, steps), column in found.items()
             if where == place and model_calls(sampler, steps) <= calls
             for entry in column if entry.schedule.startswith(ART) == ours and len(entry.errors) >= count]
    return min(pairs, key=lambda pair: total(pair.errors), default=None)


def budget_table(found: Entries, place: Place) -> list[list[str]]:
    """A row a number of model calls: the best pair of ours, the host's, and the ratio of their RMS errors."""
    rows = [["model calls", "ours", "RMS", "the host's", "RMS", "ratio"]]
    for calls in BUDGETS:
        ours, hosts = (best_within(found, place, calls, whose) for whose in (True, False))
        if ours and hosts:
            one = Duel.of(hosts.schedule, ours.errors, hosts.errors)
            rows.append([str(calls), str(ours), f"{total(ours.errors):.4f}", str(hosts), f"{total(hosts.errors):.4f}",
                         f"{one.text}, {one.verdict}"])
    return rows
