"""What the matched comparison found: every table, one plot a sampler, and who wins how often; docs/results.md."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from art_nodes.core.scores import ratio_interval, total
from benchmarks.machine import this_machine
from benchmarks.matched_cells import ART, BATCH, PLACES, Cell, Place
from benchmarks.mnist_report import as_markdown, as_text

DOCS, PAGE = Path("docs"), "results.md"
Columns = Mapping[tuple[Place, str, int], Sequence[Cell]]
PLOTTED = 4  # built-ins a plot shows


@dataclass(frozen=True)
class Entry:
    """One schedule in one column of end errors."""

    schedule: str
    errors: np.ndarray  # (noises,)

    @property
    def rms(self) -> float:
        """Over all noises."""
        return total(self.errors)


@dataclass(frozen=True)
class Duel:
    """Ours against the strongest built-in of a column; ratio of RMS errors and its 95 % interval."""

    rival: str
    ratio: float
    low: float
    high: float
    median_ratio: float

    @property
    def verdict(self) -> str:
        """By the interval."""
        return "wins" if self.high < 1 else "loses" if self.low > 1 else "tied"


def entries(column: Sequence[Cell], folder: Path) -> list[Entry]:
    """The schedules of a column that were measured, best first by their own noises."""
    found = [Entry(cell.schedule, cell.load(folder)) for cell in column]
    return sorted((entry for entry in found if len(entry.errors)), key=lambda entry: entry.rms)


def duel(found: Sequence[Entry], ours: str) -> Duel | None:
    """Ours against the built-in with the least error among those on as many noises."""
    mine = next((entry for entry in found if entry.schedule == ours), None)
    rivals = [entry for entry in found if not entry.schedule.startswith(ART) and mine is not None
              and len(entry.errors) == len(mine.errors)]
    if not rivals:
        return None
    rival = min(rivals, key=lambda entry: entry.rms)
    low, high = ratio_interval(mine.errors, rival.errors)
    return Duel(rival.schedule, mine.rms / rival.rms, low, high,
                float(np.median(mine.errors) / np.median(rival.errors)))


def error_table(columns: Columns, place: Place, sampler: str, folder: Path) -> list[list[str]]:
    """Rows are schedules by mean rank, columns numbers of steps: RMS end error; the least in **."""
    steps = [count for where, name, count in columns if (where, name) == (place, sampler)]
    found = {count: entries(columns[place, sampler, count], folder) for count in steps}
    names = {entry.schedule for column in found.values() for entry in column}
    ranks = {name: np.mean([next((i for i, entry in enumerate(column) if entry.schedule == name), len(column))
                            for column in found.values()]) for name in names}
    rows = [["steps", *map(str, steps)]]
    for name in sorted(names, key=ranks.get):
        rows.append([name, *(_error(found[count], name) for count in steps)])
    return rows


def _error(column: Sequence[Entry], name: str) -> str:
    entry = next((entry for entry in column if entry.schedule == name), None)
    if entry is None:
        return ""
    most = max(len(other.errors) for other in column)
    text = f"{entry.rms:.4f}" if len(entry.errors) == most else f"({entry.rms:.4f})"
    return f"**{text}**" if entry is next(other for other in column if len(other.errors) == most) else text


def duel_table(columns: Columns, place: Place, sampler: str, folder: Path, ours: Sequence[str]) -> list[list[str]]:
    """Rows are our schedules, columns numbers of steps: ratio to the strongest built-in, its interval, its name."""
    steps = [count for where, name, count in columns if (where, name) == (place, sampler)]
    rows = [["steps", *map(str, steps)]]
    for name in ours:
        duels = [duel(entries(columns[place, sampler, count], folder), name) for count in steps]
        if any(duels):
            rows.append([f"{name} / strongest", *(f"{d.ratio:.2f} ({d.low:.2f}–{d.high:.2f}) {d.rival}, {d.verdict}"
                                                   if d else "" for d in duels)])
    return rows


def tally(columns: Columns, folder: Path, ours: str, sampler: str) -> tuple[dict[str, int], list[float]]:
    """How often ours wins, ties and loses with a sampler, over all places and steps, and the ratios."""
    duels = [duel(entries(column, folder), ours) for (_, name, _), column in columns.items() if name == sampler]
    duels = [found for found in duels if found]
    return {word: sum(d.verdict == word for d in duels) for word in ("wins", "tied", "loses")}, [d.ratio for d in duels]


def summary(columns: Columns, folder: Path) -> list[list[str]]:
    """For each sampler and each of our schedules: wins, ties, losses, and the geometric mean and worst ratio."""
    samplers = list(dict.fromkeys(sampler for _, sampler, _ in columns))
    names = sorted({cell.schedule for column in columns.values() for cell in column if cell.schedule.startswith(ART)})
    rows = [["sampler", "schedule", "wins", "tied", "loses", "mean ratio", "worst ratio"]]
    for sampler in samplers:
        for name in names:
            counts, ratios = tally(columns, folder, name, sampler)
            if ratios:
                mean = float(np.exp(np.mean(np.log(ratios))))
                rows.append([sampler, name, *map(str, counts.values()), f"{mean:.3f}", f"{max(ratios):.3f}"])
    return rows


def advice(columns: Columns, folder: Path) -> list[list[str]]:
    """For each sampler the schedule of ours that loses least often; of those the one with the least mean ratio."""
    rows = {}
    for sampler, schedule, _, _, loses, mean, _ in summary(columns, folder)[1:]:
        rows.setdefault(sampler, []).append((int(loses), float(mean), schedule.removeprefix(ART)))
    best = {sampler: min(found) for sampler, found in rows.items()}
    return [["sampler", "objective", "cells lost", "mean ratio"],
            *([sampler, name, str(loses), f"{mean:.3f}"] for sampler, (loses, mean, name) in best.items())]


def _command(columns: Columns) -> str:
    """What computes the page again: all places, or those that it has."""
    here = {place for place, _, _ in columns}
    some = "" if here == set(PLACES) else " --places " + ",".join(place.name for place in PLACES if place in here)
    return f"python -m benchmarks matched{some} --docs"


def markdown(columns: Columns, folder: Path) -> str:
    """The whole page."""
    noises = max((len(entry.errors) for column in columns.values() for entry in entries(column, folder)), default=0)
    ours = sorted({cell.schedule for column in columns.values() for cell in column if cell.schedule.startswith(ART)})
    names = dict.fromkeys(place.title for place, _, _ in columns)
    parts = ["# Against every built-in schedule, at matched model calls",
             f"{this_machine()}; `{_command(columns)}`",
             f"In ComfyUI, with its own samplers and schedulers, measured at: {'; '.join(names)}. With a cfg: the demo"
             " model; photos: the photo model (docs/photo-model.md); digits and gaussian: exact denoisers of"
             " scikit-learn's digits under a kernel and of a 28x28 Gaussian field. SDXL and EDM are the noise levels."
             " End error: RMS distance, in units of the data's deviation, to a fine solution from the same noise, over"
             f" up to {noises} noises that nothing was learned on. In brackets: {BATCH} noises only: the schedule was"
             " too far from the best to matter. *Strongest* is the built-in with the least error of that column; the"
             " ratio's 95 % interval is a paired bootstrap over noises.",
             "FID is in [fid.md](fid.md). What trying grids on the model adds, where a recording misjudges, is in"
             " [trial.md](trial.md).",
             "## Who wins", as_markdown(summary(columns, folder)),
             "## Which objective to take", "By end error over all of these places; ART Train's default, `end:euler`,"
             " is the one that never loses with Euler. FID says otherwise for some samplers: [fid.md](fid.md).",
             as_markdown(advice(columns, folder))]
    for sampler in dict.fromkeys(sampler for _, sampler, _ in columns):
        parts += [f"## {sampler}", f"![End error against steps](images/matched-{sampler}.png)"]
        for place in dict.fromkeys(place for place, name, _ in columns if name == sampler):
            parts += [f"### {sampler}, {place.title}",
                      as_markdown(duel_table(columns, place, sampler, folder, ours)),
                      as_markdown(error_table(columns, place, sampler, folder))]
    return "\n\n".join(parts) + "\n"


def plot(columns: Columns, sampler: str, folder: Path, path: Path) -> None:
    """End error against steps, log-log, a panel a place: ours and the strongest built-ins."""
    from matplotlib.figure import Figure

    places = list(dict.fromkeys(place for place, name, _ in columns if name == sampler))
    figure = Figure(figsize=(4 * len(places), 3.6), layout="constrained")
    for axes, place in zip(figure.subplots(1, len(places), squeeze=False)[0], places, strict=True):
        steps = [count for where, name, count in columns if (where, name) == (place, sampler)]
        found = {count: {entry.schedule: entry.rms for entry in entries(columns[place, sampler, count], folder)}
                 for count in steps}
        names = dict.fromkeys(name for column in found.values() for name in column)
        built_in = sorted((name for name in names if not name.startswith(ART)),
                          key=lambda name: np.mean([np.log(column.get(name, 9.0)) for column in found.values()]))
        for name in (*built_in[:PLOTTED], *(name for name in names if name.startswith(ART))):
            points = [(count, found[count][name]) for count in steps if name in found[count]]
            axes.loglog(*zip(*points, strict=True), "o-", label=name, markersize=3.5,
                        linewidth=2.2 if name.startswith(ART) else 1.1, alpha=1.0 if name.startswith(ART) else 0.7)
        axes.set(title=f"{sampler}, {place.title}", xlabel="steps", xticks=steps)
        axes.set_xticks([], minor=True)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("RMS end error")
    figure.axes[0].legend(fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def write(columns: Columns, folder: Path, say=print) -> None:
    """Print the tables, and write the page and the plots into `folder`."""
    ours = sorted({cell.schedule for column in columns.values() for cell in column if cell.schedule.startswith(ART)})
    for place, sampler in dict.fromkeys((place, sampler) for place, sampler, _ in columns):
        say(f"\n{sampler}, {place.title}: RMS end error, * least\n"
            + as_text(error_table(columns, place, sampler, folder)))
        say(as_text(duel_table(columns, place, sampler, folder, ours)))
    say("\n" + as_text(summary(columns, folder)))
    for sampler in dict.fromkeys(sampler for _, sampler, _ in columns):
        plot(columns, sampler, folder, folder / "images" / f"matched-{sampler}.png")
    (folder / PAGE).write_text(markdown(columns, folder))
    say(f"{folder / PAGE}")


def copy_to_docs(folder: Path, docs: Path = DOCS) -> None:
    """The page and its pictures, to docs/."""
    shutil.copyfile(folder / PAGE, docs / PAGE)
    for picture in (folder / "images").glob("matched-*.png"):
        shutil.copyfile(picture, docs / "images" / picture.name)
