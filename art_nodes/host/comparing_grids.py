"""Names and step counts as the user writes them, and the step grids that they stand for on a model."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import comfy.samplers
import numpy as np
import torch

from ..core import Schedule
from ..core.files import printable
from .dropdown import NAME as ART
from .dropdown import art_scheduler
from .families_reading import choose_schedule, model_facts
from .host_schedules import AYS, NODES, of_node, starts_at, usable_grid
from .library import AUTOS, load_schedule, schedule_names, shown
from .sigmas import fingerprint, warnings_for

ALL = "all"
LIBRARY = "library/"  # before a learned schedule that is named like something of the host
WHOLE = " whole"  # after a scheduler's name: as BasicScheduler gives it, where KSampler drops the last sigma above 0
DROPS_NOTHING = "euler"  # a sampler that KSampler hands whole grids to
DROPPING = getattr(comfy.samplers.KSampler, "DISCARD_PENULTIMATE_SIGMA_SAMPLERS", ())
CONNECTED, SIGMAS = "ART (connected)", "SIGMAS input"
MOST_STEPS, MOST_COLUMNS = 10000, 12


@dataclass(frozen=True)
class Entry:
    """A schedule to compare: `grid(steps)` gives (K + 1,) sigmas, K mostly `steps`, or None where it has none."""

    name: str
    grid: Callable[[int], torch.Tensor | None]
    learned: bool = False  # an ART schedule
    warnings: tuple[str, ...] = ()


def parse_steps(text: str | Iterable[int]) -> tuple[int, ...]:
    """Step counts in ascending order, each once, from "6, 10, 20" or from numbers; ValueError for anything else."""
    parts = re.split(r"[\s,;]+", text.strip(" \t\r\n,;")) if isinstance(text, str) else [str(part) for part in text]
    if not all(re.fullmatch(r"[0-9]{1,9}", part) and 1 <= int(part) <= MOST_STEPS for part in parts) or not parts:
        raise ValueError(f"steps must be whole numbers from 1 to {MOST_STEPS}, separated by commas; got "
                         f"{printable(repr(text)):.200}; write for example 6, 10, 20")
    counts = tuple(sorted({int(part) for part in parts}))
    if len(counts) > MOST_COLUMNS:
        raise ValueError(f"steps must be at most {MOST_COLUMNS} different numbers; got {len(counts)}; leave some out")
    return counts


def parse_names(text: str | Iterable[str]) -> tuple[str, ...]:
    """The names in a text, separated by commas, semicolons or new lines, each once and in order."""
    parts = re.split(r"[,;\n]", text) if isinstance(text, str) else text
    return tuple(dict.fromkeys(name for part in parts if (name := part.strip())))


def find_entries(model, sampler_name: str, names: str | Iterable[str], schedule: Schedule | None = None,
                 sigmas: torch.Tensor | None = None) -> list[Entry]:
    """What `names` stand for on a MODEL, after the connected `schedule` and `sigmas`, if any.

    A name is looked for among the host's schedulers, then among its nodes' ("AYS SD1", "GITS" and so on), then in the
    library of learned schedules; "library/NAME" is the learned one where the host has the same name. "auto" and its
    kinds are compared under the name of the schedule that ART Sigmas takes for them. "beta whole" and so on are the
    host's schedulers with all their sigmas, where its KSampler drops one, as with uni_pc. "all" is every scheduler of
    the host, both ways if there are two, and AlignYourSteps where it fits the model. Raises ValueError for an unknown
    name, which lists what exists, for an auto that finds no schedule, for no schedule at all, and for sigmas that do
    not fall to 0.
    """
    entries = [] if schedule is None else [_learned(model, CONNECTED, schedule)]
    if sigmas is not None:
        entries.append(_fixed(check_sigmas(sigmas)))
    for name in parse_names(names):
        entries += _everything(model, sampler_name) if name == ALL else [_find(model, sampler_name, name)]
    if not entries:
        raise ValueError("schedules must name at least one schedule; got none; write for example karras, normal")
    found = {}
    for entry in entries:  # one that is named twice, as by auto too, is compared once, with all that is to say of it
        known = found.get(entry.name, entry)
        found[entry.name] = replace(entry, warnings=tuple(dict.fromkeys((*known.warnings, *entry.warnings))))
    return list(found.values())


def check_sigmas(sigmas: torch.Tensor) -> torch.Tensor:
    """Return connected SIGMAS as float32 (K + 1,), if they fall from a value above 0 to 0, or raise ValueError."""
    values = torch.as_tensor(sigmas).detach().float().cpu()
    good = values.ndim == 1 and len(values) >= 2 and values.isfinite().all() and (values.diff() <= 0).all()
    if not good or values[-1] != 0 or not values[0] > 0:
        raise ValueError(f"sigmas must be finite and fall to exactly 0; got {values.flatten()[:12].tolist()}; "
                         "connect a whole schedule, not a part of one that was split")
    return values


def _find(model, sampler_name: str, name: str) -> Entry:
    """The schedule of a name; ValueError lists what exists."""
    if name in comfy.samplers.KSampler.SCHEDULERS:
        return _of_host(model, sampler_name, name)
    if (plain := name.removesuffix(WHOLE)) in comfy.samplers.KSampler.SCHEDULERS:
        return replace(_of_host(model, DROPS_NOTHING, plain), name=name)
    if name in NODES:
        sampling = model.get_model_object("model_sampling")
        return Entry(name, lambda steps: _tensor(of_node(name, sampling, steps)))
    if name in AUTOS:
        choice, schedule = choose_schedule(model_facts(model), AUTOS[name])
        return _learned(model, choice.taken, schedule, f"{name} took {choice.taken}: {choice.reason}")
    learned = schedule_names()
    if (listed := name_in_library(name, learned)) in learned:
        return _learned(model, name, load_schedule(listed))
    hosts = ", ".join(dict.fromkeys([*comfy.samplers.KSampler.SCHEDULERS, *NODES]))
    raise ValueError(f"schedules must be names that exist; got {printable(repr(name)):.120}; there are, of the host: "
                     f"{hosts}; learned: {shown(learned)}; or write {ALL} for every one of the host, "
                     f"{' or '.join(AUTOS)} for the bundled one of the model's family")


def _everything(model, sampler_name: str) -> list[Entry]:
    """Every scheduler of the host but our own entry, and the AlignYourSteps tables that start where the model does."""
    top = float(model.get_model_object("model_sampling").sigma_max)
    tables = [_find(model, sampler_name, name) for name in AYS]
    # Their first sigma does not depend on the number of steps.
    fitting = [entry for entry in tables if (grid := entry.grid(10)) is not None and starts_at(grid, top)]
    names = [name for name in comfy.samplers.KSampler.SCHEDULERS if name != ART]
    if sampler_name in DROPPING:
        names += [name + WHOLE for name in names]
    return [*(_find(model, sampler_name, name) for name in names), *fitting]


def _of_host(model, sampler_name: str, name: str) -> Entry:
    """A scheduler of the host: the sigmas that its KSampler takes with this sampler."""
    def sigmas(steps: int):
        settings = {"sampler": sampler_name, "scheduler": name, "denoise": 1.0}
        return comfy.samplers.KSampler(model, steps, torch.device("cpu"), **settings).sigmas

    return Entry(name, lambda steps: _tensor(usable_grid(lambda: sigmas(steps))), warnings=_refusal(model, name))


def _refusal(model, name: str) -> tuple[str, ...]:
    """Why our own entry has no schedule for a model, if it has none."""
    if name == ART:
        try:
            art_scheduler(model.get_model_object("model_sampling"), 1)
        except ValueError as error:
            return (f"{name}: {error}",)
    return ()


def _learned(model, name: str, schedule: Schedule, *notes: str) -> Entry:
    """A learned schedule, fitted to the model's range as ART Sigmas does; `notes` come before what is amiss."""
    top = float(model.get_model_object("model_sampling").sigma_max)
    warnings = tuple(f"{name}: {text}" for text in warnings_for(schedule, model))
    return Entry(name, lambda steps: schedule.sigmas(steps, sigma_max=top), True, (*notes, *warnings))


def _fixed(sigmas: torch.Tensor) -> Entry:
    """Connected SIGMAS, which have only their own number of steps."""
    return Entry(SIGMAS, lambda steps: sigmas if len(sigmas) == steps + 1 else None)


def _tensor(grid: np.ndarray | None) -> torch.Tensor | None:
    return None if grid is None else torch.from_numpy(grid).float()


def fingerprint_names(names) -> str:
    """Changes when the file behind one of the learned schedules does; never raises."""
    if not isinstance(names, str):
        return fingerprint(None)
    listed, learned = parse_names(names), schedule_names()
    return "; ".join(fingerprint(name_in_library(name, learned)) for name in listed if not is_of_host(name))


def name_in_library(name: str, learned: list[str]) -> str:
    """The name of a learned schedule without the prefix that tells it from the host's."""
    return name if name in learned else name.removeprefix(LIBRARY)


def is_of_host(name: str) -> bool:
    """Whether a name stands for something of the host, which wins over a learned schedule of the same name."""
    return name == ALL or name in NODES or name.removesuffix(WHOLE) in comfy.samplers.KSampler.SCHEDULERS
