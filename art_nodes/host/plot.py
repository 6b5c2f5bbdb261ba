"""The picture of a learned schedule, drawn with Pillow only: the host does not bring matplotlib.

Drawn at twice its size and scaled down, which smooths lines and text.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from ..core import Schedule
from ..core.clock import read_clock

WIDTH, HEIGHT, ENLARGED = 1000, 420, 2
PAPER, INK, FAINT = (255, 255, 255), (38, 40, 46), (226, 228, 233)
ART = (200, 40, 60)
OTHERS = ((40, 100, 190), (60, 140, 70), (150, 100, 20))
TEXT_SIZE = 13
LINES_ON_CLOCK = 400


def draw_plot(schedule: Schedule, steps: int, others: Mapping[str, Sequence[float]], costs: Sequence[float],
              sigma_min: float) -> torch.Tensor:
    """IMAGE float32 (1, 420, 1000, 3) in [0, 1]: the sigma ladder, and the cost over the iterations of learning.

    others: name -> (K + 1,) descending sigmas to compare with; at most three are drawn.
    costs: J/J* after each iteration; empty for a schedule that was not learned step by step: then the
        ladder takes the whole width.
    sigma_min: the least sigma of the model, where the axis ends.
    """
    image = blank_paper(WIDTH, HEIGHT)
    middle = 520 if len(costs) else WIDTH - 15
    _draw_ladder(ImageDraw.Draw(image), (75, 40, middle, 365), schedule, steps, others, sigma_min)
    if len(costs):
        _draw_costs(ImageDraw.Draw(image), (595, 40, WIDTH - 20, 365), costs)
    return as_image(image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS))


def blank_paper(width: int, height: int) -> Image.Image:
    """Paper to draw on, enlarged; `width` and `height` in pixels of the final picture."""
    return Image.new("RGB", (width * ENLARGED, height * ENLARGED), PAPER)


def as_image(picture: Image.Image) -> torch.Tensor:
    """IMAGE float32 (1, H, W, 3) in [0, 1]."""
    return torch.from_numpy(np.array(picture, dtype=np.float32) / 255).unsqueeze(0)


def _draw_ladder(draw, box, schedule, steps, others, sigma_min) -> None:
    """Sigma over steps: lines and dots; the final 0 has no place on a log axis and is only written."""
    sigmas = schedule.sigmas(steps).tolist()
    lowest = min(sigma_min, *(sigma for sigma in sigmas if sigma > 0)) / 1.5
    panel = Panel(draw, box, (0.0, float(steps)), (lowest, 1.4 * schedule.sigma_max))
    title = f"sigma at {steps} step" + "s" * (steps > 1)
    panel.frame(title, "step (after the last one sigma is 0)", _step_ticks(steps))
    chosen = list(others.items())[:len(OTHERS)]
    for (_, grid), colour in zip(chosen, OTHERS, strict=False):
        points = _positive(grid, steps)
        panel.line(points, colour, 1.5)
        panel.dots(points, colour, 2.5, True)
    times = np.linspace(0, 1, LINES_ON_CLOCK)
    panel.line(list(zip(times * steps, read_clock(schedule.clock_for(steps), times), strict=True)), ART, 2.5)
    panel.dots(_positive(sigmas, steps), ART, 4.0)
    panel.legend([("ART", ART), *((name, colour) for (name, _), colour in zip(chosen, OTHERS, strict=False))])


def _draw_costs(draw, box, costs) -> None:
    """J/J* over iterations, with the last value written out."""
    seen = np.asarray(costs, dtype=float)
    top = max(1.02, float(seen.max()))
    panel = Panel(draw, box, (0.0, float(len(seen))), (1.0, top ** 1.08))
    panel.frame("cost J/J* of the clock (1 is the optimum)", "iteration", _step_ticks(len(seen)))
    panel.line(list(zip(range(1, len(seen) + 1), np.maximum(seen, 1.0), strict=True)), ART, 2.5)
    panel.note(f"first {seen[0]:.3f}, last {seen[-1]:.4f}")


def _positive(grid, steps: int) -> list[tuple[float, float]]:
    """(step, sigma) of the sigmas above 0; a grid of another count is spread over the same width."""
    count = len(grid) - 1
    return [(i * steps / count, float(sigma)) for i, sigma in enumerate(grid) if sigma > 0]


@dataclass(frozen=True)
class Panel:
    """Axes in a box (left, top, right, bottom; pixels of the final picture): y logarithmic, x too with `log_x`."""

    draw: ImageDraw.ImageDraw
    box: tuple[float, float, float, float]
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    log_x: bool = False

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Pixel of a point in the enlarged picture; points outside land on the border."""
        left, top, right, bottom = self.box
        across = _log_share(x, *self.x_range) if self.log_x else _share(x, *self.x_range)
        up = _log_share(y, *self.y_range)
        return ENLARGED * (left + across * (right - left)), ENLARGED * (bottom - up * (bottom - top))

    def frame(self, title: str, x_label: str, x_ticks: list[int]) -> None:
        """Border, grid lines, tick labels and names."""
        left, top, right, bottom = self.box
        for tick in x_ticks:
            x, _ = self.place(tick, self.y_range[0])
            self._stroke((x, top * ENLARGED, x, bottom * ENLARGED), FAINT)
            self._text((x / ENLARGED, bottom + 5), str(tick), "ma")
        for tick in log_ticks(*self.y_range, room=int((bottom - top) / 24)):
            _, y = self.place(self.x_range[0], tick)
            self._stroke((left * ENLARGED, y, right * ENLARGED, y), FAINT)
            self._text((left - 6, y / ENLARGED), f"{tick:.6g}", "rm")
        self.draw.rectangle([ENLARGED * value for value in self.box], outline=INK, width=ENLARGED)
        self._text((left, top - 24), title, "la", TEXT_SIZE + 2)
        self._text(((left + right) / 2, bottom + 26), x_label, "ma")

    def line(self, points, colour, width: float) -> None:
        """A polyline through (x, y) points."""
        self.draw.line([self.place(x, y) for x, y in points], fill=colour, width=round(width * ENLARGED), joint="curve")

    def dots(self, points, colour, radius: float, hollow: bool = False) -> None:
        """A disc at each point, smaller where there are many; a ring, for lines that colours may not tell apart."""
        r = ENLARGED * min(radius, max(1.0, 150 / max(1, len(points))))
        for x, y in (self.place(*point) for point in points):
            self.draw.ellipse((x - r, y - r, x + r, y + r), PAPER if hollow else colour, colour, ENLARGED)

    def legend(self, entries, left: float | None = None) -> None:
        """Names and colours from `left` on, or in the top right corner, which a falling line leaves free."""
        _, top, right, _ = self.box
        left = right - 130 if left is None else left
        for i, (name, colour) in enumerate(entries):
            y = top + 16 + 18 * i
            self._stroke([ENLARGED * value for value in (left, y, left + 25, y)], colour, 3)
            self._text((left + 32, y), name, "lm")

    def note(self, text: str) -> None:
        """A line of text in the top right corner."""
        self._text((self.box[2] - 10, self.box[1] + 10), text, "ra")

    def _stroke(self, ends, colour, width: int = 1) -> None:
        self.draw.line(list(ends), fill=colour, width=width * ENLARGED)

    def _text(self, at, text: str, anchor: str, size: int = TEXT_SIZE) -> None:
        font = text_font(size * ENLARGED)
        if not isinstance(font, ImageFont.FreeTypeFont):
            anchor = None  # the old bitmap font knows no anchors
        self.draw.text([ENLARGED * value for value in at], text, fill=INK, font=font, anchor=anchor)


def _share(value: float, low: float, high: float) -> float:
    """Where a value lies between low (0) and high (1); values outside count as the nearer end."""
    return min(max((value - low) / (high - low), 0.0), 1.0)


def _log_share(value: float, low: float, high: float) -> float:
    """The same on a log axis."""
    return _share(math.log(max(value, low)), math.log(low), math.log(high))


def text_font(size: int):
    """Pillow's own font at a size in pixels; without FreeType, or before Pillow 10.1, its small bitmap font."""
    try:
        return ImageFont.load_default(size=size)
    except TypeError:
        return ImageFont.load_default()


def _step_ticks(steps: int) -> list[int]:
    """Up to about ten round step numbers from 0 to `steps`."""
    size = 10 ** math.floor(math.log10(max(1, steps)))
    stride = next(s for s in (size / 10, size / 5, size / 2, size, 2 * size) if s >= 1 and steps / s <= 10)
    return list(range(0, steps + 1, int(stride)))


def log_ticks(low: float, high: float, room: int) -> list[float]:
    """At most `room` values between low and high on a log axis; for a narrow range evenly stepped ones."""
    if high / low > 6:
        lowest, highest = math.floor(math.log10(low)), math.ceil(math.log10(high))
        for digits in ((1, 2, 5), (1, 3), (1,)):
            ticks = [d * 10.0**e for e in range(lowest, highest + 1) for d in digits]
            ticks = [tick for tick in ticks if low <= tick <= high]
            if len(ticks) <= room:
                return ticks
        return ticks[::math.ceil(len(ticks) / room)]
    rough = (high - low) / min(room, 6)
    size = 10 ** math.floor(math.log10(rough))
    stride = next(s * size for s in (1, 2, 5, 10) if s * size >= rough)
    first = math.ceil(low / stride - 1e-9)
    return [round(n * stride, 9) for n in range(first, math.floor(high / stride) + 1)]
