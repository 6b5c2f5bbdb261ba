"""End errors under guidance, and what it is worth to know of it; `python -m benchmarks guidance`.

Grids of `end:<sampler>` on the demo model at a cfg of 3 and of 7, with errors contracted as guidance wants it and as if
there were none (docs/theory.md, section 7), against every built-in schedule in the host.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from art_nodes.core import optimal_schedule, with_grids
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
KNOWN, UNKNOWN, CLOCK = "end, guidance known", "end, as if without", "the clock"


def title(kind: str, seed: int) -> str:
    """Of one of ours."""
    return f"{ART}{kind}, seed {seed}"


def ours(place: Place, seed: int) -> list[Cell]:
    """A cell of each kind in every column, learned on one recording."""
    bank = Ground(place, seed, batches=BATCHES).bank
    clock, cells = optimal_schedule(bank), []
    for sampler in SAMPLERS:
        plain = replace(bank, metadata={**bank.metadata, "cfg": 1.0})
        found = {KNOWN: with_grids(clock, bank, f"end:{sampler}", STEPS),
                 UNKNOWN: with_grids(clock, plain, f"end:{sampler}", STEPS), CLOCK: clock}
        cells += [Cell(place, sampler, steps, title(kind, seed), tuple(map(float, schedule.sigmas(steps))))
                  for kind, schedule in found.items() for steps in STEPS]
    return cells


def rows_of(cells: Sequence[Cell], places: Sequence[Place], folder: Path) -> list[list[str]]:
    """A row for each column: the strongest built-in, and the ratio of each kind to it, of every seed."""
    rows = [["place", "sampler", "steps", "strongest", "RMS", KNOWN, UNKNOWN, CLOCK]]
    for place in places:
        for sampler in SAMPLERS:
            for steps in STEPS:
                column = [Entry(cell.schedule, cell.load(folder)[:CHUNKS * BATCH]) for cell in cells
                          if (cell.place, cell.sampler, cell.steps) == (place, sampler, steps)]
                column = [entry for entry in column if np.isfinite(entry.rms)]
                duels = {kind: [duel(column, title(kind, seed)) for seed in SEEDS] for kind in (KNOWN, UNKNOWN, CLOCK)}
                rival = duels[KNOWN][0].rival
                least = next(entry.rms for entry in column if entry.schedule == rival)
                rows.append([place.title, sampler, str(steps), rival, f"{least:.3f}",
                             *(", ".join(f"{one.ratio:.2f}" for one in each) for each in duels.values())])
    return rows


def summary(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Of each kind the geometric mean of all ratios at a place, and in how many columns every seed is below 1."""
    kinds, found = rows[0][5:], [["place", *rows[0][5:]]]
    for place in dict.fromkeys(row[0] for row in rows[1:]):
        cells = []
        for k in range(len(kinds)):
            ratios = [[float(ratio) for ratio in row[5 + k].split(", ")] for row in rows[1:] if row[0] == place]
            below = sum(max(each) < 1 for each in ratios)
            cells.append(f"{np.exp(np.mean(np.log(ratios))):.2f}, {below} of {len(ratios)}")
        found.append([place, *cells])
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
    print(as_text(rows) + "\n\n" + as_text(summary(rows)))
    write_page(args.folder / PAGE, [
        "# Under guidance", f"{this_machine()}; {command('guidance --docs')}",
        f"End error of the demo model in ComfyUI on {CHUNKS * BATCH} held-out noises, as a ratio to the RMS of the"
        f" strongest of all built-in schedules in the column; of ours from {BATCHES * SIZE} recorded orbits, no trial,"
        f" seeds {', '.join(map(str, SEEDS))}. *{KNOWN}*: `end:<sampler>` as ART Train fits it; *{UNKNOWN}*: with the"
        " same recording, said to be of cfg 1 ([theory.md](theory.md), section 7); *the clock*: the closed form of the"
        " paper's objective.",
        "Geometric mean of all ratios, and in how many of the columns every seed is below 1:",
        as_markdown(summary(rows)), as_markdown(rows)], args.docs)
    print(args.folder / PAGE)


if __name__ == "__main__":
    main()
