"""Who wins where: the errors of a column, ours against the strongest built-in there, and the tables of both."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from art_nodes.core.scores import total
from benchmarks.duels import Duel, mean_of
from benchmarks.matched_cells import ART, BATCH, TRIED, Cell, Place, own

Columns = Mapping[tuple[Place, str, int], Sequence[Cell]]
STATISTICS = {"RMS": total, "median": np.median}
OF_MEDIANS = 256  # noises: more are measured only of schedules that are close by RMS


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


Entries = Mapping[tuple[Place, str, int], Sequence[Entry]]


def entries(column: Sequence[Cell], folder: Path, chunks: int | None = None) -> list[Entry]:
    """The schedules of a column that were measured, best first by their own noises, or those of some chunks."""
    found = [Entry(cell.schedule, cell.load(folder)[:chunks and chunks * BATCH]) for cell in column]
    return sorted((entry for entry in found if len(entry.errors)), key=lambda entry: entry.rms)


def duel(found: Sequence[Entry], ours: str, of: Callable = total) -> Duel | None:
    """Ours against the built-in with the least error, total or np.median, on noises that ours and two built-ins have.

    So a run that was stopped amid a round counts no rival out. Medians are of at most OF_MEDIANS noises. A built-in
    that is not finite is no rival; ours then loses infinitely.
    """
    if of is np.median:
        found = [Entry(entry.schedule, entry.errors[:OF_MEDIANS]) for entry in found]
    mine = next((entry.errors for entry in found if entry.schedule == ours), None)
    built_in = {entry.schedule: entry.errors for entry in found
                if not entry.schedule.startswith(ART) and np.isfinite(entry.errors).all()}
    if mine is None or not built_in:
        return None
    mine = mine[:sorted(map(len, built_in.values()))[-2:][0]]
    rivals = {name: errors[:len(mine)] for name, errors in built_in.items() if len(errors) >= len(mine)}
    rival = min(rivals, key=lambda name: of(rivals[name]))
    if not np.isfinite(mine).all():
        return Duel(rival, np.inf, np.inf, np.inf)
    return Duel.of(rival, mine, rivals[rival], of)


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
                             *(f"{d.text} {d.rival}, {d.verdict}" if d else "" for d in duels)])
    return rows


def ours_of(found: Mapping[object, Sequence[Entry]]) -> list[str]:
    """Our schedules by name."""
    return sorted({entry.schedule for column in found.values() for entry in column if entry.schedule.startswith(ART)})


def tally(found: Entries, ours: str, sampler: str, of: Callable = total, at: Place | None = None
          ) -> tuple[dict[str, int], list[float]]:
    """How often ours wins, ties and loses with a sampler, over all steps at a place or at all, and the ratios."""
    duels = [duel(column, ours, of) for (place, name, _), column in found.items()
             if name == sampler and at in (None, place)]
    duels = [one for one in duels if one]
    return {word: sum(d.verdict == word for d in duels) for word in ("wins", "tied", "loses")}, [d.ratio for d in duels]


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


def by_place(found: Entries) -> list[list[str]]:
    """For each sampler ours, tried, at each place: wins, ties, losses, and the geometric mean ratio."""
    places = list(dict.fromkeys(place for place, _, _ in found))
    rows = [["sampler", *(place.title for place in places)]]
    for sampler in dict.fromkeys(sampler for _, sampler, _ in found):
        tallies = [tally(found, ART + own(sampler) + TRIED, sampler, at=place) for place in places]
        rows.append([sampler, *(f"{', '.join(map(str, counts.values()))}; {mean_of(ratios):.2f}" if ratios else ""
                                for counts, ratios in tallies)])
    return rows


def advice(found: Entries) -> list[list[str]]:
    """For each sampler the schedule of ours with the least mean ratio, and how often it loses.

    Not the one that loses least often: on few noises nothing does. Nor one that has fewer noises than ours in some
    column: its rivals are others.
    """
    rows, partly = {}, {(sampler, entry.schedule) for (_, sampler, _), column in found.items() for entry in column
                        if len(entry.errors) < max(len(one.errors) for one in column if one.schedule.startswith(ART))}
    for sampler, schedule, _, _, loses, mean, *_ in summary(found)[1:]:
        if (sampler, schedule) not in partly:
            rows.setdefault(sampler, []).append((float(mean), int(loses), schedule.removeprefix(ART)))
    best = {sampler: min(which) for sampler, which in rows.items()}
    return [["sampler", "objective", "cells lost", "mean ratio"],
            *([sampler, name, str(loses), f"{mean:.3f}"] for sampler, (mean, loses, name) in best.items())]


def misses(found: Entries) -> list[list[str]]:
    """Every column where ours, tried, does not have the least RMS: its ratio to the strongest built-in, and which."""
    rows = [["sampler", "place", "steps", "ratio", "strongest", "verdict"]]
    for (place, sampler, steps), column in found.items():
        one = duel(column, ART + own(sampler) + TRIED)
        if one and one.ratio > 1:
            rows.append([sampler, place.title, str(steps), one.text, one.rival, one.verdict])
    return rows
