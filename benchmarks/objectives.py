"""Do our objectives order grids as the true end error does? `python -m benchmarks objectives`.

200 random grids a sampler and number of steps on the demo model, each sampled by the host from held-out
noise; rank correlation of what a recording foretells with what is measured. Then ART-RL
against dynamic programming on the rewards that have no closed form.
"""

import argparse
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from art_nodes.core import OrbitBank, TrainConfig, grid_cost, learn_schedule
from art_nodes.core import objectives as core
from art_nodes.core.clock import optimal_clock
from art_nodes.core.compare import heun
from art_nodes.core.dynamic import best_on_nodes
from art_nodes.core.objectives import SamplerError
from art_nodes.core.refine import best_grid
from art_nodes.core.scores import total
from art_nodes.demo import demo_denoiser
from benchmarks import fashion
from benchmarks.chunks import in_processes, resumable, save_whole, stop_cleanly
from benchmarks.comfy.inprocess import BareModel, import_host
from benchmarks.machine import this_machine
from benchmarks.matched_cells import SAMPLERS
from benchmarks.mnist_cells import Setting, fastest_network, networks_hash
from benchmarks.pages import as_markdown, as_text, write_page
from benchmarks.targets import DEMO, Target

FOLDER, PAGE = Path("build/objectives"), "objectives.md"
TARGET = DEMO[1]
STEPS = (6, 10, 20)
LEARNED = ("euler", "heun", "dpmpp_2m")  # whose rewards ART-RL is judged on
GRIDS, AT_ONCE, NOISES, BATCH = 200, 20, 64, 25
HELD_OUT = 5000  # seed of the noise; the recordings take 0 and up
RECORDINGS, SEEDS = 2, 3
TURNS = (np.inf, 8.0, 5.0, 3.0, 1.0)
GROWTHS = (0.0, 0.25, 0.5, 1.0, 2.0)
REFERENCE = 160


def random_grids(steps: int, count: int = GRIDS, target: Target = TARGET) -> np.ndarray:
    """(count, steps + 1) grids of a target's range: a power rule of random exponent and end, randomly warped."""
    rng, u, grids = np.random.default_rng(steps), np.linspace(0, 1, 200), []
    for _ in range(count):
        low = target.sigma_min * 10 ** rng.uniform(0, 1)
        density = np.exp(np.interp(u, np.linspace(0, 1, 6), rng.normal(0, rng.uniform(0.2, 0.9), 6)))
        passed = np.append(0.0, np.cumsum(0.5 * (density[1:] + density[:-1])))
        t, rho = np.interp(np.linspace(0, 1, steps), passed / passed[-1], u), rng.uniform(2, 12)
        rule = (target.sigma_max ** (1 / rho) * (1 - t) + low ** (1 / rho) * t) ** rho
        grids.append(np.append(rule, 0.0))
    return np.array(grids)


def end_errors(sampler: str, denoiser: Callable, noise: torch.Tensor, truth: torch.Tensor, grids: np.ndarray
               ) -> np.ndarray:
    """RMS of each end minus the truth (N, ...), with the host's sampler on grids (G, K + 1); (G, N)."""
    import comfy.samplers

    sample, model = comfy.samplers.sampler_object(sampler).sampler_function, BareModel(denoiser)
    ends = (sample(model, noise, torch.from_numpy(grid).float(), extra_args={}, disable=True) for grid in grids)
    return np.stack([(end - truth).flatten(1).double().square().mean(1).sqrt().numpy() for end in ends])


@dataclass(frozen=True)
class Part:
    """AT_ONCE grids of one sampler and number of steps."""

    sampler: str
    steps: int
    number: int
    noises: int = NOISES

    def path(self, folder: Path) -> Path:
        """Where the errors are kept."""
        return folder / f"{self.sampler}-{self.steps:02d}-{self.number:02d}-{self.noises}-{networks_hash()[:12]}.npz"


class Judge:
    """Measures true end errors with one thread."""

    def __init__(self, folder: Path, noises: int):
        import_host()
        self.folder, self.noises = folder, noises
        network, _ = fastest_network(Setting(folder, 250, 1, batch=BATCH))
        labels = fashion.one_hot(torch.arange(BATCH) % 10)
        self.denoise = demo_denoiser(network, labels)
        self.noise = TARGET.draw(noises, torch.Generator().manual_seed(HELD_OUT))

    def model(self, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """D of any number of samples, a fixed batch at a time, which a compiled network wants."""
        rows = -len(x) % BATCH
        filled = torch.cat([x, x[:1].expand(rows, *x.shape[1:])]).float()
        levels = torch.cat([sigma, sigma[:1].expand(rows)]).float()
        pairs = zip(filled.split(BATCH), levels.split(BATCH), strict=True)
        parts = [self.denoise(part, level) for part, level in pairs]
        return torch.cat(parts)[:len(x)]

    @functools.cached_property
    def truth(self) -> torch.Tensor:
        """The fine solution."""
        path = self.folder / f"reference-{self.noises}-{networks_hash()[:12]}.npz"
        if not path.exists():
            grid = np.append(np.geomspace(TARGET.sigma_max, TARGET.sigma_min / 4, REFERENCE), 0.0)
            save_whole(path, end=heun(self.model, self.noise, torch.from_numpy(grid)).numpy())
        with np.load(path) as file:
            return torch.from_numpy(file["end"])

    @torch.no_grad()
    def compute(self, part: Part) -> Part:
        """The errors (AT_ONCE, noises) of a part, saved."""
        grids = random_grids(part.steps)[part.number * AT_ONCE:(part.number + 1) * AT_ONCE]
        errors = end_errors(part.sampler, self.model, self.noise, self.truth, grids)
        save_whole(part.path(self.folder), errors=errors)
        return part


def _computing(folder: Path, noises: int) -> Callable[[Part], Part]:
    return Judge(folder, noises).compute


def parts(samplers: Sequence[str], noises: int = NOISES) -> list[Part]:
    """All there is to measure, the cheap first."""
    return sorted((Part(sampler, steps, number, noises) for sampler in samplers for steps in STEPS
                   for number in range(GRIDS // AT_ONCE)), key=lambda p: p.steps * SAMPLERS[p.sampler])


def measured(sampler: str, steps: int, folder: Path, noises: int = NOISES) -> np.ndarray:
    """The errors (grids, noises) that are there, from the first grid on."""
    found = []
    for number in range(GRIDS // AT_ONCE):
        path = Part(sampler, steps, number, noises).path(folder)
        if not path.exists():
            break
        with np.load(path) as file:
            found.append(file["errors"])
    return np.concatenate(found) if found else np.zeros((0, noises))


def foretold(bank: OrbitBank, sampler: str, grids: np.ndarray) -> dict[str, np.ndarray]:
    """What each objective says of the grids, by its name."""
    found = {"J (euler)": np.array([grid_cost(bank, grid) for grid in grids]),
             f"residual:{sampler}": SamplerError(bank, f"residual:{sampler}")(grids)}
    for turn in TURNS:
        name = f"end:{sampler}" + ("" if turn == core.TURN else f", τ = {turn:g}".replace("inf", "∞"))
        found[name] = SamplerError(bank, f"end:{sampler}", turn)(grids)
    for growth in GROWTHS:
        found[f"end:{sampler}, γ = {growth:g}"] = SamplerError(bank, f"end:{sampler}", growth=growth)(grids)
    return found


def summaries(errors: np.ndarray) -> dict[str, np.ndarray]:
    """Mean, RMS and median over the noises of errors (grids, noises); (grids,) each."""
    return {"mean": errors.mean(axis=1), "RMS": np.array([total(row) for row in errors]),
            "median": np.median(errors, axis=1)}


def split_half(errors: np.ndarray, draws: int = 20) -> list[float]:
    """Rank correlation of each summary over half the noises with that over the others, mean of random halves."""
    from scipy.stats import spearmanr

    rng, found = np.random.default_rng(0), []
    for _ in range(draws):
        one, other = np.split(rng.permutation(errors.shape[1]), 2)
        pairs = zip(summaries(errors[:, one]).values(), summaries(errors[:, other]).values(), strict=True)
        found.append([spearmanr(*pair)[0] for pair in pairs])
    return list(np.mean(found, axis=0))


def rank_table(bank: OrbitBank, sampler: str, folder: Path, noises: int = NOISES) -> list[list[str]]:
    """Rows are objectives, columns numbers of steps: rank correlation with mean, RMS and median of the true errors."""
    from scipy.stats import spearmanr

    columns, halves, told = {}, "other half of the noises", "true RMS / foretold"
    for steps in STEPS:
        errors = measured(sampler, steps, folder, noises)
        if len(errors):
            true = summaries(errors)
            for name, values in foretold(bank, sampler, random_grids(steps)[:len(errors)]).items():
                columns[name, steps] = " / ".join(f"{spearmanr(values, found)[0]:.3f}" for found in true.values())
                if name == f"end:{sampler}":
                    columns[told, steps] = f"{np.exp(np.median(np.log(true['RMS'] / values))):.2f}"
            columns[halves, steps] = " / ".join(f"{value:.3f}" for value in split_half(errors))
    names = sorted(dict.fromkeys(name for name, _ in columns), key=(halves, told).__contains__)
    return [["steps", *map(str, STEPS)], *([name, *(columns.get((name, steps), "") for steps in STEPS)]
                                           for name in names)]


def learning_table(bank: OrbitBank, samplers: Sequence[str] = LEARNED) -> list[list[str]]:
    """What ART-RL comes to, median and worst of the seeds, in units of dynamic programming or of descent."""
    rows = [["objective", "steps", "in units of", "ART-RL, median", "worst", "descent", "closed form's clock"]]
    for kind, sampler in ((kind, sampler) for kind in ("residual", "end") for sampler in samplers):
        objective, error = f"{kind}:{sampler}", SamplerError(bank, f"{kind}:{sampler}")
        for steps in STEPS:
            best, unit = best_grid(error, steps), "descent"
            ours = [learn_schedule(bank, TrainConfig(objective=objective, clock_nodes=steps, seed=seed)).clock
                    for seed in range(SEEDS)]
            base = best
            if kind == "residual":
                base, unit = best_on_nodes(error, steps), "dynamic programming"
            clock = optimal_clock(bank, steps)
            costs = error(np.stack([base, best, clock, *ours])) / error(base[None])[0]
            rows.append([objective, str(steps), unit, f"{np.median(costs[3:]):.3f}", f"{costs[3:].max():.3f}",
                         f"{costs[1]:.3f}", f"{costs[2]:.3f}"])
    return rows


def page(bank: OrbitBank, ranks: Mapping[str, list[list[str]]], learning: Sequence[Sequence[str]], command: str,
         grids: int, noises: int) -> list[str]:
    """The whole page, in parts; ranks: sampler -> its table, of so many grids and noises."""
    text = ["# Objectives against the true end error", f"{this_machine()}; `python -m benchmarks objectives{command}`",
            f"Demo model, {TARGET.sigma_max:g} to {TARGET.sigma_min:g}; {RECORDINGS * TARGET.shape[0]} recorded orbits"
            f" foretell, {noises} other noises measure. Spearman's rank correlation over {grids} random grids with the"
            " mean / RMS / median over the noises of the true end error. The RMS hangs on the few largest errors: the"
            " last row but one tells how well half of the noises foretell the other half. The last is the ratio of the"
            f" true RMS to the foretold, median over grids. Where nothing is said of τ and γ, τ is {core.TURN:g} and γ"
            f" what these orbits tell, {core.growth_of(bank):.2f}. Other models are in [growth.md](growth.md)."]
    for sampler, rows in ranks.items():
        text += [f"## {sampler}", as_markdown(rows)]
    if len(learning) > 1:
        text += ["## ART-RL on rewards without a closed form",
                 f"{SEEDS} seeds, default settings, steps as given; *descent* from several starts is what schedules"
                 " take their grids from.", as_markdown(learning)]
    return text


def _arguments(argv) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks objectives", description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes of one thread each")
    parser.add_argument("--samplers", default=",".join(LEARNED), help=f"of {', '.join(SAMPLERS)}")
    parser.add_argument("--noises", type=int, default=NOISES)
    parser.add_argument("--report", action="store_true", help="only report what is there")
    parser.add_argument("--docs", nargs="?", const=PAGE, metavar="PAGE",
                        help=f"also write docs/PAGE, {PAGE} if not named")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    args = parser.parse_args(argv)
    args.samplers = args.samplers.split(",")
    if unknown := set(args.samplers) - set(SAMPLERS):
        parser.error(f"unknown samplers {', '.join(sorted(unknown))}; choose of {', '.join(SAMPLERS)}")
    return args


def main(argv=None):
    args = _arguments(argv)
    stop_cleanly()
    todo = [] if args.report else [part for part in parts(args.samplers, args.noises)
                                   if not part.path(args.folder).exists()]
    with resumable():
        for done, part in enumerate(in_processes(_computing, (args.folder, args.noises), todo, args.workers)):
            print(f"{done + 1}/{len(todo)}  {part.sampler}, {part.steps} steps", flush=True)
    bank = OrbitBank.merge(TARGET.record(seed) for seed in range(RECORDINGS))
    ranks = {sampler: rank_table(bank, sampler, args.folder, args.noises) for sampler in args.samplers}
    for sampler, rows in ranks.items():
        print(f"\n{sampler}\n" + as_text(rows), flush=True)
    learning = learning_table(bank, [sampler for sampler in LEARNED if sampler in args.samplers])
    print("\n" + as_text(learning), flush=True)
    command = "" if args.samplers == list(LEARNED) else f" --samplers {','.join(args.samplers)}"
    command += "" if args.noises == NOISES else f" --noises {args.noises}"
    name = args.docs or PAGE
    command += " --docs" + ("" if name == PAGE else f" {name}")
    grids = min(len(measured(sampler, steps, args.folder, args.noises)) for sampler in args.samplers for steps in STEPS)
    write_page(args.folder / name, page(bank, ranks, learning, command, grids, args.noises), bool(args.docs))


if __name__ == "__main__":
    main()
