"""Reading sigmas off a schedule for a sampler: what ART Sigmas does."""

import logging
import math

import torch

from ..core import Schedule
from .library import load_schedule, schedule_hash, schedule_names
from .recording import describe_model

NOTHING_YET = "(none yet: run ART Train)"
log = logging.getLogger(__name__)


def choices() -> list[str]:
    """The names to choose from now; never empty, since an empty list makes no widget."""
    return schedule_names() or [NOTHING_YET]


def fingerprint(name) -> str:
    """Changes when the file behind `name` does; never raises, since the host would swallow the message."""
    try:
        return schedule_hash(name)
    except (ValueError, OSError):
        return f"no schedule {name}"


def read_sigmas(name: str, steps: int, denoise: float, schedule: Schedule | None = None, model=None) -> torch.Tensor:
    """SIGMAS, float32 (steps + 1,) descending to exactly 0, of `schedule` or else of the schedule listed as `name`.

    denoise: as in the host's BasicScheduler, the last `steps` of int(steps / denoise) steps; 0 gives an
        empty tensor.
    model: MODEL whose sigma range is fitted: a smaller sigma_max starts later on the clock.
    Raises ValueError for an unknown name, which lists what exists, and for steps < 1 or denoise > 1.
    """
    chosen = load_schedule(name) if schedule is None else schedule
    if denoise <= 0:
        return torch.FloatTensor([])
    if model is None:
        return chosen.sigmas(steps, denoise=denoise)
    for warning in mismatches(chosen, describe_model(model)):
        log.warning("ART Sigmas: %s", warning)
    return chosen.sigmas(steps, denoise=denoise, sigma_max=float(model.get_model_object("model_sampling").sigma_max))


def mismatches(schedule: Schedule, model: dict) -> list[str]:
    """How a model, as describe_model tells it, differs from the one that the schedule was learned on."""
    found = []
    if model["sigma_max"] > 1.001 * schedule.sigma_max:
        found.append(
            f"the model starts at sigma {model['sigma_max']:g}, the schedule at {schedule.sigma_max:g}: "
            "sampling starts below pure noise; learn a schedule on this model"
        )
    for key, what in (("model", "model family"), ("model_sampling", "noise levels and prediction"), ("shift", "shift")):
        learned = schedule.provenance.get(key)
        if learned is not None and not _same(learned, model.get(key)):
            found.append(f"the schedule was learned on {what} {learned}, this model has {model.get(key, 'none')}; "
                         "it will run, but a schedule learned on this model is likely to be better")
    return found


def _same(a, b) -> bool:
    """Equality, for numbers up to rounding."""
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-3)
    return a == b
