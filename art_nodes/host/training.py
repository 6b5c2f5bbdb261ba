"""Learning a schedule on a MODEL: what ART Train does.

Record orbits with the model, learn on the recording, fit grids to a sampler if one is named, try some on the
sampler itself if that was asked for, compare with the host's schedulers, save. An interrupt or an error at
any moment goes on to the host and leaves no file: the schedule is saved last, in one piece. A finished
recording is then lost with it. Only where a trial fails, the schedule without it is saved.
"""

import contextlib
import logging
import time
from dataclasses import dataclass

import comfy.model_management
import numpy as np
import torch
from threadpoolctl import threadpool_limits

from ..core import OrbitBank, Schedule, TrainConfig, learn, optimal_schedule, recording_grid, with_grids
from ..core.checks import check_steps
from ..core.objectives import NOISY, split_objective
from ..core.refine import REFINED_STEPS
from ..core.schedule import MAX_CLOCK_NODES
from ..core.spectrum import bands_of, is_picture
from .comparing_samplers import count_calls
from .events import TrainingEvents
from .library import check_name, folder_to_save_in, save_schedule, saved_line
from .plot import draw_plot
from .progress import check_interrupt
from .recording import empty_like, record, whole_videos
from .report import (
    bank_lines,
    comparison_lines,
    fitting_lines,
    flow_lines,
    guidance_lines,
    host_grids,
    learning_lines,
    mask_lines,
    prompts_lines,
    trial_lines,
    video_lines,
)
from .training_progress import TOTAL, TrainingProgress
from .trials import HostRuns, try_steps

METHODS = ("ART-RL", "closed form")
PLOTTED = ("karras", "normal")
# Learning is timed on this many iterations, or for this many seconds, before recording starts.
TIMED_ITERATIONS, TIMED_SECONDS = 8, 0.5
OBJECTIVE = "end:euler"  # where nothing else is said, in the node as in a workflow that comes over HTTP
# What fitting grids to a sampler takes, for the bar only.
FITTING_SECONDS = 10.0
TO_USE = "choose it in ART Sigmas, then mute ART Train: it would train again whenever the prompt or a setting changes"
MOST_COMPARED = 1000  # steps; replaying all schedules of more takes longer than learning, and nobody samples so
NOT_COMPARED = f"With more than {MOST_COMPARED} steps it is not compared with the host's schedules."
MOST_MEMORY = 4 * 2**30  # bytes for learning
FEATURES, COPIES = 11, 3  # numbers kept of a step beside the actor's knots; how often an update holds them all
MOST_FITTED = max(REFINED_STEPS)  # steps; more than that differ little, and fitting them takes long
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """What a training run gives: `sigmas` float32 (steps + 1,), `plot` IMAGE (1, H, W, 3), `report` plain text."""

    name: str
    schedule: Schedule
    sigmas: torch.Tensor
    plot: torch.Tensor
    report: str

    @property
    def outputs(self) -> tuple:
        """In the order of the node's outputs."""
        return self.schedule, self.sigmas, self.plot, self.report


def train(model, positive, negative, latent_image, cfg: float, seed: int, orbits: int, nodes: int, steps: int,
          name: str, method: str = METHODS[0], objective: str = OBJECTIVE, trial_calls: int = 0,
          references: dict | None = None, events: TrainingEvents | None = None, **settings) -> Trained:
    """Learn a schedule on a MODEL and save it in the library under `name`, or name_2 ... if that is taken.

    steps: of the `sigmas` and of the comparison. objective: "euler" is one clock for every number of steps; one that
    names a sampler adds grids fitted to it, one of them for `steps`. trial_calls: model calls, counted per sample, for
    trying grids of `steps` steps with that sampler on the model; 0 tries none. references: LATENT of pictures, of the
    size of latent_image, whose power at each frequency an objective "spectrum:<sampler>" aims at instead of that of the
    model's own. settings: further fields of TrainConfig.
    Raises ValueError for bad input, or a library that cannot be written to, before the model is called, and the host's
    own exception when it is interrupted.
    """
    check_name(name)
    check_steps(steps)
    if method not in METHODS:
        raise ValueError(f"method must be one of: {', '.join(METHODS)}; got {method!r}; ART-RL is the usual one")
    kind, sampler = split_objective(objective)
    fits = kind != "euler"
    check_trial(trial_calls, objective, steps)
    check_pictures(model, latent_image, nodes, objective, references)
    config = TrainConfig(seed=seed, **settings)
    learns = method == METHODS[0]
    if learns:
        check_memory(config)
    folder_to_save_in()
    events = events or TrainingEvents(None)
    progress = TrainingProgress(estimate_learning_seconds(config) if learns else 0.0, FITTING_SECONDS if fits else 0.0,
                                trial_calls, events)

    bank = record(model, positive, negative, latent_image, cfg=cfg, seed=seed, orbits=orbits, nodes=nodes,
                  progress=lambda done, total: progress.recorded(
                      done, total, samples_of_a_call(model, orbits, latent_image)))
    followed, batch = len(bank.stiffness), batch_size(latent_image)
    if references is not None:
        bank = bank.aiming_at(in_model_units(model, references))
        bank.metadata["references"] = len(references["samples"])
    recording_seconds = progress.start_learning()
    # On a busy machine the threads of numpy's BLAS wait for each other and are far slower than one alone.
    with threadpool_limits(1, user_api="blas"):
        schedule, costs = _learn(bank, config, progress) if learns else (optimal_schedule(bank), [])
        learning_seconds = progress.start_fitting()
        if fits:
            schedule = with_grids(schedule, bank, objective, {*REFINED_STEPS, min(steps, MOST_FITTED)}, progress.fitted,
                                  check=check_interrupt)
        fitting_seconds, tried = progress.start_trying(), None
        if trial_calls:
            with _kept_if_it_fails(schedule, name, events):
                runs = HostRuns(model, positive, negative, latent_image, bank, cfg=cfg, seed=seed, objective=objective,
                                on_call=progress.tried)
                schedule, tried = try_steps(schedule, bank, runs, objective, steps, trial_calls)
    trying_seconds, improves = progress.phase_seconds(), kind == "spectrum" or followed > batch

    # The last chance to stop: what was saved is never reported as interrupted, and is not lost if what follows fails.
    progress.show(TOTAL)
    saved = save_schedule(schedule, name)

    compared = steps <= MOST_COMPARED
    grids = host_grids(model, sampler, steps) if compared else {}
    sigmas = schedule.sigmas(steps)
    plotted = {other: grids[other] for other in PLOTTED if grids.get(other) is not None}
    plot = draw_plot(schedule, steps, plotted, costs, bank.sigma_min)
    lines = [
        *bank_lines(bank, recording_seconds), *guidance_lines(bank, cfg),
        *video_lines(orbits, followed, batch), *prompts_lines(positive, followed, batch),
        *mask_lines(model, latent_image),
        *flow_lines(bank, objective),
        *learning_lines(schedule, costs, bank, learning_seconds),
        *fitting_lines(schedule, fitting_seconds), *trial_lines(tried, sampler, steps, trying_seconds, improves),
        *(comparison_lines(bank, sigmas, grids, steps, objective) if compared else [NOT_COMPARED]),
    ]
    events.finished(saved, schedule, steps)
    return Trained(saved, schedule, sigmas, plot, "\n".join([saved_line(saved, name), TO_USE, *lines]))


@contextlib.contextmanager
def _kept_if_it_fails(schedule: Schedule, name: str, events: TrainingEvents):
    """Saves the schedule without a trial if that fails, as where memory runs out: it is whole and cost much.

    Not where the user stops it, who may want nothing.
    """
    try:
        yield
    except comfy.model_management.InterruptProcessingException:
        raise
    except Exception:
        try:
            saved = save_schedule(schedule, name)
            events.finished(saved, schedule)
            log.warning("ART Train: trying grids failed; without a trial the %s", saved_line(saved, name))
        except (OSError, ValueError) as error:  # what went wrong first is what the host must hear of
            log.warning("ART Train: trying grids failed, and saving the schedule without a trial too: %s", error)
        raise


def _learn(bank: OrbitBank, config: TrainConfig, progress: TrainingProgress) -> tuple[Schedule, list[float]]:
    """The learned schedule, and J/J* after each iteration."""
    costs = []
    for last in learn(bank, config):
        costs.append(last.cost)
        progress.events.learned(last, config.iterations)
        progress.learned(last.iteration, config.iterations)
    return last.schedule, costs


def check_memory(config: TrainConfig) -> None:
    """ValueError for roll-outs that would fill the memory, and take ComfyUI with them."""
    wanted = COPIES * config.episodes * config.clock_nodes * (config.knots + FEATURES) * 8
    if wanted > MOST_MEMORY:
        raise ValueError(f"episodes, clock_nodes and knots must leave room in memory: {config.episodes}, "
                         f"{config.clock_nodes} and {config.knots} take {wanted / 2**30:.1f} GiB, and "
                         f"{MOST_MEMORY / 2**30:g} at most are taken; 128, 64 and 32 do")


def batch_size(latent_image: dict) -> int:
    """Latents in a batch, which a model call takes together."""
    return latent_image["samples"].shape[0]


def samples_of_a_call(model, orbits: int, latent_image: dict) -> int:
    """Samples of a model call while so many orbits are asked for."""
    batch = batch_size(latent_image)
    return min(whole_videos(model, orbits, batch), batch)


def check_trial(trial_calls: int, objective: str, steps: int) -> None:
    """ValueError for a trial of less than no calls, without a sampler to try, or with one that it cannot judge.

    That is one that adds noise, whose pictures are others than the recorded ones, or that so few steps break.
    """
    if trial_calls < 0:
        raise ValueError(f"trial_calls must be at least 0; got {trial_calls}; 0 tries nothing")
    kind, sampler = split_objective(objective)
    if trial_calls and kind == "euler":
        raise ValueError("trial_calls need an objective that names the sampler to try; got 'euler', one clock for "
                         "every number of steps; choose for example end:euler, or set trial_calls to 0")
    if trial_calls and sampler in NOISY:
        raise ValueError(f"trial_calls must be 0 with {sampler}, which adds noise: its pictures are others than the "
                         f"recorded ones, by which a trial judges; got {trial_calls}")
    if trial_calls and steps > MAX_CLOCK_NODES:
        raise ValueError(f"steps must be at most {MAX_CLOCK_NODES} with trial_calls; got {steps}; take fewer, or set "
                         "trial_calls to 0")
    if trial_calls:
        count_calls(sampler, steps)


def check_pictures(model, latent_image: dict, nodes: int, objective: str, references: dict | None) -> None:
    """ValueError where an objective of pictures is given none, or references that it cannot aim at."""
    kind, sampler = split_objective(objective)
    if kind not in ("detail", "spectrum") and references is None:
        return
    latent = empty_like(model, latent_image)
    if kind in ("detail", "spectrum") and (getattr(latent, "is_nested", False) or not is_picture(latent)):
        raise ValueError(f"objective {objective} needs latents of pictures, with height and width; got another kind; "
                         f"choose end:{sampler}")
    if kind == "spectrum" and bands_of(tuple(latent.shape[1:]), nodes) is None:
        raise ValueError(f"nodes must be fewer for {objective} with latents of {latent.shape[1]} channels; got "
                         f"{nodes}; 64 is a good start")
    if references is None:
        return
    if kind != "spectrum":
        raise ValueError(f"references are what the objectives spectrum:<sampler> aim at; got {objective!r}; choose for "
                         "example spectrum:dpmpp_2m, or disconnect references")
    wanted, got = tuple(latent.shape[1:]), tuple(references["samples"].shape[1:])
    if got != wanted:
        # Some VAEs take a batch of pictures for the frames of one video.
        frames = len(got) == len(wanted) == 4 and got[::2] == wanted[::2] and got[3] == wanted[3]
        raise ValueError(f"references must be latents of the size of latent_image, {wanted}; got {got}; " + (
            "encode the pictures one at a time, and make a batch of the latents" if frames else
            "resize or crop the pictures before VAE Encode"))
    if not references["samples"].isfinite().all():
        raise ValueError("references must be finite; got NaN or infinity, as a VAE in half precision may give; encode "
                         "the pictures with the VAE in fp32 or bf16")
    if not references["samples"].any():
        raise ValueError("references must hold something; got an empty latent; connect pictures through VAE Encode")


def in_model_units(model, latent: dict) -> torch.Tensor:
    """The samples of a LATENT as the model sees them, float32 on the CPU."""
    return model.get_model_object("latent_format").process_in(latent["samples"].cpu().float())


def estimate_learning_seconds(config: TrainConfig) -> float:
    """Seconds that learning will take, from a few iterations on a made-up recording."""
    sigmas = recording_grid(10.0, 0.01, 64)
    bank = OrbitBank(sigmas, np.ones((16, 1)) / sigmas)
    started = time.perf_counter()
    with threadpool_limits(1, user_api="blas"):
        for last in learn(bank, config):
            check_interrupt()
            seconds = time.perf_counter() - started
            if last.iteration >= TIMED_ITERATIONS or seconds > TIMED_SECONDS:
                break
    return seconds / last.iteration * config.iterations


