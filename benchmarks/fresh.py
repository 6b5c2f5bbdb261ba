"""Whether the matched comparison holds on noise that nothing was judged on before; `python -m benchmarks fresh`.

What decides each column of `matched`, ours and the built-ins that may be the strongest there, is sampled once more from
noise whose seeds nobody has used: changes of the learner were accepted by errors on the noise of `matched`. Run that
first. Stops cleanly at Ctrl-C or SIGTERM; the same command goes on where it stopped.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import torch

from benchmarks.chunks import resumable, say, stop_cleanly
from benchmarks.duels import Duel, mean_of
from benchmarks.machine import this_machine
from benchmarks.matched import (
    SECOND,
    arguments_after,
    built_in,
    columns,
    deciding,
    is_meant,
    mine_of,
    missing,
    run,
    trials,
    tried_cells,
)
from benchmarks.matched_cells import BATCH, KNOWN, SAMPLERS, FreshCell, processes
from benchmarks.matched_tables import Columns, duel, entries
from benchmarks.pages import as_markdown, as_text, write_page

PAGE = "fresh.md"
VERDICTS = ("wins", "tied", "loses")
Pair = tuple[Duel, Duel]  # on the noise of `matched`, and on fresh noise
Pairs = Mapping[tuple, Pair]  # by place, sampler and number of steps


def deciders(found: Columns, folder: Path) -> list[FreshCell]:
    """What decides each column, to be sampled from fresh noise; none of a column that lacks ours or two built-ins."""
    cells = []
    for column in found.values():
        kept = deciding(column, folder, SECOND)
        ours = sum(map(is_meant, kept))
        if ours and len(kept) >= ours + 2:
            cells += [FreshCell(**vars(cell)) for cell in kept]
    return cells


def pairs(found: Columns, fresh: Sequence[FreshCell], folder: Path) -> Pairs:
    """Ours against the strongest built-in of each column that was measured whole on both noises."""
    again, both = columns(fresh), {}
    for key, column in found.items():
        here = [cell for cell in again.get(key, ()) if len(cell.load(folder)) >= SECOND * BATCH]
        if here and len(here) == len(again[key]):
            names = {cell.schedule for cell in here}
            known = [cell for cell in column if cell.schedule in names]
            both[key] = tuple(duel(entries(cells, folder, SECOND), mine_of(column)) for cells in (known, here))
    return both


def summary(both: Pairs) -> list[list[str]]:
    """For each sampler: won, tied, lost and the mean ratio on either noise, and how much the ratio grew."""
    rows = [["sampler", "columns", "wins", "tied", "loses", "mean ratio",
             "on fresh noise: wins", "tied", "loses", "mean ratio", "fresh / before"]]
    for sampler in dict.fromkeys(sampler for _, sampler, _ in both):
        here = [pair for (_, name, _), pair in both.items() if name == sampler]
        row, means = [sampler, str(len(here))], []
        for duels in zip(*here, strict=True):
            counts = Counter(one.verdict for one in duels)
            means.append(mean_of([one.ratio for one in duels]))
            row += [*(str(counts[word]) for word in VERDICTS), f"{means[-1]:.3f}"]
        rows.append([*row, f"{means[1] / means[0]:.3f}"])
    return rows


def moves(both: Pairs) -> list[list[str]]:
    """Rows are verdicts on the noise of `matched`, columns those on fresh noise: how many columns went there."""
    counts = Counter((before.verdict, after.verdict) for before, after in both.values())
    return [["before", *(f"fresh: {word}" for word in VERDICTS)],
            *([word, *(str(counts[word, after]) for after in VERDICTS)] for word in VERDICTS)]


def table(both: Pairs, sampler: str) -> list[list[str]]:
    """Rows are places, columns numbers of steps: the ratio and verdict before, and on fresh noise."""
    here = {(place, count): " → ".join(f"{one.ratio:.2f}{one.verdict[0]}" for one in pair)
            for (place, name, count), pair in both.items() if name == sampler}
    steps = sorted({count for _, count in here})
    return [["steps", *map(str, steps)],
            *([place.title, *(here.get((place, count), "") for count in steps)]
              for place in dict.fromkeys(place for place, _ in here))]


def write(both: Pairs, folder: Path, to_docs: bool = False) -> None:
    """Print the tables, and write the page."""
    samplers = [name for name in SAMPLERS if any(name == sampler for _, sampler, _ in both)]
    places = [place.name for place in KNOWN if any(place == where for where, _, _ in both)]
    grown = np.log([after.ratio / before.ratio for before, after in both.values()])
    told = (f"Ratios on fresh noise are {np.exp(grown.mean()):.3f} times those before in the geometric mean,"
            f" {np.exp(np.median(grown)):.3f} in the median.")
    parts = ["# The comparison on noise that nothing was judged on before",
             f"{this_machine()}; `python -m benchmarks fresh --places {','.join(places)} --samplers"
             f" {','.join(samplers)} --docs`, after `matched` for the same",
             "End error in ComfyUI of what a trial makes of `end:<sampler>`, as a ratio to the strongest built-in"
             f" schedule of the column, on the {SECOND * BATCH} noises of `matched`, by whose errors changes of the"
             " learner were accepted, and on as many of seeds that nobody had used. The grids are the same, and the"
             " strongest is found anew among those that may be it by `matched`, two at least. w, t, l: wins, tied,"
             " loses by the 95 % interval of a paired bootstrap over noises.",
             as_markdown(summary(both)), "Columns by their verdict before and on fresh noise:",
             as_markdown(moves(both)), told]
    print(as_text(summary(both)) + "\n\n" + as_text(moves(both)) + f"\n\n{told}")
    for sampler in samplers:
        rows = table(both, sampler)
        print(f"\n{sampler}\n" + as_text(rows))
        parts += [f"## {sampler}", as_markdown(rows)]
    write_page(folder / PAGE, parts, to_docs)
    print(folder / PAGE)


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks fresh", description=__doc__.splitlines()[0])
    args = arguments_after(parser, argv, SAMPLERS, PAGE)
    stop_cleanly()
    torch.set_num_threads(1)
    asked = args.places, args.samplers, args.steps
    found = columns(built_in(product(*asked)) + tried_cells(trials(*asked), args.folder))
    fresh = deciders(found, args.folder)
    if not fresh:
        sys.exit(f"nothing to measure again in {args.folder}; run `python -m benchmarks matched` with the same places, "
                 "samplers, steps and folder first")
    if not args.report:
        with resumable(), processes(args.folder, args.workers) as each:
            run(missing(fresh, SECOND, args.folder), f"{SECOND * BATCH} fresh noises", each, say)
    if both := pairs(found, fresh, args.folder):
        write(both, args.folder, args.docs)
    else:
        sys.exit(f"no column is measured whole in {args.folder}; leave out --report")


if __name__ == "__main__":
    main()
