"""The schedule library: what comes with the pack and what was trained here, each under one name.

Bundled schedules lie in the pack's `learned_schedules` and are never written. Trained ones
lie in the host's model folder `art_schedules`, also in sub-folders and in further folders
that the user configured for it.
"""

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterable
from pathlib import Path

import folder_paths

from ..core import Schedule, ScheduleFileError
from ..core.files import as_json, printable

FOLDER = "art_schedules"
SUFFIX = ".safetensors"
BUNDLED = Path(__file__).parents[2] / "learned_schedules"
TRAINED_PREFIX = "trained/"  # before a trained schedule that is named like a bundled one
AUTO = "auto"  # stands for the schedule of the model's family and is no schedule's name
# The kinds of auto, and how the names of the schedules end that they take: <family>, <family>-dpmpp_2m, <family>-clock.
AUTOS = {AUTO: "", f"{AUTO}-dpmpp_2m": "-dpmpp_2m", f"{AUTO}-clock": "-clock"}
MAX_NAME = 100
LEAST_ROOM = 2**20  # bytes that a folder must take, more than any schedule
MOST_LISTED = 40  # names in a message
LARGEST_HASHED = 16 * 2**20  # bytes; no schedule is so large, but a checkpoint may lie in the wrong folder
GOOD_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# Windows opens a device under these names, whatever the suffix.
DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}


def register_folder() -> None:
    """Tell the host about the model folder; harmless to repeat."""
    folder_paths.add_model_folder_path(FOLDER, os.path.join(folder_paths.models_dir, FOLDER))
    folder_paths.folder_names_and_paths[FOLDER][1].add(SUFFIX)


register_folder()

_saved: dict[str, str] = {}  # the last file that this process saved, by the name that was asked for
_lost: dict[str, int] = {}  # how often that one was gone


def schedule_names() -> list[str]:
    """As `schedule_files`; read from disk at each call."""
    return list(schedule_files())


def schedule_files() -> dict[str, Path]:
    """Name -> file of every schedule there is now, bundled ones first.

    The host's own cached listing is not used: it misses files saved within one clock tick.
    """
    library = {path.stem: path for path in _bundled_files()}
    for relative in _trained_files():
        name = relative.removesuffix(SUFFIX)
        while name in library or name in AUTOS:
            name = TRAINED_PREFIX + name
        path = folder_paths.get_full_path(FOLDER, relative)  # None for a link to nowhere or a file that just went
        if path is not None:
            library[name] = Path(path)
    return library


def load_schedule(name: str) -> Schedule:
    """The schedule listed as `name`; ValueError lists what exists, ScheduleFileError names a damaged file."""
    return Schedule.load(schedule_path(name))


def schedule_hash(name: str) -> str:
    """SHA-256 of the file of the schedule listed as `name`, so that a re-trained file counts as changed.

    Of a file too large for a schedule its time and size.
    """
    path = schedule_path(name)
    stat = path.stat()
    if stat.st_size > LARGEST_HASHED:
        return f"{stat.st_mtime_ns} {stat.st_size}"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def library_stamp() -> str:
    """Changes when any schedule of the library does."""
    files = {name: path.stat() for name, path in schedule_files().items()}
    return "; ".join(f"{name} {stat.st_mtime_ns} {stat.st_size}" for name, stat in files.items())


def times_lost(name: str) -> int:
    """How often the last file that was saved here for this name was found to be gone; it never falls.

    So a node that saved it runs again, and the host does not answer from its cache that it is saved.
    """
    if name in _saved and not os.path.lexists(_saved[name]):
        del _saved[name]
        _lost[name] = _lost.get(name, 0) + 1
    return _lost.get(name, 0)


def schedule_path(name: str) -> Path:
    """The file of the schedule listed as `name`; ValueError lists what exists."""
    library = schedule_files()
    if not isinstance(name, str) or name not in library:
        raise ValueError(
            f"schedule_name must be a schedule that exists; got {printable(repr(name)):.200}; there are: "
            f"{shown(library)}; choose one of them, or make one with ART Train"
        )
    return library[name]


def shown(names: Iterable[str]) -> str:
    """Names for a message, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else ""
    return printable(", ".join(names[:MOST_LISTED])) + more or "none yet"


def check_name(name: str) -> str:
    """Return a name that a schedule may be saved under, or raise ValueError; nothing is changed silently."""
    if not isinstance(name, str) or not GOOD_NAME.fullmatch(name) or len(name) > MAX_NAME:
        raise ValueError(
            f"name must be 1 to {MAX_NAME} characters of A-Z, a-z, 0-9, '.', '_' and '-', the first a letter or digit; "
            f"got {printable(repr(name)):.120}; write for example my_schedule"
        )
    if name.endswith(".") or name.lower().endswith(SUFFIX):
        raise ValueError(f"name must not end with '.' or '{SUFFIX}'; got {name!r}; the suffix is added for you")
    check_device(name, "name")
    if name.lower() in AUTOS:
        raise ValueError(f"name must not be {', '.join(AUTOS)}, which ART Sigmas gives another meaning; got {name!r}; "
                         f"choose another, as my_{name}")
    return name


def check_device(name: str, what: str) -> None:
    """ValueError for a file name that Windows opens a device under."""
    if name.split(".")[0].lower() in DEVICES:
        raise ValueError(f"{what} must not be a device name of Windows; got {name!r}; choose another, as my_{name}")


def save_schedule(schedule: Schedule, name: str) -> str:
    """Save into the host's model folder and return the name taken: `name`, or name_2, name_3 ... if that is taken.

    No other schedule is ever overwritten. A file that already holds this very schedule, with its grids and
    provenance, is kept as it is. Raises ValueError for a bad name, and where no folder can be written to.
    """
    check_name(name)
    folder = folder_to_save_in()
    bundled = {path.stem.lower() for path in _bundled_files()}
    number = 1
    while True:
        candidate = name if number == 1 else f"{name}_{number}"
        path = folder / (candidate + SUFFIX)
        existing = folder_paths.get_full_path(FOLDER, path.name)
        free = candidate.lower() not in bundled  # else the name is the bundled one's, whatever lies in the folder
        if free and existing is not None and _is_spelt_so(Path(existing)) and _holds(existing, schedule):
            _saved[name] = existing
            return candidate
        if free and existing is None and not os.path.lexists(path):
            schedule.save(path)
            _saved[name] = str(path)
            return candidate
        number += 1


def folder_to_save_in() -> Path:
    """The first folder of trained schedules that can be written to; ValueError of the first one if none can.

    Folders that users configure come before the host's own, and may be shared ones that are only read.
    """
    refused = []
    for folder in trained_folders():
        try:
            check_writable(folder)
        except ValueError as error:
            refused.append(error)
        else:
            return folder
    raise refused[0]


def saved_line(saved: str, wanted: str) -> str:
    """Under which name a schedule lies, and where."""
    folder = Path(folder_paths.get_full_path(FOLDER, saved + SUFFIX) or folder_to_save_in() / saved).parent
    models = Path(folder_paths.models_dir)
    place = f"models/{folder.relative_to(models).as_posix()}" if folder.is_relative_to(models) else folder
    why = "" if saved == wanted else f' ("{wanted}" was taken)'
    return f'schedule "{saved}" saved in {place}{why}'


def check_writable(folder: Path, room: int = LEAST_ROOM) -> None:
    """ValueError where no file of so many bytes can be written in a folder, so that it is told before the work.

    Makes a missing folder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".{uuid.uuid4().hex}"  # tempfile would try for ever where Windows forbids it
        try:
            with probe.open("xb") as file:
                file.write(bytes(LEAST_ROOM))  # a full disk still takes an empty file
        finally:
            with contextlib.suppress(OSError):  # a virus scanner may hold it: that it could be made is what counts
                probe.unlink()
        if shutil.disk_usage(folder).free < room:
            raise OSError(errno.ENOSPC, f"less than {room / 2**20:.0f} MiB left on its disk")
    except OSError as error:
        why = printable(error.strerror or error)
        raise ValueError(f"the folder {printable(folder)} must be one that ComfyUI can write to; got {why}; "
                         "change its permissions, free some space, or configure another folder") from error


def trained_folders() -> list[Path]:
    """The folders of trained schedules."""
    return [Path(folder) for folder in folder_paths.get_folder_paths(FOLDER)]


def _is_spelt_so(path: Path) -> bool:
    """Whether a file is listed under just this name: on Windows and macOS a.safetensors also answers to A."""
    return path.name in os.listdir(path.parent)


def _holds(path: str, schedule: Schedule) -> bool:
    """Whether the file holds just this schedule; a damaged one does not."""
    try:
        there = Schedule.load(path)
    except ScheduleFileError:
        return False
    return there == dataclasses.replace(schedule, provenance=json.loads(as_json(schedule.provenance)))


def _bundled_files() -> list[Path]:
    return sorted(BUNDLED.glob("*" + SUFFIX), key=lambda path: path.stem)  # a family before its others


def _trained_files() -> list[str]:
    """Paths with suffix, relative to their folder of trained schedules, with forward slashes."""
    found = set()
    for folder in trained_folders():
        above = {str(folder): {os.path.realpath(folder)}}  # of each folder the real ones on the way: links may loop
        for here, below, files in os.walk(folder, followlinks=True):
            way, kept = above.pop(here), []
            for name in below:
                real = os.path.realpath(path := os.path.join(here, name))
                if real not in way:
                    kept.append(name)
                    above[path] = way | {real}
            below[:] = kept
            # macOS writes a hidden file beside each one on drives of other systems. Other suffixes the host may read as
            # pickle; this one is never.
            found.update(Path(here, file).relative_to(folder).as_posix() for file in files
                         if file.endswith(SUFFIX) and not file.startswith("."))
    return sorted(filter(_is_text, found))


def _is_text(name: str) -> bool:
    """Whether a file's name is one that can be sent and shown; names from old archives may be no UTF-8."""
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False
