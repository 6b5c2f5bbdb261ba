"""What the page may read: schedules, the host's own ladders beside them, and trainings under way.

GET only and without side effects, since the host has no authentication. A client names a schedule
of the library, numbers, or its own id; never a path or an address.
"""

import asyncio
import datetime
import functools
import json
import math
import types
from pathlib import Path

import comfy.model_sampling
import comfy.samplers
from aiohttp import web

from ..core import Schedule, ScheduleFileError
from . import library
from .events import last_states
from .host_schedules import usable_grid
from .page import running_server

LADDERS = ("karras", "normal")
MOST_STEPS = 1000  # of a ladder that is drawn
PACK = Path(__file__).parents[2].name  # the host serves web/ under the name of the folder
NOT_STORED = {"Cache-Control": "no-store"}
# Noise levels that follow from the few numbers which a schedule remembers of its model.
SAMPLINGS = ("ModelSamplingDiscreteFlow", "ModelSamplingFlux", "ModelSamplingContinuousEDM", "ModelSamplingContinuousV",
             "ModelSamplingDiscrete")


def register_routes() -> bool:
    """Add the routes to the host's server; False where there is none. Harmless to repeat."""
    server = running_server()
    routes = getattr(server, "routes", None)
    if routes is None or getattr(server, "_art_routes", False):
        return False
    for path, answer in (("/art/schedules", schedules), ("/art/schedule", schedule), ("/art/ladders", ladders),
                         ("/art/live", live)):
        routes.get(path)(answer)
    server.app.on_response_prepare.append(ask_again)
    server._art_routes = True
    return True


async def ask_again(request, response) -> None:
    """Have browsers ask for the page's modules anew, which many hosts do for .js only: a stale one breaks all."""
    ours = request.path.startswith(f"/extensions/{PACK}/") and request.path.endswith(".mjs")
    if ours:
        response.headers.setdefault("Cache-Control", "no-cache")


async def schedules(_request) -> web.Response:
    """Every schedule of the library: {"schedules": [summary, ...]}; a damaged one has "error"."""
    return _json({"schedules": await _aside(_list_all)})


async def schedule(request) -> web.Response:
    """?name=: clock, grids and provenance of one schedule."""
    return await _answer(lambda: _whole(_name(request)))


async def ladders(request) -> web.Response:
    """?name=&steps=&denoise=: the host's grids for the noise levels that the schedule was learned on."""
    return await _answer(lambda: _ladders(_name(request), _number(request, "steps", 1, MOST_STEPS),
                                          _number(request, "denoise", 0.0, 1.0, "1")))


async def live(request) -> web.Response:
    """?client=: the last state of each node that this client trained with."""
    return _json({"runs": last_states(request.query.get("client", ""))})


def _list_all() -> list[dict]:
    return [_summary(name, path) for name, path in library.schedule_files().items()]


def _summary(name: str, path: Path) -> dict:
    """What a list shows of a schedule; "error" for a file that cannot be read."""
    try:
        stat = path.stat()
        known = _described(str(path), stat.st_mtime_ns, stat.st_size)
    except Exception as error:  # one file must not cost the list of all others
        return {"name": name, "error": str(error)[:300]}
    of = known["provenance"]
    return {"name": name, "origin": origin(path, of), "date": date(path, of, stat.st_mtime),
            **{key: value for key, value in known.items() if key != "provenance"}}


@functools.cache  # a library of thousands would else be read from disk at each request
def _described(path: str, _changed: int, _size: int) -> dict:
    """What a file says of its schedule; read again when the file changes. Its values must not be changed."""
    read = Schedule.load(path)
    known = read.provenance
    sigma_min = known.get("sigma_min")
    return {
        "title": _text(known.get("title")), "family": _text(known.get("model")),
        "provenance": {key: known[key] for key in ("carried_over", "date") if key in known},
        "objective": _text(known.get("objective")), "method": _text(known.get("method")),
        "sigma_max": read.sigma_max, "sigma_min": sigma_min if isinstance(sigma_min, int | float) else None,
        "grids": list(read.grids), "cost": known.get("cost") if isinstance(known.get("cost"), float) else None,
        "curve": [float(f"{sigma:.5g}") for sigma in read.clock[::max(1, len(read.clock) // 64)]],
    }


def origin(path, provenance: dict) -> str:
    """Where a schedule comes from: "bundled", "transferred" or "trained"."""
    carried = _text(provenance.get("carried_over")) or "no"
    if not carried.startswith("no"):
        return "transferred"
    return "bundled" if path.parent == library.BUNDLED else "trained"


def date(path, provenance: dict, changed: float) -> str | None:
    """The day it was learned, "2026-11-23", or else of the file's change; of a bundled one only what it says itself."""
    if (told := _text(provenance.get("date"))) is not None:
        return told[:10]
    if path.parent == library.BUNDLED:
        return None
    try:
        return datetime.datetime.fromtimestamp(changed).date().isoformat()
    except (OSError, OverflowError, ValueError):  # files from archives may have impossible times
        return None


def _whole(name: str) -> dict:
    read = library.load_schedule(name)
    return {**_summary(name, library.schedule_path(name)), "clock": read.clock.tolist(), "provenance": read.provenance,
            "grids": {str(steps): grid.tolist() for steps, grid in read.grids.items()}}


def _ladders(name: str, steps: float, denoise: float) -> dict:
    read, steps = library.load_schedule(name), int(steps)
    total = steps / denoise if denoise > 0 else 0
    sampling = host_sampling(read)
    if sampling is None or not 1 <= total <= 10 * MOST_STEPS:
        return {"ladders": {}}
    total = int(total)
    grids = {kind: usable_grid(functools.partial(comfy.samplers.calculate_sigmas, sampling, kind, total))
             for kind in LADDERS}
    return {"ladders": {kind: grid[-(steps + 1):].tolist() for kind, grid in grids.items() if grid is not None}}


def host_sampling(schedule: Schedule):
    """The host's noise levels that a schedule was learned on; of others their range only, or None without one.

    The range alone is enough for karras.
    """
    known = schedule.provenance
    kinds = [kind for kind in SAMPLINGS if _text(known.get("model_sampling")) == kind
             or (_text(known.get("model_sampling")) or "").startswith(kind + " ")]
    # Files of the first days do not name their noise levels; the usual table is known by its range.
    for kind in kinds or (["ModelSamplingDiscrete"] if "model_sampling" not in known else []):
        made = _make_sampling(kind, known, schedule.sigma_max)
        if made is not None and math.isclose(float(made.sigma_max), schedule.sigma_max, rel_tol=1e-2):
            return made
    low = known.get("sigma_min")
    if not isinstance(low, int | float) or not 0 < low < schedule.sigma_max:
        return None
    return types.SimpleNamespace(sigma_min=float(low), sigma_max=schedule.sigma_max)


def _make_sampling(kind: str, known: dict, sigma_max: float):
    try:
        made = getattr(comfy.model_sampling, kind)()
        if "Continuous" in kind:
            made.set_parameters(float(known["sigma_min"]), sigma_max, float(known.get("sigma_data", 1.0)))
        elif "shift" in known:
            made.set_parameters(shift=float(known["shift"]))
        return made
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        return None


async def _answer(make) -> web.Response:
    """What `make` gives, made aside; its ValueError as an answer of status 404."""
    try:
        return _json(await _aside(make))
    except (ValueError, ScheduleFileError, OSError, RecursionError) as error:  # the last of what is nested too deeply
        return _json({"error": str(error)[:500]}, status=404)


async def _aside(make):
    """Run in a thread, so that a slow disk does not hold up the server."""
    return await asyncio.get_running_loop().run_in_executor(None, make)


def _name(request) -> str:
    return request.query.get("name", "")


def _number(request, key: str, low: float, high: float, default: str = "") -> float:
    """A number of the query within its bounds, or ValueError."""
    text = request.query.get(key, default)
    value = float(text) if len(text) <= 32 else math.nan
    if not low <= value <= high:
        raise ValueError(f"{key} must lie from {low:g} to {high:g}; got {text!r:.60}; choose another")
    return value


def _json(content, status: int = 200) -> web.Response:
    """Plain JSON: what is not finite becomes null, since a page cannot read NaN."""
    return web.json_response(_finite(content), status=status, headers=NOT_STORED,
                             dumps=functools.partial(json.dumps, allow_nan=False))


def _finite(value):
    if isinstance(value, dict):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _text(value) -> str | None:
    """A text of a file, short enough for a list."""
    return value[:200] if isinstance(value, str) and value else None
