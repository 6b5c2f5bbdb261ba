"""What the mnist-style cells say: tables with intervals and verdicts, as text and markdown, and a plot."""

import datetime
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from art_nodes.core import Schedule
from benchmarks import frechet
from benchmarks.mnist_cells import ART, ART_RK4, NFE, OURS, SCHEDULES, Cell, Setting
from benchmarks.pages import as_markdown, as_text

PLOT, TABLES = "mnist-style.png", "mnist-style.md"
TITLES = {"rk4": "RK4", "heun": "Heun", "euler": "Euler"}
# Tables 4 (MNIST), 2 and 3 (CIFAR-10) of the paper: other models and other data, for the size of the effect.
PAPER = {
    "rk4": {"DPM": (523.60, 334.44, 2.01, 1.97, 1.20, 1.12), "EDM": (523.60, 59.36, 2.66, 1.23, 1.14, 1.12),
            ART: (102.13, 3.62, 1.25, 1.09, 1.03, 0.98)},
    "heun": {"DPM": (465.83, 244.50, 52.29, 8.67, 2.76, 1.89), "EDM": (465.83, 305.15, 35.54, 6.79, 2.54, 1.85),
             ART: (152.86, 130.48, 32.13, 5.44, 2.45, 1.82)},
    "euler": {"DPM": (51.73, 27.07, 11.35, 3.95, 2.41), "EDM": (49.10, 27.73, 11.91, 4.21, 2.50),
              ART: (28.16, 23.88, 7.84, 3.46, 2.28)},
}
COLOURS = {"Uniform": "#8a8f98", "DPM": "#c4622d", "EDM": "#2f6fb3", ART: "#12753a", ART_RK4: "#7bb662"}


@dataclass(frozen=True)
class Duel:
    """One of ours against the best schedule of a cell that is not; the interval is of FID(ours) - FID(other)."""

    other: str
    difference: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """By the 95 % interval."""
        if self.high < 0:
            return "best"
        return "loses" if self.low > 0 else "tied within the interval"


@dataclass(frozen=True)
class Scores:
    """FIDs of all complete cells, and the duels where all schedules of a cell are complete."""

    fid: dict[tuple[str, int, str], float]
    duels: dict[tuple[str, int, str], Duel]  # by solver, calls and which of ours
    floor: float  # FID of as many real training images
    seconds: float  # computing time of all complete cells, over all workers


@dataclass(frozen=True)
class Facts:
    """Where and how the figures came about."""

    date: str
    machine: str
    setting: Setting
    train_seed: int
    learned: dict  # provenance of ART-RL's schedule

    @classmethod
    def of_this_machine(cls, setting: Setting, train_seed: int, learned: Schedule) -> "Facts":
        """Today's, here."""
        machine = f"{platform.machine()}, {os.cpu_count()} cores, {setting.device}"
        return cls(str(datetime.date.today()), machine, setting, train_seed, learned.provenance)

    @property
    def command(self) -> str:
        """What computes the same cells."""
        return (f"python -m benchmarks mnist-style --samples {self.setting.samples} --seed {self.setting.seed} "
                f"--train-seed {self.train_seed}")


def score(cells: Sequence[Cell], setting: Setting, real: np.ndarray, floor: np.ndarray) -> Scores:
    """Score the complete cells against real features (N, 96); `floor` are those of other real images."""
    target, fids, duels, total = frechet.moments(real), {}, {}, 0.0
    for place in dict.fromkeys((cell.solver, cell.calls) for cell in cells):
        group = [cell for cell in cells if (cell.solver, cell.calls) == place]
        loaded = {cell.schedule: cell.load(setting) for cell in group if cell.complete(setting)}
        found = {name: frechet.fid(features, target) for name, (features, _) in loaded.items()}
        fids.update({(*place, name): value for name, value in found.items()})
        total += sum(seconds for _, seconds in loaded.values())
        if len(loaded) == len(group):
            other = min((name for name in found if name not in OURS), key=found.get)
            for ours in OURS:
                if ours in found:
                    interval = frechet.paired_interval(loaded[ours][0], loaded[other][0], target)
                    duels[(*place, ours)] = Duel(other, found[ours] - found[other], *interval)
    return Scores(fids, duels, frechet.fid(floor, target), total)


def solver_table(scores: Scores, solver: str) -> list[list[str]]:
    """Rows of cells: a heading, a schedule each, then the lead of ours and its verdict; the best of a column in **."""
    columns = [calls for calls in NFE[solver] if any(key[:2] == (solver, calls) for key in scores.fid)]
    rows = [["NFE", *map(str, columns)]]
    for schedule in SCHEDULES[solver]:
        rows.append([schedule, *(_entry(scores, solver, calls, schedule) for calls in columns)])
    for ours in (name for name in OURS if name in SCHEDULES[solver]):
        duels = [scores.duels.get((solver, calls, ours)) for calls in columns]
        rows.append([f"{ours} − best other", *(f"{d.difference:+.3f}" if d else "" for d in duels)])
        rows.append(["95 % interval", *(f"{d.low:+.3f} … {d.high:+.3f}" if d else "" for d in duels)])
        rows.append([f"{ours} is", *(f"{d.verdict} ({d.other})" if d else "" for d in duels)])
    return rows


def tally(scores: Scores, ours: str) -> str:
    """How often one of ours is best, tied and worse, in words."""
    verdicts = [duel.verdict for (*_, name), duel in scores.duels.items() if name == ours]
    counts = ", ".join(f"{verdicts.count(word)} {word}" for word in ("best", "tied within the interval", "loses"))
    return f"{ours} is, of {len(verdicts)} cells: {counts}"


def _entry(scores: Scores, solver: str, calls: int, schedule: str) -> str:
    value = scores.fid.get((solver, calls, schedule))
    if value is None:
        return ""
    column = [scores.fid.get((solver, calls, name)) for name in SCHEDULES[solver]]
    return f"**{value:.3f}**" if None not in column and value == min(column) else f"{value:.3f}"


def paper_table(solver: str) -> list[list[str]]:
    """The paper's own figures at the same NFE."""
    return [["NFE", *map(str, NFE[solver])],
            *([name, *(f"{value:.2f}" for value in values)] for name, values in PAPER[solver].items())]


def markdown(scores: Scores, facts: Facts) -> str:
    """The whole page."""
    setting, solvers = facts.setting, [s for s in NFE if any(key[0] == s for key in scores.fid)]
    parts = [
        "# The paper's FID tables on the demo model",
        f"{facts.date}; {facts.machine}; {scores.seconds / 3600:.1f} hours of computing; `{facts.command}`",
        f"{setting.samples} samples a cell from the bundled Fashion-MNIST model (σ from 80 to 0.002, class-conditional,"
        " no guidance), the same noise and the same labels, all ten classes equally often, in every cell. FID is taken"
        " in the 96 features of the bundled classifier against the 10,000 real test images, by clean-fid's formula;"
        f" {setting.samples} real training images score {scores.floor:.3f}. Such figures compare with each other only,"
        " not with FIDs in Inception's features.",
        f"ART-RL learned once, with the default settings, from {facts.learned.get('orbits')} orbits whose noise has"
        f" another seed ({facts.train_seed}; samples: {setting.seed}), for Euler's objective; every solver and number"
        " of steps reads the same clock. DPM (geometric) and EDM (ρ = 7) run from 80 to 0.002 and then to 0, as in the"
        " paper; Uniform takes equal steps from 80 to 0; ART-RL reaches 0 with no node pinned at 0.002. All solvers end"
        " with an Euler step to 0 and never call the model there.",
        f"{ART_RK4}: ART-RL too, but paid for what docs/theory.md, section 7, foretells of RK4's own error at 0, on"
        " the same recording; a clock for each number of steps. The paper has no such thing.",
        "The interval is a paired bootstrap over samples"
        f" ({frechet.RESAMPLES} resamples, the same for both) of the difference between ours and the best"
        f" schedule of the cell that is not ours. By it {'; '.join(tally(scores, name) for name in _ours(scores))}.",
        *_unfinished(scores),
        f"![FID against model calls](images/{PLOT})",
    ]
    for solver in solvers:
        source = "table 4: MNIST" if solver == "rk4" else "tables 2 and 3: CIFAR-10"
        parts += [f"## {TITLES[solver]}", as_markdown(solver_table(scores, solver)),
                  f"The paper's own figures ({source}; another model, other data and features):",
                  as_markdown(paper_table(solver))]
    return "\n\n".join(parts) + "\n"


def _ours(scores: Scores) -> list[str]:
    """Which of ours were judged."""
    return [name for name in OURS if any(key[2] == name for key in scores.duels)]


def _unfinished(scores: Scores) -> list[str]:
    """A sentence for a run that is not over."""
    whole = sum(len(NFE[solver]) * len(SCHEDULES[solver]) for solver in NFE)
    if len(scores.fid) == whole:
        return []
    return [f"**Not finished:** {len(scores.fid)} of {whole} cells are computed; the others are empty or left out."
            " The same command goes on where it stopped."]


def plot(scores: Scores, path: Path) -> None:
    """FID against NFE, log-log, a panel for each solver."""
    from matplotlib.figure import Figure  # only this picture needs it

    solvers = [solver for solver in NFE if any(key[0] == solver for key in scores.fid)]
    figure = Figure(figsize=(4 * max(len(solvers), 1), 3.6), layout="constrained")
    for axes, solver in zip(figure.subplots(1, max(len(solvers), 1), sharey=True, squeeze=False)[0], solvers,
                            strict=False):
        for name in SCHEDULES[solver]:
            points = [(calls, scores.fid[solver, calls, name]) for calls in NFE[solver]
                      if (solver, calls, name) in scores.fid]
            if points:
                axes.loglog(*zip(*points, strict=True), "o-", color=COLOURS[name], label=name, markersize=4,
                            linewidth=2.2 if name in OURS else 1.3)
        axes.axhline(scores.floor, color="#8a8f98", linestyle=":", linewidth=1, label="real training images")
        axes.set(title=TITLES[solver], xlabel="model calls a sample (NFE)", xticks=NFE[solver])
        axes.set_xticks([], minor=True)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("FID (classifier features)")
    if solvers:
        figure.axes[0].legend()
    figure.savefig(path, dpi=110)


def write(scores: Scores, facts: Facts, folder: Path, say=print) -> None:
    """Print the tables, and write them as markdown and the plot into `folder`."""
    for solver in NFE:
        if any(key[0] == solver for key in scores.fid):
            say(f"\n{TITLES[solver]}, FID of {facts.setting.samples} samples, lower is better, * lowest\n"
                + as_text(solver_table(scores, solver)))
    say(f"\n{facts.setting.samples} real training images: {scores.floor:.3f}")
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / TABLES).write_text(markdown(scores, facts))
    plot(scores, folder / "images" / PLOT)
    say(f"{folder / TABLES}, {folder / 'images' / PLOT}")
