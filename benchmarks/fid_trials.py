"""Grids for pictures that a trial found, judged by its samples' spectrum: for the FID comparison.

ART Train with spectrum:<sampler> and trial_calls, on the demo model: three seeds, each with a recording of its own of
noise that no picture is judged on.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from art_nodes.core import optimal_schedule, with_grids
from benchmarks.matched_cells import ART, Place
from benchmarks.trial_cells import SEEDS, SIZE, ground

BATCHES, BUDGET = 16, 8192  # batches of recorded orbits, and sample calls of a trial
TRIED = ", tried, seed "
SAMPLERS = ("euler", "euler_ancestral")  # no recording foretells the noise that the second adds


@dataclass(frozen=True)
class PictureTrial:
    """One trial at a place."""

    place: Place
    sampler: str
    steps: int
    seed: int

    @property
    def title(self) -> str:
        """As tables call what it found."""
        return f"{ART}spectrum:{self.sampler}{TRIED}{self.seed}"

    def path(self, root: Path) -> Path:
        """The file of what it found."""
        name = f"tried-{self.sampler}-{self.steps:02d}-seed{self.seed}-{BATCHES}x{SIZE}-{BUDGET}-{self.place.mark}"
        return root / self.place.name / f"{name}.json"

    def sigmas(self, root: Path) -> tuple[float, ...]:
        """Of the grid that it found."""
        return tuple(json.loads(self.path(root).read_text())["sigmas"])

    def find(self) -> dict:
        """Its sigmas, and what the trial was."""
        here, objective = ground(self.place, self.seed, BATCHES), f"spectrum:{self.sampler}"
        from art_nodes.host.trials import try_steps  # the host is there once the ground is

        schedule = with_grids(optimal_schedule(here.bank), here.bank, objective, (self.steps,))
        found = try_steps(schedule, here.bank, here.runs(objective), objective, self.steps, BUDGET)[0]
        return {"sigmas": found.grids[self.steps].tolist(), **found.provenance["trial"]}


def trials(place: Place, samplers: Sequence[str], steps: Sequence[int]) -> list[PictureTrial]:
    """Those of the samplers that are tried."""
    return [PictureTrial(place, sampler, count, seed) for seed in SEEDS for sampler in samplers if sampler in SAMPLERS
            for count in steps]
