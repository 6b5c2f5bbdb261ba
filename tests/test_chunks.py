"""Long runs in pieces: processes that wait for work, and end."""

import importlib
import multiprocessing
import os
import sys

import pytest

from benchmarks.chunks import Processes, in_processes

NAME = "work_of_test_chunks"
# In a file of its own: a process that is spawned imports what it runs, and the host has a package `tests` too.
SOURCE = '''
import os

times = 0


def make(word):
    global times
    times += 1

    def work(job):
        if job < 0:
            raise ValueError("a job that fails")
        return job, (word, os.getpid(), times)

    return work
'''


@pytest.fixture
def module(tmp_path, monkeypatch):
    """What the processes run."""
    (tmp_path / f"{NAME}.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module(NAME)
    del sys.modules[NAME]


@pytest.mark.parametrize("workers", [1, 2])
def test_rounds_of_work_start_their_processes_once(module, workers):
    """And not at all without work."""
    with Processes(module.make, ("word",), workers) as each:
        assert list(each([])) == [] and each.work is None
        found = [*each([1, 2, 3]), *each([4, 5])]
    assert sorted(job for job, _ in found) == [1, 2, 3, 4, 5]
    assert {said[0] for _, said in found} == {"word"} and {said[2] for _, said in found} == {1}
    pids = {said[1] for _, said in found}
    assert len(pids) <= workers and (os.getpid() in pids) == (workers == 1)


def test_a_job_that_fails_ends_them(module):
    with pytest.raises(ValueError, match="a job that fails"), \
            Processes(module.make, ("word",), 2) as each:
        list(each([1, -1, 2]))
    assert not multiprocessing.active_children()


def test_leaving_the_loop_ends_them(module):
    jobs = in_processes(module.make, ("word",), range(50), 2)
    next(jobs)
    assert len(multiprocessing.active_children()) == 2
    jobs.close()
    assert not multiprocessing.active_children()
