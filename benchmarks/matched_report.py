"""What the matched comparison found: every table, one plot a sampler, and who wins how often; docs/results.md."""

import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from art_nodes.core.scores import ratio_interval, total
from benchmarks.machine import this_machine
from benchmarks.matched_cells import ART, BATCH, PLACES, SAMPLERS, Cell, Place
from benchmarks.mnist_report import as_markdown, as_text

DOCS, PAGE = Path("docs"), "results.md"
Columns = Mapping[tuple[Place, str, int], Sequence[Cell]]
STATISTICS = {"RMS": total, "median": np.median}
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

    @property
    def median(self) -> float:
        """Over all noises."""
        return float(np.median(self.errors))


@dataclass(frozen=True)
class Duel:
    """Ours against the strongest built-in of a column; ratio of RMS or median errors and its 95 % interval."""

    rival: str
    ratio: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """By the interval."""
        return "wins" if self.high < 1 else "loses" if self.low > 1 else "tied"


Entries = Mapping[tuple[Place, str, int], Sequence[Entry]]


def entries(column: Sequence[Cell], folder: Path, chunks: int | None = None) -> list[Entry]:
    """The schedules of a column that were measured, best first by their own noises, or those of some chunks."""
    found = [Entry(cell.schedule, cell.load(folder)[:chunks and chunks * BATCH]) for cell in column]
    return sorted((entry for entry in found if len(entry.errors)), key=lambda entry: entry.rms)


def duel(found: Sequence[Entry], ours: str, of: Callable = total) -> Duel | None:
    """Ours against the built-in with the least error, total or np.median, on noises that ours and two built-ins have.

    So a run that was stopped amid a round counts no rival out.
    """
    mine = next((entry.errors for entry in found if entry.schedule == ours), None)
    built_in = {entry.schedule: entry.errors for entry in found if not entry.schedule.startswith(ART)}
    if mine is None or not built_in:
        return None
    mine = mine[:sorted(map(len, built_in.values()))[-2:][0]]
    rivals = {name: errors[:len(mine)] for name, errors in built_in.items() if len(errors) >= len(mine)}
    rival = min(rivals, key=lambda name: of(rivals[name]))
    low, high = ratio_interval(mine, rivals[rival], of)
    return Duel(rival, float(of(mine) / of(rivals[rival])), low, high)


def measured(columns: Columns, folder: Path, rounds: Sequence[int] = ()) -> Entries:
    """What was measured in every column, read once; of whole rounds of so many chunks only, where they are told."""
    def whole(entry: Entry) -> Entry:
        most = max((chunks * BATCH for chunks in rounds if chunks * BATCH <= len(entry.errors)), default=None)
        return Entry(entry.schedule, entry.errors[:most])

    return {key: sorted(map(whole, entries(column, folder)), key=lambda entry: entry.rms)
            for key, column in columns.items()}


def error_table(found: Entries, place: Place, sampler: str) -> list[list[str]]:
    """Rows are schedules by mean rank, columns numbers of steps: RMS and median end error; the least RMS in **."""
    here = {count: column for (where, name, count), column in found.items() if (where, name) == (place, sampler)}
    names = {entry.schedule for column in here.values() for entry in column}
    ranks = {name: np.mean([next((i for i, entry in enumerate(column) if entry.schedule == name), len(column))
                            for column in here.values()]) for name in names}
    rows = [["steps", *map(str, here)]]
    for name in sorted(sorted(names), key=ranks.get):  # a set has no order to keep
        rows.append([name, *(_error(column, name) for column in here.values())])
    return rows


def _error(column: Sequence[Entry], name: str) -> str:
    entry = next((entry for entry in column if entry.schedule == name), None)
    if entry is None:
        return ""
    most = max(len(other.errors) for other in column)
    first = entry is next(other for other in column if len(other.errors) == most)
    text = f"**{entry.rms:.4f}** / {entry.median:.4f}" if first else f"{entry.rms:.4f} / {entry.median:.4f}"
    return text if len(entry.errors) == most else f"({text})"


def duel_table(found: Entries, place: Place, sampler: str) -> list[list[str]]:
    """Rows are our schedules, columns numbers of steps: ratio to the strongest built-in, its interval, its name."""
    here = {count: column for (where, name, count), column in found.items() if (where, name) == (place, sampler)}
    rows = [["steps", *map(str, here)]]
    for name in ours_of(here):
        for word, of in STATISTICS.items():
            duels = [duel(column, name, of) for column in here.values()]
            if any(duels):
                rows.append([f"{name} / strongest, {word}",
                             *(f"{d.ratio:.2f} ({d.low:.2f}–{d.high:.2f}) {d.rival}, {d.verdict}" if d else ""
                               for d in duels)])
    return rows


def ours_of(found: Mapping[object, Sequence[Entry]]) -> list[str]:
    """Our schedules by name."""
    return sorted({entry.schedule for column in found.values() for entry in column if entry.schedule.startswith(ART)})


def tally(found: Entries, ours: str, sampler: str, of: Callable = total) -> tuple[dict[str, int], list[float]]:
    """How often ours wins, ties and loses with a sampler, over all places and steps, and the ratios."""
    duels = [duel(column, ours, of) for (_, name, _), column in found.items() if name == sampler]
    duels = [one for one in duels if one]
    return {word: sum(d.verdict == word for d in duels) for word in ("wins", "tied", "loses")}, [d.ratio for d in duels]


def mean_of(ratios: Sequence[float]) -> float:
    """Geometric."""
    return float(np.exp(np.mean(np.log(ratios))))


def summary(found: Entries) -> list[list[str]]:
    """For each sampler and each of our schedules: wins, ties, losses, and the geometric mean and worst ratio."""
    rows = [["sampler", "schedule", "wins", "tied", "loses", "mean ratio", "worst ratio",
             "by medians: wins", "tied", "loses", "mean ratio"]]
    for sampler in dict.fromkeys(sampler for _, sampler, _ in found):
        for name in ours_of(found):
            counts, ratios = tally(found, name, sampler)
            if ratios:
                medians, of_medians = tally(found, name, sampler, np.median)
                rows.append([sampler, name, *map(str, counts.values()), f"{mean_of(ratios):.3f}", f"{max(ratios):.3f}",
                             *map(str, medians.values()), f"{mean_of(of_medians):.3f}"])
    return rows


def advice(found: Entries) -> list[list[str]]:
    """For each sampler the schedule of ours that loses least often; of those the one with the least mean ratio."""
    rows = {}
    for sampler, schedule, _, _, loses, mean, *_ in summary(found)[1:]:
        rows.setdefault(sampler, []).append((int(loses), float(mean), schedule.removeprefix(ART)))
    best = {sampler: min(which) for sampler, which in rows.items()}
    return [["sampler", "objective", "cells lost", "mean ratio"],
            *([sampler, name, str(loses), f"{mean:.3f}"] for sampler, (loses, mean, name) in best.items())]


def _command(found: Entries, page: str) -> str:
    """What computes the page again: all places and samplers, or those that it has."""
    places, samplers = {place for place, _, _ in found}, {sampler for _, sampler, _ in found}
    some = "" if places == set(PLACES) else " --places " + ",".join(place.name for place in PLACES if place in places)
    if samplers != set(SAMPLERS):
        some += " --samplers " + ",".join(name for name in SAMPLERS if name in samplers)
    return f"python -m benchmarks matched{some} --docs" + (f" {page}" if page != PAGE else "")


def markdown(found: Entries, trial: str, page: str = PAGE) -> str:
    """The whole page of that name; trial says what trials were."""
    noises = sorted({len(entry.errors) for column in found.values() for entry in column})
    names = dict.fromkeys(place.title for place, _, _ in found)
    parts = ["# Against every built-in schedule, at matched model calls",
             f"{this_machine()}; `{_command(found, page)}`",
             f"In ComfyUI, with its own samplers and schedulers, measured at: {'; '.join(names)}. With a cfg: the demo"
             " model; photos: the photo model (docs/photo-model.md); digits and gaussian: exact denoisers of"
             " scikit-learn's digits under a kernel and of a 28x28 Gaussian field. SDXL and EDM are the noise levels.",
             "End error: distance, in units of the data's deviation, to a fine solution from the same noise; RMS"
             " and median over noises that nothing was learned on; labels are the demo model's ten classes, which"
             f" recordings have too. Of those noises a schedule has {_listed(noises)}: 32 or 96 where by RMS as by"
             " median it was worse than the best built-in beyond chance, its interval above 1; the most only where"
             " the interval of ours, tried, had 1 in it, as far as they were run. On the digits, where one picture"
             " in hundreds decides an RMS, none is left at so few. In brackets: fewer noises"
             " than the column's best has. *Strongest* is the built-in with the least error of that column on the"
             " noises of ours, for medians that with the least median; the ratio's 95 % interval is a paired"
             " bootstrap over noises. A few pictures that turn into another one decide an RMS at many steps;"
             " medians tell of all the others.",
             f"*Tried*: {trial} ([theory.md](theory.md), section 8; more seeds in [seeds.md](seeds.md), fewer calls in"
             " [trial.md](trial.md)). FID is in [fid.md](fid.md).",
             "## Who wins", as_markdown(summary(found)),
             "## Which objective to take", "By RMS end error over all of these places. FID says otherwise for some"
             " samplers: [fid.md](fid.md).",
             as_markdown(advice(found))]
    for sampler in dict.fromkeys(sampler for _, sampler, _ in found):
        parts += [f"## {sampler}", f"![End error against steps](images/{picture(page, sampler)})"]
        for place in dict.fromkeys(place for place, name, _ in found if name == sampler):
            parts += [f"### {sampler}, {place.title}", as_markdown(duel_table(found, place, sampler)),
                      as_markdown(error_table(found, place, sampler))]
    return "\n\n".join(parts) + "\n"


def _listed(counts: Sequence[int]) -> str:
    *first, last = map(str, counts)
    return f"{', '.join(first)} or {last}" if first else last


def plot(found: Entries, sampler: str, path: Path) -> None:
    """End error against steps, log-log, a panel a place: ours and the strongest built-ins; hollow: on fewer noises."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    places = list(dict.fromkeys(place for place, name, _ in found if name == sampler))
    shown = {place: _shown({count: column for (where, name, count), column in found.items()
                            if (where, name) == (place, sampler)}) for place in places}
    names = sorted({name for lines in shown.values() for name in lines}, key=lambda name: (name.startswith(ART), name))
    look = {name: {"color": colormaps["tab20"](i % 20), "linewidth": 2.2 if name.startswith(ART) else 1.1}
            for i, name in enumerate(names)}  # one look for a schedule in all panels
    figure = Figure(figsize=(4 * len(places), 4.4), layout="constrained")
    for axes, place in zip(figure.subplots(1, len(places), squeeze=False)[0], places, strict=True):
        for name, points in shown[place].items():
            axes.loglog(*zip(*((count, error) for count, error, _ in points), strict=True), **look[name])
            for count, error, whole in points:
                axes.loglog(count, error, "o", markersize=3.5, color=look[name]["color"],
                            fillstyle="full" if whole else "none")
        axes.set(title=f"{sampler}, {place.title}", xlabel="steps",
                 xticks=sorted({count for points in shown[place].values() for count, *_ in points}))
        axes.set_xticks([], minor=True)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("RMS end error")
    lines = [figure.axes[0].plot([], [], label=name, **look[name])[0] for name in names]
    figure.legend(handles=lines, loc="outside lower center", ncols=min(len(names), 3 * len(places)), fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _shown(here: Mapping[int, Sequence[Entry]]) -> dict[str, list[tuple[int, float, bool]]]:
    """Name -> (steps, RMS, whether on as many noises as any rival) of what a panel shows: ours, PLOTTED built-ins."""
    lines: dict[str, list[tuple[int, float, bool]]] = {}
    for count, column in here.items():
        judged = sorted(len(entry.errors) for entry in column)[-2:][0]
        for entry in column:
            lines.setdefault(entry.schedule, []).append((count, entry.rms, len(entry.errors) >= judged))
    level = {name: np.mean([np.log({count: rms for count, rms, _ in line}.get(count, 9.0)) for count in here])
             for name, line in lines.items()}
    built_in = sorted((name for name in lines if not name.startswith(ART)), key=level.get)
    return {name: lines[name] for name in (*built_in[:PLOTTED], *(name for name in lines if name.startswith(ART)))}


def write(columns: Columns, path: Path, trial: str, rounds: Sequence[int], say=print) -> None:
    """Print the tables, and write the page at `path`, in the folder of what was measured.

    trial: says what trials were. rounds: chunks of each, as for `measured`.
    """
    folder = path.parent
    found = measured(columns, folder, rounds)
    for place, sampler in dict.fromkeys((place, sampler) for place, sampler, _ in found):
        say(f"\n{sampler}, {place.title}: RMS / median end error, * least\n"
            + as_text(error_table(found, place, sampler)))
        say(as_text(duel_table(found, place, sampler)))
    say("\n" + as_text(summary(found)))
    for sampler in dict.fromkeys(sampler for _, sampler, _ in found):
        plot(found, sampler, folder / "images" / picture(path.name, sampler))
    path.write_text(markdown(found, trial, path.name))
    say(f"{path}")


def picture(page: str, sampler: str) -> str:
    """The name of a page's picture of a sampler."""
    return f"{Path(page).stem}-{sampler}.png"


def copy_to_docs(path: Path, docs: Path = DOCS) -> None:
    """The page and its pictures, to docs/."""
    shutil.copyfile(path, docs / path.name)
    for shown in re.findall(r"\(images/(.+?)\)", path.read_text()):
        shutil.copyfile(path.parent / "images" / shown, docs / "images" / shown)
