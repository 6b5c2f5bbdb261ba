"""What trials on the model are worth; docs/trial.md."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from art_nodes.core.scores import total
from benchmarks.duels import Duel, mean_of
from benchmarks.machine import this_machine
from benchmarks.matched_cells import ART, Cell, Place
from benchmarks.matched_tables import STATISTICS, Entries, duel, measured
from benchmarks.pages import as_markdown, as_text, write_page
from benchmarks.trial_cells import BATCHES, BUDGETS, NODES, SEEDS, SIZE, Job, title

PAGE = "trial.md"
Columns = Mapping[tuple[Place, str, int], Sequence[Cell]]


def kinds(sampler: str) -> dict[str, str]:
    """What ours are called in the tables -> their cells' names without the seed."""
    trials = {f"tried, {budget} calls": title(budget, 0).removesuffix(", seed 0") for budget in BUDGETS}
    return {"objective alone": f"{ART}end:{sampler}"} | trials


def duels(found: Entries, sampler: str, name: str, place: Place | None = None, steps: int | None = None,
          of: Callable = total) -> list[Duel]:
    """Ours of every seed against the strongest built-in of its column, for one sampler."""
    every = [duel(column, f"{name}, seed {seed}", of)
             for (where, which, count), column in found.items() for seed in SEEDS
             if which == sampler and place in (None, where) and steps in (None, count)]
    return [one for one in every if one is not None]


def summary(found: Entries) -> list[list[str]]:
    """For each sampler and kind: wins, ties and losses over places, steps and seeds, mean and worst ratio."""
    rows = [["sampler", "grid", "wins", "tied", "loses", "mean ratio", "worst ratio",
             "by medians: wins", "tied", "loses", "mean ratio"]]
    for sampler in dict.fromkeys(sampler for _, sampler, _ in found):
        for kind, name in kinds(sampler).items():
            parts = []
            for of in STATISTICS.values():
                every = duels(found, sampler, name, of=of)
                parts += [sum(one.verdict == word for one in every) for word in ("wins", "tied", "loses")] if every \
                    else []
                parts += [f"{mean_of([one.ratio for one in every]):.3f}"] if every else []
                parts += [f"{max(one.ratio for one in every):.3f}"] if every and of is total else []
            if parts:
                rows.append([sampler, kind, *map(str, parts)])
    return rows


def place_table(found: Entries, place: Place, sampler: str) -> list[list[str]]:
    """Rows are kinds, columns numbers of steps: each seed's ratio to the strongest built-in, its verdict in letters."""
    steps = [count for where, which, count in found if (where, which) == (place, sampler)]
    rows = [["steps", *map(str, steps)]]
    for kind, name in kinds(sampler).items():
        every = [duels(found, sampler, name, place, count) for count in steps]
        rows.append([kind, *(" ".join(f"{one.ratio:.2f}{one.verdict[0]}" for one in column) for column in every)])
    first = [duels(found, sampler, next(iter(kinds(sampler).values())), place, count) for count in steps]
    rows.append(["strongest built-in", *(column[0].rival if column else "" for column in first)])
    return rows


def spent(jobs: Sequence[Job], folder: Path) -> list[list[str]]:
    """What the trials did: sample calls, how often which grid was chosen, how often it was improved."""
    rows = [["trial", "sample calls, mean", "chose another reading of the objective", "chose a built-in",
             "improved the grid", "changed nothing"]]
    for budget in BUDGETS:
        told = [job.load(folder)[title(budget, job.seed)] for job in jobs if job.path(folder).exists()]
        if told:
            ours = [one["from"].startswith("ART") for one in told]
            own, better = [one["from"] == "ART" for one in told], [one["ratio"] < 1 for one in told]
            counts = (sum(ours) - sum(own), len(told) - sum(ours), sum(better),
                      sum(a and not b for a, b in zip(own, better, strict=True)))
            rows.append([f"{budget} calls", f"{np.mean([one['sample_calls'] for one in told]):.0f}",
                         *(f"{count} of {len(told)}" for count in counts)])
    return rows


def _commands(found: Entries) -> list[str]:
    """What computes the page again: one command for all samplers that were tried at the same places and steps."""
    ways = {}
    for sampler in dict.fromkeys(sampler for _, sampler, _ in found):
        places = tuple(dict.fromkeys(place.name for place, which, _ in found if which == sampler))
        steps = tuple(sorted({count for _, which, count in found if which == sampler}))
        ways.setdefault((places, steps), []).append(sampler)
    return [f"python -m benchmarks trial --places {','.join(places)} --samplers {','.join(samplers)}"
            f" --steps {','.join(map(str, steps))} --docs" for (places, steps), samplers in ways.items()]


def write(columns: Columns, jobs: Sequence[Job], folder: Path, say=print, to_docs: bool = False) -> None:
    """Print the tables, and write the page into `folder`, with `to_docs` into docs/ as well."""
    found = {key: column for key, column in measured(columns, folder).items()
             if any(entry.schedule.startswith(ART) for entry in column)}
    here = list(dict.fromkeys(place for place, _, _ in found))
    noises = max((len(entry.errors) for column in found.values() for entry in column if entry.schedule.startswith(ART)),
                 default=0)
    commands = " and then ".join(f"`{line}`" for line in _commands(found))
    parts = ["# Grids tried on the model", f"{this_machine()}; {commands}",
             "End error in ComfyUI over that of the strongest built-in schedule of the column, as in"
             f" [results.md](results.md), RMS over {noises} held-out noises (built-ins that are worse beyond chance:"
             f" fewer). The grids of each of {len(SEEDS)} seeds come from a recording of their own, {BATCHES * SIZE}"
             f" orbits of {NODES} nodes: the objective `end:<sampler>` alone, and what ART Train's `trial_calls` makes"
             " of it, of other readings of the objective and of the built-in schedules, by trying them on those orbits"
             " ([theory.md](theory.md), section 8). w, t, l: wins, tied, loses by the 95 % interval of a paired"
             " bootstrap over noises. By medians: against the built-in with the least median.",
             as_markdown(summary(found)), as_markdown(spent(jobs, folder))]
    say(as_text(summary(found)) + "\n" + as_text(spent(jobs, folder)))
    for sampler in dict.fromkeys(row[0] for row in summary(found)[1:]):
        parts.append(f"## {sampler}")
        for place in here:
            if not any(duels(found, sampler, name, place) for name in kinds(sampler).values()):
                continue  # not measured
            table = place_table(found, place, sampler)
            say(f"\n{sampler}, {place.title}\n" + as_text(table))
            parts += [f"### {sampler}, {place.title}", as_markdown(table)]
    write_page(folder / PAGE, parts, to_docs)
    say(f"{folder / PAGE}")
