"""The cells of the matched comparison: which schedules, samplers and places, and how a chunk of one is computed.

A cell is a place (a model in a dress, the demo model at a cfg too), a sampler, a number of steps and a
schedule. Its samples come in chunks of one model call's batch, each saved once in a folder
named after everything that decides it, so that a run can stop and go on anywhere.
Everything is sampled by the host: its MODEL, its guider, its samplers, its schedulers.
"""

import functools
import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from art_nodes.core import OrbitBank, Schedule, TrainConfig, learn_schedule, with_grids
from art_nodes.core.objectives import NOISY
from art_nodes.core.spectrum import bands_of
from art_nodes.demo import load_network
from benchmarks import classifier
from benchmarks import photo_model as photo
from benchmarks.chunks import Processes, save_whole
from benchmarks.comfy.inprocess import import_host, on_gpu
from benchmarks.first_calls import FirstCalls
from benchmarks.mnist_cells import Setting, as_picture, fastest_network, networks_hash

SAMPLERS = {"euler": 1, "heun": 2, "dpmpp_2m": 1, "uni_pc": 1, "res_multistep": 1, "deis": 1}  # calls a step
STEPS = (4, 5, 6, 8, 10, 15, 20, 30)
FOR_ALL = ("euler", "end:euler", "end:dpmpp_2m")  # what every sampler is tried with, besides its own
AIMED = " at pictures"  # after an objective that aims at the spectrum of training pictures
ART = "ART "  # before the objective
TRIED = ", tried"  # after the objective of a grid that a trial found
DEMO, GARMENTS = "demo", "garments"  # the same network, as one of benchmarks/other_models.py
HELD_OUT = 100_000  # seed of the first chunk of noise; training takes 0 and up
FRESH = 200_000  # the same of noise that no change of ours was ever judged on
BATCH, ORBITS, NODES = 32, 20, 64
TOGETHER = 16  # chunks of a cell in one model call on a GPU, which takes hardly longer for them than for one
FID_BATCH = 40  # a multiple of the ten classes: uneven labels alone are an FID of 0.5
AIMS = 256  # training pictures to aim at
RECORDINGS = 4  # of so many orbits each: rare orbits decide the RMS at many steps
REFERENCE_STEPS, FINER = 160, 4  # of the fine solution; times as many where the denoiser is exact
EXACT = ("digits", "gaussian", "labelled-digits", "labelled-garments")


@dataclass(frozen=True)
class Place:
    """A model to compare on: a dress of the demo model at a cfg, or of one of benchmarks/other_models.py."""

    dress: str  # "SDXL" or "EDM", of other models "flow" as well
    cfg: float = 1.0
    model: str = DEMO

    @property
    def name(self) -> str:
        """As folders call it."""
        guided = f"-cfg{self.cfg:g}" if self.model == DEMO or self.cfg != 1 else ""
        return ("" if self.model == DEMO else f"{self.model}-") + self.dress.lower() + guided

    @property
    def title(self) -> str:
        """As tables call it."""
        guided = f", cfg {self.cfg:g}" if self.model == DEMO or self.cfg != 1 else ""
        return ("" if self.model == DEMO else f"{self.model}, ") + self.dress + guided

    @property
    def cost(self) -> int:
        """Passes of the network a model call."""
        return 1 if self.cfg == 1 else 2

    @property
    def mark(self) -> str:
        """Of what decides its samples beside their noise and sigmas."""
        if self.model == DEMO:
            return networks_hash()
        if self.model == GARMENTS:
            return f"{self.model}-{networks_hash()}"
        return f"{self.model}-{'exact' if self.model in EXACT else photo_hash()}"

    @property
    def reference_steps(self) -> int:
        """Of the fine solution: on smooth exact targets what 160 steps leave is as large as what 20 leave."""
        return REFERENCE_STEPS * (FINER if self.model in EXACT else 1)


DEMO_PLACES = (Place("SDXL", 1.0), Place("SDXL", 3.0), Place("EDM", 1.0), Place("EDM", 3.0))
PLACES = (*DEMO_PLACES, *(Place(dress, model=model) for model in ("photos", "digits", "gaussian")
                          for dress in ("SDXL", "EDM")))
MEASURED = tuple(place for place in PLACES if place != Place("EDM", model="photos"))  # where nothing else is asked for
FLOWS = (Place("flow", model=GARMENTS), Place("flow", 3.0, GARMENTS), Place("flow", model="photos"),
         Place("flow", model="gaussian"))
KNOWN = (*PLACES, *FLOWS)  # what can be asked for


@dataclass(frozen=True)
class Cell:
    """One schedule, read at one number of steps, with one sampler at one place."""

    place: Place
    sampler: str
    steps: int
    schedule: str
    sigmas: tuple[float, ...]
    batch: ClassVar[int] = BATCH  # noises of a chunk
    first: ClassVar[int] = HELD_OUT  # the seed of its first chunk

    def folder(self, root: Path) -> Path:
        """Where its chunks are; whatever decides their content decides its name."""
        told = [self.place.mark, self.first, self.batch, self.place.reference_steps,
                [f"{sigma:.9g}" for sigma in self.sigmas]]
        mark = hashlib.sha256(json.dumps(told).encode()).hexdigest()[:12]
        return root / self.place.name / f"{self.sampler}-{self.steps:02d}-{mark}"

    def path(self, root: Path, number: int) -> Path:
        """The file of a chunk."""
        return self.folder(root) / f"{number:03d}.npz"

    def load(self, root: Path, field: str = "errors", most: int | None = None) -> np.ndarray:
        """The errors (N,), features (N, 96) or powers (N, F) of all chunks from the first on that are there, or `most`.
        """
        parts = []
        while len(parts) != most and (path := self.path(root, len(parts))).exists():
            with np.load(path) as file:
                parts.append(file[field].astype(np.float32))
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    @property
    def calls(self) -> int:
        """Passes of the network that a sample takes, about."""
        return (len(self.sigmas) - 1) * SAMPLERS.get(self.sampler, 1) * self.place.cost


class FreshCell(Cell):
    """A cell on noise that nothing was judged on before."""

    first: ClassVar[int] = FRESH


class FidCell(Cell):
    """A cell whose pictures only are kept, in a precision that their FID does not feel."""

    batch: ClassVar[int] = FID_BATCH

    def folder(self, root: Path) -> Path:
        """As for end errors, and after the precision."""
        plain = super().folder(root)
        return plain.with_name(f"fid-{precision()}-{plain.name}")


Job = tuple[Cell, tuple[int, ...]]  # and the numbers of the chunks that are computed together


def together(cell: Cell) -> int:
    """How many chunks of a cell may share a model call; of samplers that add noise one, as each has its own noise."""
    return TOGETHER if on_gpu() and cell.sampler not in NOISY else 1


@functools.cache
def precision() -> str:
    """What pictures for FID are computed in: twice as fast in half precision where the processor has instructions."""
    if on_gpu():
        return "float32"
    info = Path("/proc/cpuinfo")
    return "bfloat16" if info.is_file() and "avx512_bf16" in info.read_text() else "float32"


class InHalf(torch.nn.Module):
    """A network in bfloat16 between float32 inputs and answers."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, *inputs):
        """As the network's."""
        with torch.autocast("cpu", torch.bfloat16):
            return self.network(*inputs).float()


@functools.cache
def photo_hash() -> str:
    """Of the photo model."""
    return hashlib.sha256(photo.WEIGHTS.read_bytes()).hexdigest()[:12]


class Stage:
    """A place as the host sees it: MODEL, conditionings and an empty latent of one batch, or of `many` such."""

    def __init__(self, place: Place, network=None, batch: int = BATCH, many: int = 1):
        import_host()
        from art_nodes.host.demo_model import (
            ALL_CLASSES,
            DRESSES,
            NO_CLASS,
            build_model,
            class_conditioning,
            empty_latent,
        )
        from benchmarks.other_models import OTHERS, build_other

        self.place, other = place, OTHERS.get(place.model)
        if other:
            self.model = build_other(place.model, place.dress)
        else:
            self.model = build_model(next(name for name in DRESSES if name.startswith(place.dress)), network)
        [[labels, _]] = class_conditioning(ALL_CLASSES, batch)
        labels = labels.repeat(many, 1, 1)
        self.positive, self.negative = [[labels, {"pooled_output": labels[:, 0]}]], class_conditioning(NO_CLASS)
        self.latent = {"samples": torch.zeros(many * batch, *other.shape)} if other else empty_latent(many * batch)
        self.sampling = self.model.get_model_object("model_sampling")
        self.model.set_model_unet_function_wrapper(FirstCalls(self.sigma_max))

    @property
    def sigma_max(self) -> float:
        """Where the model starts."""
        return float(self.sampling.sigma_max)

    def bank(self, seed: int) -> OrbitBank:
        """Recorded orbits of noise that nothing is judged on."""
        from art_nodes.host.recording import record

        latent = {"samples": self.latent["samples"][:ORBITS]}
        return record(self.model, self.positive, self.negative, latent, cfg=self.place.cfg, seed=seed, orbits=ORBITS,
                      nodes=NODES)

    @torch.inference_mode()
    def end(self, sampler: str, sigmas: Sequence[float], *seeds: int) -> torch.Tensor:
        """Where a sampler ends from the noise of a seed, of one for each batch; on the CPU, (many * batch, C, H, W)."""
        from art_nodes.host.comparing_samplers import sample
        from art_nodes.host.recording import gaussian

        empty = torch.zeros_like(self.latent["samples"])
        noise = torch.cat([gaussian(part, seed) for part, seed in zip(empty.chunk(len(seeds)), seeds, strict=True)])
        return sample(self.model, self.positive, self.negative, self.place.cfg, noise, empty, sampler,
                      torch.tensor(sigmas, dtype=torch.float32), seeds[0], lambda sigma: None).cpu()


def learned(stage: Stage, folder: Path, names: Sequence[str], seed: int = 0) -> dict[str, Schedule]:
    """Our schedules at a place, by objective; learned once and kept, so that a run goes on with what it began with."""
    mark = f"{RECORDINGS * ORBITS}-orbits-seed{seed}-{stage.place.mark}"
    paths = {name: folder / f"{stage.place.name}-{as_file(name)}-{mark}.safetensors" for name in names}
    missing = {name: path for name, path in paths.items() if not path.exists()}
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        bank = OrbitBank.merge(stage.bank(RECORDINGS * seed + part) for part in range(RECORDINGS))
        clock = learn_schedule(bank, TrainConfig(seed=seed))
        for name, path in missing.items():
            known = bank.aiming_at(training_pictures()) if name.endswith(AIMED) else bank
            (clock if name == "euler" else with_grids(clock, known, name.removesuffix(AIMED))).save(path)
    return {name: Schedule.load(path) for name, path in paths.items()}


def as_file(objective: str) -> str:
    """An objective as files call it."""
    return objective.replace(":", "-").replace(" ", "-")


def training_pictures() -> torch.Tensor:
    """Some that the demo model was trained on, in its units; (AIMS, 1, 28, 28)."""
    from benchmarks import fashion

    return fashion.load("train")[0][:AIMS]


def own(sampler: str) -> str:
    """The objective that is meant for a sampler, or for the one that it steps like where it adds noise."""
    return f"end:{NOISY.get(sampler, sampler)}"


def for_pictures(sampler: str) -> tuple[str, ...]:
    """The same for what pictures look like, not for how far they are from the fine solution."""
    sampler = NOISY.get(sampler, sampler)
    return f"detail:{sampler}", f"spectrum:{sampler}", f"spectrum:{sampler}{AIMED}"


def host_grids(model, sampler: str, steps: int, sigma_max: float) -> dict[str, torch.Tensor]:
    """Name -> sigmas (steps + 1,) of the host's schedulers, and of its nodes' schedules where they fit the range."""
    from art_nodes.host.comparing_grids import find_entries
    from art_nodes.host.host_schedules import NODES, TABLES, starts_at

    found = {entry.name: entry.grid(steps) for entry in find_entries(model, sampler, ["all", *NODES])}
    return {name: grid for name, grid in found.items()
            if grid is not None and len(grid) == steps + 1 and torch.as_tensor(grid).isfinite().all()
            and (name not in TABLES or starts_at(grid, sigma_max))}


def grids(stage: Stage, sampler: str, steps: int, ours: dict[str, Schedule]) -> dict[str, tuple[float, ...]]:
    """Name -> sigmas (steps + 1,) of every schedule that has a grid of so many steps at this place."""
    found = host_grids(stage.model, sampler, steps, stage.sigma_max)
    found |= {ART + name: ours[name].sigmas(steps, sigma_max=stage.sigma_max)
              for name in dict.fromkeys((*FOR_ALL, own(sampler), *for_pictures(sampler))) if name in ours}
    return {name: tuple(float(sigma) for sigma in grid) for name, grid in found.items()}


class Worker:
    """Computes chunks with one thread."""

    def __init__(self, root: Path):
        self.root, self.stages = root, {}
        self.network, word = (None, "eager") if on_gpu() else fastest_network(Setting(root, 250, 1))
        self.compiles = word.startswith("compiled")
        self.judge = classifier.load_classifier()
        print(f"worker {os.getpid()}: {word}", flush=True)

    def stage(self, place: Place, batch: int = BATCH, many: int = 1, half: bool = False) -> Stage:
        """A place, made ready once."""
        if (place, batch, many) not in self.stages:
            network = InHalf(load_network().to(memory_format=torch.channels_last)) if half else self.network
            if half and self.compiles:
                network = torch.compile(network, dynamic=False)
            self.stages[place, batch, many] = Stage(place, network, batch, many)
        return self.stages[place, batch, many]

    @torch.no_grad()
    def compute(self, job: Job) -> tuple[Job, float]:
        """Compute and save chunks: the errors, or the features that FID is taken of and the power in each band."""
        cell, numbers = job
        began = time.perf_counter()
        fid = isinstance(cell, FidCell)
        stage = self.stage(cell.place, cell.batch, len(numbers), half=fid and precision() == "bfloat16")
        seeds = [cell.first + number for number in numbers]
        ends = stage.end(cell.sampler, cell.sigmas, *seeds).clone().split(cell.batch)
        truths = () if fid else self.references(cell.place, seeds)
        seconds = time.perf_counter() - began
        for number, seed, end in zip(numbers, seeds, ends, strict=True):
            if fid:
                features = self.judge.features(as_picture(end)).half().numpy()
                powers = bands_of(tuple(end.shape[1:])).powers(end).astype(np.float32)
                save_whole(cell.path(self.root, number), features=features, powers=powers)
            else:
                errors = (end - truths[seed]).flatten(1).double().square().mean(1).sqrt()
                save_whole(cell.path(self.root, number), errors=errors.float().numpy(), seconds=seconds / len(numbers))
        return job, seconds

    def references(self, place: Place, seeds: Sequence[int]) -> dict[int, torch.Tensor]:
        """The fine solutions from the noise of each seed, kept in files."""
        folder = self.root / place.name / f"reference-{place.mark}-{place.reference_steps}"
        paths = {seed: folder / f"{seed - HELD_OUT:03d}.npz" for seed in seeds}
        missing = [seed for seed, path in paths.items() if not path.exists()]
        if missing:
            from art_nodes.host.comparing import REFERENCE_SAMPLER, reference_grid

            stage = self.stage(place, BATCH, len(missing))
            sigmas = reference_grid(stage.sampling, place.reference_steps).tolist()
            ends = stage.end(REFERENCE_SAMPLER, sigmas, *missing).split(BATCH)
            for seed, end in zip(missing, ends, strict=True):
                save_whole(paths[seed], end=end.numpy())
        found = {}
        for seed, path in paths.items():
            with np.load(path) as file:
                found[seed] = torch.from_numpy(file["end"])
        return found


def _computing(root: Path) -> Callable[[Job], tuple[Job, float]]:
    return Worker(root).compute


def processes(root: Path, workers: int) -> Processes:
    """That compute and save jobs; each is given back with the seconds it took."""
    return Processes(_computing, (root,), workers)
