"""Long runs in pieces: files that appear whole or not at all, and processes that can be stopped at any moment."""

import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch


def save_whole(path: Path, **arrays) -> None:
    """Write an npz that appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".partial.")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **arrays)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def in_processes(work: Callable, jobs: Sequence, start: Callable, arguments: tuple, workers: int) -> Iterator:
    """work(job) for all jobs, in any order, by `workers` processes that each began with start(*arguments).

    With one worker it all happens in this process. Leaving the loop ends the others.
    """
    if workers == 1:
        torch.set_num_threads(1)
        start(*arguments)
        yield from map(work, jobs)
        return
    # Two processes of one thread beat one of two threads: the network is small.
    pool = multiprocessing.get_context("spawn").Pool(workers, _begin, (start, arguments))
    try:
        yield from pool.imap_unordered(work, jobs)
        pool.close()  # they end by themselves: one that is terminated amid its exit may hang, and all wait for it
    except BaseException:
        pool.terminate()
        raise
    finally:
        pool.join()


def _begin(start: Callable, arguments: tuple) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one ends the others
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # not its default, which would leave half a file
    torch.set_num_threads(1)
    start(*arguments)


def stop_cleanly() -> None:
    """Let SIGTERM end the run like Ctrl-C, with a word on how it goes on."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped; what is complete is saved, the same command goes on"))
