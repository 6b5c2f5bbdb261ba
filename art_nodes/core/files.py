"""Files that appear whole or not at all."""

import contextlib
import json
import os
import sys
import time
import uuid
from pathlib import Path

import numpy as np

# Seconds between tries to put a file in its place: on Windows virus scanners and indexers hold new ones for a moment.
PATIENCE = (0.05, 0.1, 0.2, 0.4, 0.8)


def printable(name) -> str:
    """A file's name, or its own words, as a log can write them: what its streams have no character for is spelt out.

    The host's log fails on such a name, and with it the thread that runs workflows.
    """
    text = str(name)
    for stream in (sys.stdout, sys.stderr):
        encoding = getattr(stream, "encoding", None) or "ascii"
        text = text.encode(encoding, "backslashreplace").decode(encoding)
    return text


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
        raise FileNotFoundError(f"the folder {printable(target.parent)} does not exist, so {printable(target.name)} "
                                "cannot be written there; make it first")
    temporary = target.with_name(f".{uuid.uuid4().hex}")  # tempfile would try for ever where Windows forbids it
    try:
        with open(temporary, "xb") as file:
            file.write(data)
        _replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _replace(temporary: Path, target: Path) -> None:
    """os.replace, and again while something holds one of the files."""
    for seconds in PATIENCE:
        with contextlib.suppress(PermissionError):
            return os.replace(temporary, target)
        time.sleep(seconds)
    return os.replace(temporary, target)
