"""How good any grid could be, at the price of thousands of noises; `python -m benchmarks attainable`.

On an exact denoiser, which costs next to nothing, the end error of the host's own sampler is minimised over grids,
from the best schedule there is, once by the RMS and once by the mean of the pictures' errors; judged on noise that it
was not found on. No user could pay for this: it says what is left to gain, and what each criterion costs the other.
"""

import argparse
import functools
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from art_nodes.core.refine import grids_of, lengths_of
from benchmarks.chunks import stop_cleanly
from benchmarks.comfy.inprocess import BareModel, import_host
from benchmarks.digits import kernel_denoiser, load
from benchmarks.machine import this_machine
from benchmarks.matched import FOLDER, all_cells, columns, tried_cells
from benchmarks.matched import trials as own_trials
from benchmarks.matched_cells import ART, TRIED, Cell, Place, own
from benchmarks.pages import as_markdown, as_text, write_page
from benchmarks.trial_cells import make_missing

PAGE = "attainable.md"
PLACE, SAMPLERS, STEPS = Place("SDXL", model="digits"), ("euler", "heun", "dpmpp_2m"), (4, 5, 6, 8, 10)
NOISES, FOUND_ON, JUDGED_ON = 1024, 1, 2  # how many, and the seeds of both kinds
TRIES, SIDE = 250, 0.15  # of grids, and of the first simplex, in ln step lengths
FINE = 400  # steps of the solution that ends are measured against
CRITERIA = {"RMS": lambda sizes: sizes.square().mean().sqrt(), "mean": torch.mean}


@dataclass(frozen=True)
class Search:
    """The least end error of a sampler at a number of steps by one criterion, from the best of some grids."""

    sampler: str
    steps: int
    criterion: str
    grids: tuple[tuple[float, ...], ...]

    def path(self, root: Path) -> Path:
        """The file of what it found, named after all that decides it."""
        mark = hashlib.sha256(json.dumps([self.grids, NOISES, TRIES, SIDE, FINE]).encode()).hexdigest()[:12]
        return root / "attainable" / f"{PLACE.name}-{self.sampler}-{self.steps:02d}-{self.criterion}-{mark}.json"

    def find(self) -> dict:
        """The sigmas."""
        import_host()
        here = ground(self.grids[0][0], FOUND_ON, NOISES)
        run, criterion = sizes_of(self.sampler), CRITERIA[self.criterion]

        def error(grid) -> float:
            return float(criterion(run(*here, torch.tensor(grid, dtype=torch.float32))))

        return {"sigmas": descend(error, min(self.grids, key=error))}


def sizes_of(sampler: str):
    """f(denoiser, noise, truth, sigmas) -> each picture's RMS error (B,) by the host's sampler."""
    import comfy.k_diffusion.sampling as sampling

    run = getattr(sampling, f"sample_{sampler}")

    def sizes(denoiser, noise, truth, sigmas):
        end = run(BareModel(denoiser), noise, sigmas, disable=True)
        return (end - truth).square().mean(dim=1).sqrt()

    return sizes


@functools.lru_cache(2)
def ground(sigma_max: float, seed: int, count: int):
    """The denoiser, start states (count, 64) of a seed, and where they end."""
    import comfy.k_diffusion.sampling as sampling

    denoiser, generator = kernel_denoiser(load()), torch.Generator().manual_seed(seed)
    noise = torch.randn(count, 64, generator=generator) * (1 + sigma_max**2) ** 0.5
    fine = torch.from_numpy(np.append(np.geomspace(sigma_max, 0.002, FINE), 0.0)).float()
    truth = sampling.sample_dpmpp_2m(BareModel(denoiser), noise, fine, disable=True)
    return denoiser, noise, truth


def descend(criterion, start: Sequence[float]) -> list[float]:
    """The grid (K + 1,) with the least `criterion` that a simplex finds from `start`; the ends stay.

    Without derivatives: pictures flip, and the few that are about to say too little of where.
    """
    from scipy.optimize import minimize

    top, place = start[0], lengths_of(np.array(start), start[0])
    simplex = np.vstack([place, place + SIDE * np.eye(len(place))])
    found = minimize(lambda lengths: criterion(grids_of(lengths[None], top)[0]), place, method="Nelder-Mead",
                     options={"maxfev": TRIES, "initial_simplex": simplex, "adaptive": True})
    return grids_of(found.x[None], top)[0].tolist()


def searches(cells: Sequence[Cell]) -> list[Search]:
    """One by each criterion for each sampler and number of steps, from all grids of its cells that fit."""
    top, found = max(cell.sigmas[0] for cell in cells), {}
    for cell in cells:
        if abs(cell.sigmas[0] / top - 1) < 1e-3 and (np.diff(cell.sigmas) < 0).all():
            found.setdefault((cell.sampler, cell.steps), []).append(cell.sigmas)
    return [Search(*key, criterion, tuple(grids)) for key, grids in found.items() for criterion in CRITERIA]


def row(column: Sequence[Cell], found: dict[str, list[float]]) -> list[str]:
    """The best built-in of a sampler at a number of steps, then ours and what was found, as ratios to the best."""
    sampler, here = column[0].sampler, ground(column[0].sigmas[0], JUDGED_ON, NOISES)
    run = sizes_of(sampler)

    def judged(sigmas) -> tuple[float, float]:
        sizes = run(*here, torch.tensor(sigmas))
        return float(CRITERIA["RMS"](sizes)), float(sizes.median())

    rivals = {cell.schedule: judged(cell.sigmas) for cell in column if not cell.schedule.startswith(ART)}
    least = [min(errors[i] for errors in rivals.values()) for i in (0, 1)]
    names = [min(rivals, key=lambda name: rivals[name][i]) for i in (0, 1)]
    tried = next(cell.sigmas for cell in column if cell.schedule == ART + own(sampler) + TRIED)
    return [sampler, str(column[0].steps), f"{names[0]} {least[0]:.4f}", f"{names[1]} {least[1]:.4f}",
            *(" / ".join(f"{error / best:.2f}" for error, best in zip(judged(sigmas), least, strict=True))
              for sigmas in (tried, *found.values()))]


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks attainable", description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes of one thread each")
    parser.add_argument("--docs", action="store_true", help=f"also write docs/{PAGE}")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    args = parser.parse_args(argv)
    stop_cleanly()
    torch.set_num_threads(1)
    trials = own_trials((PLACE,), SAMPLERS, STEPS)
    cells = all_cells((PLACE,), SAMPLERS, STEPS, args.folder)
    wanted = searches(cells)
    make_missing((*trials, *wanted), args.folder, args.workers, lambda job: job.sampler)
    by_column = columns(cells + tried_cells(trials, args.folder))
    rows = [["sampler", "steps", "least RMS of a built-in", "least median of one", "ours, tried",
             *(f"found by {criterion}" for criterion in CRITERIA)]]
    for (_, sampler, steps), column in by_column.items():
        found = {job.criterion: json.loads(job.path(args.folder).read_text())["sigmas"] for job in wanted
                 if (job.sampler, job.steps) == (sampler, steps)}
        rows.append(row(column, found))
    text = ["# How good any grid could be", f"{this_machine()}; `python -m benchmarks attainable --docs`",
            "Scikit-learn's digits with their exact denoiser, SDXL's range. Ratios to the built-in with the least RMS /"
            f" the least median of the end error, on {NOISES:,} held-out noises. *Ours, tried*: what a trial then"
            " found. *Found*: the least true error on"
            f" {NOISES:,} other noises that {TRIES} tries find from the best of all schedules there, ours included, a"
            " search that no user could pay; once by the RMS, which the few pictures rule that turn into another one,"
            " and once by the mean.",
            as_markdown(rows)]
    print(as_text(rows))
    write_page(args.folder / PAGE, text, args.docs)


if __name__ == "__main__":
    main()
