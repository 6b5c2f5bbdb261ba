"""End errors under guidance, and what it is worth to know of it; `python -m benchmarks guidance`.

Grids of `end:<sampler>` at a cfg of 3 and of 7, with the reach of errors divided by several powers of the cfg, none
among them (docs/theory.md, section 7), against every built-in schedule in the host: on the demo model, which objectives
took their power from, and on two exact ones that it was not chosen on (benchmarks/labelled.py).
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from art_nodes.core import OrbitBank, optimal_schedule, with_grids
from art_nodes.core.objectives import GUIDED
from benchmarks.chunks import resumable, say, stop_cleanly
from benchmarks.machine import command, this_machine
from benchmarks.matched import FOLDER, built_in, missing, run
from benchmarks.matched_cells import ART, BATCH, DEMO, Cell, Place, processes
from benchmarks.matched_tables import Entry, duel
from benchmarks.options import chosen
from benchmarks.pages import as_markdown, as_text, write_page
from benchmarks.trial_cells import SEEDS, SIZE, Ground

PAGE = "guidance.md"
PLACES = tuple(Place(dress, cfg, model) for model in (DEMO, "labelled-digits", "labelled-garments")
               for dress in ("SDXL", "EDM") for cfg in (3.0, 7.0))
SAMPLERS, STEPS, CHUNKS = ("euler", "heun", "dpmpp_2m"), (6, 10), 2
BATCHES = 10  # of recorded orbits, each of another class
CLOCK = "the clock"
POWERS = {"cfg^0": 0.0, "cfg^1": 1.0, "cfg^1.5": GUIDED, "cfg^2": 2.0}
KNOWN = next(name for name, power in POWERS.items() if power == GUIDED)
KINDS = (*POWERS, CLOCK)


def title(kind: str, seed: int) -> str:
    """Of one of ours."""
    return f"{ART}{kind}, seed {seed}"


def as_of_power(bank: OrbitBank, power: float) -> OrbitBank:
    """Said to be of another cfg: the one that objectives make of what they would of this one, were that their power."""
    return replace(bank, metadata={**bank.metadata, "cfg": bank.metadata["cfg"] ** (power / GUIDED)})


def ours(place: Place, seed: int) -> list[Cell]:
    """A cell of each kind in every column, learned on one recording."""
    bank = Ground(place, seed, batches=BATCHES).bank
    clock, cells = optimal_schedule(bank), []
    for sampler in SAMPLERS:
        found = {CLOCK: clock}
        found |= {name: with_grids(clock, as_of_power(bank, power), f"end:{sampler}", STEPS)
                  for name, power in POWERS.items()}
        cells += [Cell(place, sampler, steps, title(kind, seed), tuple(map(float, schedule.sigmas(steps))))
                  for kind, schedule in found.items() for steps in STEPS]
    return cells


def rows_of(cells: Sequence[Cell], places: Sequence[Place], folder: Path) -> list[list[str]]:
    """A row for each column: the strongest built-in, and the ratio of each kind to it, of every seed."""
    rows = [["place", "sampler", "steps", "strongest", "RMS", *KINDS]]
    for place in places:
        for sampler in SAMPLERS:
            for steps in STEPS:
                column = [Entry(cell.schedule, cell.load(folder)[:CHUNKS * BATCH]) for cell in cells
                          if (cell.place, cell.sampler, cell.steps) == (place, sampler, steps)]
                column = [entry for entry in column if np.isfinite(entry.rms)]
                duels = {kind: [duel(column, title(kind, seed)) for seed in SEEDS] for kind in KINDS}
                rival = duels[KNOWN][0].rival
                least = next(entry.rms for entry in column if entry.schedule == rival)
                rows.append([place.title, sampler, str(steps), rival, f"{least:.3f}",
                             *(", ".join(f"{one.ratio:.2f}" for one in each) for each in duels.values())])
    return rows


def summary(rows: Sequence[Sequence[str]], by: int = 0) -> list[list[str]]:
    """Of each kind the geometric mean of all ratios at a place, and in how many columns every seed is below 1.

    by: the row's cell that is gathered by, 1 for the samplers.
    """
    found = [[rows[0][by], *KINDS]]
    for name in dict.fromkeys(row[by] for row in rows[1:]):
        cells = []
        for k in range(len(KINDS)):
            ratios = [[float(ratio) for ratio in row[5 + k].split(", ")] for row in rows[1:] if row[by] == name]
            below = sum(max(each) < 1 for each in ratios)
            cells.append(f"{np.exp(np.mean(np.log(ratios))):.2f}, {below} of {len(ratios)}")
        found.append([name, *cells])
    return found


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks guidance", description=__doc__.splitlines()[0])
    parser.add_argument("--places", default=",".join(place.name for place in PLACES))
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes of one thread each")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="that of `matched`")
    parser.add_argument("--docs", action="store_true", help=f"also write docs/{PAGE}")
    args = parser.parse_args(argv)
    stop_cleanly()
    torch.set_num_threads(1)
    names = chosen(parser, args.places, (place.name for place in PLACES))
    places = [place for place in PLACES if place.name in names]
    with resumable():
        cells = [cell for place in places for seed in SEEDS for cell in ours(place, seed)]
        cells += built_in((place, sampler, steps) for place in places for sampler in SAMPLERS for steps in STEPS)
        with processes(args.folder, args.workers) as each:
            run(missing(cells, CHUNKS, args.folder), f"{CHUNKS * BATCH} noises", each, say)
    rows = rows_of(cells, places, args.folder)
    exact = [rows[0], *(row for row in rows if row[0] in [place.title for place in places if place.model != DEMO])]
    print("\n\n".join(map(as_text, (rows, summary(rows), summary(exact, by=1)))))
    write_page(args.folder / PAGE, [
        "# Under guidance", f"{this_machine()}; {command('guidance --docs')}",
        f"End error in ComfyUI on {CHUNKS * BATCH} held-out noises, as a ratio to the RMS of the strongest of all"
        f" built-in schedules in the column; of ours from {BATCHES * SIZE} recorded orbits, no trial, seeds"
        f" {', '.join(map(str, SEEDS))}. *cfg^p*: grids of `end:<sampler>` with R divided by that power of the cfg"
        f" ([theory.md](theory.md), section 7); *{KNOWN}* is what ART Train takes, *cfg^0* knows of no guidance."
        f" *{CLOCK}*: the closed form of the paper's objective. Places without a name are the demo model, on which the"
        " power was chosen. *labelled-digits* are scikit-learn's digits under a kernel, *labelled-garments*"
        " Fashion-MNIST as one Gaussian a class, both with exact denoisers of a class and of all: the power was not"
        " chosen on them.",
        "Geometric mean of all ratios, and in how many of the columns every seed is below 1:",
        as_markdown(summary(rows)), "The same by sampler, of the exact models only:",
        as_markdown(summary(exact, by=1)), as_markdown(rows)], args.docs)
    print(args.folder / PAGE)


if __name__ == "__main__":
    main()
