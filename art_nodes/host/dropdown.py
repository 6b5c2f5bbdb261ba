"""The entry "art" in the host's list of schedulers: a bundled schedule in every KSampler.

A scheduler sees the model's noise levels and a number of steps, nothing else. It must answer fresh
tensors, since some of the host's nodes write into them. The host's list is only ever appended to:
other packs keep copies of it and references to it.
"""

import functools
import logging
import os

import comfy.samplers
import torch

from ..core import Schedule
from .families import cautions
from .families_reading import choose_schedule, sampling_facts
from .recording import noise_settings, sampling_name
from .sigmas import mismatches

NAME = "art"
SWITCH = "ART_KSAMPLER_SCHEDULER"  # environment variable; 0, no, off or false leaves the list alone
log = logging.getLogger(__name__)


def register_scheduler() -> bool:
    """Append "art" to the host's schedulers; False if the user or the host does not want it. Harmless to repeat.

    A scheduler of this name that another pack brought first is left as it is.
    """
    handlers = getattr(comfy.samplers, "SCHEDULER_HANDLERS", None)
    kind = getattr(comfy.samplers, "SchedulerHandler", None)
    if os.environ.get(SWITCH, "").strip().lower() in ("0", "no", "off", "false") or handlers is None or kind is None:
        return False
    if NAME in handlers:
        return handlers[NAME].handler is art_scheduler
    handlers[NAME] = kind(art_scheduler, use_ms=True)
    # One list in the host, two if another pack has put its own in the place of one.
    for names in (comfy.samplers.SCHEDULER_NAMES, comfy.samplers.KSampler.SCHEDULERS):
        if NAME not in names:
            names.append(NAME)
    return True


def art_scheduler(model_sampling, steps: int) -> torch.Tensor:
    """The sigmas of the schedule that auto takes for a model_sampling: (steps + 1,) float32 on the CPU, the last 0.

    SD 1.x and SDXL cannot be told apart by their noise levels: both count as the family eps.
    Raises ValueError, which says what to do, where no schedule is for such a model, and for steps < 1.
    """
    facts = sampling_facts(model_sampling)
    choice, schedule = choose_schedule(facts)
    _tell_once(logging.INFO, f"took {choice.taken}: {choice.reason}")
    for warning in [*mismatches(schedule, _known(model_sampling, schedule)), *cautions(facts, schedule)]:
        _tell_once(logging.WARNING, warning)
    return schedule.sigmas(steps, sigma_max=facts.sigma_max)


def _known(sampling, schedule: Schedule) -> dict:
    """What describe_model would tell, as far as noise levels do; of the model itself nothing is known to differ."""
    return {"model": schedule.provenance.get("model"), "model_sampling": sampling_name(sampling),
            "sigma_max": float(sampling.sigma_max), **noise_settings(sampling)}


@functools.lru_cache(maxsize=256)
def _tell_once(level: int, text: str) -> None:
    """Into the log; a text that was there already would only fill it, with one for every picture."""
    log.log(level, "scheduler %s: %s", NAME, text)
