"""How many orbits a recording needs; `python -m benchmarks orbits`.

The clock of a few orbits is charged for all 40 of a larger recording of the demo model. With --end the grids of
`end:euler` of a few orbits are sampled in the host, on held-out noise, beside every built-in schedule.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from art_nodes.core import OrbitBank, optimal_schedule, with_grids
from benchmarks.chunks import say
from benchmarks.machine import this_machine
from benchmarks.matched import FOLDER, built_in, columns, race
from benchmarks.matched_cells import ART, DEMO_PLACES, Cell, processes
from benchmarks.matched_tables import duel, measured
from benchmarks.pages import as_text
from benchmarks.targets import DEMO
from benchmarks.trial_cells import SEEDS, SIZE, Ground

COUNTS = (1, 2, 4, 8, 16)
DRAWS = 40  # random choices of that many orbits
PLACE, SAMPLER, END_STEPS, END_COUNTS = DEMO_PLACES[0], "euler", (6, 10, 20), (4, 8, 16, 32)


def costs(bank: OrbitBank, count: int, rng: np.random.Generator) -> list[float]:
    """J/J* on the whole bank of closed-form clocks, each from `count` of its orbits."""
    chosen = (rng.permutation(len(bank.stiffness))[:count] for _ in range(DRAWS))
    parts = (OrbitBank(bank.sigmas, bank.stiffness[rows]) for rows in chosen)
    return [optimal_schedule(part).cost(bank) for part in parts]


def title(count: int, seed: int) -> str:
    """Of a grid from so many orbits."""
    return f"{ART}end:{SAMPLER}, {count} orbits, seed {seed}"


def grids_of(banks: Sequence[OrbitBank], count: int, steps: Sequence[int]) -> dict[int, tuple[float, ...]]:
    """Steps -> sigmas of the grids of `end:<sampler>` from the first `count` orbits, as ART Train fits them."""
    bank = OrbitBank.merge(banks[:-(-count // SIZE)])
    schedule = with_grids(optimal_schedule(bank), bank, f"end:{SAMPLER}", steps)
    return {number: tuple(map(float, schedule.sigmas(number))) for number in steps}


def end_errors(folder: Path, workers: int, say) -> list[list[str]]:
    """A row for each number of orbits: the ratio to the strongest built-in of every seed, at each number of steps."""
    mine = []
    for seed in SEEDS:
        banks = Ground(PLACE, seed, batches=max(END_COUNTS) // SIZE).banks
        mine += [Cell(PLACE, SAMPLER, steps, title(count, seed), sigmas) for count in END_COUNTS
                 for steps, sigmas in grids_of(banks, count, END_STEPS).items()]
    rivals = built_in((PLACE, SAMPLER, steps) for steps in END_STEPS)
    with processes(folder, workers) as each:
        race(rivals, folder, each, say, also=mine)
    found = measured(columns([*rivals, *mine]), folder)
    rows = [["orbits", *(f"{steps} steps" for steps in END_STEPS)]]
    for count in END_COUNTS:
        duels = [[duel(found[PLACE, SAMPLER, steps], title(count, seed)) for seed in SEEDS] for steps in END_STEPS]
        rows.append([str(count), *(", ".join(f"{one.ratio:.2f} {one.verdict}" for one in column) for column in duels)])
    return rows


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks orbits", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="of the clocks' recordings")
    parser.add_argument("--end", action="store_true", help="end errors in the host, of three seeds")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes of one thread each")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of end errors, that of `matched`")
    args = parser.parse_args(argv)
    if args.end:
        torch.set_num_threads(1)
        rows = end_errors(args.folder, args.workers, say)
        print(f"{this_machine()}\nRMS end error of end:{SAMPLER} over that of the strongest built-in, {PLACE.title}, "
              f"seeds {', '.join(map(str, SEEDS))}\n" + as_text(rows))
        return
    print(f"{'J/J* of the clock of so many orbits, median (worst)':52s}" + "".join(f"{count:>16d}" for count in COUNTS))
    for target in DEMO:
        bank = OrbitBank.merge([target.record(args.seed + 11), target.record(args.seed + 12)])
        rng = np.random.default_rng(args.seed)
        found = [costs(bank, count, rng) for count in COUNTS]
        print(f"{target.name:52s}" + "".join(f"{np.median(row):8.4f}{f'({max(row):.3f})':>8s}" for row in found))


if __name__ == "__main__":
    main()
