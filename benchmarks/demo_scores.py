"""The demo's numbers: errors of rendered pictures, the table of them, and the sentences that sum it up."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from art_nodes.core.scores import ratio_interval, total
from benchmarks.demo_workflow import ART

Key = tuple[str, int]  # schedule, steps


@dataclass(frozen=True)
class Score:
    """How far the pictures of one schedule are from the reference, in grey levels of 255."""

    schedule: str
    steps: int
    calls: int  # model calls of a picture; with guidance each is two passes of the network
    rms: float  # root mean square over all pixels of all pictures
    median: float  # of the pictures' own RMS errors
    ratio: float  # rms over that of the strongest built-in schedule at this number of steps
    errors: np.ndarray  # (N,) each picture's own RMS error


def picture_errors(pictures: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """RMS difference of each picture to its reference; both (N, ...), answers (N,).

    Raises ValueError where the shapes differ or a picture holds NaN or infinity.
    """
    if pictures.shape != reference.shape:
        raise ValueError(f"pictures and reference must have one shape; got {pictures.shape} and {reference.shape}; "
                         "render both from one batch")
    if not np.isfinite(pictures).all() or not np.isfinite(reference).all():
        raise ValueError("pictures must be finite; got NaN or infinity; look at the host's log")
    difference = (pictures.astype(np.float64) - reference).reshape(len(pictures), -1)
    return np.sqrt((difference**2).mean(axis=1))


def score(rendered: Mapping[Key, np.ndarray], reference: np.ndarray) -> list[Score]:
    """The scores of all that was rendered, in its order."""
    errors = {key: picture_errors(pictures, reference) for key, pictures in rendered.items()}
    strongest = {steps: min(total(e) for (name, k), e in errors.items() if k == steps and name != ART)
                 for _, steps in errors}
    # Euler's method calls the model once a step.
    return [Score(name, steps, steps, total(e), float(np.median(e)), total(e) / strongest[steps], e)
            for (name, steps), e in errors.items()]


def best(scores: list[Score], steps: int) -> Score:
    """The schedule with the lowest error at a number of steps."""
    return min((s for s in scores if s.steps == steps), key=lambda s: s.rms)


def duel(scores: list[Score], steps: int) -> tuple[Score, Score, tuple[float, float]]:
    """ART, the strongest built-in schedule, and the 95 % interval of the ratio of their errors, paired by picture."""
    ours = next(s for s in scores if s.steps == steps and s.schedule == ART)
    theirs = best([s for s in scores if s.schedule != ART], steps)
    return ours, theirs, ratio_interval(ours.errors, theirs.errors)


def verdict(scores: list[Score], steps: int) -> str:
    """One sentence on a number of steps, as plain about a loss as about a win."""
    ours, theirs, (low, high) = duel(scores, steps)
    if low <= 1 <= high:
        outcome = "too close to call on these pictures: ART has"
    else:
        outcome = "ART wins with" if ours.rms < theirs.rms else "ART loses with"
    return (f"{steps} steps: {outcome} {ours.ratio:.2f} x the error of {theirs.schedule}, the strongest built-in "
            f"(95 % interval {low:.2f} to {high:.2f})")


def table(scores: list[Score]) -> str:
    """Rows are schedules, columns the errors at each number of steps; * marks the lowest."""
    all_steps = sorted({s.steps for s in scores})
    names = list(dict.fromkeys(s.schedule for s in scores))
    found = {(s.schedule, s.steps): s for s in scores}
    head = "".join(f" |{f'{steps} steps: error':>17}{'median':>9}{'ratio':>8}{'calls':>7}" for steps in all_steps)
    lines = [f"{'schedule':<13}{head}"]
    lines.append("".join("+" if letter == "|" else "-" for letter in lines[0]))
    for name in names:
        cells = "".join(" |" + _cell(found[name, steps], best(scores, steps)) for steps in all_steps)
        lines.append(f"{name:<13}{cells}")
    return "\n".join(lines)


def _cell(own: Score, lowest: Score) -> str:
    mark = "*" if own is lowest else " "
    return f"{own.rms:>16.2f}{mark}{own.median:>9.2f}{own.ratio:>8.2f}{own.calls:>7}"


def as_json(scores: list[Score], facts: dict) -> str:
    """`facts` and all numbers, each picture's own among them, as the text of results.json."""
    rows = [{"schedule": s.schedule, "steps": s.steps, "calls": s.calls, "rms": round(s.rms, 4),
             "median": round(s.median, 4), "ratio": round(s.ratio, 4), "best": s is best(scores, s.steps),
             "errors": [round(float(e), 3) for e in s.errors]} for s in scores]
    duels = []
    for steps in sorted({s.steps for s in scores}):
        ours, theirs, interval = duel(scores, steps)
        duels.append({"steps": steps, "strongest_built_in": theirs.schedule, "ratio": round(ours.ratio, 4),
                      "interval_95": [round(bound, 4) for bound in interval]})
    unit = "RMS difference to the reference in grey levels of 255, before clipping"
    return json.dumps({**facts, "unit": unit, "art_against_strongest": duels, "scores": rows}, indent=1) + "\n"
