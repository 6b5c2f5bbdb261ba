"""Learn the demo model's bundled schedules; `python -m benchmarks bundle-demo` rewrites learned_schedules/demo-*.

As for every family: one for Euler under its name, one for DPM++ 2M, and the paper's clock.
"""

import argparse
import dataclasses
from pathlib import Path

from art_nodes.core import OrbitBank, TrainConfig, learn_schedule, optimal_schedule, with_grids
from benchmarks.targets import DEMO

FOLDER = Path(__file__).resolve().parents[1] / "learned_schedules"
FILES = {"demo-edm": DEMO[0], "demo-sdxl": DEMO[1]}
RECORDINGS = 5  # of 20 orbits each, from these seeds
OBJECTIVES = {"": "end:euler", "-dpmpp_2m": "end:dpmpp_2m", "-clock": "euler"}  # by the end of the file's name
DESCRIPTION = {
    "model": "DemoModel",  # what the host calls it, so that ART Sigmas recognises it
    "learned_on": "ART Demo Model (Fashion-MNIST, 28x28), all ten classes", "cfg": 1.0, "data_std": 1.0,
    "carried_over": "no: learned on the model that it is for",
}


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks bundle-demo", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=FOLDER)
    args = parser.parse_args(argv)
    args.out.mkdir(exist_ok=True)
    for name, target in FILES.items():
        bank = OrbitBank.merge([target.record(args.seed + i) for i in range(RECORDINGS)])
        clock = learn_schedule(bank, TrainConfig(seed=args.seed))
        for ending, objective in OBJECTIVES.items():
            schedule = clock if objective == "euler" else with_grids(clock, bank, objective)
            provenance = {**schedule.provenance, **DESCRIPTION, "title": target.name, "seed": args.seed}
            dataclasses.replace(schedule, provenance=provenance).save(args.out / f"{name}{ending}.safetensors")
        print(f"{name}: J/J* {clock.cost(bank):.4f} (closed form {optimal_schedule(bank).cost(bank):.4f}), "
              f"{len(bank.stiffness)} orbits, {bank.calls} model calls")


if __name__ == "__main__":
    main()
