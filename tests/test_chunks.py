"""Long runs in pieces: processes that wait for work, and end."""

import os

import pytest

from benchmarks.chunks import Processes, in_processes

SAID = None  # by the start of this process


def start(word):
    global SAID
    SAID = (word, os.getpid(), (SAID or (0, 0, 0))[2] + 1)


def work(job):
    if job < 0:
        raise ValueError("a job that fails")
    return job, SAID


@pytest.mark.parametrize("workers", [1, 2])
def test_rounds_of_work_start_their_processes_once(workers):
    """And not at all without work."""
    with Processes(work, start, ("word",), workers) as each:
        assert list(each([])) == [] and not each.begun
        found = [*each([1, 2, 3]), *each([4, 5])]
    assert sorted(job for job, _ in found) == [1, 2, 3, 4, 5]
    assert {said[0] for _, said in found} == {"word"}
    pids = {said[1] for _, said in found}
    assert len(pids) <= workers and (os.getpid() in pids) == (workers == 1)
    if workers > 1:
        assert {said[2] for _, said in found} == {1}


def test_a_job_that_fails_ends_them():
    with pytest.raises(ValueError, match="a job that fails"), Processes(work, start, ("word",), 2) as each:
        list(each([1, -1, 2]))
    assert each.pool._state == "TERMINATE"


def test_leaving_the_loop_ends_them():
    jobs = in_processes(work, range(50), start, ("word",), 2)
    next(jobs)
    jobs.close()
    with pytest.raises(StopIteration):
        next(jobs)
