"""What trying grids on the model is worth: ART Train's trial_calls, in the host; `python -m benchmarks trial`.

End error on held-out noise of grids that a trial of 512 or 4096 sample calls found, beside the objective's own and
every built-in schedule; three seeds of recording. In rounds: all built-ins on 32 noises, on 96, 160 and 256 those that
may yet be the strongest, and ours. Stops cleanly at Ctrl-C or SIGTERM; the same command goes on where it stopped.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks import trial_report as report
from benchmarks.chunks import resumable, say, stop_cleanly
from benchmarks.guidance import PLACES as GUIDED
from benchmarks.matched import built_in, columns, race
from benchmarks.matched_cells import PLACES, SAMPLERS, Cell, processes
from benchmarks.options import chosen, named, step_counts
from benchmarks.trial_cells import SEEDS, Job, make_missing

FOLDER = Path("build/trial")
STEPS = (6, 10, 20)


def ours(jobs: Sequence[Job], folder: Path) -> list[Cell]:
    """What the trials found, as cells."""
    return [Cell(job.place, job.sampler, job.steps, name, tuple(told["sigmas"]))
            for job in jobs if job.path(folder).exists() for name, told in job.load(folder).items()]


def _arguments(argv) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks trial", description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes of one thread each")
    parser.add_argument("--samplers", default=",".join(SAMPLERS))
    parser.add_argument("--places", default=",".join(place.name for place in PLACES))
    parser.add_argument("--steps", default=",".join(map(str, STEPS)))
    parser.add_argument("--report", action="store_true", help="only report what is there")
    parser.add_argument("--docs", action="store_true", help="also write docs/trial.md")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    args = parser.parse_args(argv)
    known = tuple(dict.fromkeys((*PLACES, *GUIDED)))
    args.places = tuple(named(parser, args.places, known))
    args.samplers = tuple(chosen(parser, args.samplers, SAMPLERS))
    args.steps = step_counts(parser, args.steps)
    return args


def main(argv=None):
    args = _arguments(argv)
    stop_cleanly()
    torch.set_num_threads(1)
    jobs = [Job(place, sampler, steps, seed) for place in args.places for seed in SEEDS
            for sampler in args.samplers for steps in args.steps]
    rivals = built_in((job.place, job.sampler, job.steps) for job in jobs)
    with resumable():
        if not args.report:
            make_missing(jobs, args.folder, args.workers,
                         lambda job: f"trials, {job.place.title}, {job.sampler}, seed {job.seed}")
        mine = ours(jobs, args.folder)
        if not args.report:
            with processes(args.folder, args.workers) as each:
                race(rivals, args.folder, each, say, also=mine)
    report.write(columns([*rivals, *mine]), jobs, args.folder, say, args.docs)


if __name__ == "__main__":
    main()
