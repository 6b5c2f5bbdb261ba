"""Trials of grids on the model, as ART Train's trial_calls makes them: what each found, kept in files.

A trial at a place has a recording of its own: batches of two orbits, each of another class, so that a batch costs
as much as two of a user's single pictures. Noise is that of no held-out sample.
"""

import functools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from art_nodes.core import OrbitBank, Schedule, optimal_schedule, with_grids
from art_nodes.core.files import write_whole
from art_nodes.demo.unet import CLASSES
from benchmarks.chunks import in_processes, say
from benchmarks.comfy.inprocess import on_gpu
from benchmarks.matched_cells import ART, DEMO, Place, Stage, as_file, own
from benchmarks.mnist_cells import Setting, fastest_network

BATCHES, SIZE, NODES = 12, 2, 64
SEEDS = (0, 1, 2)
BUDGETS = (512, 4096)  # sample calls
FIRST_SEED = 50_000  # of noise; each trial takes BATCHES more
COMPILED_FROM = 12  # trials a process: compiling takes half a minute, and saves a few seconds each


@dataclass(frozen=True)
class Job:
    """All trials of one sampler at one place and number of steps from one recording."""

    place: Place
    sampler: str
    steps: int
    seed: int

    def path(self, root: Path) -> Path:
        """The file of what was found."""
        mark = f"{BATCHES}x{SIZE}-{self.place.mark}"
        return root / self.place.name / f"trial-{self.sampler}-{self.steps:02d}-seed{self.seed}-{mark}.json"

    def load(self, root: Path) -> dict[str, dict]:
        """Name of the schedule -> its sigmas, and what the trial was: candidate, ratio, sample calls."""
        return json.loads(self.path(root).read_text())

    def find(self) -> dict[str, dict]:
        """What `load` gives, by making the trials."""
        return ground(self.place, self.seed).found(self.sampler, self.steps, self.seed)


@dataclass(frozen=True)
class Trial:
    """One trial of an objective's grid and of the host's schedules at a place."""

    place: Place
    objective: str
    steps: int
    seed: int
    batches: int  # of recorded orbits
    budget: int  # sample calls
    classes: tuple[str, ...] = CLASSES  # that orbits have, the demo model's

    @property
    def sampler(self) -> str:
        """That of the objective."""
        return self.objective.partition(":")[2]

    def path(self, root: Path) -> Path:
        """The file of what it found."""
        mark = f"seed{self.seed}-{self.batches}x{SIZE}-{self.budget}-{self.place.mark}"
        if self.classes != CLASSES:
            mark += "-" + "-".join(str(CLASSES.index(name)) for name in self.classes)
        return root / self.place.name / f"tried-{as_file(self.objective)}-{self.steps:02d}-{mark}.json"

    def sigmas(self, root: Path) -> tuple[float, ...]:
        """Of the grid that it found."""
        return tuple(json.loads(self.path(root).read_text())["sigmas"])

    def find(self) -> dict:
        """Its sigmas, and what the trial was."""
        here, objective = ground(self.place, self.seed, self.batches, self.classes), self.objective
        from art_nodes.host.trials import try_steps  # the host is there once the ground is

        schedule = with_grids(optimal_schedule(here.bank), here.bank, objective, (self.steps,))
        found = try_steps(schedule, here.bank, here.runs(objective), objective, self.steps, self.budget)[0]
        return {"sigmas": found.grids[self.steps].tolist(), **found.provenance["trial"]}


def title(budget: int, seed: int) -> str:
    """As tables call what a trial found."""
    return f"{ART}trial of {budget}, seed {seed}"


class Several:
    """Runs of recordings of one batch each, one after another."""

    def __init__(self, runs: Sequence):
        self.runs, self.given, self.calls, self.on_call = list(runs), runs[0].given, runs[0].calls, runs[0].on_call
        self.sizes = [size for part in runs for size in part.sizes]
        self.floor, self.pool = float(np.mean([part.floor for part in runs])), runs[0].pool

    def errors(self, grid: np.ndarray, batch: int) -> np.ndarray:
        """As of the recording that the batch is."""
        return self.runs[batch].errors(grid, 0)


class Ground:
    """A place with one recording of some batches: the bank, and a sampler's runs on it."""

    def __init__(self, place: Place, seed: int, network=None, batches: int = BATCHES,
                 classes: Sequence[str] = CLASSES):
        self.stage, self.first = Stage(place, network), FIRST_SEED + 1000 * seed
        from art_nodes.host.demo_model import class_conditioning
        from art_nodes.host.recording import record

        self.latent = {"samples": self.stage.latent["samples"][:SIZE]}
        self.positives = [class_conditioning(classes[i % len(classes)]) for i in range(batches)]
        self.banks = [
            record(self.stage.model, positive, self.stage.negative, self.latent, cfg=place.cfg, seed=self.first + i,
                   orbits=SIZE, nodes=NODES)
            for i, positive in enumerate(self.positives)
        ]
        self.bank = OrbitBank.merge(self.banks)

    def runs(self, objective: str) -> Several:
        """The sampler of an objective on all orbits, whose spectrum is one."""
        from art_nodes.host.trials import HostRuns

        stage, banks = self.stage, [replace(bank, spectrum=self.bank.spectrum) for bank in self.banks]
        return Several([HostRuns(stage.model, positive, stage.negative, self.latent, bank, cfg=stage.place.cfg,
                                 seed=self.first + i, objective=objective)
                        for i, (positive, bank) in enumerate(zip(self.positives, banks, strict=True))])

    def found(self, sampler: str, steps: int, seed: int) -> dict[str, dict]:
        """What `Job.load` gives."""
        from art_nodes.host.trials import candidates, try_steps

        objective = own(sampler)
        schedule = with_grids(optimal_schedule(self.bank), self.bank, objective, (steps,))
        found = {f"{ART}{objective}, seed {seed}": {"sigmas": schedule.grids[steps].tolist()}}
        known = candidates(self.stage.model, self.bank, schedule, objective, steps)
        for budget in BUDGETS:
            tried: Schedule = try_steps(schedule, self.bank, self.runs(objective), objective, steps, budget, known)[0]
            found[title(budget, seed)] = {"sigmas": tried.grids[steps].tolist(), **tried.provenance["trial"]}
        return found


_network = None  # the demo model's, compiled; of this process, as what follows
_grounds: dict[tuple, Ground] = {}


def ground(place: Place, seed: int, batches: int = BATCHES, classes: tuple[str, ...] = CLASSES) -> Ground:
    """A place with a recording, made ready once; only the last one is kept."""
    key = place, seed, batches, classes
    if key not in _grounds:
        _grounds.clear()
        _grounds[key] = Ground(place, seed, _network, batches, classes)
    return _grounds[key]


def _finding(root: Path, compiled: bool) -> Callable:
    global _network
    _network = None
    if compiled:
        _network, word = fastest_network(Setting(root, 250, 1, batch=SIZE))
        print(f"trials: {word}", flush=True)
    return functools.partial(_find, root)


@torch.no_grad()
def _find(root: Path, job):
    path, found = job.path(root), job.find()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(found).encode())
    return job


def compute(jobs: Sequence, root: Path, workers: int) -> Iterator:
    """Save at its `path(root)` what `find()` of each job gives, with `workers` processes; yields each when saved."""
    many = len(jobs) >= COMPILED_FROM * workers and any(job.place.model == DEMO for job in jobs)
    return in_processes(_finding, (root, many and not on_gpu()), jobs, workers)


def make_missing(jobs: Sequence, root: Path, workers: int, title: Callable[[object], str]) -> None:
    """`compute` what is not there yet of some jobs, with a line each, that begins with its title."""
    unmade = [job for job in jobs if not job.path(root).exists()]
    for done, job in enumerate(compute(unmade, root, workers) if unmade else ()):
        say(f"  {done + 1} of {len(unmade)}: {title(job)}, {job.steps} steps")
