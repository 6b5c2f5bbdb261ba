"""Long runs in pieces: files that appear whole or not at all, and processes that can be stopped at any moment."""

import contextlib
import io
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from art_nodes.core.files import write_whole

STOPPED = "stopped; what is complete is saved, the same command goes on"


def save_whole(path: Path, **arrays) -> None:
    """Write an npz that appears whole or not at all."""
    content = io.BytesIO()
    np.savez(content, **arrays)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content.getvalue())


class Processes:
    """Jobs done by `workers` processes, each by a function of its own that make(*arguments) gave it, within a `with`.

    They begin with the first job, so that several rounds of work wait for `make` once. With one worker it all happens
    in this process. Leaving by an exception ends them at once.
    """

    def __init__(self, make: Callable[..., Callable], arguments: tuple, workers: int):
        self.make, self.arguments, self.workers = make, arguments, workers
        self.pool, self.work = None, None

    def __enter__(self):
        return self

    def __call__(self, jobs: Sequence) -> Iterator:
        """What is made of all jobs, in any order."""
        if jobs and self.work is None:
            self._begin()
        return self.pool.imap_unordered(self.work, jobs) if self.pool else map(self.work, jobs)

    def _begin(self) -> None:
        if self.workers == 1:
            torch.set_num_threads(1)
            self.work = self.make(*self.arguments)
        else:  # two processes of one thread beat one of two threads: the network is small
            os.environ.setdefault("OMP_NUM_THREADS", "1")  # for numpy's algebra too, which torch does not tell
            self.pool = multiprocessing.get_context("spawn").Pool(self.workers, _begin, (self.make, self.arguments))
            self.work = _do

    def __exit__(self, error, *_):
        if self.pool is None:
            return
        if error:
            self.pool.terminate()
        else:  # they end by themselves: one that is terminated amid its exit may hang, and all wait for it
            self.pool.close()
        self.pool.join()


def in_processes(make: Callable[..., Callable], arguments: tuple, jobs: Sequence, workers: int) -> Iterator:
    """What is made of all jobs, in any order, by `Processes` of their own; leaving the loop ends these."""
    with Processes(make, arguments, workers) as each:
        yield from each(jobs)


_work: Callable | None = None  # of this process, where it is one of a pool


def _begin(make: Callable[..., Callable], arguments: tuple) -> None:
    global _work
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one ends the others
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # not its default, which would leave half a file
    torch.set_num_threads(1)
    _work = make(*arguments)


def _do(job):
    return _work(job)


def stop_cleanly() -> None:
    """Let SIGTERM end the run like Ctrl-C, with a word on how it goes on."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(STOPPED))


@contextlib.contextmanager
def resumable():
    """Work that Ctrl-C may end at any moment, with a word on how it goes on."""
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(STOPPED)


def say(line: str) -> None:
    """Print a line at once, also into a pipe."""
    print(line, flush=True)
