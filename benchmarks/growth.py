"""Is what recordings tell of how errors grow, and shrink, the right of it? `python -m benchmarks growth`.

Random grids on trained and exact models, each sampled from held-out noise; rank correlation of the true end error with
what eq. (16) foretells, without growth, with the growth that the recording tells, and with others, and with what is
foretold of errors that shrink as linear scores have it, eq. (19).
"""

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from art_nodes.core import OrbitBank
from art_nodes.core.compare import heun
from art_nodes.core.linear import READINGS, LinearError, tells_spread
from art_nodes.core.objectives import SamplerError, growth_of
from benchmarks.chunks import save_whole, stop_cleanly
from benchmarks.comfy.inprocess import import_host
from benchmarks.digits import DIGITS
from benchmarks.machine import this_machine
from benchmarks.matched_cells import photo_hash
from benchmarks.mnist_cells import networks_hash
from benchmarks.objectives import HELD_OUT, RECORDINGS, REFERENCE, end_errors, random_grids, summaries
from benchmarks.pages import as_markdown, as_text, write_page
from benchmarks.targets import DEMO, EXACT, PHOTOS, Target

FOLDER, PAGE = Path("build/growth-ranks"), "growth.md"
SDXL_DIGITS = replace(DIGITS, name="digits, SDXL range", sigma_max=14.6146, sigma_min=0.0292)
TARGETS = (*DEMO, *PHOTOS[1:], SDXL_DIGITS, *EXACT[1:])
SAMPLERS, STEPS = ("euler", "dpmpp_2m"), (6, 10)
GRIDS, NOISES = 60, 48
GROWTHS = (0.0, 0.25, 0.5, 1.0)


def true_errors(target: Target, sampler: str, steps: int, folder: Path) -> np.ndarray:
    """End errors (GRIDS, NOISES) of random grids, measured once and kept."""
    mark = f"{GRIDS}-{NOISES}-{networks_hash()[:12]}-{photo_hash()}"
    path = folder / f"{target.name.replace(' ', '-')}-{sampler}-{steps:02d}-{mark}.npz"
    if not path.exists():
        save_whole(path, errors=_measure(target, sampler, random_grids(steps, GRIDS, target)))
    with np.load(path) as file:
        return file["errors"]


@torch.no_grad()
def _measure(target: Target, sampler: str, grids: np.ndarray) -> np.ndarray:
    denoise, noise = target.make(), target.draw(NOISES, torch.Generator().manual_seed(HELD_OUT))
    fine = np.append(np.geomspace(target.sigma_max, target.sigma_min / 4, REFERENCE), 0.0)
    truth = heun(denoise, noise, torch.from_numpy(fine))
    return end_errors(sampler, denoise, noise, truth, grids)


def rows_of(target: Target, bank: OrbitBank, folder: Path) -> list[list[str]]:
    """A row for each growth, and for shrinking errors: rank correlation with mean, RMS and median in every column."""
    from scipy.stats import spearmanr

    told = growth_of(bank)
    growths = {f"γ = {told:.3g}, as recorded": told} | {f"γ = {growth:g}": growth for growth in GROWTHS}
    errors = {name: partial(SamplerError, bank, growth=growth) for name, growth in growths.items()}
    errors |= {name: partial(LinearError, bank, banded=banded) for name, banded in READINGS.items()
               if tells_spread(bank, banded)}
    rows = [[target.name, *(f"{sampler}, {steps}" for sampler in SAMPLERS for steps in STEPS)]]
    columns = [(sampler, steps, summaries(true_errors(target, sampler, steps, folder)))
               for sampler in SAMPLERS for steps in STEPS]
    for name, error in errors.items():
        foretold = ((error(objective=f"end:{sampler}")(random_grids(steps, GRIDS, target)), found)
                    for sampler, steps, found in columns)
        rows.append([name, *(" / ".join(f"{spearmanr(values, true)[0]:.3f}" for true in found.values())
                             for values, found in foretold)])
    return rows


def drawn_growths(banks: list[OrbitBank]) -> str:
    """What single recordings tell, of as many orbits as each has."""
    return f"{', '.join(f'{growth_of(bank):.3g}' for bank in banks)} of {len(banks[0].gram)} orbits each"


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks growth", description=__doc__.splitlines()[0])
    parser.add_argument("--docs", action="store_true", help=f"also write docs/{PAGE}")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    args = parser.parse_args(argv)
    stop_cleanly()
    import_host()
    from art_nodes.host.trials import STRAIGHT

    text = ["# How much errors grow", f"{this_machine()}; `python -m benchmarks growth --docs`",
            f"{GRIDS} random grids, {NOISES} noises that were not recorded. Rank correlation of what `end:<sampler>`"
            " foretells with the mean / RMS / median of the true end errors, for several γ of eq. (16)"
            " ([theory.md](theory.md), section 7), and for errors that shrink, eq. (19), which trials try too where γ"
            f" is below {STRAIGHT:g}. What a recording tells of γ is the default."]
    for target in TARGETS:
        banks = [target.record(seed) for seed in range(RECORDINGS)]
        rows, drawn = rows_of(target, OrbitBank.merge(banks), args.folder), drawn_growths(banks)
        print(f"\n{as_text(rows)}\nsingle recordings: {drawn}", flush=True)
        text += [f"## {target.name}", as_markdown(rows), f"Single recordings tell {drawn}."]
    write_page(args.folder / PAGE, text, args.docs)


if __name__ == "__main__":
    main()
