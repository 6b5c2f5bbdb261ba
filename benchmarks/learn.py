"""How well and how fast ART-RL learns from a bank, against the closed form; `python -m benchmarks learn`."""

import argparse
import datetime
import platform
import statistics
import time

import torch

from art_nodes.core import TrainConfig, learn_schedule, optimal_schedule
from benchmarks.targets import DEMO, EXACT


def measure(target, seeds: range) -> dict:
    """Costs in units of the optimum and seconds over `seeds`; each seed records orbits of its own."""
    learned, closed, recording, learning, calls = [], [], [], [], 0
    for seed in seeds:
        began = time.perf_counter()
        bank = target.record(seed)
        recorded = time.perf_counter()
        schedule = learn_schedule(bank, TrainConfig(seed=seed))
        learning.append(time.perf_counter() - recorded)
        recording.append(recorded - began)
        learned.append(schedule.cost(bank))
        closed.append(optimal_schedule(bank).cost(bank))
        calls = bank.calls
    return {"calls": calls, "recording": statistics.median(recording), "learning": statistics.median(learning),
            "median": statistics.median(learned), "worst": max(learned), "closed": statistics.median(closed)}


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks learn", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    seeds = range(parser.parse_args(argv).seeds)
    print(f"J/J* of the learned clock over {len(seeds)} seeds, default TrainConfig; {datetime.date.today()}, "
          f"{platform.machine()}, {torch.get_num_threads()} threads")
    print(f"{'target':28s}{'calls':>6s}{'record s':>10s}{'learn s':>9s}{'ART-RL':>9s}{'worst':>9s}{'closed form':>13s}")
    for target in (*EXACT, *DEMO):
        row = measure(target, seeds)
        print(f"{target.name:28s}{row['calls']:6d}{row['recording']:10.1f}{row['learning']:9.1f}"
              f"{row['median']:9.4f}{row['worst']:9.4f}{row['closed']:13.4f}", flush=True)


if __name__ == "__main__":
    main()
