"""Files that appear whole or not at all."""

import contextlib
import json
import os
import tempfile
from pathlib import Path

import numpy as np


def as_json(table: dict) -> str:
    """A table as JSON, numpy's numbers and arrays as plain ones; ValueError for what JSON has no word for."""
    try:
        return json.dumps(table, default=_plain)
    except TypeError as error:
        raise ValueError(f"what is told of a file's origin must be text, numbers, lists and tables; {error}; turn it "
                         "into one of them") from error


def _plain(value):
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"got {type(value).__name__}")


def write_whole(path, data: bytes) -> None:
    """Write a file, or leave what was there: a full disk or a killed process leaves no half of one.

    Raises FileNotFoundError where the folder does not exist.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"the folder {target.parent} does not exist, so {target.name} cannot be written there; "
                                "make it first")
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        with contextlib.suppress(OSError):  # some network and USB file systems know no permissions
            os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise
