"""What the photo model's samples look like beside real patches: power spectra, sheets and plots."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from benchmarks.photo_model import IMAGE_SIZE

GAP, HEADER, ZOOM = 2, 24, 2
SLOPE_RANGE = (2, 11)  # cycles a patch: above the window's own width, below the sampling limit's pile-up


def power_spectrum(x: torch.Tensor) -> np.ndarray:
    """Radially averaged power of patches (N, C, 32, 32), at 1 to 16 cycles a patch: (16,).

    Each patch loses its mean and is faded out by a Hann window, so that its edges do not pass for detail.
    """
    window = torch.hann_window(x.shape[-1], periodic=False, dtype=torch.float64)
    flat = (x - x.mean(dim=(2, 3), keepdim=True)).double() * window[:, None] * window[None]
    power = torch.fft.fft2(flat, norm="ortho").abs().square().mean(dim=(0, 1)).numpy()
    frequency = np.fft.fftfreq(x.shape[-1], 1 / x.shape[-1])
    radius = np.hypot(frequency[:, None], frequency[None]).round().astype(int)
    return np.array([power[radius == r].mean() for r in range(1, x.shape[-1] // 2 + 1)])


def slope(spectrum: np.ndarray) -> float:
    """Exponent b of power ~ frequency^b, fitted on log-log axes; about -2 for natural images."""
    low, high = SLOPE_RANGE
    frequency = np.arange(low, high + 1)
    return float(np.polyfit(np.log(frequency), np.log(spectrum[low - 1:high]), 1)[0])


def sheet(groups: dict[str, np.ndarray], columns: int) -> Image.Image:
    """Groups of pictures (N, H, W, 3) uint8 beside each other under their titles, enlarged without smoothing."""
    pitch = IMAGE_SIZE * ZOOM + GAP
    rows = max(-(-len(pictures) // columns) for pictures in groups.values())
    width = columns * pitch + 4 * GAP
    out = Image.new("RGB", (width * len(groups), HEADER + rows * pitch), "white")
    pen, font = ImageDraw.Draw(out), ImageFont.load_default(14)
    for number, (title, pictures) in enumerate(groups.items()):
        pen.text((number * width, 4), title, fill="black", font=font)
        for i, picture in enumerate(pictures):
            big = picture.repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)
            out.paste(Image.fromarray(big), (number * width + i % columns * pitch, HEADER + i // columns * pitch))
    return out


def plot_spectra(spectra: dict[str, np.ndarray], out: Path) -> None:
    """Power against frequency on log-log axes, a line for each set, with the fitted slope in the legend."""
    from matplotlib.figure import Figure  # only the plots need it

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for (name, spectrum), style in zip(spectra.items(), ("-", "--", ":"), strict=False):
        axes.loglog(np.arange(1, len(spectrum) + 1), spectrum, style, label=f"{name}, slope {slope(spectrum):.2f}")
    axes.set(xlabel="cycles a patch (32 pixels)", ylabel="mean power, data of unit variance")
    axes.legend()
    axes.grid(alpha=0.3, which="both")
    figure.savefig(out, dpi=110)


def plot_losses(history: list, out: Path) -> None:
    """Training loss and held-out loss of the averaged weights over the patches shown."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.plot([row[0] / 1000 for row in history], [row[1] for row in history], linewidth=0.8, alpha=0.7,
              label="training, mean of 50 batches")
    held = [(row[0] / 1000, row[2]) for row in history if row[2] is not None]
    axes.plot([row[0] for row in held], [row[1] for row in held], "o-", markersize=3,
              label="held-out photographs, averaged weights")
    axes.set(xlabel="patches shown, thousands", ylabel="EDM loss", yscale="log")
    axes.yaxis.set_major_formatter("{x:.2g}")
    axes.yaxis.set_minor_formatter("{x:.2g}")
    axes.legend()
    axes.grid(alpha=0.3, which="both")
    figure.savefig(out, dpi=110)
