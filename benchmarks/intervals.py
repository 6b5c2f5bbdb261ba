"""Whether 95 % intervals of ratios of end errors hold the truth in 95 % of cases; `python -m benchmarks intervals`.

At each place the end errors of some of the host's schedules from 1,024 noises stand for all noise there is. Of them
samples are drawn again and again, and the interval of each sample held against the ratio of all. Pictures that turn
into another are rare and weigh much: a sample may have none.
"""

import argparse
import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from unittest import mock

import numpy as np
import torch

from art_nodes.core import scores
from benchmarks.chunks import resumable, say, stop_cleanly
from benchmarks.machine import this_machine
from benchmarks.matched import FOLDER, built_in, missing, run
from benchmarks.matched_cells import BATCH, PLACES, Cell, processes
from benchmarks.options import named
from benchmarks.pages import as_text

USUAL = ("sdxl-cfg1", "digits-sdxl", "gaussian-sdxl")
COLUMNS = (("euler", 6), ("dpmpp_2m", 10))
SCHEDULES = ("beta", "karras", "sgm_uniform", "simple")
CHUNKS = 32  # of BATCH noises each, that stand for all
SIZES = (4, 16, 64, 256)  # of samples
DRAWS = 200  # of a pair of schedules
# Statistic, and of fewer noises than how many the interval is studentized; the last is a bootstrap's quantiles alone.
KINDS = {"RMS": (scores.total, scores.FEW), "quantiles alone": (scores.total, 0), "median": (np.median, 0)}


def held(cells: Sequence[Cell], folder: Path, size: int) -> list[str]:
    """Of each KINDS: how many intervals of samples of a size hold the ratio of all, and how many say the reverse.

    Of neighbours, once the schedules of a column are sorted by their error: those are hard to tell apart.
    """
    found, random = [], np.random.default_rng(0)
    for of, few in KINDS.values():
        holds, reversed_ = [], []
        for sampler, steps in COLUMNS:
            errors = sorted((cell.load(folder)[:CHUNKS * BATCH].astype(float) for cell in cells
                             if (cell.sampler, cell.steps) == (sampler, steps)), key=of)
            for less, more in pairwise(errors):
                truth = of(less) / of(more)
                for drawn in random.integers(0, len(less), (DRAWS, size)):
                    with mock.patch.object(scores, "FEW", few):
                        low, high = scores.ratio_interval(less[drawn], more[drawn], of)
                    holds.append(low <= truth <= high)
                    reversed_.append(low > 1)
        found += [f"{np.mean(holds):.3f}", f"{np.mean(reversed_):.3f}"]
    return found


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks intervals", description=__doc__.splitlines()[0])
    parser.add_argument("--places", default=",".join(USUAL))
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes of one thread each")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="that of `matched`")
    args = parser.parse_args(argv)
    stop_cleanly()
    torch.set_num_threads(1)
    places = named(parser, args.places, PLACES)
    with resumable():
        cells = [cell for cell in built_in((place, *column) for place in places for column in COLUMNS)
                 if cell.schedule in SCHEDULES]
        with processes(args.folder, args.workers) as each:
            run(missing(cells, CHUNKS, args.folder), f"{CHUNKS * BATCH} noises", each, say)
    rows = [["place", "noises", *(f"{name}, {word}" for name in KINDS for word in ("held", "reversed"))]]
    for place in places:
        rows += [[place.title, str(size), *held([cell for cell in cells if cell.place == place], args.folder, size)]
                 for size in SIZES]
    of = ", ".join(f"{sampler} {steps} steps" for sampler, steps in COLUMNS)
    print(f"{this_machine()}; {of}; {', '.join(SCHEDULES)}\n{as_text(rows)}")


if __name__ == "__main__":
    main()
