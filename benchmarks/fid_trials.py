"""Grids for pictures that a trial found, judged by its samples' spectrum: for the FID comparison.

ART Train with spectrum:<sampler> and trial_calls, on the demo model: three seeds, each with a recording of its own of
noise that no picture is judged on.
"""

from collections.abc import Sequence

from benchmarks.matched_cells import ART, Place
from benchmarks.trial_cells import SEEDS, Trial

BATCHES = {"euler": 32}  # of recorded orbits by sampler, as many as a trial looks at
BUDGET = 8192  # sample calls of a trial
TRIED = ", tried, seed "


def title(trial: Trial) -> str:
    """As tables call what it found."""
    return f"{ART}{trial.objective}{TRIED}{trial.seed}"


def trials(place: Place, samplers: Sequence[str], steps: Sequence[int]) -> list[Trial]:
    """Those of the samplers that are tried."""
    return [Trial(place, f"spectrum:{sampler}", count, seed, BATCHES[sampler], BUDGET) for seed in SEEDS
            for sampler in samplers if sampler in BATCHES for count in steps]
