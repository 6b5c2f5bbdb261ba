"""Learn the demo model's bundled schedules; `python -m benchmarks bundle-demo` rewrites learned_schedules/demo-*."""

import argparse
import dataclasses
from pathlib import Path

from art_nodes.core import OrbitBank, Schedule, TrainConfig, learn_schedule, optimal_schedule
from benchmarks.targets import DEMO

FOLDER = Path(__file__).resolve().parents[1] / "learned_schedules"
FILES = {"demo-edm": DEMO[0], "demo-sdxl": DEMO[1]}
RECORDINGS = 5  # of 20 orbits each, from these seeds
DESCRIPTION = {
    "model": "DemoModel",  # what the host calls it, so that ART Sigmas recognises it
    "learned_on": "ART Demo Model (Fashion-MNIST, 28x28), all ten classes", "cfg": 1.0, "data_std": 1.0,
    "carried_over": "no: learned on the model that it is for",
}


def learn_one(target, seed: int) -> tuple[OrbitBank, Schedule]:
    """The merged recording and the schedule that ART-RL learns on it."""
    bank = OrbitBank.merge([target.record(seed + i) for i in range(RECORDINGS)])
    return bank, learn_schedule(bank, TrainConfig(seed=seed))


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks bundle-demo", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=FOLDER)
    args = parser.parse_args(argv)
    args.out.mkdir(exist_ok=True)
    for name, target in FILES.items():
        bank, schedule = learn_one(target, args.seed)
        provenance = {**schedule.provenance, **DESCRIPTION, "title": target.name, "seed": args.seed}
        dataclasses.replace(schedule, provenance=provenance).save(args.out / f"{name}.safetensors")
        print(f"{name}: J/J* {schedule.cost(bank):.4f} (closed form {optimal_schedule(bank).cost(bank):.4f}), "
              f"{len(bank.stiffness)} orbits, {bank.calls} model calls")


if __name__ == "__main__":
    main()
