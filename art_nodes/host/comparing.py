"""Comparing schedules on a MODEL by the error of where the host's samplers end: what ART Compare does.

Every schedule samples the same noise with the same sampler, and its end is compared with the
solution of the ODE from that noise. All is sampled by the host; nothing of the model is kept
or changed. An interrupt or an error at any moment goes on to the host.

    plan = make_plan(model, "euler", "6, 10", "karras, normal")
    measured = measure(model, positive, negative, latent_image, plan, cfg=7.0, seed=0, seeds=4)
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import comfy.samplers
import numpy as np
import torch

from ..core import Schedule
from ..core.checks import check_sigma_range
from ..core.scores import total
from .caches import check_uncached
from .comparing_grids import find_entries, parse_steps
from .comparing_plot import draw_errors
from .comparing_progress import Meter
from .comparing_results import Cell, Measured, comparison_record, end_errors, first_part
from .comparing_samplers import check_sampler, count_calls, sample
from .comparing_sheet import check_vae, no_pictures, try_sheet
from .comparing_text import cost_text, counted, table_text
from .recording import (
    batch_seed,
    describe_model,
    empty_like,
    flat,
    gaussian,
    is_share,
    is_video_batch,
    recording_nodes,
)

# Tried with 100 model calls on the demo model as EDM and as SDXL: this pair ends within 0.1 % of the solution (RMS, of
# that of the latent). uni_pc, ipndm and deis on karras are about as good, and so is exponential; heun and dpm_2 are ten
# times as far off (EDM), and simple and normal on the noise table of SDXL eight to thirty times, with any sampler: they
# leave too much to the last steps.
REFERENCE_SAMPLER, REFERENCE_SCHEDULER = "dpmpp_2m", "karras"
# Of a flow karras' first step leaps over shares of noise where a large picture's composition lies.
FLOW_REFERENCE = "the nodes of a recording"
FINER = 4  # the reference has at least so many times the steps of any schedule
LEAST_REFERENCE_STEPS = 20
SHOWN = 2  # noises on the contact sheet


@dataclass(frozen=True)
class Job:
    """One schedule at one number of steps."""

    name: str
    steps: int
    sigmas: torch.Tensor  # (K + 1,), K mostly `steps`
    calls: int  # model calls expected


@dataclass(frozen=True)
class Plan:
    """All that is going to be sampled from each batch of noise."""

    sampler_name: str
    steps: tuple[int, ...]
    names: tuple[str, ...]
    learned: frozenset[str]  # names of ART schedules
    jobs: tuple[Job, ...]
    reference: torch.Tensor  # (reference_steps + 1,) sigmas
    coarser: torch.Tensor  # the same at half the steps, to see what is left of the reference's own error
    warnings: tuple[str, ...]

    @property
    def reference_steps(self) -> int:
        """Model calls of the reference, one a step."""
        return len(self.reference) - 1

    def calls(self, seeds: int) -> int:
        """Model calls in all for so many batches of noise."""
        return seeds * (self.reference_steps + sum(job.calls for job in self.jobs)) + len(self.coarser) - 1


@dataclass(frozen=True)
class Compared:
    """A comparison: the numbers, and what the node puts out: `table` text, `plot` and `pictures` IMAGEs."""

    measured: Measured
    table: str
    plot: torch.Tensor  # (1, H, W, 3)
    pictures: torch.Tensor  # (1, H, W, 3)
    record: dict  # the error curves as plain values, for the page

    @property
    def outputs(self) -> tuple:
        """In the order of the node's outputs."""
        return self.table, self.plot, self.pictures


def compare(model, positive, negative, latent_image: dict, cfg: float, seed: int, seeds: int, sampler_name: str,
            steps: str | Iterable[int], schedules: str | Iterable[str], reference_steps: int = 100,
            schedule: Schedule | None = None, sigmas: torch.Tensor | None = None, vae=None,
            tell: Callable[[str], None] | None = None) -> Compared:
    """Compare schedules on a MODEL, with table, plot and pictures.

    latent_image: LATENT; only its shape counts. Its batch size is that of the model calls; batch number i of
        `seeds` draws its noise from seed + i.
    steps, schedules: as the user writes them, "6, 10" and "karras, normal", or as lists.
    schedule, sigmas: an ART_SCHEDULE and SIGMAS to compare too; the latter adds its number of steps to `steps`.
    tell: called with a line of text on the cost: the model calls before the first one, later the time left.
    Raises ValueError for bad input before the model is called, and the host's own exception when it is interrupted.
    """
    plan = make_plan(model, sampler_name, steps, schedules, reference_steps, schedule, sigmas)
    if vae is not None:
        check_vae(vae, first_part(empty_like(model, latent_image))[:1])
    measured = measure(model, positive, negative, latent_image, plan, cfg=cfg, seed=seed, seeds=seeds,
                       shown=SHOWN if vae is not None else 0, tell=tell)
    setting = {"sampler": plan.sampler_name, "cfg": cfg, "seed": seed, "seeds": seeds,
               "reference": f"{REFERENCE_SAMPLER} on {reference_name(model)}", "reference_steps": plan.reference_steps,
               "model": describe_model(model)}
    pictures, flaws = (no_pictures(), []) if vae is None else try_sheet(measured, vae)
    table = table_text(measured, setting, [*plan.warnings, *start_warnings(model, plan), *flaws])
    plot = draw_errors(measured, plan.learned, plan.sampler_name)
    return Compared(measured, table, plot, pictures, comparison_record(measured, plan.learned, plan.sampler_name))


# Planning

def make_plan(model, sampler_name: str, steps: str | Iterable[int], schedules: str | Iterable[str],
              reference_steps: int = 100, schedule: Schedule | None = None,
              sigmas: torch.Tensor | None = None) -> Plan:
    """What to sample, with all grids made and all model calls counted; nothing of the model is called yet.

    Raises ValueError for a model with a cache on it, a sampler that does not solve the ODE, an unknown schedule, bad
    steps, and a reference that is not FINER times as fine as the finest grid.
    """
    check_uncached(model)
    columns = parse_steps(steps)
    check_sampler(sampler_name)
    sampling = model.get_model_object("model_sampling")
    check_sigma_range(sampling.sigma_max, sampling.sigma_min)
    entries = find_entries(model, sampler_name, schedules, schedule, sigmas)
    if sigmas is not None:
        columns = parse_steps([*columns, len(sigmas) - 1])
    grids = {(entry.name, count): entry.grid(count) for entry in entries for count in columns}
    grids = {key: grid for key, grid in grids.items() if grid is not None}
    if not grids:
        raise ValueError(f"schedules must have a grid on this model; got none at {list(columns)} steps; choose others")
    taken = {len(grid) - 1 for grid in grids.values()}
    check_reference_steps(reference_steps, max(*taken, *columns))
    calls = {count: count_calls(sampler_name, count) for count in taken}
    return Plan(
        sampler_name, columns, tuple(entry.name for entry in entries),
        frozenset(entry.name for entry in entries if entry.learned),
        tuple(Job(name, count, grid, calls[len(grid) - 1]) for (name, count), grid in grids.items()),
        reference_grid(sampling, reference_steps), reference_grid(sampling, reference_steps // 2),
        tuple(text for entry in entries for text in entry.warnings),
    )


def check_reference_steps(reference_steps: int, largest: int) -> None:
    """Raise ValueError if the reference's steps are not well above the largest number of steps compared."""
    least = max(FINER * largest, LEAST_REFERENCE_STEPS)
    if reference_steps < least:
        raise ValueError(f"reference_steps must be at least {LEAST_REFERENCE_STEPS}, and {FINER} times the largest "
                         f"number of steps compared, {largest}; got {reference_steps}; set it to {least} or more")


def reference_grid(sampling, steps: int) -> torch.Tensor:
    """(steps + 1,) sigmas of the reference."""
    if is_share(sampling):
        return torch.from_numpy(np.append(recording_nodes(sampling, steps), 0.0)).float()
    return comfy.samplers.calculate_sigmas(sampling, REFERENCE_SCHEDULER, steps).float().cpu()


def reference_name(model) -> str:
    """What the reference's sigmas are, in words."""
    return FLOW_REFERENCE if is_share(model.get_model_object("model_sampling")) else REFERENCE_SCHEDULER


def start_warnings(model, plan: Plan) -> list[str]:
    """What is to be said of grids that do not start at the model's largest sigma: they are sampled as they are."""
    top = float(model.get_model_object("model_sampling").sigma_max)
    starts = {}
    for job in plan.jobs:
        if abs(float(job.sigmas[0]) / top - 1) > 0.01:
            starts.setdefault(job.name, []).append(f"{float(job.sigmas[0]):.6g} at {counted(job.steps, 'step')}")
    return [f"{name} starts at sigma {', '.join(found)}; the model at {top:.6g}" for name, found in starts.items()]


# Sampling

def measure(model, positive, negative, latent_image: dict, plan: Plan, *, cfg: float, seed: int, seeds: int = 1,
            shown: int = 0, tell: Callable[[str], None] | None = None) -> Measured:
    """Sample a plan on `seeds` batches of noise and measure where each schedule ends.

    shown: how many latents of the first batch to keep for pictures; all others are dropped once measured.
    Raises ValueError for no batch, and where the reference is not finite.
    """
    if seeds < 1:
        raise ValueError(f"seeds must be at least 1; got {seeds}; each is one batch of noise")
    latent = empty_like(model, latent_image)
    # The frames of a video are no cases of their own.
    batch, video = first_part(latent).shape[0], is_video_batch(model)
    drawn = min(shown, batch) * (1 + len(plan.jobs))
    meter = Meter(plan.calls(seeds), cost_text(plan.calls(seeds), batch, seeds, drawn), tell)
    run = _Run(model, positive, negative, cfg, latent, meter)
    errors, calls = {(job.name, job.steps): [] for job in plan.jobs}, {}
    for i in range(seeds):
        run.draw(batch_seed(seed, i))
        truth = _finite(run.end(REFERENCE_SAMPLER, plan.reference))
        if i == 0:
            drift = total(end_errors(run.end(REFERENCE_SAMPLER, plan.coarser), truth))
            kept = {None: _first(truth, shown)}
        for job in plan.jobs:
            end = run.end(plan.sampler_name, job.sigmas)
            errors[job.name, job.steps].append(end_errors(end, truth) if not video else
                                               np.array([total(end_errors(end, truth))]))
            if i == 0:
                kept[job.name, job.steps] = _first(end, shown)
                calls[job.name, job.steps] = run.calls
    cells = tuple(Cell(job.name, job.steps, len(job.sigmas) - 1, calls[job.name, job.steps],
                       np.concatenate(errors[job.name, job.steps])) for job in plan.jobs)
    noises = seeds * (1 if video else batch)
    return Measured(plan.steps, plan.names, cells, noises, drift, meter.done, meter.finish(), kept)


class _Run:
    """Samples with the host from the same noise again and again."""

    def __init__(self, model, positive, negative, cfg: float, latent, meter: Meter):
        self.given, self.latent, self.meter = (model, positive, negative, cfg), latent, meter

    def draw(self, seed: int) -> None:
        """Take other noise."""
        self.seed, self.noise = seed, gaussian(self.latent, seed)

    def end(self, sampler_name: str, sigmas: torch.Tensor):
        """The latent where a sampler ends; `calls` then says how many model calls that took."""
        before = self.meter.done
        end = sample(*self.given, self.noise, self.latent, sampler_name, sigmas, self.seed, self.meter.called)
        self.calls = self.meter.done - before
        if not self.calls:
            raise ValueError("the model must be called when it is sampled; a patch on it answered in its place; "
                             "connect the model from before that patch")
        return end


def _finite(reference):
    """Return the reference's end, or raise ValueError if the model made it NaN or infinite."""
    if not flat(reference).isfinite().all():
        raise ValueError("the reference must be finite; got NaN or infinity from the model; "
                         "try another precision (fp32 or bf16) or a smaller cfg")
    return reference


def _first(latent, count: int) -> torch.Tensor | None:
    """The first samples, for pictures."""
    return first_part(latent)[:count].cpu().clone() if count else None
