"""Ours against every built-in schedule at matched model calls, in the host; `python -m benchmarks matched`.

End error to a fine reference on held-out noise for the deterministic samplers, in rounds: all schedules on 32 noises,
on 96, 160 and 256 those that may yet be the best of their column (on the digits all) and of ours those that are meant
for its sampler, and with --more on 1,024 where chance still decides; on a GPU, with ART_HOST_GPU=1, all on 256, then
512 and 2,048. Ours are what a trial on the model makes of the sampler's own objective (benchmarks/trial_cells.py),
and with --more the grids of several objectives as they are. FID has a command of its own, `fid`. Stops cleanly at
Ctrl-C or SIGTERM; the same command goes on where it stopped; delete build/matched once the learner or its trials
have changed.
"""

import argparse
import os
import time
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import torch

from art_nodes.core.scores import ratio_interval, total
from benchmarks import matched_report as report
from benchmarks import matched_tables as tables
from benchmarks.chunks import Processes, resumable, say, stop_cleanly
from benchmarks.comfy.inprocess import on_gpu
from benchmarks.matched_cells import (
    ART,
    BATCH,
    FOR_ALL,
    KNOWN,
    MEASURED,
    PLACES,
    SAMPLERS,
    STEPS,
    TRIED,
    Cell,
    Job,
    Place,
    Stage,
    grids,
    learned,
    own,
    processes,
    together,
)
from benchmarks.options import chosen, named, no_page_of_a_look, step_counts
from benchmarks.pages import copy_to_docs
from benchmarks.trial_cells import SIZE, Trial, make_missing

FOLDER = Path("build/matched")
FIRST, CULLS, SECOND, THIRD = 1, (3, 5), 8, 32  # chunks of the rounds: 32; 96 and 160; 256; and 1,024 noises
MORE = 2  # times as many in the last two rounds on a GPU, where few noises take as long as 256
NEARLY = 0.05  # of an interval's end to 1, where more noises may change the verdict
UNCULLED = "digits"  # cheap, and a picture in hundreds that turns into another decides the RMS: no few noises tell
BATCHES, BUDGET = 40, 4096  # batches of recorded orbits, and sample calls of a trial
QUICK = {"places": PLACES[:1], "samplers": ("euler", "dpmpp_2m"), "steps": (6,)}
QUICK_BATCHES = 8  # of recorded orbits: recording more takes longer than all else


def built_in(keys: Iterable[tuple[Place, str, int]]) -> list[Cell]:
    """Every built-in schedule at some places, with some samplers and numbers of steps."""
    found, stages = [], {}
    for place, sampler, steps in dict.fromkeys(keys):
        stage = stages.setdefault(place, Stage(place))
        found += [Cell(place, sampler, steps, *named) for named in grids(stage, sampler, steps, {}).items()]
    return found


def all_cells(places: Sequence[Place], samplers: Sequence[str], steps: Sequence[int], folder: Path) -> list[Cell]:
    """Every schedule with a grid in every column."""
    cells, names = [], tuple(dict.fromkeys((*FOR_ALL, *map(own, samplers))))
    for place in places:
        stage = Stage(place)
        ours = learned(stage, folder, names)
        cells += [Cell(place, sampler, count, name, sigmas) for sampler in samplers for count in steps
                  for name, sigmas in grids(stage, sampler, count, ours).items()]
    return cells


def trials(places: Sequence[Place], samplers: Sequence[str], steps: Sequence[int], batches: int = BATCHES
           ) -> list[Trial]:
    """One of each sampler's own objective in every column."""
    return [Trial(place, own(sampler), count, 0, batches, BUDGET) for place in places for sampler in samplers
            for count in steps]


def tried_cells(jobs: Sequence[Trial], folder: Path) -> list[Cell]:
    """What the trials that were made found."""
    return [Cell(job.place, job.sampler, job.steps, ART + job.objective + TRIED, job.sigmas(folder))
            for job in jobs if job.path(folder).exists()]


def columns(cells: Sequence[Cell]) -> dict[tuple[Place, str, int], list[Cell]]:
    """The cells by place, sampler and steps."""
    found = {}
    for cell in cells:
        found.setdefault((cell.place, cell.sampler, cell.steps), []).append(cell)
    return found


def is_ours(cell: Cell) -> bool:
    """And not a schedule of the host."""
    return cell.schedule.startswith(ART)


def is_meant(cell: Cell) -> bool:
    """Whether it is of the objective that is meant for its sampler, tried or not."""
    mine = ART + own(cell.sampler)
    return cell.schedule in (mine, mine + TRIED)


def contenders(column: Sequence[Cell], folder: Path, chunks: int = FIRST) -> list[Cell]:
    """What may be the best of a column by RMS or by median on the noises of so many chunks, and ours of the sampler.

    A built-in is out only if by both it is worse than the best one beyond chance: of few noises one picture that turns
    into another decides the RMS, so that a bare ratio would drop some that are the best of more noises. Two stay, and
    all of UNCULLED.
    """
    if column[0].place.model == UNCULLED:
        return list(column)
    found = {cell: errors[:chunks * BATCH] for cell in column
             if len(errors := cell.load(folder)) >= chunks * BATCH and np.isfinite(errors).all()}
    kept = {cell for cell in found if is_meant(cell)}
    for of in tables.STATISTICS.values():
        built_in = sorted((cell for cell in found if not is_ours(cell)), key=lambda cell: of(found[cell]))
        kept |= {*built_in[:2], *(cell for cell, errors in found.items()
                                  if built_in and ratio_interval(errors, found[built_in[0]], of)[0] <= 1)}
    return [cell for cell in column if cell in kept]


def rounds(quick: bool = False) -> tuple[int, ...]:
    """How many chunks each round takes here, that of ties the last."""
    if quick:
        return FIRST, CULLS[0], CULLS[0]
    return (SECOND, MORE * SECOND, MORE * THIRD) if on_gpu() else (FIRST, *CULLS, SECOND, THIRD)


def race(cells: Sequence[Cell], folder: Path, each: Processes, say, also: Sequence[Cell] = (),
         quick: bool = False) -> list[Cell]:
    """All cells on the noises of the first round, then on more those that may yet be the best; returns the last ones.

    Of ours only those that are meant for the sampler: to no verdict the others matter.
    each: what computes chunks. also: cells that are measured on all noises of the rounds, whoever is best.
    quick: as for `rounds`.
    """
    first, *further, _ = rounds(quick)
    run(missing(cells, first, folder), f"{first * BATCH} noises", each, say)
    for before, chunks in zip((first, *further), further, strict=False):
        cells = [cell for column in columns(cells).values() for cell in contenders(column, folder, before)
                 if is_meant(cell) or not is_ours(cell)]
        more = also if chunks == further[-1] else ()
        run(missing([*cells, *more], chunks, folder), f"{chunks * BATCH} noises", each, say)
    return cells


def mine_of(column: Sequence[Cell]) -> str:
    """Our schedule that a column is won or lost with: that of the sampler's own objective, tried if it was."""
    plain = ART + own(column[0].sampler)
    return plain + TRIED if any(cell.schedule == plain + TRIED for cell in column) else plain


def contested(column: Sequence[Cell], folder: Path, chunks: int) -> list[Cell]:
    """The grids that decide the column, where on the noises of so many chunks the interval has 1 in it, or nearly so.

    Whichever way it fell: to measure again only what is tied would turn chance losses of ties into wins.
    """
    found = [cell for cell in column if len(cell.load(folder)) >= chunks * BATCH]
    duel = tables.duel(tables.entries(found, folder, chunks), mine_of(column))
    if duel is None or duel.low > 1 + NEARLY or duel.high < 1 - NEARLY:
        return []
    return deciding(found, folder, chunks)


def deciding(column: Sequence[Cell], folder: Path, chunks: int) -> list[Cell]:
    """Ours, and the built-ins that may be the strongest by the noises of so many chunks, two at least."""
    found = {cell: errors[:chunks * BATCH] for cell in column
             if len(errors := cell.load(folder)) >= chunks * BATCH and np.isfinite(errors).all()}
    built_in = sorted((cell for cell in found if not is_ours(cell)), key=lambda cell: total(found[cell]))
    close = {*built_in[:2], *(cell for cell in built_in if ratio_interval(found[cell], found[built_in[0]])[0] <= 1)}
    return [cell for cell in column if cell in close or is_meant(cell) and cell in found]


def missing(cells: Sequence[Cell], chunks: int, folder: Path) -> list[Job]:
    """Chunks that are still to be computed, those of cheap cells first; schedules with the same grid share theirs."""
    found = {cell.folder(folder): cell for cell in sorted(cells, key=lambda cell: cell.calls)}
    jobs = []
    for cell in found.values():
        numbers = [number for number in range(chunks) if not cell.path(folder, number).exists()]
        most = together(cell)
        jobs += [(cell, tuple(numbers[i:i + most])) for i in range(0, len(numbers), most)]
    return jobs


def run(jobs: Sequence[Job], title: str, each: Processes, say) -> None:
    """Compute the jobs, with a line a minute."""
    say(f"{title}: {sum(len(numbers) for _, numbers in jobs)} chunks")
    left = sum(cell.calls * cell.batch * len(numbers) for cell, numbers in jobs)
    done, began, told = 0, time.perf_counter(), 0.0
    for (cell, numbers), _ in each(jobs):
        done += cell.calls * cell.batch * len(numbers)
        now = time.perf_counter() - began
        if now - told > 60 or done == left:
            told = now
            rate = done / now
            say(f"  {done:9,d} of {left:,d} sample calls, {rate:4.0f} a second, "
                f"{(left - done) / rate / 60:4.0f} min left")


def _arguments(argv) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks matched", description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=1 if on_gpu() else os.cpu_count() or 1,
                        help="processes of one thread each; one on a GPU, with ART_HOST_GPU=1")
    parser.add_argument("--samplers", default=",".join(SAMPLERS), help="deterministic samplers, separated by commas")
    parser.add_argument("--places", default=",".join(place.name for place in MEASURED),
                        help=f"of {', '.join(place.name for place in KNOWN)}")
    parser.add_argument("--steps", default=",".join(map(str, STEPS)))
    parser.add_argument("--quick", action="store_true",
                        help="for a look: two samplers at 6 steps, one place, 96 noises")
    parser.add_argument("--more", action="store_true",
                        help=f"also ours that no trial found; what chance decides on {rounds()[-1] * BATCH:,d} noises")
    parser.add_argument("--report", action="store_true", help="only report what is there")
    parser.add_argument("--docs", nargs="?", const=report.PAGE, metavar="PAGE",
                        help=f"also write docs/PAGE, {report.PAGE} if not named, and its pictures")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    args = parser.parse_args(argv)
    no_page_of_a_look(parser, args)
    args.places = tuple(named(parser, args.places, KNOWN))
    args.samplers = tuple(chosen(parser, args.samplers, SAMPLERS))
    args.steps = step_counts(parser, args.steps)
    if args.quick:
        args.places, args.samplers, args.steps = QUICK.values()
    return args


def arguments_after(parser: argparse.ArgumentParser, argv, samplers: Iterable[str], page: str) -> argparse.Namespace:
    """Of a benchmark that goes on from what this one has measured: places, samplers and steps of its own columns."""
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes of one thread each")
    parser.add_argument("--samplers", default=",".join(samplers), help=f"of {', '.join(SAMPLERS)}")
    parser.add_argument("--places", default=",".join(place.name for place in MEASURED), help="of those of `matched`")
    parser.add_argument("--steps", default=",".join(map(str, STEPS)))
    parser.add_argument("--report", action="store_true", help="only report what is there")
    parser.add_argument("--docs", action="store_true", help=f"also write docs/{page}")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="that of `matched`")
    args = parser.parse_args(argv)
    args.places, args.samplers = named(parser, args.places, KNOWN), chosen(parser, args.samplers, SAMPLERS)
    args.steps = step_counts(parser, args.steps)
    return args


def main(argv=None):
    args = _arguments(argv)
    stop_cleanly()
    torch.set_num_threads(1)
    batches, (*_, second, third) = QUICK_BATCHES if args.quick else BATCHES, rounds(args.quick)
    jobs = trials(args.places, args.samplers, args.steps, batches)
    with resumable():
        if not args.report:
            make_missing(jobs, args.folder, args.workers, lambda job: f"trial, {job.place.title}, {job.objective}")
        asked = args.places, args.samplers, args.steps
        cells = all_cells(*asked, args.folder) if args.more else built_in(product(*asked))
        cells += tried_cells(jobs, args.folder)
        if not args.report:
            with processes(args.folder, args.workers) as each:
                close = race(cells, args.folder, each, say, quick=args.quick)
                if args.more:
                    tied = [cell for column in columns(close).values()
                            for cell in contested(column, args.folder, second)]
                    run(missing(tied, third, args.folder), f"{third * BATCH} noises", each, say)
    trial = f"a trial of at most {BUDGET} sample calls on {batches * SIZE} recorded orbits, one seed"
    page = args.docs or report.PAGE
    if report.write(columns(cells), args.folder / page, trial, rounds(args.quick), say) and args.docs:
        copy_to_docs(args.folder / page)


if __name__ == "__main__":
    main()
