"""What the FID comparison found; docs/fid.md."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from art_nodes.core import OrbitBank
from art_nodes.core.objectives import NOISY, SamplerError
from benchmarks import frechet
from benchmarks.comfy.inprocess import on_gpu
from benchmarks.fid_trials import BATCHES, BUDGET
from benchmarks.machine import command, this_machine
from benchmarks.matched_cells import AIMS, ART, FID_BATCH, FidCell
from benchmarks.pages import AS_TAKEN, as_markdown, as_text, write_page
from benchmarks.trial_cells import SIZE

PAGE = "fid.md"
Columns = Mapping[tuple[str, int], Sequence[FidCell]]


def target() -> frechet.Moments:
    """Of the features of Fashion-MNIST's 10,000 test images."""
    from benchmarks.mnist_style import real_features

    return frechet.moments(real_features("t10k"))


def value(cell: FidCell, chunks: int, real: frechet.Moments, folder: Path) -> float:
    """FID of a cell's first `chunks` chunks; NaN where they are not all there, or not finite."""
    features = cell.load(folder, "features", chunks)
    if len(features) < chunks * FID_BATCH or not np.isfinite(features).all():
        return float("nan")
    return frechet.fid(features, real)


class Table:
    """The FIDs of one sampler on `chunks` chunks a cell."""

    def __init__(self, columns: Columns, sampler: str, chunks: int, real: frechet.Moments, folder: Path):
        self.real, self.chunks, self.folder = real, chunks, folder
        self.cells = {(cell.schedule, count): cell for (name, count), column in columns.items() if name == sampler
                      for cell in column}
        found = {key: value(cell, chunks, real, folder) for key, cell in self.cells.items()}
        self.values = {key: fid for key, fid in found.items() if np.isfinite(fid)}
        self.names = list(dict.fromkeys(name for name, _ in self.values))
        self.steps = list(dict.fromkeys(count for _, count in self.values))
        self._interval = functools.cache(self._bootstrap)  # the page asks for each four times

    def rows(self, with_gaps: bool) -> list[list[str]]:
        """Rows are schedules by mean FID, the lowest of a column in **; last ours minus the best built-in."""
        mean = {name: np.mean([fid for (other, _), fid in self.values.items() if other == name])
                for name in self.names}
        rows = [["steps", *map(str, self.steps)]]
        rows += [[name, *(self._cell(name, count) for count in self.steps)]
                 for name in sorted(self.names, key=mean.get)]
        for name in self.names if with_gaps else ():
            if name.startswith(ART):
                rows.append([f"{name} − best built-in, 95 %", *(self._gap(name, count) for count in self.steps)])
        return rows

    def verdicts(self, ours: str) -> list[str]:
        """wins, tied or loses for each number of steps that was measured, by the interval as it is printed.

        So a trial's grid that is a built-in but for the last digits of its sigmas is tied with it.
        """
        gaps = [np.round(gap, 2) for count in self.steps if (gap := self._interval(ours, count))]
        return ["wins" if high < 0 else "loses" if low > 0 else "tied" for low, high in gaps]

    def _cell(self, name: str, count: int) -> str:
        if (name, count) not in self.values:
            return ""
        text = f"{self.values[name, count]:.2f}"
        least = min(fid for (_, steps), fid in self.values.items() if steps == count)
        return f"**{text}**" if self.values[name, count] == least else text

    def _gap(self, ours: str, count: int) -> str:
        interval = self._interval(ours, count)
        return "{:+.2f} … {:+.2f}".format(*interval) if interval else ""

    def _bootstrap(self, ours: str, count: int) -> tuple[float, float] | None:
        """95 % interval of FID(ours) - FID(the built-in with the least), a paired bootstrap over samples."""
        others = {name: fid for (name, steps), fid in self.values.items()
                  if steps == count and not name.startswith(ART)}
        if (ours, count) not in self.values or not others:
            return None
        pair = [self.cells[name, count].load(self.folder, "features", self.chunks)
                for name in (ours, min(others, key=others.get))]
        return frechet.paired_interval(*pair, self.real)


def summary(tables: Mapping[str, Table]) -> list[list[str]]:
    """Sampler, ours, and how often it wins, ties and loses against the best built-in."""
    rows = [["sampler", "schedule", "wins", "tied", "loses"]]
    for sampler, table in tables.items():
        for name in sorted(name for name in table.names if name.startswith(ART)):
            found = table.verdicts(name)
            rows.append([sampler, name, *(str(found.count(word)) for word in ("wins", "tied", "loses"))])
    return rows


def foretelling(tables: Mapping[str, Table], bank: OrbitBank, fine: FidCell) -> list[list[str]]:
    """Spearman's rank correlation of FID with what tells it, over the schedules of each column.

    What objectives foretell, and how far the samples themselves are from the fine solution's spectrum, with bands that
    count by their size and alike.
    """
    counts = list(dict.fromkeys(count for table in tables.values() for count in table.steps))
    rows = [["sampler", "what tells it", *(f"{count} steps" for count in counts)]]
    for sampler, table in tables.items():
        tells = {}
        for kind in ("end", "detail", "spectrum"):
            error = SamplerError(bank, f"{kind}:{NOISY.get(sampler, sampler)}")
            tells[f"{kind}:{error.sampler}"] = lambda cells, error=error: error(np.array([c.sigmas for c in cells]))
        for word, share in (("by size", bank.spectrum.share), ("alike", np.ones(len(bank.spectrum.share)))):
            tells[f"the samples' spectrum, bands {word}"] = functools.partial(_spectra, table, fine, share)
        for name, told in tells.items():
            rows.append([sampler, name])
            for count in counts:
                cells = [table.cells[key] for key in table.values if key[1] == count]
                found = [table.values[cell.schedule, count] for cell in cells]
                rows[-1].append(f"{spearmanr(found, told(cells)).statistic:.2f}" if len(cells) > 2 else "")
    return rows


def _spectra(table: Table, fine: FidCell, share: np.ndarray, cells: Sequence[FidCell]) -> list[float]:
    """How far the mean power of each cell's samples is from the fine solution's; RMS of its logarithm over bands."""
    wanted, *found = (cell.load(table.folder, "powers", table.chunks).mean(axis=0) for cell in (fine, *cells))
    return [float(np.sqrt(np.average(np.log(power / wanted) ** 2, weights=share))) for power in found]


def fine_line(fine: FidCell, chunks: int, real: frechet.Moments, folder: Path) -> str:
    """What the fine solution scores, and what follows of it for schedules that score better."""
    found = value(fine, chunks, real, folder)
    return "" if not np.isfinite(found) else (
        f"**The model itself, its ODE solved by {fine.steps} steps of {fine.sampler}, scores {found:.2f}.** No schedule"
        " can be nearer to what the model says than that. Lower values are errors of the sampler that make up for those"
        " of the small model, by luck or because a grid aims at them.")


def write(columns: Columns, final: Columns, fine: FidCell, rounds: tuple[int, int], bank: OrbitBank, folder: Path,
          say=print, docs: str | None = None, seeds: int = 1) -> None:
    """Print the tables, and write the page into `folder`; if it is named, into docs/ under that name as well.

    seeds: recordings that ours of the second round are learned from.
    """
    real, samplers = target(), list(dict.fromkeys(sampler for sampler, _ in columns))
    first, second = ({sampler: Table(part, sampler, chunks, real, folder) for sampler in samplers}
                     for part, chunks in zip((columns, final), rounds, strict=True))
    done = {sampler: table for sampler, table in second.items() if table.values}
    few, many = (f"{chunks * FID_BATCH:,d}" for chunks in rounds)
    page = docs or PAGE
    parts = ["# FID at matched model calls",
             f"{this_machine()}; " + command(f"fid --samplers {','.join(samplers)}"
                                             f"{f' --seeds {seeds}' if seeds > 1 else ''} --docs {page}"),
             "The demo model in SDXL's dress, cfg 1, sampled in ComfyUI with its own samplers and schedulers."
             f" {AS_TAKEN} Same noise and labels for all; what a sampler adds is never the start noise again, as it is"
             " on the CPU of older hosts where both have one seed. No schedule was learned on that noise; labels are"
             " the ten classes, as often each, and those recordings have. Features: those of the bundled classifier;"
             f" target: Fashion-MNIST's test images. {many} samples of the three built-in schedules and of the one of"
             f" ours that had the least FID of {few} samples in their column; the round before is at the end. The 95 %"
             " interval is a paired bootstrap over samples; wins and losses go by its two digits printed here."
             + ("" if on_gpu() else " On a processor that has it, sampled in bfloat16, which moved an FID from 7.77 to"
                                    " 7.83 on 1,280 samples."),
             "`end:<sampler>` is closest to the fine solution from the same noise ([results.md](results.md));"
             " `detail:<sampler>` weighs fine structure more, `spectrum:<sampler>` keeps the power at each frequency,"
             f" *at pictures*: that of {AIMS} training pictures ([theory.md](theory.md), section 7)."
             + (" *Seed*: of ours learned from another recording." if seeds > 1 else "")
             + "".join(f" *Tried*: what a trial of at most {BUDGET} sample calls on the spectrum of {count * SIZE}"
                       f" recorded orbits made of `spectrum:{name}` and the built-in schedules (section 8), all three"
                       " seeds."
                       for name, count in BATCHES.items() if name in samplers),
             fine_line(fine, rounds[1], real, folder), as_markdown(summary(done))]
    for sampler, table in done.items():
        say(f"\n{sampler}: FID, * least\n" + as_text(table.rows(True)))
        parts += [f"## {sampler}", as_markdown(table.rows(True))]
    say("\n" + as_text(summary(done)))
    parts += ["## What tells FID",
              f"Spearman's rank correlation over all schedules below, {few} samples; at many steps FIDs of most"
              " schedules differ by less than their noise.", as_markdown(foretelling(first, bank, fine)),
              f"## All schedules, {few} samples",
              "FID of so few samples is biased upwards, alike for all; it only chooses whom to compare with."]
    for sampler, table in first.items():
        parts += [f"### {sampler}, {few} samples", as_markdown(table.rows(False))]
    write_page(folder / page, parts, bool(docs))
    say(f"{folder / page}")
