"""End errors under guidance, and what it is worth to know of it; `python -m benchmarks guidance`.

Grids of `end:<sampler>` at a cfg of 3 and of 7, with the reach of errors divided by several powers of the cfg, none
among them (docs/theory.md, section 7), against every built-in schedule in the host: on the demo model, which objectives
took their power from, and on two exact ones that it was not chosen on (benchmarks/labelled.py).
"""

import argparse
import os
from dataclasses import replace
from pathlib import Path

import torch

from art_nodes.core import OrbitBank, optimal_schedule, with_grids
from art_nodes.core.objectives import GUIDED
from benchmarks.chunks import resumable, say, stop_cleanly
from benchmarks.machine import command, this_machine
from benchmarks.matched import FOLDER, built_in, missing, run
from benchmarks.matched_cells import BATCH, DEMO, Cell, Place, processes
from benchmarks.options import named
from benchmarks.pages import as_markdown, as_text, write_page
from benchmarks.seed_tables import rows_of, summary, title
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


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks guidance", description=__doc__.splitlines()[0])
    parser.add_argument("--places", default=",".join(place.name for place in PLACES))
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes of one thread each")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="that of `matched`")
    parser.add_argument("--docs", action="store_true", help=f"also write docs/{PAGE}")
    args = parser.parse_args(argv)
    stop_cleanly()
    torch.set_num_threads(1)
    places = named(parser, args.places, PLACES)
    with resumable():
        cells = [cell for place in places for seed in SEEDS for cell in ours(place, seed)]
        cells += built_in((place, sampler, steps) for place in places for sampler in SAMPLERS for steps in STEPS)
        with processes(args.folder, args.workers) as each:
            run(missing(cells, CHUNKS, args.folder), f"{CHUNKS * BATCH} noises", each, say)
    rows = rows_of(cells, KINDS, args.folder, CHUNKS)
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
