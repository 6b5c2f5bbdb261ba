"""Pages of docs/ that benchmarks write: first into a run's own folder, then into docs/ where that is asked for."""

import shutil
from collections.abc import Iterable
from pathlib import Path

DOCS = Path("docs")


def write_page(path: Path, parts: Iterable[str], to_docs: bool = False, docs: Path = DOCS) -> None:
    """Write the parts that are not empty, with a line between them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join(part for part in parts if part) + "\n")
    if to_docs:
        shutil.copyfile(path, docs / path.name)
