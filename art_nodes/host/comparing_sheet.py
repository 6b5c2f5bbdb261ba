"""The contact sheet of a comparison: what the schedules made of the same noise, beside the reference."""

import logging

import comfy.model_management
import numpy as np
import torch
from PIL import Image, ImageDraw

from .comparing_results import Measured
from .comparing_text import counted, shortened
from .plot import INK, PAPER, as_image, text_font
from .progress import check_interrupt

log = logging.getLogger(__name__)
SMALLEST, LARGEST = 112, 256  # long side of a picture on the sheet, in pixels
GAP, MARGIN, LABEL, LINE, TEXT = 4, 14, 200, 20, 14
BEST = (30, 140, 60)


def check_vae(vae, latent: torch.Tensor) -> None:
    """Raise ValueError unless the VAE makes a picture of a latent (1, ...): after a long run it would be too late."""
    try:
        decode(vae, latent)
    except (comfy.model_management.InterruptProcessingException, torch.cuda.OutOfMemoryError):
        raise
    except Exception as error:
        raise ValueError(f"vae must decode the model's latents; it fails on one of shape {tuple(latent.shape)} "
                         f"({error}); connect the model's own VAE, or none") from error


def decode(vae, latent: torch.Tensor) -> Image.Image:
    """A latent (1, ...) as a small picture; of a video the frame in the middle."""
    check_interrupt()
    pixels = vae.decode(latent)
    if pixels.ndim < 4:
        raise ValueError(f"a VAE for pictures must answer (batch, height, width, channels); got {tuple(pixels.shape)}")
    frames = pixels.reshape(-1, *pixels.shape[-3:])
    values = (255 * frames[len(frames) // 2][..., :3].float().nan_to_num().clamp(0, 1)).round().byte().cpu().numpy()
    picture = Image.fromarray(values if values.shape[-1] == 3 else np.repeat(values[..., :1], 3, axis=-1))
    return _resized(picture)


def _resized(picture: Image.Image) -> Image.Image:
    """Tiny pictures enlarged pixel by pixel, large ones made smaller."""
    long = max(picture.size)
    if long < SMALLEST:
        times = -(-SMALLEST // long)
        return picture.resize((picture.width * times, picture.height * times), Image.Resampling.NEAREST)
    if long <= LARGEST:
        return picture
    size = tuple(max(1, round(side * LARGEST / long)) for side in picture.size)
    return picture.resize(size, Image.Resampling.LANCZOS)


def draw_sheet(measured: Measured, vae) -> torch.Tensor:
    """IMAGE (1, H, W, 3): the reference, then a row for each schedule by mean rank, a column for each number of steps.

    Every cell holds the same noises, with its error below; the least of a column is framed.
    """
    pictures = {key: [decode(vae, latent[None]) for latent in latents]
                for key, latents in measured.ends.items() if latents is not None}
    width, height = pictures[None][0].size
    across = len(pictures[None]) * (width + GAP) + GAP
    names = measured.ranked()
    size = (2 * MARGIN + LABEL + len(measured.steps) * (across + GAP),
            2 * MARGIN + LINE + (len(names) + 1) * (height + LINE + 2 * GAP))
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    lefts = [MARGIN + LABEL + i * (across + GAP) for i in range(len(measured.steps))]
    top = MARGIN
    _write(draw, (MARGIN, top + height // 2), "reference")
    _paste(sheet, pictures[None], lefts[0], top)
    top += height + 2 * GAP
    for left, steps in zip(lefts, measured.steps, strict=True):
        _write(draw, (left + GAP, top), counted(steps, "step"))
    top += LINE
    for row, name in enumerate(names):
        _row(sheet, measured, name, pictures, (lefts, across), top + row * (height + LINE + 2 * GAP))
    return as_image(sheet)


def _row(sheet, measured: Measured, name: str, pictures: dict, columns: tuple[list[int], int], top: int) -> None:
    """One schedule at every number of steps."""
    draw, (lefts, across) = ImageDraw.Draw(sheet), columns
    height = pictures[None][0].height
    _write(draw, (MARGIN, top + height // 2), shortened(name))
    for left, steps in zip(lefts, measured.steps, strict=True):
        cell = measured.cell(name, steps)
        if cell is None:
            _write(draw, (left + GAP, top + height // 2), "no grid")
            continue
        best = cell is measured.winner(steps)
        if best:
            draw.rectangle((left, top - GAP, left + across - 1, top + height + GAP - 1), fill=BEST)
        _paste(sheet, pictures[name, steps], left, top)
        note = " *" if best else "" if cell.taken == steps else f" ({counted(cell.taken, 'step')})"
        _write(draw, (left + GAP, top + height + GAP), f"{cell.rms:.3g}{note}")


def _paste(sheet, pictures: list[Image.Image], left: int, top: int) -> None:
    for i, picture in enumerate(pictures):
        sheet.paste(picture, (left + GAP + i * (picture.width + GAP), top))


def _write(draw, at, text: str) -> None:
    draw.text(at, text, fill=INK, font=text_font(TEXT))


def try_sheet(measured: Measured, vae) -> tuple[torch.Tensor, list[str]]:
    """The sheet, and why it is empty if a decoding fails: what was measured before is not lost with it."""
    try:
        return draw_sheet(measured, vae), []
    except comfy.model_management.InterruptProcessingException:
        raise
    except Exception as error:  # of foreign code, which may fail in any way, mostly for want of memory
        log.warning("ART Compare: no pictures", exc_info=error)
        return no_pictures("the pictures could not be decoded"), [f"no pictures: decoding them failed ({error})"]


def no_pictures(why: str = "connect a VAE to see the pictures here") -> torch.Tensor:
    """IMAGE (1, 64, 320, 3) that says why there is nothing else."""
    sheet = Image.new("RGB", (320, 64), PAPER)
    _write(ImageDraw.Draw(sheet), (MARGIN, 22), why)
    return as_image(sheet)
