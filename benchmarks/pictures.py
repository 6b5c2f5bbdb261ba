"""Draws the demo's comparison picture: rows of pictures with a label beside each."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

ZOOM = 3
GAP = 4  # pixels between pictures
MARGIN = 16  # around the sheet
LABEL = 250  # width of the column of labels
TITLE, HEADING = 52, 34  # heights of the sheet's title and of a block's heading
WHITE, INK, GREY, GREEN, PALE = "#ffffff", "#1b1f24", "#5f6873", "#12753a", "#e2f4e8"


@dataclass(frozen=True)
class Row:
    """One row of pictures (N, H, W) uint8 and what stands beside it."""

    label: str
    note: str
    pictures: np.ndarray
    best: bool = False


@dataclass(frozen=True)
class Block:
    """Rows under a common heading."""

    heading: str
    rows: tuple[Row, ...]


def sheet_size(blocks: list[Block]) -> tuple[int, int]:
    """Width and height in pixels of the sheet that draw_sheet makes."""
    count, height, width = blocks[0].rows[0].pictures.shape
    rows = sum(len(block.rows) for block in blocks)
    across = 2 * MARGIN + LABEL + count * (width * ZOOM + GAP) - GAP
    return across, 2 * MARGIN + TITLE + len(blocks) * HEADING + rows * (height * ZOOM + GAP) - GAP


def draw_sheet(title: str, subtitle: str, blocks: list[Block]) -> Image.Image:
    """All blocks below each other; every column shows one picture in each row's version of it.

    Raises ValueError unless all rows hold pictures of one shape.
    """
    shapes = {row.pictures.shape for block in blocks for row in block.rows}
    if len(shapes) != 1:
        raise ValueError(f"all rows must hold pictures of one shape; got {sorted(shapes)}; show the same in each")
    sheet = Image.new("RGB", sheet_size(blocks), WHITE)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN - 2), title, fill=INK, font=_font(22))
    draw.text((MARGIN, MARGIN + 27), subtitle, fill=GREY, font=_font(14))
    top = MARGIN + TITLE
    for block in blocks:
        draw.text((MARGIN, top + 9), block.heading, fill=INK, font=_font(17))
        draw.line((MARGIN, top + 4, sheet.width - MARGIN, top + 4), fill="#c8ced6")
        top += HEADING
        for row in block.rows:
            _draw_row(sheet, draw, row, top)
            top += row.pictures.shape[1] * ZOOM + GAP
    return sheet


def _draw_row(sheet: Image.Image, draw: ImageDraw.ImageDraw, row: Row, top: int) -> None:
    _, height, width = row.pictures.shape
    height, width = height * ZOOM, width * ZOOM
    if row.best:
        draw.rectangle((MARGIN, top, MARGIN + LABEL - GAP, top + height - 1), fill=PALE)
        draw.rectangle((MARGIN, top, MARGIN + 3, top + height - 1), fill=GREEN)
    draw.text((MARGIN + 14, top + height // 2 - 26), row.label, fill=GREEN if row.best else INK, font=_font(19))
    draw.multiline_text((MARGIN + 14, top + height // 2), row.note, fill=GREY, font=_font(14))
    for i, picture in enumerate(row.pictures):
        enlarged = Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS)
        sheet.paste(enlarged, (MARGIN + LABEL + i * (width + GAP), top))


def _font(size: int):
    # The one that comes with Pillow: the same letters on every machine.
    return ImageFont.load_default(size)
