"""A clock where it was not learned: other step counts, ranges and data; `python -m benchmarks transfer`.

The paper reads one clock at other numbers of steps (its table 5) and carries it to other data sets. Here: ART-RL clocks
of 8 to 128 pieces read at 4 to 40 steps, and each clock on every other target, without retraining.
"""

import argparse
import dataclasses
import datetime
import platform
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from art_nodes.core import OrbitBank, Schedule, TrainConfig, grid_cost, learn_schedule
from art_nodes.core.compare import SOLVERS
from benchmarks import digits, frechet, transfer_docs
from benchmarks.options import no_page_of_a_look
from benchmarks.pages import DOCS
from benchmarks.transfer_places import (
    EXCHANGE,
    EXCHANGE_STEPS,
    ONE_STEP,
    OTHER_STEPS,
    OWN,
    TAIL,
    TAIL_POWER,
    Place,
    carried_on,
    one_step_first,
    places,
    read,
)
from benchmarks.transfer_results import Results
from benchmarks.transfer_scores import judge, reference_error

STORE = Path("build/transfer.json")


@dataclass(frozen=True)
class Setting:
    """How much to run."""

    seeds: int = 3
    demo_orbits: int = 43  # a batch, of two
    image_orbits: int = 88
    orbits: int = 256
    pieces: tuple[int, ...] = (8, 16, 64, 128)  # of the clocks that are read at all numbers of steps
    steps: tuple[int, ...] = (4, 6, 10, 20, 40)
    samples: int = 5000  # for the Frechet distance


QUICK = Setting(seeds=1, demo_orbits=8, image_orbits=16, orbits=64, pieces=(8, 64), steps=(6, 10), samples=1000)


@dataclass(frozen=True)
class Learned:
    """One seed's clocks of a place: by the number of their pieces."""

    bank: OrbitBank
    clocks: dict[int, Schedule]

    @property
    def own(self) -> Schedule:
        """The default clock."""
        return self.clocks[OWN]


def learn_clocks(place: Place, seed: int, setting: Setting) -> Learned:
    """A recording and its clocks: of all `pieces`, and one trained at each number of steps that can be (>= 8)."""
    bank = place.target.record(seed)
    native = [steps for steps in setting.steps if steps >= 8]
    wanted = {*setting.pieces, *native} if place.name in OTHER_STEPS else {OWN}
    return Learned(bank, {n: learn_schedule(bank, TrainConfig(seed=seed, clock_nodes=n)) for n in sorted(wanted)})


def own_grids(place: Place, learned: Learned, solver: str, steps: int, setting: Setting) -> dict[str, torch.Tensor]:
    """The place's own clocks at `steps`. Heun on a network: only the default clock and the one trained at `steps`."""
    few = place.network and (solver == "heun" or steps > 20)
    pieces = [n for n in learned.clocks if n in setting.pieces and (n == OWN or not few)]
    grids = {str(n): learned.clocks[n].sigmas(steps) for n in pieces}
    if steps >= 8 and steps in learned.clocks:
        grids["K"] = learned.clocks[steps].sigmas(steps)
    return grids


def foreign_grids(place: Place, known: dict[str, Learned], solver: str, steps: int) -> dict[str, torch.Tensor]:
    """The default clocks of the other places at `steps`, and two other ways to carry one up to a larger range."""
    if place.name not in EXCHANGE or steps not in EXCHANGE_STEPS:
        return {}
    top = place.target.sigma_max
    grids = {name: read(known[name].own, top, steps) for name in EXCHANGE if name != place.name}
    if place.name == EXCHANGE[0] and solver == "euler" and steps <= 10:
        lower = known[EXCHANGE[1]].own
        grids[TAIL] = carried_on(lower, top, TAIL_POWER).sigmas(steps)
        grids[ONE_STEP] = one_step_first(lower, top, steps)
    return grids


def all_grids(place: Place, known: dict[str, Learned], setting: Setting) -> dict:
    """Everything to judge on a place: (solver, clock, steps) -> sigmas."""
    jobs = {}
    for solver in ("euler", "heun"):
        for steps in setting.steps:
            if place.network and solver == "heun" and steps > 20:
                continue
            grids = {**own_grids(place, known[place.name], solver, steps, setting), **place.grids(steps),
                     **foreign_grids(place, known, solver, steps)}
            jobs.update({(solver, name, steps): torch.as_tensor(grid) for name, grid in grids.items()})
    return jobs


def add_costs(results: Results, place: Place, known: dict[str, Learned]) -> None:
    """J/J* on the place's own bank of its own clocks and of the foreign ones, each read at 64 steps."""
    bank, top = known[place.name].bank, place.target.sigma_max
    for pieces, clock in known[place.name].clocks.items():
        results.add_cost(place.name, str(pieces), grid_cost(bank, clock.sigmas(OWN)))
    if place.name not in EXCHANGE:
        return
    for name in EXCHANGE:
        if name != place.name:
            results.add_cost(place.name, name, grid_cost(bank, read(known[name].own, top, OWN)))
    if place.name == EXCHANGE[0]:
        lower = known[EXCHANGE[1]].own
        results.add_cost(place.name, TAIL, grid_cost(bank, carried_on(lower, top, TAIL_POWER).sigmas(OWN)))


@torch.no_grad()
def add_frechet(results: Results, place: Place, known: dict[str, Learned], setting: Setting, seed: int) -> None:
    """Frechet distance in pixel space between samples of the digits and the exact moments, for one seed."""
    centres = digits.load()
    exact, denoiser = digits.kernel_moments(centres), place.judged.make()
    generator = torch.Generator().manual_seed(2000 + seed)
    noise = torch.randn(setting.samples, centres.shape[1], generator=generator) * (1 + place.target.sigma_max**2) ** 0.5
    for (solver, name, steps), grid in all_grids(place, known, setting).items():
        if steps in EXCHANGE_STEPS and (solver == "euler" or steps < 20):
            # In parts that fit into the cache.
            ends = torch.cat([SOLVERS[solver](denoiser, part, grid) for part in noise.split(500)])
            results.frechet.setdefault((solver, name, steps), []).append(frechet.fid(ends.numpy(), exact))
    results.floor.append(frechet.fid(digits.draw(centres, setting.samples, seed).numpy(), exact))


def measure(setting: Setting, say) -> Results:
    """The whole benchmark; `say` gets a line of progress at a time."""
    began, results = time.perf_counter(), Results({})
    found = places(setting.demo_orbits, setting.image_orbits, setting.orbits)
    for name, place in places(demo_orbits=6, image_orbits=8, orbits=64).items():
        results.checks[name] = reference_error(place)
    for seed in range(setting.seeds):
        known = {}
        for name, place in found.items():
            known[name] = learn_clocks(place, seed, setting)
            say(f"{time.perf_counter() - began:6.0f} s  seed {seed}: learned on {name}")
        for name, place in found.items():
            add_costs(results, place, known)
            results.add_errors(name, judge(place, all_grids(place, known, setting), seed))
            say(f"{time.perf_counter() - began:6.0f} s  seed {seed}: judged on {name}")
        add_frechet(results, found["digits"], known, setting, seed)
    results.facts = _facts(setting, time.perf_counter() - began)
    return results


def _facts(setting: Setting, seconds: float) -> dict:
    machine = f"{platform.machine()}, {torch.get_num_threads()} thread(s), torch {torch.__version__}"
    return {"date": str(datetime.date.today()), "machine": machine, "seeds": setting.seeds,
            "samples": setting.samples, "wall": round(seconds), "processor": round(time.process_time())}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks transfer", description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, help="of training and noise together; default 3, with --quick 1")
    parser.add_argument("--quick", action="store_true", help="few orbits, for a look: no figures to quote")
    parser.add_argument("--docs", action="store_true", help="also write docs/transfer.md and its plot")
    parser.add_argument("--again", action="store_true", help="only the tables, from what the last full run kept")
    return parser


def main(argv=None):
    parser = _parser()
    args = parser.parse_args(argv)
    no_page_of_a_look(parser, args)
    if args.again:
        results = Results.load(STORE)
    else:
        setting = QUICK if args.quick else Setting()
        if args.seeds is not None:
            setting = dataclasses.replace(setting, seeds=args.seeds)
        results = measure(setting, lambda line: print(line, file=sys.stderr, flush=True))
        if not args.quick:
            results.save(STORE)
    print(transfer_docs.as_text(results))
    if args.docs:
        transfer_docs.write_docs(results, DOCS)


if __name__ == "__main__":
    main()
