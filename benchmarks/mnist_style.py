"""The paper's table 4 and the protocol of its tables 2 and 3 on the demo model; `python -m benchmarks mnist-style`.

FID in the features of the bundled classifier, against the 10,000 real test images of
Fashion-MNIST, of RK4, Heun and Euler at the paper's numbers of model calls (NFE).
Stops cleanly at Ctrl-C or SIGTERM; the same command goes on where it stopped, with as many
`--workers` as it is told.
"""

import argparse
import os
import time
from collections import Counter
from pathlib import Path

import torch

from benchmarks import fashion, frechet, mnist_report
from benchmarks.chunks import resumable, say, stop_cleanly
from benchmarks.classifier import load_classifier
from benchmarks.mnist_cells import ART, NFE, Cell, Setting, all_cells, art_schedules, compute, missing, schedule_path
from benchmarks.options import chosen, no_page_of_a_look
from benchmarks.pages import copy_to_docs

FOLDER = Path("build/mnist-style")
QUICK_SAMPLES, QUICK_CALLS = 500, 9


@torch.no_grad()
def real_features(split: str, count: int | None = None):
    """Features (N, 96) of the first `count` real images, default all."""
    judge = load_classifier()
    return torch.cat([judge.features(part) for part in fashion.load(split)[0][:count].split(1000)]).numpy()


def run(cells: list[Cell], setting: Setting, workers: int, say=print) -> int:
    """Compute what is missing, with a line for each complete cell; answers how many chunks were computed."""
    jobs = missing(cells, setting)
    say(f"{len(cells)} cells of {setting.samples} samples; {len(jobs)} chunks of {setting.chunk} to compute")
    if not jobs:
        return 0
    real = frechet.moments(real_features("t10k"))
    left = sum(cell.calls for cell, _ in jobs) * setting.chunk  # sample calls
    chunks_left = Counter(cell for cell, _ in jobs)
    done, busy, began = 0, 0.0, time.perf_counter()
    for (cell, _), seconds in compute(jobs, setting, workers):
        done, busy = done + cell.calls * setting.chunk, busy + seconds
        chunks_left[cell] -= 1
        if not chunks_left[cell]:
            rate = workers * done / busy
            value = frechet.fid(cell.load(setting)[0], real)
            solver, calls, schedule = cell.key
            say(f"{solver:6s}NFE {calls:2d}  {schedule:14s}FID {value:8.3f}   {time.perf_counter() - began:6.0f} s, "
                f"{rate:4.0f} sample calls/s, {(left - done) / rate / 60:4.0f} min left")
    return len(jobs)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks mnist-style", description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, help="of each cell, rounded down to a multiple of 250; "
                        "default 5000, with CUDA 10000, with --quick 500")
    parser.add_argument("--seed", type=int, default=1, help="of the noise that is sampled from")
    parser.add_argument("--train-seed", type=int, default=0, help="of the orbits that ART-RL learns on")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes of one thread each")
    parser.add_argument("--only", default=",".join(NFE), help="solvers, separated by commas")
    parser.add_argument("--quick", action="store_true", help=f"few samples, at most {QUICK_CALLS} model calls each")
    parser.add_argument("--report", action="store_true", help="only report what is there")
    parser.add_argument("--docs", action="store_true", help="also write docs/mnist-style.md and its picture")
    parser.add_argument("--folder", type=Path, help=f"default {FOLDER}, with --quick {FOLDER}-quick")
    return parser


def _arguments(argv) -> argparse.Namespace:
    parser = _parser()
    args = parser.parse_args(argv)
    no_page_of_a_look(parser, args)
    args.only = chosen(parser, args.only, NFE)
    if args.seed == args.train_seed:
        parser.error("--seed must differ from --train-seed: the samples are to be held out")
    if args.workers < 1:
        parser.error(f"--workers must be >= 1; got {args.workers}")
    return args


def main(argv=None):
    args = _arguments(argv)
    cuda = torch.cuda.is_available()
    samples = args.samples or (QUICK_SAMPLES if args.quick else 10_000 if cuda else 5000)
    folder = args.folder or (Path(f"{FOLDER}-quick") if args.quick else FOLDER)
    setting = Setting(folder, samples, args.seed, "cuda" if cuda else "cpu", batch=250 if cuda else 25)
    stop_cleanly()
    torch.set_num_threads(1)
    learned = art_schedules(folder, args.train_seed)
    for name in learned:
        print(f"{name}: {schedule_path(folder, args.train_seed, name)}; delete it to learn it anew", flush=True)
    cells = all_cells(learned, args.only, QUICK_CALLS if args.quick else 1000)
    with resumable():
        if not args.report:
            run(cells, setting, 1 if cuda else args.workers, say)
    facts = mnist_report.Facts.of_this_machine(setting, args.train_seed, learned[ART])
    floor = real_features("train", setting.samples)
    mnist_report.write(mnist_report.score(cells, setting, real_features("t10k"), floor), facts, folder)
    if args.docs:
        copy_to_docs(folder / mnist_report.TABLES)


if __name__ == "__main__":
    main()
