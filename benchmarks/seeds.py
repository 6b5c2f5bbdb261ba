"""Whether what trials found in the matched comparison holds for other seeds; `python -m benchmarks seeds`.

Each seed has a recording of its own, from which its grid is made and on which it is tried. All seeds are measured on
the noises of the second round of `matched`, whose built-in schedules they are compared with: run that first. Stops
cleanly at Ctrl-C or SIGTERM; the same command goes on where it stopped.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import torch

from art_nodes.core.scores import total
from benchmarks.chunks import resumable, say, stop_cleanly
from benchmarks.duels import mean_of
from benchmarks.machine import this_machine
from benchmarks.matched import BATCHES, BUDGET, SECOND, arguments_after, built_in, columns, missing, run, trials
from benchmarks.matched_cells import ART, BATCH, KNOWN, NODES, TRIED, Cell, own, processes
from benchmarks.matched_tables import STATISTICS, Entries, duel, entries, tally
from benchmarks.pages import as_markdown, as_text, write_page
from benchmarks.trial_cells import SEEDS, SIZE, Trial, make_missing

PAGE = "seeds.md"
CHECKED = ("euler", "heun", "dpmpp_2m")  # of SAMPLERS


def title(sampler: str, seed: int) -> str:
    """As tables call what a trial found."""
    return f"{ART}{own(sampler)}{TRIED}, seed {seed}"


def cells_of(jobs: Sequence[Trial], folder: Path) -> list[Cell]:
    """What the trials that were made found."""
    return [Cell(job.place, job.sampler, job.steps, title(job.sampler, job.seed), job.sigmas(folder))
            for job in jobs if job.path(folder).exists()]


def measured(cells: Sequence[Cell], folder: Path) -> Entries:
    """What was measured in each column on all noises of the second round."""
    found = {key: [entry for entry in entries(column, folder, SECOND) if len(entry.errors) == SECOND * BATCH]
             for key, column in columns(cells).items()}
    return {key: column for key, column in found.items() if any(entry.schedule.startswith(ART) for entry in column)}


def summary(found: Entries) -> list[list[str]]:
    """For each sampler and seed: wins, ties, losses, mean and worst ratio, and the same of medians."""
    rows = [["sampler", "seed", "wins", "tied", "loses", "mean ratio", "worst ratio",
             "by medians: wins", "tied", "loses", "mean ratio"]]
    for sampler in dict.fromkeys(sampler for _, sampler, _ in found):
        for seed in SEEDS:
            row = [sampler, str(seed)]
            for of in STATISTICS.values():
                counts, ratios = tally(found, title(sampler, seed), sampler, of)
                row += [*map(str, counts.values()), f"{mean_of(ratios):.3f}"] if ratios else []
                row += [f"{max(ratios):.3f}"] if ratios and of is total else []
            if len(row) > 2:
                rows.append(row)
    return rows


def table(found: Entries, sampler: str, of: Callable) -> list[list[str]]:
    """Rows are places, columns numbers of steps: each seed's ratio to the strongest built-in, and its verdict."""
    here = {(place, count): column for (place, name, count), column in found.items() if name == sampler}
    steps = sorted({count for _, count in here})
    rows = [["steps", *map(str, steps)]]
    for place in dict.fromkeys(place for place, _ in here):
        every = [[duel(here.get((place, count), ()), title(sampler, seed), of) for seed in SEEDS] for count in steps]
        rows.append([place.title, *(" ".join(f"{one.ratio:.2f}{one.verdict[0]}" for one in column if one)
                                    for column in every)])
    return rows


def agreement(found: Entries) -> list[list[str]]:
    """For each sampler: in how many columns all, some or no seeds win, and in how many most seeds lose."""
    rows = [["sampler", "columns", "every seed wins", "most win", "few or none", "most lose"]]
    for sampler in dict.fromkeys(sampler for _, sampler, _ in found):
        here = [[duel(column, title(sampler, seed)) for seed in SEEDS]
                for (_, name, _), column in found.items() if name == sampler]
        every = [[one.verdict for one in duels if one] for duels in here]
        every = [verdicts for verdicts in every if len(verdicts) == len(SEEDS)]
        wins, lost = ([verdicts.count(word) for verdicts in every] for word in ("wins", "loses"))
        half = len(SEEDS) / 2
        rows.append([sampler, str(len(every)), str(sum(n == len(SEEDS) for n in wins)),
                     str(sum(half < n < len(SEEDS) for n in wins)), str(sum(n < half for n in wins)),
                     str(sum(n > half for n in lost))])
    return rows


def write(cells: Sequence[Cell], folder: Path, to_docs: bool = False) -> None:
    """Print the tables, and write the page."""
    found = measured(cells, folder)
    samplers = list(dict.fromkeys(sampler for _, sampler, _ in found))
    places = [place.name for place in KNOWN if any(place == where for where, _, _ in found)]
    parts = ["# What trials found, for three seeds",
             f"{this_machine()}; `python -m benchmarks seeds --places {','.join(places)} --samplers"
             f" {','.join(samplers)} --docs`, after `matched` for the same",
             "End error in ComfyUI of what a trial makes of `end:<sampler>`, as a ratio to the strongest built-in"
             f" schedule of the column ([results.md](results.md)), on {SECOND * BATCH} held-out noises. Each seed has a"
             f" recording of its own, {BATCHES * SIZE} orbits of {NODES} nodes, and at most {BUDGET} sample calls. w,"
             " t, l: wins, tied, loses by the 95 % interval of a paired bootstrap over noises. By medians: against the"
             " built-in with the least median.",
             as_markdown(summary(found)), "In how many columns seeds agree, by RMS:", as_markdown(agreement(found))]
    print(as_text(summary(found)) + "\n\n" + as_text(agreement(found)))
    for sampler in samplers:
        parts.append(f"## {sampler}")
        for word, of in STATISTICS.items():
            rows = table(found, sampler, of)
            print(f"\n{sampler}, {word}\n" + as_text(rows))
            parts += [f"{word}:", as_markdown(rows)]
    write_page(folder / PAGE, parts, to_docs)
    print(folder / PAGE)


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks seeds", description=__doc__.splitlines()[0])
    args = arguments_after(parser, argv, CHECKED, PAGE)
    stop_cleanly()
    torch.set_num_threads(1)
    asked = args.places, args.samplers, args.steps
    cells = built_in(product(*asked))
    for (place, sampler, count), column in columns(cells).items():
        if sum(len(cell.load(args.folder)) >= SECOND * BATCH for cell in column) < 2:
            sys.exit(f"{place.title}, {sampler}, {count} steps: no built-in schedule to compare with in {args.folder}; "
                     "run `python -m benchmarks matched` with the same places, samplers, steps and folder first")
    jobs = [replace(job, seed=seed) for place in args.places for seed in SEEDS
            for job in trials([place], args.samplers, args.steps)]
    with resumable():
        if not args.report:
            make_missing(jobs, args.folder, args.workers,
                         lambda job: f"trial, {job.place.title}, {job.objective}, seed {job.seed}")
        tried = cells_of(jobs, args.folder)
        if not args.report:
            with processes(args.folder, args.workers) as each:
                run(missing(tried, SECOND, args.folder), "all seeds", each, say)
    write(cells + tried, args.folder, args.docs)


if __name__ == "__main__":
    main()
