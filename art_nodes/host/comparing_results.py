"""What a comparison found: errors of schedules at numbers of steps, who won, and by how much."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from ..core.scores import ratio_interval, total
from .recording import flat, parts_of


@dataclass(frozen=True)
class Cell:
    """One schedule at one number of steps."""

    name: str
    steps: int  # asked for
    taken: int  # steps of the grid that the schedule gave
    calls: int  # model calls that one sampling took
    errors: np.ndarray  # (noises,) RMS distance of each end to the reference, over the elements of the latent

    @cached_property
    def rms(self) -> float:
        """Root mean square over the noises."""
        return total(self.errors)

    @cached_property
    def median(self) -> float:
        """Of the noises' own errors."""
        return float(np.median(self.errors))

    @property
    def competes(self) -> bool:
        """Whether it may win its column: with as many steps as asked, and numbers."""
        return self.taken == self.steps and math.isfinite(self.rms)


@dataclass(frozen=True)
class Measured:
    """The numbers of a comparison, and the latents to show."""

    steps: tuple[int, ...]  # the columns
    names: tuple[str, ...]  # every schedule that was asked for
    cells: tuple[Cell, ...]  # none where a schedule has no grid
    noises: int
    drift: float  # RMS distance between the reference and one of half its steps, over the first batch
    calls: int  # model calls in all, each of a whole batch
    seconds: float
    # (name, steps) -> latents (shown, ...) of the first noises; the reference's under None; all None if none are shown
    ends: dict[tuple[str, int] | None, torch.Tensor | None]

    def cell(self, name: str, steps: int) -> Cell | None:
        """The cell of a schedule in a column, if there is one."""
        return next((cell for cell in self.cells if (cell.name, cell.steps) == (name, steps)), None)

    def column(self, steps: int) -> list[Cell]:
        """The cells that compete at a number of steps, best first."""
        return sorted((cell for cell in self.cells if cell.steps == steps and cell.competes), key=lambda cell: cell.rms)

    def winner(self, steps: int) -> Cell | None:
        """The least error at a number of steps, if any competes."""
        return next(iter(self.column(steps)), None)

    def ranked(self) -> list[str]:
        """The schedules by their mean rank over the columns; who does not compete in one is last there."""
        ranks = {name: [] for name in self.names}
        for steps in self.steps:
            order = [cell.name for cell in self.column(steps)]
            for name, places in ranks.items():
                places.append(order.index(name) if name in order else len(self.names))
        return sorted(self.names, key=lambda name: sum(ranks[name]))

    def lead(self, steps: int) -> tuple[float, tuple[float, float] | None] | None:
        """Winner's error over the runner-up's, and its 95 % interval; None without a runner-up.

        There is no interval of a single noise, nor where an error is exactly 0.
        """
        best = self.column(steps)[:2]
        if len(best) < 2 or best[1].rms == 0:
            return None
        ratio = best[0].rms / best[1].rms
        if self.noises < 2 or not (best[1].errors > 0).all():
            return ratio, None
        return ratio, ratio_interval(best[0].errors, best[1].errors)


def curve(cells: tuple[Cell, ...], name: str) -> list[Cell]:
    """The cells of a schedule by model calls, without those whose error a logarithmic axis cannot show."""
    shown = (cell for cell in cells if cell.name == name and math.isfinite(cell.rms) and cell.rms > 0)
    return sorted(shown, key=lambda cell: (cell.calls, cell.steps, cell.rms))


def end_errors(end, reference) -> np.ndarray:
    """(B,) RMS distance of each sample to the reference over all elements of its latent, nested latents included."""
    difference = flat(end) - flat(reference)
    return difference.square().mean(dim=1).sqrt().numpy()


def first_part(latent) -> torch.Tensor:
    """The latent, or the first of a nested one, which holds the pictures."""
    return parts_of(latent)[0]


def comparison_record(measured, learned, sampler_name: str) -> dict:
    """A comparison's error curves as plain values, for ART Compare's `ui`; `learned` names the ART schedules."""
    curves = []
    for name in measured.ranked():
        points = [[int(cell.calls), int(cell.steps), float(cell.rms)] for cell in curve(measured.cells, name)]
        curves.append({"name": name, "learned": name in learned, "points": points})
    return {"sampler": sampler_name, "noises": int(measured.noises), "curves": curves}
