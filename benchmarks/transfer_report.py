"""The tables of the transfer benchmark, as text and as markdown."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from art_nodes.core.scores import ratio_interval, total
from benchmarks.transfer_places import CLASSIC, EXCHANGE, EXCHANGE_STEPS, ONE_STEP, OTHER_STEPS, OWN, TAIL
from benchmarks.transfer_results import Results
from benchmarks.transfer_scores import ratios, strongest

NATIVE = "K"  # the clock trained at the number of steps it is read at
SOLVERS = {"euler": "Euler", "heun": "Heun"}


@dataclass(frozen=True)
class Table:
    """A heading, a line on what the cells are, and rows of text; the first row is the head."""

    title: str
    note: str
    rows: list[list[str]]

    def text(self) -> str:
        """For a terminal."""
        widths = [max(len(row[i]) for row in self.rows) for i in range(len(self.rows[0]))]
        lines = ["  ".join(cell.ljust(width) if i == 0 else cell.rjust(width)
                           for i, (cell, width) in enumerate(zip(row, widths, strict=True))) for row in self.rows]
        return "\n".join([self.title, f"({self.note})", *lines])

    def markdown(self) -> str:
        """For the docs."""
        head, *rows = ["| " + " | ".join(row) + " |" for row in self.rows]
        return "\n".join([f"**{self.title}** ({self.note})", "", head, "|" + "---|" * len(self.rows[0]), *rows])


def spread(values: Iterable[float], digits: int = 2) -> str:
    """Median and worst."""
    values = list(values)
    return f"{np.median(values):.{digits}f} ({max(values):.{digits}f})"


@dataclass(frozen=True)
class Duel:
    """A clock against the strongest classic grid of its cell."""

    clock: str
    solver: str
    steps: int
    classic: str
    ratio: float
    low: float
    high: float

    @property
    def text(self) -> str:
        """Ratio and interval."""
        return f"{self.ratio:.2f} ({self.low:.2f}–{self.high:.2f})"

    @property
    def outcome(self) -> str:
        """By the interval."""
        return "won" if self.high < 1 else "lost" if self.low > 1 else "tied"


def duel(results: Results, place: str, clock: str, solver: str, steps: int) -> Duel:
    """The ratio of RMS errors over all orbits of all seeds, with its interval."""
    errors = results.errors[place]
    classic = strongest(errors, solver, steps)
    ours, theirs = (np.concatenate(errors[solver, name, steps]) for name in (clock, classic))
    return Duel(clock, solver, steps, classic, total(ours) / total(theirs), *ratio_interval(ours, theirs))


def against(results: Results, place: str, clock: str, other: str, solver: str, steps: int) -> np.ndarray | None:
    """Ratio of the RMS errors of two clocks seed by seed; None where one was not judged."""
    errors = results.errors[place]
    jobs = (solver, clock, steps), (solver, other, steps)
    return ratios(errors[jobs[0]], errors[jobs[1]]) if all(job in errors for job in jobs) else None


def native(steps: int) -> str:
    """What a clock is held against at `steps`: no clock of fewer than 8 pieces can be trained."""
    return NATIVE if steps >= 8 else str(OWN)


def _head(results: Results, place: str, first: str) -> list[str]:
    return [first, *(f"{SOLVERS[solver]} {steps}" for solver, steps in results.cells(place))]


def _row(label: str, cells: Iterable[str | None]) -> list[str]:
    return [label, *(cell or "–" for cell in cells)]


def steps_table(results: Results, place: str) -> Table:
    """One clock at numbers of steps that it was not trained for."""
    cells = results.cells(place)
    rows = [[*_head(results, place, "pieces trained"), "J/J*"]]
    for pieces in sorted(int(clock) for clock in results.clocks(place) if clock.isdigit()):
        found = [against(results, place, str(pieces), native(k), solver, k) for solver, k in cells]
        if pieces == OWN:  # below 8 steps it is the yardstick itself
            found = [None if k < 8 else value for value, (_, k) in zip(found, cells, strict=True)]
        rows.append([*_row(str(pieces), (None if f is None else spread(f) for f in found)),
                     spread(results.costs[place][str(pieces)], 3)])
    return Table(f"Other numbers of steps: {place}", "error over that of the clock trained at that K, below 8 steps "
                 f"over that of the clock of {OWN}; median and worst of {results.facts['seeds']} seeds", rows)


def classic_table(results: Results, place: str) -> Table:
    """The default clock against the strongest classic grid."""
    cells = results.cells(place)
    duels = [duel(results, place, str(OWN), solver, steps) for solver, steps in cells]
    errors = [np.concatenate(results.errors[place][solver, str(OWN), steps]) for solver, steps in cells]
    rows = [_head(results, place, ""), _row("RMS error", (f"{total(e):.3f}" for e in errors)),
            _row("median error", (f"{np.median(e):.3f}" for e in errors)),
            _row("strongest classic", (d.classic for d in duels)), _row("ratio", (d.text for d in duels)),
            _row("orbits", (str(results.orbits(place, *cell)) for cell in cells))]
    return Table(f"The clock of {OWN} against classic grids: {place}",
                 "95 % interval: bootstrap paired over orbits", rows)


def foreign(results: Results, place: str) -> list[str]:
    """The clocks from elsewhere that were judged on a place."""
    return [clock for clock in results.clocks(place) if clock in (*EXCHANGE, TAIL, ONE_STEP)]


def _exchange_cells(results: Results, place: str) -> list[tuple[str, int]]:
    return [(solver, steps) for solver, steps in results.cells(place) if steps in EXCHANGE_STEPS]


def exchange_tables(results: Results, place: str) -> list[Table]:
    """The clocks of the other places against the place's own, and against the strongest classic grid."""
    cells = _exchange_cells(results, place)
    head = [f"{SOLVERS[solver]} {steps}" for solver, steps in cells]
    to_own, to_classic = [["clock of", "J/J*", *head]], [["clock of", *head]]
    for clock in foreign(results, place):
        found = [against(results, place, clock, str(OWN), *cell) for cell in cells]
        cost = results.costs[place].get(clock)
        ratio_cells = [None if f is None else spread(f) for f in found]
        to_own.append(_row(clock, [spread(cost, 3) if cost else None, *ratio_cells]))
        to_classic.append(_row(clock, (duel(results, place, clock, *cell).text if f is not None else None
                                       for cell, f in zip(cells, found, strict=True))))
    to_own.append(_row("(its own)", [spread(results.costs[place][str(OWN)], 3), *["1"] * len(cells)]))
    duels = [duel(results, place, str(OWN), *cell) for cell in cells]
    to_classic += [_row("(its own)", (d.text for d in duels)), _row("strongest classic", (d.classic for d in duels)),
                   _row("orbits", (str(results.orbits(place, *cell)) for cell in cells))]
    note = f"error over that of the clock learned here; median and worst of {results.facts['seeds']} seeds"
    return [Table(f"Clocks from elsewhere on: {place}", note, to_own),
            Table(f"The same against the strongest classic grid: {place}",
                  "95 % interval: bootstrap paired over orbits", to_classic)]


def frechet_table(results: Results) -> Table:
    """Samples of the digits as a distribution."""
    cells = sorted({(solver, steps) for solver, _, steps in results.frechet})
    names = list(dict.fromkeys(clock for _, clock, _ in results.frechet))
    rows = [["schedule", *(f"{SOLVERS[solver]} {steps}" for solver, steps in cells)]]
    for name in names:
        label = name if name in CLASSIC else "(its own)" if name == str(OWN) else f"clock of {name}"
        rows.append(_row(label, (spread(results.frechet[solver, name, steps]) for solver, steps in cells)))
    return Table("Fréchet distance of the digits",
                 f"64 pixels, {results.facts['samples']:,} samples against the exact moments; median and worst of "
                 f"{results.facts['seeds']} seeds; exact draws: {spread(results.floor)}", rows)


def tables(results: Results) -> list[Table]:
    """All of them."""
    first = [table for place in OTHER_STEPS for table in (steps_table(results, place), classic_table(results, place))]
    return [*first, *(table for place in EXCHANGE for table in exchange_tables(results, place)), frechet_table(results)]
