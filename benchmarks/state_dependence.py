"""What an actor that sees x gains over one clock for all; `python -m benchmarks state-dependence`.

Every orbit has an optimal clock of its own. No policy can do better than all of these together, so they
bound what seeing x can be worth, in the objective and in the samples.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import torch

from art_nodes.core import OrbitBank, TrainConfig, learn_schedule, optimal_cost, record_orbits
from art_nodes.core.clock import grid_cost, optimal_clock, read_clock
from art_nodes.core.compare import heun
from art_nodes.core.environment import BankEnvironment
from art_nodes.core.exact import mixture
from art_nodes.core.grids import power_grid
from art_nodes.core.learn import prepare, run
from art_nodes.core.stiffness import rms
from benchmarks.machine import this_machine
from benchmarks.options import no_page_of_a_look
from benchmarks.targets import DEMO, EXACT, Target

matplotlib.use("Agg")

WIDE_AND_NARROW = Target(
    "widths 0.05 and 1", 10.0, 0.002, (256, 1), lambda: mixture([-2.0, 2.0], [0.05, 1.0], [0.5, 0.5]))
STEPS = (5, 10, 20)
CLOCKS = ("each orbit's own", "policy that sees x", "distilled from it", "one clock for all")
OBJECTIVES = ("bound", "policy", "distilled", "shared")  # fields of Row, in the same order
REFERENCE_STEPS = 400
PAGE, PLOT = Path("docs/state-dependence.md"), Path("docs/images/state-dependence.png")


@dataclass(frozen=True)
class Row:
    """One target and seed: objectives in units of the best shared clock's, and end errors by number of steps."""

    bound: float  # every orbit on its own optimal clock
    policy: float  # the learned policy that sees x, at its mean speed
    distilled: float  # the clock of that policy's mean episode
    shared: float  # the learned clock for all
    errors: dict  # clock -> steps -> (RMS, median) of the end error


def own_clocks(bank: OrbitBank, nodes: int = 256) -> np.ndarray:
    """The optimal clock of each orbit by itself, eq. (8); (B, nodes + 1)."""
    return np.stack([optimal_clock(OrbitBank(bank.sigmas, row[None]), nodes) for row in bank.stiffness])


def own_cost(bank: OrbitBank) -> float:
    """Mean over orbits of what each one's own optimal clock costs, in units of the best shared clock's."""
    costs = [optimal_cost(OrbitBank(bank.sigmas, row[None])) for row in bank.stiffness]
    return float(np.mean(costs) / optimal_cost(bank))


def follow(learner, episodes: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Clocks (E, K + 1) in sigma that the mean speed drives, each one's orbit, and their mean cost / J*."""
    env, policy, steps = learner.env, learner.policy, learner.config.clock_nodes
    env.start(episodes, np.random.default_rng(0))
    orbits, position, cost, path = env.orbit.copy(), np.zeros(episodes), np.zeros(episodes), [np.zeros(episodes)]
    for k in range(steps):
        known = policy.features(learner.base.time(position), k / steps, env.state())
        speed = np.minimum(policy.mean(position, k / steps, known), (1 - position) * steps)
        if k == steps - 1:
            speed = (1 - position) * steps
        position = position + speed / steps
        cost += env.advance(position, 1 / steps)
        path.append(position)
    return env.sigma_max * (1 - np.stack(path, axis=1)), orbits, float(cost.mean())


@torch.no_grad()
def euler_each(denoiser, x: torch.Tensor, sigmas: np.ndarray) -> torch.Tensor:
    """Euler's method with a grid of its own for each sample; sigmas (B, K + 1), the last 0."""
    grid = torch.as_tensor(sigmas, dtype=torch.float64)
    for here, there in zip(grid.T[:-1], grid.T[1:], strict=True):
        denoised = denoiser(x, here.float())
        keep = (there / here).reshape(-1, *[1] * (x.ndim - 1)).to(x)
        x = denoised + keep * (x - denoised)
    return x


def at_steps(clocks: np.ndarray, steps: int) -> np.ndarray:
    """(B, N + 1) clocks read at K equal steps; (B, K + 1)."""
    grids = np.stack([read_clock(clock, np.linspace(0, 1, steps + 1)) for clock in clocks])
    grids[:, -1] = 0.0
    return grids


def end_errors(target: Target, noise: torch.Tensor, clocks: dict[str, np.ndarray], reference_steps: int) -> dict:
    """clock -> steps -> (RMS, median) over samples of the difference to a fine solution from the same noise."""
    denoiser = target.make()
    grid = power_grid(reference_steps, target.sigma_max, 0.1 * target.sigma_min)
    with torch.no_grad():
        exact = heun(denoiser, noise, torch.as_tensor(grid))
    found = {}
    for name, each in clocks.items():
        errors = {steps: rms(euler_each(denoiser, noise, at_steps(each, steps)) - exact) for steps in STEPS}
        found[name] = {steps: (float(e.square().mean().sqrt()), float(e.median())) for steps, e in errors.items()}
    return found


def measure(target: Target, seed: int, reference_steps: int = REFERENCE_STEPS) -> Row:
    """Learn on one recording with and without x; judge on another of the same size."""
    bank = target.record(seed, nodes=256 if target.shape[1:] == (1,) else 64)
    noise = target.noise(seed + 100)
    unseen = record_orbits(target.make(), noise, target.sigma_max, target.sigma_min, nodes=len(bank.sigmas))
    learner = prepare(bank, TrainConfig(seed=seed, state_dependent=True))
    distilled = list(run(learner))[-1].schedule
    shared = learn_schedule(bank, TrainConfig(seed=seed))
    learner.env = BankEnvironment(unseen)
    paths, orbits, cost = follow(learner, 2 * len(noise))
    paths = paths[np.argsort(orbits, kind="stable")][::2]  # in pairs on one orbit, alike without noise
    everyone = np.ones((len(noise), 1))
    clocks = own_clocks(unseen), paths, everyone * distilled.clock, everyone * shared.clock
    errors = end_errors(target, noise, dict(zip(CLOCKS, clocks, strict=True)), reference_steps)
    return Row(own_cost(unseen), cost, grid_cost(unseen, distilled.clock), grid_cost(unseen, shared.clock), errors)


def table(rows: dict[str, list[Row]]) -> list[str]:
    """Markdown: medians over seeds."""
    lines = ["| target | each orbit's own clock | policy that sees x | distilled from it | one clock for all |",
             "|---|---|---|---|---|"]
    for name, found in rows.items():
        cells = [np.median([getattr(row, field) for row in found]) for field in OBJECTIVES]
        lines.append(f"| {name} | " + " | ".join(f"{cell:.3f}" for cell in cells) + " |")
    lines += ["", "End error, RMS over samples (median over samples), in units of that of one clock for all:", "",
              "| target | steps | each orbit's own clock | policy that sees x | distilled from it |",
              "|---|---|---|---|---|"]
    for name, found in rows.items():
        for steps in STEPS:
            cells = [ratio(found, clock, steps) for clock in CLOCKS[:3]]
            lines.append(f"| {name} | {steps} | " + " | ".join(cells) + " |")
    return lines


def ratio(found: list[Row], clock: str, steps: int) -> str:
    """Median over seeds of a clock's RMS (median) end error in units of that of one clock for all."""
    ratios = [np.divide(row.errors[clock][steps], row.errors[CLOCKS[3]][steps]) for row in found]
    return "{:.2f} ({:.2f})".format(*np.median(ratios, axis=0))


def plot(target: Target, path: Path) -> None:
    """Sigma over clock time: each orbit's own clock, pale, and the best shared one."""
    from matplotlib import pyplot

    bank = target.record(0, nodes=256)
    figure, axes = pyplot.subplots(figsize=(6, 3.6), layout="constrained")
    for clock in own_clocks(bank)[:60]:
        axes.plot(np.linspace(0, 1, len(clock))[:-1], clock[:-1], color="tab:blue", alpha=0.15, linewidth=1)
    shared = optimal_clock(bank, 256)
    axes.plot(np.linspace(0, 1, len(shared))[:-1], shared[:-1], color="black", label="one clock for all")
    axes.plot([], [], color="tab:blue", alpha=0.5, label="each orbit's own")
    axes.set(yscale="log", ylim=(1e-2, None), xlabel="share of the clock", ylabel="sigma", title=target.name)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks state-dependence", description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="exact targets only")
    parser.add_argument("--docs", action="store_true", help=f"also write {PAGE} and {PLOT}")
    args = parser.parse_args(argv)
    no_page_of_a_look(parser, args)
    targets = [WIDE_AND_NARROW, EXACT[1], EXACT[0]] + ([] if args.quick else [DEMO[1]])
    rows = {}
    for target in targets:
        fine = REFERENCE_STEPS if target not in DEMO else 100
        rows[target.name] = [measure(target, seed, fine) for seed in range(args.seeds)]
        print("\n".join(table({target.name: rows[target.name]})), flush=True)
    if args.docs:
        plot(WIDE_AND_NARROW, PLOT)
        head = ["# What an actor that sees x is worth", "",
                f"`python -m benchmarks state-dependence --seeds {args.seeds} --docs`, {this_machine()};",
                f"medians over {args.seeds} seeds, on orbits not learned on. Objective J in units of the best shared "
                "clock's:", ""]
        PAGE.write_text("\n".join([*head, *table(rows), "", f"![{WIDE_AND_NARROW.name}](images/{PLOT.name})", ""]))


if __name__ == "__main__":
    main()
