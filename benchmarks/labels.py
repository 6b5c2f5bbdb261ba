"""Whether what trials found holds for labels that they were not made on; `python -m benchmarks labels`.

The demo model's classes come in two halves. Each half has recordings, grids and trials of its own, and these are judged
on those held-out noises of `matched` whose label is of the other half, so that together they are judged on all noises,
each with a label and a noise that its grid has never met. Built-in schedules are those of `matched`: run that first.
Stops cleanly at Ctrl-C or SIGTERM; the same command goes on where it stopped.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from art_nodes.demo.unet import CLASSES
from benchmarks.chunks import resumable, say, stop_cleanly
from benchmarks.duels import Duel
from benchmarks.machine import this_machine
from benchmarks.matched import BATCHES, BUDGET, FOLDER, SECOND, built_in, missing, run, trials
from benchmarks.matched_cells import ART, BATCH, DEMO_PLACES, SAMPLERS, TRIED, Cell, Place, processes
from benchmarks.matched_tables import Entry, duel
from benchmarks.pages import as_markdown, as_text, write_page
from benchmarks.trial_cells import SIZE, Trial, make_missing

PAGE = "labels.md"
HALVES = (CLASSES[::2], CLASSES[1::2])
STEPS = (6, 10, 20)
NOISES = SECOND * BATCH


def pair(place: Place, sampler: str, steps: int, seed: int) -> list[Trial]:
    """The trials of both halves."""
    [whole] = trials([place], [sampler], [steps])
    return [replace(whole, seed=seed, classes=half) for half in HALVES]


def cell_of(job: Trial, folder: Path) -> Cell:
    """What a trial found."""
    return Cell(job.place, job.sampler, job.steps, ART + job.objective + TRIED, job.sigmas(folder))


def unseen(errors: Sequence[np.ndarray]) -> np.ndarray:
    """Of both halves' errors (N,) at the same noises those with a label of the other half; (N,)."""
    first, second = errors
    of_first = np.arange(len(first)) % BATCH % len(CLASSES) % len(HALVES) == 0  # whose label the first half has
    return np.where(of_first, second, first)


def rivals(place: Place, sampler: str, steps: int, folder: Path) -> list[Entry]:
    """The built-in schedules on all noises."""
    found = [(cell.schedule, cell.load(folder)[:NOISES]) for cell in built_in([(place, sampler, steps)])]
    return [Entry(name, errors) for name, errors in found if len(errors) == NOISES]


def rows_of(jobs: Sequence[tuple[Trial, Trial]], folder: Path) -> list[list[str]]:
    """A row for each pair of trials: against the strongest built-in, and against a trial of all labels."""
    rows = [["sampler", "place", "steps", "seed", "over the strongest", "strongest", "verdict", "over all labels"]]
    for both in jobs:
        job = both[0]
        mine = unseen([cell_of(half, folder).load(folder)[:NOISES] for half in both])
        entry = Entry(cell_of(job, folder).schedule, mine)
        won = duel([*rivals(job.place, job.sampler, job.steps, folder), entry], entry.schedule)
        whole = cell_of(replace(job, classes=CLASSES), folder).load(folder)[:NOISES]
        rows.append([job.sampler, job.place.title, str(job.steps), str(job.seed),
                     won.text, won.rival, won.verdict, Duel.of("all labels", mine, whole).text])
    return rows


def write(jobs: Sequence[tuple[Trial, Trial]], folder: Path, command: str, to_docs: bool = False) -> None:
    """Print the table, and write the page."""
    rows = rows_of(jobs, folder)
    counts = ", ".join(f"{sum(row[6] == word for row in rows[1:])} {word}" for word in ("wins", "tied", "loses"))
    print(as_text(rows) + f"\n{counts}")
    write_page(folder / PAGE, [
        "# On labels that nothing was learned on", f"{this_machine()}; `{command}`, after `matched` for the same",
        f"End error in ComfyUI on the {NOISES} held-out noises of [results.md](results.md). The demo model's ten"
        f" classes come in two halves, {' and '.join(', '.join(half) for half in HALVES)}; a grid is made of"
        f" `end:<sampler>` from {BATCHES * SIZE} recorded orbits of one half, tried on these with at most {BUDGET}"
        " sample calls, and judged where the label is of the other half; the two halves together are judged on all"
        " noises. *Over the strongest*: ratio of the RMS to that of the strongest built-in schedule, with the 95 %"
        " interval of a paired bootstrap. *Over all labels*: to that of a trial on orbits of all ten classes.",
        f"{counts}.", as_markdown(rows)], to_docs)
    print(folder / PAGE)


def _arguments(argv) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks labels", description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes of one thread each")
    parser.add_argument("--samplers", nargs="+", default=["euler", "dpmpp_2m"], choices=SAMPLERS)
    parser.add_argument("--places", nargs="+", default=[DEMO_PLACES[0].name],
                        choices=[place.name for place in DEMO_PLACES])
    parser.add_argument("--steps", nargs="+", type=int, default=list(STEPS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--docs", action="store_true", help=f"also write docs/{PAGE}")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="that of `matched`")
    return parser.parse_args(argv)


def main(argv=None):
    args = _arguments(argv)
    stop_cleanly()
    torch.set_num_threads(1)
    places = [place for place in DEMO_PLACES if place.name in args.places]
    jobs = [pair(place, sampler, steps, seed) for seed in args.seeds for place in places for sampler in args.samplers
            for steps in args.steps]
    for job, _ in jobs:
        if len(rivals(job.place, job.sampler, job.steps, args.folder)) < 2:
            sys.exit(f"{job.place.title}, {job.sampler}, {job.steps} steps: no built-in schedule to compare with in "
                     f"{args.folder}; run `python -m benchmarks matched` with the same places, samplers, steps and "
                     "folder first")
    every = [one for first, second in jobs for one in (first, second, replace(first, classes=CLASSES))]
    every = sorted(every, key=lambda job: (job.seed, job.place.name, job.classes))  # a recording is made once
    with resumable():
        make_missing(every, args.folder, args.workers, lambda job: f"trial, {job.objective}, seed {job.seed}")
        with processes(args.folder, args.workers) as each:
            run(missing([cell_of(job, args.folder) for job in every], SECOND, args.folder), "both halves", each,
                say)
    command = (f"python -m benchmarks labels --places {' '.join(args.places)} --samplers {' '.join(args.samplers)}"
               f" --steps {' '.join(map(str, args.steps))} --seeds {' '.join(map(str, args.seeds))} --docs")
    write(jobs, args.folder, command, args.docs)


if __name__ == "__main__":
    main()
