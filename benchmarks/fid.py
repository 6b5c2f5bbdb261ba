"""FID of ours and of every built-in schedule at matched model calls, in the host; `python -m benchmarks fid`.

On the demo model in SDXL's dress at cfg 1, in the features of the bundled classifier. Two rounds: every schedule on
280 samples, then of each column the three built-ins and the one of ours with the least FID on 5,040, with --seeds that
of other recordings too, and the grids that trials found (benchmarks/fid_trials.py). Beside them a fine solution of the
ODE, which is what the model itself can do. The noise is one that nothing was learned on; labels are the ten classes,
as often each. Stops cleanly at Ctrl-C or SIGTERM; the same command goes on where it stopped; delete build/matched once
the learner or its trials have changed.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from art_nodes.core import OrbitBank
from art_nodes.core.objectives import NOISY
from benchmarks import fid_report as report
from benchmarks import fid_trials
from benchmarks.chunks import resumable, say, stop_cleanly
from benchmarks.comfy.inprocess import on_gpu
from benchmarks.matched import FOLDER, missing, run
from benchmarks.matched_cells import (
    ART,
    ORBITS,
    PLACES,
    RECORDINGS,
    SAMPLERS,
    FidCell,
    Stage,
    for_pictures,
    grids,
    learned,
    own,
    processes,
)
from benchmarks.options import chosen, step_counts
from benchmarks.trial_cells import make_missing

PLACE, STEPS, RIVALS = PLACES[0], (5, 8, 12, 20), 3
FINE_SAMPLER, FINE_STEPS = "dpmpp_2m", 40
FIRST, SECOND = 7, 126  # chunks of the two rounds: 280 and 5,040 samples, on a GPU twice as many
SUPPORTED = (*SAMPLERS, *NOISY)
MEASURED = ("euler", "heun", "dpmpp_2m")  # docs/fid.md; those that add noise have a page of their own
Columns = dict[tuple[str, int], list[FidCell]]


def all_columns(samplers: Sequence[str], steps: Sequence[int], folder: Path) -> Columns:
    """(sampler, steps) -> a cell for every schedule that has a grid there, and for ours of the first recording."""
    stage = Stage(PLACE)
    names = dict.fromkeys(name for sampler in samplers for name in (own(sampler), *for_pictures(sampler)))
    ours, columns = learned(stage, folder, tuple(names)), {}
    for sampler in samplers:
        wanted = {ART + name for name in (own(sampler), *for_pictures(sampler))}
        for count in steps:
            columns[sampler, count] = [FidCell(PLACE, sampler, count, name, sigmas)
                                       for name, sigmas in grids(stage, sampler, count, ours).items()
                                       if not name.startswith(ART) or name in wanted]
    for trial in fid_trials.trials(PLACE, samplers, steps):
        if trial.path(folder).exists():
            columns[trial.sampler, trial.steps].append(
                FidCell(PLACE, trial.sampler, trial.steps, fid_trials.title(trial), trial.sigmas(folder)))
    return columns


def of_other_seeds(final: Columns, seeds: int, folder: Path) -> Columns:
    """The columns with ours that are there, but trials, learned from other recordings as well."""
    stage = Stage(PLACE)
    plain = {cell.schedule.removeprefix(ART) for column in final.values() for cell in column if is_untried(cell)}
    learned_from = {seed: learned(stage, folder, tuple(plain), seed) for seed in range(1, seeds)}
    return {key: [*column, *(replace(cell, schedule=f"{cell.schedule}, seed {seed}", sigmas=tuple(
        ours[cell.schedule.removeprefix(ART)].sigmas(cell.steps, sigma_max=stage.sigma_max).tolist()))
        for cell in column if is_untried(cell) for seed, ours in learned_from.items())]
        for key, column in final.items()}


def is_untried(cell: FidCell) -> bool:
    """Whether it is of ours, as learned."""
    return cell.schedule.startswith(ART) and fid_trials.TRIED not in cell.schedule


def fine_solution() -> FidCell:
    """The ODE, solved finely."""
    stage = Stage(PLACE)
    from art_nodes.host.comparing import reference_grid  # the host is there once the stage is

    sigmas = reference_grid(stage.sampling, FINE_STEPS).tolist()
    return FidCell(PLACE, FINE_SAMPLER, FINE_STEPS, "fine solution", tuple(sigmas))


def recording(folder: Path) -> OrbitBank:
    """Orbits that objectives foretell FIDs on; recorded once and kept."""
    path = folder / PLACE.name / f"fid-bank-{RECORDINGS}x{ORBITS}-{PLACE.mark}.safetensors"
    if not path.exists():
        stage = Stage(PLACE)
        path.parent.mkdir(parents=True, exist_ok=True)
        OrbitBank.merge(stage.bank(part) for part in range(RECORDINGS)).save(path)
    return OrbitBank.load(path)


def strongest(column: Sequence[FidCell], target, folder: Path) -> list[FidCell]:
    """The built-ins and the one of ours with the least FID in the first round; and `own`, and all that trials found.

    Nothing that round does not know.
    """
    values = {cell: value for cell in column if np.isfinite(value := report.value(cell, FIRST, target, folder))}
    tried = [cell for cell in values if fid_trials.TRIED in cell.schedule]
    plain = sorted((cell for cell in values if cell not in tried), key=values.get)
    built_in = [cell for cell in plain if not cell.schedule.startswith(ART)]
    ours = [cell for cell in plain if cell not in built_in]
    advised = [cell for cell in ours[1:] if cell.schedule == ART + own(cell.sampler)]
    return [*built_in[:RIVALS], *ours[:1], *advised, *tried]


def _arguments(argv) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks fid", description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=1 if on_gpu() else os.cpu_count() or 1,
                        help="processes of one thread each; one on a GPU, with ART_HOST_GPU=1")
    parser.add_argument("--samplers", default=",".join(MEASURED), help=f"of {', '.join(SUPPORTED)}")
    parser.add_argument("--steps", default=",".join(map(str, STEPS)))
    parser.add_argument("--seeds", type=int, default=1, help="recordings that ours are learned from")
    parser.add_argument("--report", action="store_true", help="only report what is there")
    parser.add_argument("--docs", nargs="?", const=report.PAGE, metavar="PAGE",
                        help=f"also write docs/PAGE, {report.PAGE} if not named")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    args = parser.parse_args(argv)
    args.samplers = chosen(parser, args.samplers, SUPPORTED)
    args.steps = step_counts(parser, args.steps)
    return args


def main(argv=None):
    args = _arguments(argv)
    stop_cleanly()
    torch.set_num_threads(1)
    trials, target, fine = fid_trials.trials(PLACE, args.samplers, args.steps), report.target(), fine_solution()
    many = 2 * SECOND if on_gpu() else SECOND
    with resumable():
        if not args.report:
            make_missing(trials, args.folder, args.workers, fid_trials.title)
        columns = all_columns(args.samplers, args.steps, args.folder)
        with processes(args.folder, args.workers) as each:
            if not args.report:
                cells = [cell for column in columns.values() for cell in column]
                run(missing(cells, FIRST, args.folder), "first round", each, say)
            final = {key: strongest(column, target, args.folder) for key, column in columns.items()}
            final = of_other_seeds(final, args.seeds, args.folder)
            if not args.report:
                cells = [cell for column in final.values() for cell in column]
                run(missing([fine], many, args.folder), "fine solution", each, say)
                run(missing(cells, many, args.folder), "second round", each, say)
    report.write(columns, final, fine, (FIRST, many), recording(args.folder), args.folder, say, args.docs, args.seeds)


if __name__ == "__main__":
    main()
