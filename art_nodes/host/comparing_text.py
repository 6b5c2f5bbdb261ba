"""A comparison in words: the cost before it starts, the table, the verdicts and what to know about them."""

import math

from .comparing_results import Measured
from .recording import batch_seed
from .report import model_line

WIDEST_NAME = 32
FEW_NOISES = 8  # below this the interval itself is uncertain
DRIFT_MARGIN = 3.0  # errors should be so many times what half the reference's steps change


def cost_text(calls: int, batch: int, seeds: int, pictures: int) -> str:
    """What a comparison takes, before it starts."""
    drawn = f", then {pictures} pictures to decode" if pictures else ""
    noise = counted(seeds, "batch", "batches")
    return f"{calls} model calls of {counted(batch, 'sample')} each, {noise} of noise{drawn}"


def counted(count: int, one: str, many: str | None = None) -> str:
    """A number and its noun: "1 noise", "4 noises"."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def table_text(measured: Measured, setting: dict, warnings: list[str]) -> str:
    """The whole report in plain text.

    setting: "sampler", "cfg", "seed", "seeds", "reference", "reference_steps", and "model" as describe_model tells it.
    """
    first, last = setting["seed"], batch_seed(setting["seed"], setting["seeds"] - 1)
    seeds = f"seed {first}" if first == last else f"seeds {first} to {last}"
    return "\n".join([
        f"{setting['sampler']}, cfg {setting['cfg']:g}, {counted(measured.noises, 'noise')} ({seeds})",
        model_line(setting["model"]),
        "error: distance of the final latent to the reference from the same noise, root mean square over elements and "
        "noises; median of the noises' own; * least of its column",
        f"reference: {setting['reference']}, {setting['reference_steps']} steps; half as many end "
        f"{measured.drift:.2g} away from it",
        "", *table_lines(measured), "", *(verdict(measured, steps) for steps in measured.steps),
        *notes(measured), *warnings, *_small_sample(measured), *_coarse_reference(measured),
        f"took {measured.calls} model calls of {counted(measured.noises // setting['seeds'], 'sample')}, "
        f"{measured.seconds:.1f} s",
    ])


def table_lines(measured: Measured) -> list[str]:
    """Rows are the schedules by mean rank, columns the numbers of steps."""
    names = measured.ranked()
    width = max(len("schedule"), *(len(shortened(name)) for name in names))
    digits = _digits(measured)
    head = "".join(f" |{_heading(measured, steps):>26}" for steps in measured.steps)
    below = "".join(f" |{'error':>13} {'median':>12}" for _ in measured.steps)
    lines = [f"{'':<{width}}{head}", f"{'schedule':<{width}}{below}"]
    lines.append("".join("+" if letter == "|" else "-" for letter in lines[1]))
    for name in names:
        cells = "".join(" |" + _entry(measured, name, steps, digits) for steps in measured.steps)
        lines.append(f"{shortened(name):<{width}}{cells}")
    return lines


def _heading(measured: Measured, steps: int) -> str:
    best = measured.winner(steps)
    calls = f", {counted(best.calls, 'call')}" if best else ""
    return counted(steps, "step") + calls


def _entry(measured: Measured, name: str, steps: int, digits: int) -> str:
    """Error and median of a cell; * the winner, ! one that has another number of steps."""
    cell = measured.cell(name, steps)
    if cell is None:
        return f"{'-':>12}  {'-':>12}"
    mark = "*" if cell is measured.winner(steps) else "!" if cell.taken != cell.steps else " "
    return f"{_number(cell.rms, digits):>12}{mark} {_number(cell.median, digits):>12}"


def _number(value: float, digits: int) -> str:
    """An error with so many decimals, or in powers of ten where that would be too wide."""
    plain = f"{value:.{digits}f}"
    return plain if len(plain) <= 12 else f"{value:.4e}"


def _digits(measured: Measured) -> int:
    """Decimals that leave three digits of the least error."""
    least = min((cell.rms for cell in measured.cells if cell.rms > 0 and math.isfinite(cell.rms)), default=1.0)
    return min(max(2 - math.floor(math.log10(least)), 1), 9)


def shortened(name: str) -> str:
    """A name that fits into the table."""
    return name if len(name) <= WIDEST_NAME else name[:WIDEST_NAME - 3] + "..."


def verdict(measured: Measured, steps: int) -> str:
    """Who has the least error at a number of steps, and whether that is more than chance."""
    column, lead, at = measured.column(steps), measured.lead(steps), counted(steps, "step")
    if lead is None:
        return f"{at}: {f'only {column[0].name} competes' if len(column) == 1 else 'nothing to compare'}"
    (best, second), (ratio, interval) = (shortened(cell.name) for cell in column[:2]), lead
    if interval is None:
        return f"{at}: {best} has {ratio:.3f} x the error of {second}, the runner-up; no interval of one noise"
    low, high = interval
    sure = "a lead beyond chance" if measured.noises >= FEW_NOISES else "a lead on few noises"
    return (f"{at}: {'too close to call' if high >= 1 else sure}: {best} has {ratio:.3f} x the error of {second}, "
            f"the runner-up (95 % interval {low:.3f} to {high:.3f})")


def notes(measured: Measured) -> list[str]:
    """What keeps cells from competing."""
    lines = []
    for steps in measured.steps:
        missing = [name for name in measured.names if measured.cell(name, steps) is None]
        if missing:
            lines.append(f"no grid of {counted(steps, 'step')}: {', '.join(missing)}")
    for cell in measured.cells:
        if cell.taken != cell.steps:
            lines.append(f"! {cell.name} gives {counted(cell.taken, 'step')} when asked for {cell.steps} "
                         f"({counted(cell.calls, 'model call')}): does not compete")
        elif not cell.competes:
            lines.append(f"{cell.name} at {counted(cell.steps, 'step')} ends in NaN or infinity: does not compete")
    return lines


def _small_sample(measured: Measured) -> list[str]:
    """How far the verdicts carry."""
    if measured.noises < FEW_NOISES:
        return [f"fewer than {FEW_NOISES} noises say little about others: raise seeds or the batch size"]
    return ["the intervals are for these two schedules as they stand, not for having picked the best of all"]


def _coarse_reference(measured: Measured) -> list[str]:
    """A warning where the reference itself may blur the errors."""
    least = min((cell.rms for cell in measured.cells if math.isfinite(cell.rms)), default=math.inf)
    if least >= DRIFT_MARGIN * measured.drift:
        return []
    return [f"the least errors are no more than {DRIFT_MARGIN:g} times what half the reference's steps change: "
            "raise reference_steps"]
