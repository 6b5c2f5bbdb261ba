"""Pages of docs/ that benchmarks write, and their tables.

First into a run's own folder, then into docs/ where that is asked for.
"""

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

DOCS = Path("docs")
AS_TAKEN = ("Laplace's last sigma is put to 0, where its node's own would leave noise in the picture; ddim_uniform has"
            " no grid of some numbers of steps.")


def write_page(path: Path, parts: Iterable[str], to_docs: bool = False, docs: Path = DOCS) -> None:
    """Write the parts that are not empty, with a line between them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join(part for part in parts if part) + "\n")
    if to_docs:
        copy_to_docs(path, docs)


def copy_to_docs(path: Path, docs: Path = DOCS) -> None:
    """The page and the pictures it shows, to docs/."""
    (docs / "images").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, docs / path.name)
    for shown in re.findall(r"\(images/(.+?)\)", path.read_text()):
        shutil.copyfile(path.parent / "images" / shown, docs / "images" / shown)


def as_text(rows: list[list[str]], labels: int = 1) -> str:
    """Aligned columns, so many of them `labels` to the left; * marks the best."""
    rows = [[cell[2:-2] + "*" if cell.startswith("**") else cell for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join([*map(str.ljust, row[:labels], widths), *map(str.rjust, row[labels:], widths[labels:])])
                     .rstrip() for row in rows)


def as_markdown(rows: list[list[str]], labels: int = 1) -> str:
    """A markdown table whose first row is the heading; so many columns are `labels`, to the left."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * labels + "--:|" * (len(rows[0]) - labels), *lines[1:]])
