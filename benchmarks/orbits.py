"""How many orbits a recording needs; `python -m benchmarks orbits`.

The clock of a few orbits is charged for all 40 of a larger recording of the demo model.
"""

import argparse

import numpy as np

from art_nodes.core import OrbitBank, optimal_schedule
from benchmarks.targets import DEMO

COUNTS = (1, 2, 4, 8, 16)
DRAWS = 40  # random choices of that many orbits


def costs(bank: OrbitBank, count: int, rng: np.random.Generator) -> list[float]:
    """J/J* on the whole bank of closed-form clocks, each from `count` of its orbits."""
    chosen = (rng.permutation(len(bank.stiffness))[:count] for _ in range(DRAWS))
    parts = (OrbitBank(bank.sigmas, bank.stiffness[rows]) for rows in chosen)
    return [optimal_schedule(part).cost(bank) for part in parts]


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks orbits", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    seed = parser.parse_args(argv).seed
    print(f"{'J/J* of the clock of so many orbits, median (worst)':52s}" + "".join(f"{count:>16d}" for count in COUNTS))
    for target in DEMO:
        bank = OrbitBank.merge([target.record(seed + 11), target.record(seed + 12)])
        rng = np.random.default_rng(seed)
        found = [costs(bank, count, rng) for count in COUNTS]
        print(f"{target.name:52s}" + "".join(f"{np.median(row):8.4f}{f'({max(row):.3f})':>8s}" for row in found))


if __name__ == "__main__":
    main()
