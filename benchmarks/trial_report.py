"""What trials on the model are worth; docs/trial.md."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.machine import this_machine
from benchmarks.matched_cells import ART, BATCH, PLACES, Cell, Place
from benchmarks.matched_report import Duel, duel, entries
from benchmarks.mnist_report import as_markdown, as_text
from benchmarks.trial_cells import BUDGETS, SEEDS, Job, title

DOCS, PAGE = Path("docs"), "trial.md"
Columns = Mapping[tuple[Place, str, int], Sequence[Cell]]


def kinds(sampler: str) -> dict[str, str]:
    """What ours are called in the tables -> their cells' names without the seed."""
    trials = {f"tried, {budget} calls": title(budget, 0).removesuffix(", seed 0") for budget in BUDGETS}
    return {"objective alone": f"{ART}end:{sampler}", "errors that turn soon": f"{ART}end:{sampler}, turning soon"} \
        | trials


def duels(columns: Columns, sampler: str, name: str, folder: Path, place: Place | None = None,
          steps: int | None = None) -> list[Duel]:
    """Ours of every seed against the strongest built-in of its column, for one sampler."""
    found = [duel(entries(column, folder), f"{name}, seed {seed}")
             for (where, which, count), column in columns.items() for seed in SEEDS
             if which == sampler and place in (None, where) and steps in (None, count)]
    return [one for one in found if one is not None]


def summary(columns: Columns, folder: Path) -> list[list[str]]:
    """For each sampler and kind: wins, ties and losses over places, steps and seeds, mean and worst ratio."""
    rows = [["sampler", "grid", "wins", "tied", "loses", "mean ratio", "mean ratio of medians", "worst ratio"]]
    for sampler in dict.fromkeys(sampler for _, sampler, _ in columns):
        for kind, name in kinds(sampler).items():
            found = duels(columns, sampler, name, folder)
            if found:
                counts = [sum(one.verdict == word for one in found) for word in ("wins", "tied", "loses")]
                means = [float(np.exp(np.mean(np.log([getattr(one, which) for one in found]))))
                         for which in ("ratio", "median_ratio")]
                rows.append([sampler, kind, *map(str, counts), *(f"{mean:.3f}" for mean in means),
                             f"{max(one.ratio for one in found):.3f}"])
    return rows


def place_table(columns: Columns, place: Place, sampler: str, folder: Path) -> list[list[str]]:
    """Rows are kinds, columns numbers of steps: each seed's ratio to the strongest built-in, its verdict in letters."""
    steps = [count for where, which, count in columns if (where, which) == (place, sampler)]
    rows = [["steps", *map(str, steps)]]
    for kind, name in kinds(sampler).items():
        found = [duels(columns, sampler, name, folder, place, count) for count in steps]
        rows.append([kind, *(" ".join(f"{one.ratio:.2f}{one.verdict[0]}" for one in column) for column in found)])
    first = [duels(columns, sampler, next(iter(kinds(sampler).values())), folder, place, count) for count in steps]
    rows.append(["strongest built-in", *(column[0].rival if column else "" for column in first)])
    return rows


def spent(jobs: Sequence[Job], folder: Path) -> list[list[str]]:
    """What the trials did: sample calls, how often another grid was chosen, how often it was improved."""
    rows = [["trial", "sample calls, mean", "chose another grid", "improved the grid", "did neither"]]
    for budget in BUDGETS:
        told = [job.load(folder)[title(budget, job.seed)] for job in jobs if job.path(folder).exists()]
        if told:
            other, better = [one["from"] != "ART" for one in told], [one["ratio"] < 1 for one in told]
            rows.append([f"{budget} calls", f"{np.mean([one['sample_calls'] for one in told]):.0f}",
                         *(f"{sum(which)} of {len(told)}" for which in (other, better)),
                         f"{sum(not a and not b for a, b in zip(other, better, strict=True))} of {len(told)}"])
    return rows


def write(columns: Columns, jobs: Sequence[Job], folder: Path, say=print) -> None:
    """Print the tables, and write the page into `folder`."""
    here = [place for place in PLACES if any(place == where for where, _, _ in columns)]
    noises = max((len(entry.errors) for column in columns.values() for entry in entries(column, folder)), default=0)
    some = "" if len(here) == len(PLACES) else " --places " + ",".join(place.name for place in here)
    parts = ["# Grids tried on the model", f"{this_machine()}; `python -m benchmarks trial{some} --docs`",
             "End error in ComfyUI over that of the strongest built-in schedule of the column, as in"
             f" [results.md](results.md), RMS over {noises} held-out noises (built-ins far from the best: {BATCH}). The"
             f" grids of each of {len(SEEDS)} seeds come from a recording of their own, 24 orbits of 64 nodes: the"
             " objective `end:<sampler>` alone; the same where errors turn within 2 e-folds instead of 5; and what"
             " ART Train's `trial_calls` makes of them and of the built-in schedules, by trying them on those orbits"
             " ([theory.md](theory.md), section 8). w, t, l: wins, tied, loses by the 95 % interval of a paired"
             " bootstrap over noises.",
             as_markdown(summary(columns, folder)), as_markdown(spent(jobs, folder))]
    say(as_text(summary(columns, folder)) + "\n" + as_text(spent(jobs, folder)))
    for sampler in dict.fromkeys(row[0] for row in summary(columns, folder)[1:]):
        parts.append(f"## {sampler}")
        for place in here:
            if not any(duels(columns, sampler, name, folder, place) for name in kinds(sampler).values()):
                continue  # not measured
            table = place_table(columns, place, sampler, folder)
            say(f"\n{sampler}, {place.title}\n" + as_text(table))
            parts += [f"### {sampler}, {place.title}", as_markdown(table)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PAGE).write_text("\n\n".join(parts) + "\n")
    say(f"{folder / PAGE}")


def copy_to_docs(folder: Path, docs: Path = DOCS) -> None:
    """The page, to docs/."""
    shutil.copyfile(folder / PAGE, docs / PAGE)
