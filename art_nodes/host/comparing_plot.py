"""The plot of a comparison: error against model calls, both logarithmic, a line for each schedule."""

import torch
from PIL import Image, ImageDraw

from .comparing_results import Cell, Measured, curve
from .comparing_text import counted, shortened
from .plot import ART, Panel, as_image, blank_paper

WIDTH, HEIGHT = 1000, 560
BOX = (85, 40, WIDTH - 285, HEIGHT - 55)
MOST_NAMED = 26  # lines of the legend
COLOURS = ((40, 100, 190), (60, 140, 70), (220, 140, 20), (130, 80, 180), (20, 160, 170), (150, 100, 20),
           (230, 110, 170), (110, 115, 125), (120, 170, 30), (20, 50, 110), (170, 160, 40), (90, 40, 40))
LEARNED = (ART, (245, 120, 90), (150, 20, 90))


def draw_errors(measured: Measured, learned: frozenset[str], sampler_name: str) -> torch.Tensor:
    """IMAGE float32 (1, 560, 1000, 3) in [0, 1].

    learned: the names of ART schedules, which are drawn in reds, thicker, and with full dots.
    A schedule that gives another number of steps stands at the model calls that it really takes.
    """
    image = blank_paper(WIDTH, HEIGHT)
    names = measured.ranked()
    colours = line_colours(names, learned)
    points = {name: line_points(measured.cells, name) for name in names}
    panel = Panel(ImageDraw.Draw(image), BOX, *_ranges([point for each in points.values() for point in each]), True)
    panel.frame(f"error of {sampler_name} over {counted(measured.noises, 'noise')}", "model calls of one sampling",
                call_ticks(sorted({calls for each in points.values() for calls, _ in each})))
    for name in reversed(names):  # the best ones on top
        if len(points[name]) > 1:
            panel.line(points[name], colours[name], 3.0 if name in learned else 1.8)
        panel.dots(points[name], colours[name], 4.5 if name in learned else 3.5, name not in learned)
    panel.legend([(shortened(name), colours[name]) for name in names[:MOST_NAMED]], left=WIDTH - 270)
    return as_image(image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS))


def line_points(cells: tuple[Cell, ...], name: str) -> list[tuple[float, float]]:
    """(model calls, error) of a schedule from left to right."""
    return sorted((float(cell.calls), cell.rms) for cell in curve(cells, name))


def line_colours(names: list[str], learned: frozenset[str]) -> dict[str, tuple[int, int, int]]:
    """Reds for learned schedules, other colours for the rest; they repeat when there are many."""
    found = {}
    for group, palette in (([name for name in names if name in learned], LEARNED),
                           ([name for name in names if name not in learned], COLOURS)):
        found |= {name: palette[i % len(palette)] for i, name in enumerate(group)}
    return found


def _ranges(points) -> tuple[tuple[float, float], tuple[float, float]]:
    """Axes with a margin around all points; some axes if there are none."""
    if not points:
        return (1.0, 10.0), (0.1, 1.0)
    return tuple((min(values) / 1.25, max(values) * 1.25) for values in zip(*points, strict=True))


def call_ticks(calls: list[float], apart: float = 1.12) -> list[int]:
    """The numbers of calls that occur, where they are far enough apart to be read."""
    ticks = []
    for value in calls:
        if not ticks or value >= apart * ticks[-1]:
            ticks.append(int(value))
    return ticks
