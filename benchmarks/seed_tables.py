"""Tables of what several kinds of ours found, each for several seeds, as ratios to the strongest built-in schedule."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.matched_cells import ART, BATCH, Cell
from benchmarks.matched_tables import Entry, duel
from benchmarks.trial_cells import SEEDS

HEAD = ("place", "sampler", "steps", "strongest", "RMS")


def title(kind: str, seed: int) -> str:
    """As cells call what was found; the prefix tells that it is no built-in schedule."""
    return f"{ART}{kind}, seed {seed}"


def rows_of(cells: Sequence[Cell], kinds: Sequence[str], folder: Path, chunks: int) -> list[list[str]]:
    """A row for each column: the strongest built-in, and the ratio of each kind to it, of every seed."""
    rows = [[*HEAD, *kinds]]
    for key, column in columns_of(cells, folder, chunks).items():
        duels = {kind: [duel(column, title(kind, seed)) for seed in SEEDS] for kind in kinds}
        rival = duels[kinds[0]][0].rival
        least = next(entry.rms for entry in column if entry.schedule == rival)
        rows.append([key[0].title, key[1], str(key[2]), rival, f"{least:.3f}",
                     *(", ".join(f"{one.ratio:.2f}" for one in each) for each in duels.values())])
    return rows


def columns_of(cells: Sequence[Cell], folder: Path, chunks: int) -> dict[tuple, list[Entry]]:
    """The schedules of each place, sampler and number of steps, in the order of the cells; none that is not finite."""
    found = {}
    for cell in cells:
        entry = Entry(cell.schedule, cell.load(folder)[:chunks * BATCH])
        if np.isfinite(entry.rms):
            found.setdefault((cell.place, cell.sampler, cell.steps), []).append(entry)
    return found


def summary(rows: Sequence[Sequence[str]], by: int = 0) -> list[list[str]]:
    """Of each kind the geometric mean of all ratios at a place, and in how many columns every seed is below 1.

    by: the row's cell that is gathered by, 1 for the samplers.
    """
    found = [[rows[0][by], *rows[0][len(HEAD):]]]
    for name in dict.fromkeys(row[by] for row in rows[1:]):
        cells = []
        for k in range(len(HEAD), len(rows[0])):
            ratios = [[float(ratio) for ratio in row[k].split(", ")] for row in rows[1:] if row[by] == name]
            below = sum(max(each) < 1 for each in ratios)
            cells.append(f"{np.exp(np.mean(np.log(ratios))):.2f}, {below} of {len(ratios)}")
        found.append([name, *cells])
    return found
