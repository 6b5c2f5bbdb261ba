"""Reading sigmas off a schedule for a sampler: what ART Sigmas does."""

import logging
import math
from dataclasses import dataclass

import comfy.samplers
import torch

from ..core import Schedule
from ..core.files import printable
from ..core.objectives import split_objective
from . import library
from .families import cautions
from .families_reading import choose_schedule, family_schedules, model_facts
from .library import AUTOS, library_stamp, load_schedule, schedule_hash, schedule_names, shown
from .recording import describe_model

MOST_SHOWN = 1000  # sigmas
LARGER = 1.25  # times a model's range that a schedule's may go beyond it before that is told
MOST_TEXT = 300  # characters of a file's own words
MOST_STEPS = 100  # that starts are compared with; those of more hardly differ
MOST_TOTAL = 10_000  # steps of which the last are taken; the host counts more of them for minutes
FAR = 0.1  # in ln sigma: a start that is as far off is another
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reading:
    """What ART Sigmas gives: `sigmas` float32 (steps + 1,), and `text` that says where they come from.

    name: of the schedule in the library, None for a connected one. warnings: each a sentence, in `text` too.
    """

    sigmas: torch.Tensor
    text: str
    name: str | None
    warnings: tuple[str, ...]

    @property
    def record(self) -> dict:
        """For the page; plain values only, and no sigmas where there are too many to show."""
        shown = self.sigmas.tolist() if len(self.sigmas) <= MOST_SHOWN else []
        return {"name": self.name, "text": self.text, "warnings": list(self.warnings), "sigmas": shown}


def choices() -> list[str]:
    """The names to choose from now, the kinds of auto first."""
    return [*AUTOS, *schedule_names()]


def fingerprint(name) -> str:
    """Changes when the file behind `name` does; never raises, since the host would swallow the message.

    Of a name that comes over a wire, which the host does not tell, when any schedule does.
    """
    try:
        if name is None:
            return library_stamp()
        if name in AUTOS:  # the model that decides is not known here, nor whether its family has the kind asked for
            names = {*family_schedules(AUTOS[name]).values(), *family_schedules().values()}
            return "; ".join(f"{each} {fingerprint(each)}" for each in sorted(names))
        return schedule_hash(name)
    except (ValueError, OSError, TypeError):  # TypeError: a table instead of a name
        return f"no schedule {name}"


def read_sigmas(name: str, steps: int, denoise: float, schedule: Schedule | None = None, model=None) -> Reading:
    """The sigmas, descending to exactly 0, of `schedule`, or else of the schedule that `name` stands for.

    name: of a schedule in the library, or auto: the one of the model's family, or auto-dpmpp_2m or auto-clock: the
        one beside it with that ending.
    denoise: as in the host's BasicScheduler, the last `steps` of int(steps / denoise) steps; 0 gives an
        empty tensor.
    model: MODEL whose sigma range is fitted: a smaller sigma_max starts later on the clock.
    Raises ValueError for an unknown name, which lists what exists, for steps < 1 or denoise > 1, and for auto
    without a model or with one that no schedule is for.
    """
    chosen, taken, why = _choose(name, schedule, model)
    warnings = [] if model is None else warnings_for(chosen, model)
    for warning in warnings:
        log.warning("ART Sigmas: %s", printable(warning))
    sigmas = _sigmas(chosen, steps, denoise, model)
    notes = [unchecked_line(chosen)] if model is None else strength_lines(chosen, sigmas, denoise, model)
    # What is amiss comes where it is seen without scrolling.
    text = "\n".join([why, *(f"Warning: {warning}" for warning in warnings), *notes, *described(chosen, taken)])
    return Reading(sigmas, text, taken, tuple(warnings))


def _choose(name: str, schedule: Schedule | None, model) -> tuple[Schedule, str | None, str]:
    """The schedule, its name in the library, and why it is this one."""
    if schedule is not None:
        return schedule, None, "The connected schedule."
    if not isinstance(name, str) or name not in AUTOS:
        return load_schedule(name), name, f"The schedule {name}.{_also_yours(name)}"
    if model is None:
        raise ValueError(f"schedule_name {name} needs the model; got none; connect the MODEL that is sampled, or "
                         f"choose one of: {shown(schedule_names())}, or make one with ART Train")
    choice, chosen = choose_schedule(model_facts(model), AUTOS[name])
    return chosen, choice.taken, f"{name} took {choice.taken}: {choice.reason}."


def _also_yours(name: str) -> str:
    """Where the user's own schedule is, if a bundled one has its name, as one that came with an update."""
    own = library.TRAINED_PREFIX + name
    return f" One of yours by that name is listed as {own}." if own in schedule_names() else ""


def _sigmas(schedule: Schedule, steps: int, denoise: float, model) -> torch.Tensor:
    if denoise <= 0:
        return torch.FloatTensor([])
    top = None if model is None else float(model.get_model_object("model_sampling").sigma_max)
    return schedule.sigmas(steps, denoise=denoise, sigma_max=top)


def unchecked_line(schedule: Schedule) -> str:
    """What may be amiss where no model is connected."""
    return f"Not checked, as no MODEL is connected: it is for models that start at sigma {schedule.sigma_max:g}."


def strength_lines(schedule: Schedule, sigmas: torch.Tensor, denoise: float, model) -> list[str]:
    """With which denoise a schedule starts where the host's `simple` does with this one, if there is something to say.

    Each schedule starts the last part of its own steps elsewhere, the host's own too.
    """
    sampling = model.get_model_object("model_sampling")
    steps = min(len(sigmas) - 1, MOST_STEPS)
    if not 0 < denoise < 1 or steps > MOST_TOTAL * denoise or not hasattr(sampling, "sigmas"):
        return []
    theirs = float(comfy.samplers.calculate_sigmas(sampling, "simple", int(steps / denoise))[-(steps + 1)])
    starts = {share / 100: float(_sigmas(schedule, steps, share / 100, model)[0]) for share in range(1, 101)}
    # Of few steps several start alike: then the one that is asked for, or next to it.
    apart = {share: round(abs(math.log(start / theirs)), 3) for share, start in starts.items()}
    alike = min(apart, key=lambda share: (apart[share], abs(share - denoise)))
    so = f"and this schedule does so with denoise {alike:g}" if apart[alike] < FAR else \
        f"and the nearest that this schedule can start at is {starts[alike]:.3g}, with denoise {alike:g}"
    return [f"With denoise {denoise:g} it starts at sigma {float(sigmas[0]):.3g}; the host's simple starts at "
            f"{theirs:.3g}, {so}."]


def described(schedule: Schedule, name: str | None = None) -> list[str]:
    """Where a schedule comes from and which sampler it is for, in lines of text."""
    known = schedule.provenance
    told = [("Learned on", "learned_on"), ("Carried over", "carried_over"), ("Meant for", "meant_for")]
    lines = [f"{label}: {value[:MOST_TEXT]}." for label, key in told
             if isinstance(value := known.get(key), str) and value]
    return [*lines, sampler_line(schedule, siblings(name) if name else [])]


def sampler_line(schedule: Schedule, others: list[str]) -> str:
    """Which sampler a schedule was optimised for; `others` are schedules of the same family."""
    more = f" For other samplers there is: {', '.join(others)}." if others else ""
    try:
        kind, sampler = split_objective(schedule.provenance.get("objective"))
    except (TypeError, ValueError):
        return f"It does not say which sampler it was optimised for; any can be used.{more}"
    if kind == "euler":
        return f"The paper's clock, made for no sampler and no number of steps.{more}"
    exact = ", with a grid of its own for some numbers of steps" if schedule.grids else ""
    return f"Optimised for the sampler {sampler}{exact}; another one runs too, and may do better with a schedule " \
           f"fitted to it.{more}"


def siblings(name: str) -> list[str]:
    """Other bundled schedules of a family, which are named as the kinds of auto end."""
    bundled = {path.stem for path in library.BUNDLED.glob("*" + library.SUFFIX)}
    return sorted(bundled & {name + ending for ending in AUTOS.values() if ending})


def warnings_for(schedule: Schedule, model) -> list[str]:
    """What the user of a schedule on a MODEL should know, one sentence each; empty if nothing is amiss."""
    return [*mismatches(schedule, describe_model(model)), *cautions(model_facts(model), schedule)]


def mismatches(schedule: Schedule, model: dict) -> list[str]:
    """How a model, as describe_model tells it, differs from the one that the schedule was learned on."""
    found = []
    if isinstance(late := schedule.provenance.get("starts_late"), str):
        found.append(f"the schedule starts at sigma {schedule.sigma_max:g}, as it should: {late[:MOST_TEXT]}")
    elif model["sigma_max"] > 1.001 * schedule.sigma_max:
        found.append(
            f"the model starts at sigma {model['sigma_max']:g}, the schedule at {schedule.sigma_max:g}: "
            "sampling starts below pure noise; learn a schedule on this model"
        )
    elif schedule.sigma_max > LARGER * model["sigma_max"]:
        found.append(f"the schedule starts at sigma {schedule.sigma_max:g}, the model at {model['sigma_max']:g}: what "
                     "is above that is cut off, of its grids too; learn a schedule on this model")
    kinds = {"model": "model family", "model_sampling": "noise levels and prediction"}
    if "CONST" in str(model.get("model_sampling")):  # a shift moves the host's schedules only, and no prediction
        kinds["multiplier"] = "multiplier"
    else:
        kinds["shift"] = "shift"
    for key, what in kinds.items():
        learned = schedule.provenance.get(key)
        if learned is not None and not _same(learned, model.get(key)):
            found.append(f"the schedule was learned on {what} {str(learned)[:MOST_TEXT]}, this model has "
                         f"{model.get(key, 'none')}; it will run, but a schedule learned on this model is likely to be "
                         "better")
    return found


def _same(a, b) -> bool:
    """Equality, for numbers up to rounding."""
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-3)
    return a == b
