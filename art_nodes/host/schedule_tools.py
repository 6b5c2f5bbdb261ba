"""Looking at, merging, saving and exporting schedules: what the library nodes do."""

import json

import torch

from ..core import Schedule
from ..core.export import diffusers_json, manual_text, plain_number
from ..core.merge import merge_schedules
from .comparing_grids import parse_steps
from .families import SHARE, schedule_meaning
from .families_reading import model_facts
from .library import load_schedule, save_schedule, saved_line, schedule_names
from .plot import OTHERS, draw_plot
from .sigmas import described, read_sigmas

NOTHING_YET = "(none yet: run ART Train)"
MANUAL, DIFFUSERS = "text for ManualSigmas", "JSON for diffusers"
FORMATS = (MANUAL, DIFFUSERS)
MOST_VALUE = 500  # characters of a single entry of a provenance
SPARE_SHARE = 0.25  # of the least sigma above 0, where the axis ends for a schedule that does not know its sigma_min


def names() -> list[str]:
    """The schedules there are; never empty, since an empty list makes no widget."""
    return schedule_names() or [NOTHING_YET]


def pick(schedule_name: str, schedule: Schedule | None) -> tuple[Schedule, str | None]:
    """The connected schedule, else the one listed as `schedule_name`, with its name; ValueError lists what exists."""
    return (schedule, None) if schedule is not None else (load_schedule(schedule_name), schedule_name)


def describe(schedule: Schedule, name: str | None, steps: str) -> tuple[torch.Tensor, str]:
    """Curve, IMAGE (1, H, W, 3) in [0, 1], and text: what a schedule says of itself, and its sigmas.

    steps: numbers of steps as in "6, 10, 20"; the largest is drawn as the schedule, up to three others beside it.
    Raises ValueError for steps that are no such numbers.
    """
    counts = parse_steps(steps)
    grids = {count: schedule.sigmas(count) for count in counts}
    others = {f"{count} steps": grids[count].tolist() for count in counts[-len(OTHERS) - 1:-1]}
    plot = draw_plot(schedule, counts[-1], others, [], _lowest(schedule))
    lines = [*_title_lines(schedule, name), *described(schedule, name), "", *provenance_lines(schedule.provenance), ""]
    return plot, "\n".join([*lines, *(f"{count} steps: {manual_text(grid)}" for count, grid in grids.items())])


def _title_lines(schedule: Schedule, name: str | None) -> list[str]:
    title, grids = schedule.provenance.get("title"), ", ".join(map(str, schedule.grids))
    told = f": {title[:MOST_VALUE]}" if isinstance(title, str) else ""
    return [
        (f"Schedule {name}" if name else "The connected schedule") + told,
        f"From sigma {plain_number(schedule.sigma_max)} to 0; sigma is the {schedule_meaning(schedule)}.",
        f"{len(schedule.clock) - 1} steps on its clock" + (f", and grids of their own for {grids} steps." if grids
                                                           else "."),
    ]


def _lowest(schedule: Schedule) -> float:
    """Where a logarithmic axis may end."""
    told = schedule.provenance.get("sigma_min")
    known = isinstance(told, int | float) and 0 < told < schedule.sigma_max
    return float(told) if known else SPARE_SHARE * float(schedule.clock[-2])


def provenance_lines(provenance: dict) -> list[str]:
    """Every entry of a provenance as "key: value"; tables and lists as JSON, and long values cut short."""
    lines = []
    for key, value in provenance.items():
        text = value if isinstance(value, str) else json.dumps(value, default=str)
        cut = f"{text[:MOST_VALUE]} ..." if len(text) > MOST_VALUE else text
        lines.append(f"{str(key)[:MOST_VALUE]}: {cut}")
    return lines or ["It says nothing of where it comes from."]


def merge(first: Schedule, second: Schedule, share: float) -> Schedule:
    """`first` and `second` merged; `share` in [0, 1] is the second one's weight.

    Raises ValueError for schedules whose sigma means different things or whose ranges lie far apart.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share must lie in [0, 1]; got {share}; 0.5 weighs both alike")
    meanings = [schedule_meaning(schedule) for schedule in (first, second)]
    if meanings[0] != meanings[1]:
        raise ValueError(f"schedules to merge must mean the same by sigma; in the first it is the {meanings[0]}, in "
                         f"the second the {meanings[1]}; merge schedules of models of one kind")
    return merge_schedules([first, second], [1 - share, share])


def save(schedule: Schedule, name: str) -> tuple[str, str]:
    """Save in the library; the name taken and a line about it. Overwrites nothing; ValueError for a bad name."""
    saved = save_schedule(schedule, name)
    return saved, saved_line(saved, name)


def export(form: str, schedule_name: str, steps: int, denoise: float, schedule: Schedule | None = None,
           model=None) -> str:
    """The sigmas that ART Sigmas would give, as text in one of FORMATS.

    Whether sigma is the share of noise, and so lies in [0, 1], is the model's to say, else the schedule's.
    Raises ValueError for an unknown form, for what ART Sigmas refuses, and for a denoise of 0.
    """
    if form not in FORMATS:
        raise ValueError(f"format must be one of: {', '.join(FORMATS)}; got {form!r:.100}; choose one of them")
    reading = read_sigmas(schedule_name, steps, denoise, schedule, model)
    if form == MANUAL:
        return manual_text(reading.sigmas)
    known = schedule if schedule is not None else load_schedule(reading.name)
    meaning = model_facts(model).meaning if model is not None else None
    return diffusers_json(reading.sigmas, flow=(meaning or schedule_meaning(known)) == SHARE)
