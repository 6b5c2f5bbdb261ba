"""The cells of the mnist-style tables and how they are computed: chunk by chunk, each saved once, by any workers.

A cell is one solver at one number of model calls with one schedule. Its samples come in
chunks, and a chunk's features are saved in a file whose folder is named after everything
that decides its content. So a file that exists is right, a run can stop at any moment and
go on with other workers, and a changed schedule, model or seed starts its cells anew.
"""

import dataclasses
import functools
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from art_nodes.core import OrbitBank, Schedule, TrainConfig, learn_schedule
from art_nodes.core.grids import geometric_grid, power_grid, uniform_grid
from art_nodes.demo import WEIGHTS, demo_denoiser, load_network
from art_nodes.demo.unet import CLASSES, IMAGE_SIZE, PIXEL_MEAN, PIXEL_STD
from benchmarks import classifier, fashion
from benchmarks.chunks import in_processes, save_whole
from benchmarks.solvers import SOLVERS, steps_of
from benchmarks.targets import DEMO

SIGMA_MAX, SIGMA_MIN = DEMO[0].sigma_max, DEMO[0].sigma_min
NFE = {"rk4": (5, 9, 17, 25, 37, 69), "heun": (3, 5, 9, 13, 19, 35), "euler": (5, 7, 12, 30, 80)}
# ART-RL's clock of the paper's objective, and clocks that it learned of RK4's own error, one for each number of steps.
ART, ART_RK4 = "ART-RL", "ART-RL of RK4"
OURS = (ART, ART_RK4)
SCHEDULES = {"rk4": ("Uniform", "DPM", "EDM", *OURS), "heun": ("DPM", "EDM", ART), "euler": ("DPM", "EDM", ART)}
AGREEMENT = 1e-4  # largest difference of compiled and eager predictions, in units of the data's deviation


@dataclass(frozen=True)
class Setting:
    """What all cells of a run share."""

    folder: Path
    samples: int  # of a cell; rounded down to a multiple of chunk
    seed: int  # of the noise
    device: str = "cpu"
    chunk: int = 250  # samples a file
    batch: int = 25  # samples a model call; divides chunk

    def __post_init__(self):
        if self.samples < self.chunk or self.chunk % self.batch:
            raise ValueError(f"samples must be >= {self.chunk}, the size of a chunk, and that a multiple of the batch; "
                             f"got {self.samples} samples in batches of {self.batch}")
        object.__setattr__(self, "samples", self.samples // self.chunk * self.chunk)

    @property
    def chunks(self) -> int:
        """Files a cell."""
        return self.samples // self.chunk


@dataclass(frozen=True)
class Cell:
    """One entry of a table."""

    solver: str
    calls: int  # model calls a sample
    schedule: str
    sigmas: tuple[float, ...]  # descending, steps + 1 values, the last 0

    @property
    def key(self) -> tuple[str, int, str]:
        """What names the cell in a table."""
        return self.solver, self.calls, self.schedule

    def folder(self, setting: Setting) -> Path:
        """Where the cell's chunks are; any change of what decides them gives another folder.

        The number of samples is no part of it: chunk i is the same in a longer run.
        """
        facts = {"networks": networks_hash(), "solver": self.solver, "seed": setting.seed, "chunk": setting.chunk,
                 "sigmas": [f"{sigma:.9g}" for sigma in self.sigmas]}
        mark = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]
        return setting.folder / f"{self.solver}-{self.calls:03d}-{self.schedule.lower().replace(' ', '-')}-{mark}"

    def paths(self, setting: Setting) -> list[Path]:
        """The files of all its chunks."""
        return [self.folder(setting) / f"{number:03d}.npz" for number in range(setting.chunks)]

    def complete(self, setting: Setting) -> bool:
        """Whether all chunks are there."""
        return all(path.exists() for path in self.paths(setting))

    def load(self, setting: Setting) -> tuple[np.ndarray, float]:
        """Features (samples, 96) float32 and the seconds they took, of a complete cell."""
        features, seconds = [], 0.0
        for path in self.paths(setting):
            with np.load(path) as file:
                features.append(file["features"].astype(np.float32))
                seconds += float(file["seconds"])
        return np.concatenate(features), seconds


Job = tuple[Cell, int]  # a cell and the number of its chunk


@functools.cache
def networks_hash() -> str:
    """Of the weights of the demo model and of the classifier that judges its samples."""
    return "-".join(hashlib.sha256(path.read_bytes()).hexdigest()[:12] for path in (WEIGHTS, classifier.WEIGHTS))


def schedule_path(folder: Path, seed: int, name: str = ART) -> Path:
    """Where a learned clock is kept; delete it to learn it anew."""
    return folder / f"{name.lower().replace(' ', '-')}-seed{seed}-{networks_hash()[:12]}.safetensors"


def art_schedules(folder: Path, seed: int) -> dict[str, Schedule]:
    """What ART-RL learns of the demo model on orbits of `seed`, by the name it has in the tables.

    Kept in `folder` and learned only once, so that a run goes on with the clocks it began with.
    """
    paths = {name: schedule_path(folder, seed, name) for name in OURS}
    if not all(path.exists() for path in paths.values()):
        folder.mkdir(parents=True, exist_ok=True)
        bank = DEMO[0].record(seed)
        if not paths[ART].exists():
            learn_schedule(bank, TrainConfig(seed=seed)).save(paths[ART])
        _learn_rk4(bank, seed, Schedule.load(paths[ART])).save(paths[ART_RK4])
    return {name: Schedule.load(path) for name, path in paths.items()}


def _learn_rk4(bank: OrbitBank, seed: int, clock: Schedule) -> Schedule:
    """The clock with a grid for each number of steps in the tables, learned from RK4's replayed end error."""
    grids, objective = {}, "end:rk4"
    for steps in (steps_of("rk4", calls) for calls in NFE["rk4"]):
        config = TrainConfig(seed=seed, objective=objective, clock_nodes=steps)
        grids[steps] = learn_schedule(bank, config).clock
    return dataclasses.replace(clock, grids=grids, provenance={**clock.provenance, "objective": objective})


def step_grid(schedule: str, steps: int, learned: dict[str, Schedule]) -> tuple[float, ...]:
    """The sigmas of a schedule. DPM and EDM run from sigma_max to sigma_min and then to 0, as in the paper."""
    grids = {
        "Uniform": lambda: uniform_grid(steps, SIGMA_MAX),
        "DPM": lambda: geometric_grid(steps, SIGMA_MAX, SIGMA_MIN),
        "EDM": lambda: power_grid(steps, SIGMA_MAX, SIGMA_MIN, rho=7.0),
    }
    grid = learned[schedule].sigmas(steps) if schedule in learned else grids[schedule]()
    return tuple(float(sigma) for sigma in grid)


def all_cells(learned: dict[str, Schedule], solvers: Sequence[str] = tuple(NFE), most_calls: int = 1000) -> list[Cell]:
    """The tables' cells, solver by solver."""
    return [Cell(solver, calls, schedule, step_grid(schedule, steps_of(solver, calls), learned))
            for solver in NFE if solver in solvers for calls in NFE[solver] if calls <= most_calls
            for schedule in SCHEDULES[solver]]


def missing(cells: Sequence[Cell], setting: Setting) -> list[Job]:
    """The chunks that are still to be computed, those of cheap cells first."""
    cheap_first = sorted(cells, key=lambda cell: cell.calls)
    return [(cell, number) for cell in cheap_first for number, path in enumerate(cell.paths(setting))
            if not path.exists()]


def chunk_inputs(setting: Setting, number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Standard normal noise (chunk, 1, 28, 28) and class weights (chunk, 10) of chunk `number`.

    The same for every cell. Classes take turns, so all ten are equally frequent.
    """
    generator = torch.Generator().manual_seed(setting.seed)
    for _ in range(number + 1):  # one stream of noise: independent of how many samples are drawn in all
        noise = torch.randn(setting.chunk, 1, IMAGE_SIZE, IMAGE_SIZE, generator=generator)
    return noise, fashion.one_hot(torch.arange(setting.chunk) % len(CLASSES))


def as_picture(images: torch.Tensor) -> torch.Tensor:
    """Network units cut to black and white and rounded to 8 bits, as a picture file holds them and as FID is taken."""
    pixels = (images * PIXEL_STD + PIXEL_MEAN).clamp(0, 1)
    return ((pixels * 255).round() / 255 - PIXEL_MEAN) / PIXEL_STD


class Worker:
    """Computes chunks with one thread. `network` is a DemoUNet or the like, `features` maps images to (B, F)."""

    def __init__(self, setting: Setting, network, features):
        self.setting, self.network, self.features = setting, network, features

    @torch.no_grad()
    def compute(self, job: Job) -> tuple[Job, float]:
        """Compute and save one chunk; answers the job and the seconds it took."""
        cell, number = job
        began = time.perf_counter()
        sigmas = torch.tensor(cell.sigmas, dtype=torch.float64)
        noise, labels = (part.to(self.setting.device) for part in chunk_inputs(self.setting, number))
        parts = []
        for start, rows in zip(noise.split(self.setting.batch), labels.split(self.setting.batch), strict=True):
            images = SOLVERS[cell.solver](demo_denoiser(self.network, rows), SIGMA_MAX * start, sigmas)
            parts.append(self.features(as_picture(images)).cpu())
        seconds = time.perf_counter() - began
        save_whole(cell.paths(self.setting)[number], features=torch.cat(parts).half().numpy(), seconds=seconds)
        return job, seconds


@torch.no_grad()
def fastest_network(setting: Setting):
    """The demo network, compiled where that works and agrees with the plain one, and a word on which it is."""
    network = load_network(device=setting.device).to(memory_format=torch.channels_last)
    if setting.device != "cpu":
        return network, "eager"
    sigma = torch.logspace(-2.7, 1.9, setting.batch)
    noise, labels = (part[:setting.batch] for part in chunk_inputs(setting, 0))
    x = noise * (1 + sigma.reshape(-1, 1, 1, 1) ** 2).sqrt()
    try:
        import torch._inductor.config as inductor

        inductor.freezing, inductor.compile_threads = True, 1
        compiled = torch.compile(network, dynamic=False)
        gap = (demo_denoiser(compiled, labels)(x, sigma) - demo_denoiser(network, labels)(x, sigma)).abs().max().item()
    except Exception as error:  # whatever a compiler can run into, the plain network does the same
        return network, f"eager: no compiling here ({type(error).__name__})"
    if not gap <= AGREEMENT:
        return network, f"eager: compiled is {gap:.1e} off"
    return compiled, f"compiled, within {gap:.0e} of eager"


def _computing(setting: Setting) -> Callable[[Job], tuple[Job, float]]:
    network, word = fastest_network(setting)
    print(f"worker {os.getpid()}: {word}", flush=True)
    return Worker(setting, network, classifier.load_classifier().to(setting.device).features).compute


def compute(jobs: Sequence[Job], setting: Setting, workers: int) -> Iterator[tuple[Job, float]]:
    """Compute the jobs with `workers` processes of one thread each; yields each when it is saved."""
    return in_processes(_computing, (setting,), jobs, workers)
