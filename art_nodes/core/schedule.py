"""Schedule: a learned clock with its provenance, and the file it lives in."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from .bank import OrbitBank
from .checks import ScheduleFileError, check_start, check_steps, is_number
from .clock import grid_cost, read_clock, time_of_sigma
from .files import as_json, printable, write_whole

FORMAT = "art-schedule"
VERSION, REFINED_VERSION = "1", "2"  # without and with grids; what knows the first only must not drop the grids
GRID = "grid_"  # name of a grid's tensor, before the number of steps
MAX_GRIDS = 256
HEADER = "art_schedule"  # the metadata entry that holds format, version and provenance as JSON
MAX_CLOCK_NODES = 4096
MAX_HEADER_BYTES = 1 << 20
LEAST_DENOISE = 1e-9  # less is no step of any clock
LARGEST_SIGMA = 1e30  # samplers take float32, which ends at 3e38; the models that are known start below 5000
MOST_TOLD = 200  # characters of what is wrong with a file, which may be the file's own words


@dataclass(frozen=True, eq=False)
class Schedule:
    """Where a sampler should step, learned once and read at any number of steps.

    clock: (N + 1,) float64, sigma at equally spaced clock times; strictly descending, the first
        is sigma_max, the last exactly 0.
    provenance: plain dict: what it was learned on and how.
    grids: steps K -> (K + 1,) float64, the best grids for some numbers of steps, if the sampler was known; from
        the clock's first sigma down to 0. Other numbers of steps then read the nearest of them as a clock.
    """

    clock: np.ndarray
    provenance: dict = field(default_factory=dict)
    grids: dict[int, np.ndarray] = field(default_factory=dict)

    def __post_init__(self):
        clock = _checked(self.clock)
        grids = {check_steps(steps): _checked(grid) for steps, grid in sorted(self.grids.items())}
        for steps, grid in grids.items():
            if len(grid) != steps + 1 or not np.isclose(grid[0], clock[0], rtol=1e-4):
                raise ValueError(f"a grid of {steps} steps must have {steps + 1} sigmas from the clock's first, "
                                 f"{clock[0]:g}; got {len(grid)} from {grid[0]:g}; learn it afresh")
        object.__setattr__(self, "clock", clock)
        object.__setattr__(self, "grids", grids)

    def __eq__(self, other) -> bool:
        """Whether it steps at the same sigmas and came about in the same way."""
        if not isinstance(other, Schedule):
            return NotImplemented
        return (np.array_equal(self.clock, other.clock) and self.provenance == other.provenance
                and self.grids.keys() == other.grids.keys()
                and all(np.array_equal(grid, other.grids[steps]) for steps, grid in self.grids.items()))

    @property
    def sigma_max(self) -> float:
        """The sigma at which the clock starts."""
        return float(self.clock[0])

    def sigmas(self, steps: int, *, denoise: float = 1.0, sigma_max: float | None = None) -> torch.Tensor:
        """The sigmas of `steps` steps: float32 (steps + 1,), strictly descending, the last exactly 0.

        denoise: share of the clock to run, in (0, 1]. As with the host's BasicScheduler the last
            `steps` of int(steps / denoise) steps are taken.
        sigma_max: start where the clock reaches this value (a model with a smaller range); an optimal
            clock cut at the front is still optimal. Values above the clock's range change nothing.
        Raises ValueError for steps < 1, denoise outside (0, 1] or a sigma_max that is not finite and > 0.
        """
        steps = check_steps(steps)
        if not is_number(denoise) or not LEAST_DENOISE <= denoise <= 1:
            raise ValueError(f"denoise must lie in (0, 1]; got {denoise!r}; use 1 to sample from pure noise")
        total = int(steps / denoise)
        clock, start, top = self.clock_for(total), 0.0, self.sigma_max
        if sigma_max is not None:
            top = min(check_start(sigma_max), top)
            start = time_of_sigma(clock, top)
        share = np.arange(total - steps, total + 1) / total
        grid = read_clock(clock, start + (1 - start) * share)
        if total == steps:
            grid[0] = top
        grid[-1] = 0.0
        return _strictly_descending(torch.from_numpy(grid).float())

    def clock_for(self, steps: int) -> np.ndarray:
        """The clock that `steps` steps are read from: the grid of the nearest number of steps, else the clock."""
        if not self.grids:
            return self.clock
        return self.grids[min(self.grids, key=lambda known: abs(np.log(known / steps)))]

    def cost(self, bank: OrbitBank) -> float:
        """The paper's objective J of this clock on a bank, as a multiple of its optimum J* (1 is best).

        Of the clock alone: not of the grids, nor by the objective that those were fitted to.
        """
        return grid_cost(bank, self.clock)

    def save(self, path) -> None:
        """Write the schedule as safetensors; the file appears whole or not at all.

        Raises ValueError for what `load` would refuse: more than 256 grids, or a provenance of a megabyte.
        """
        # One entry only: safetensors orders several at random, and the same schedule should be the same bytes.
        version = REFINED_VERSION if self.grids else VERSION
        header = {"format": FORMAT, "version": version, "provenance": self.provenance}
        tensors = {"clock": torch.from_numpy(self.clock.copy())}
        tensors |= {f"{GRID}{steps}": torch.from_numpy(grid.copy()) for steps, grid in self.grids.items()}
        data = save(tensors, {HEADER: as_json(header)})
        if len(self.grids) > MAX_GRIDS or _header_bytes(data) > MAX_HEADER_BYTES:
            raise ValueError(f"a schedule's file holds {MAX_GRIDS} grids and {MAX_HEADER_BYTES} bytes of provenance at "
                             f"most; got {len(self.grids)} and {_header_bytes(data)}; leave some out")
        write_whole(path, data)

    @classmethod
    def load(cls, path) -> "Schedule":
        """Read a schedule; ScheduleFileError names the file if it is missing, damaged or something else."""
        name = printable(Path(path).name)
        try:
            with open(path, "rb") as raw:
                size = _header_bytes(raw.read(8))
            if size > MAX_HEADER_BYTES:
                raise ScheduleFileError(f"{name} is no ART schedule (its header is too large); choose another file")
            with safe_open(str(path), framework="pt") as file:
                header = json.loads((file.metadata() or {}).get(HEADER, "{}"))
                if not isinstance(header, dict) or header.get("format") != FORMAT:
                    raise ScheduleFileError(f"{name} is no ART schedule; choose a file that ART Train saved")
                if header.get("version") not in (VERSION, REFINED_VERSION):
                    version = printable(repr(header.get("version")))[:MOST_TOLD]
                    raise ScheduleFileError(f"{name} has format version {version}; update ComfyUI-ART")
                if _is_too_long(file, "clock"):
                    raise ScheduleFileError(f"{name} holds too many clock nodes, or no list of them; choose another "
                                            "file")
                provenance = header.get("provenance", {})
                if not isinstance(provenance, dict):
                    raise ScheduleFileError(f"{name} is damaged (its provenance is no table); learn it afresh")
                json.dumps(provenance, ensure_ascii=False).encode()  # half a character of JSON's is one of no log's
                return cls(file.get_tensor("clock").double().numpy(), provenance, _read_grids(file))
        except ScheduleFileError:
            raise
        except FileNotFoundError:
            raise ScheduleFileError(f"{printable(path)} does not exist; learn and save a schedule first") from None
        # JSON that is nested too deeply ends in a RecursionError, numbers of a strange kind in a NotImplementedError,
        # or, of a kind that an older torch has no name for, in an AttributeError.
        except (SafetensorError, ValueError, LookupError, TypeError, OSError, RuntimeError, AttributeError) as error:
            told = printable(error)[:MOST_TOLD]  # and without its cause, which a log would show as it is
            raise ScheduleFileError(f"{name} is damaged ({told}); learn it afresh or restore a copy") from None


def _checked(clock) -> np.ndarray:
    """A clock or grid as read-only float64, or ValueError."""
    clock = np.array(clock, dtype=np.float64)
    if clock.ndim != 1 or not 2 <= len(clock) <= MAX_CLOCK_NODES + 1:
        raise ValueError(f"a clock needs 2 to {MAX_CLOCK_NODES + 1} sigmas; got {clock.shape}; learn it afresh")
    if not np.isfinite(clock).all():
        raise ValueError("a clock's sigmas must be finite; got NaN or infinity; learn it afresh")
    if clock[0] > LARGEST_SIGMA:
        raise ValueError(f"a clock's sigmas must be at most {LARGEST_SIGMA:g}; got {clock[0]:g}; learn it afresh")
    if clock[-1] != 0 or not (np.diff(clock) < 0).all():
        raise ValueError("a clock must fall strictly and end at exactly 0; learn it afresh")
    clock.setflags(write=False)
    return clock


def _header_bytes(data: bytes) -> int:
    """How long the header is of a safetensors file that begins with `data`."""
    return int.from_bytes(data[:8], "little")


def _is_too_long(file, name: str) -> bool:
    """Whether what an open file has under a name is more than a list of sigmas; it is not read for that."""
    shape = file.get_slice(name).get_shape()
    return len(shape) != 1 or shape[0] > MAX_CLOCK_NODES + 1


def _read_grids(file) -> dict[int, np.ndarray]:
    """The grids in an open schedule file, by number of steps; ValueError for too many or too long ones."""
    names = [name for name in file.keys() if name.startswith(GRID)]  # noqa: SIM118, a safetensors file is no dict
    if len(names) > MAX_GRIDS or any(_is_too_long(file, name) for name in names):
        raise ValueError("too many or too long grids")
    return {int(name.removeprefix(GRID)): file.get_tensor(name).double().numpy() for name in names}


def _strictly_descending(grid: torch.Tensor) -> torch.Tensor:
    """Part float32 values that rounding made equal; the first value and the last, exactly 0, stay as they are."""
    if bool((grid.diff() < 0).all()):  # of a million steps the loops below take a minute
        return grid
    for i in range(1, len(grid) - 1):
        if not grid[i] < grid[i - 1]:
            grid[i] = torch.nextafter(grid[i - 1], torch.tensor(0.0))
    for i in range(len(grid) - 2, 0, -1):
        if not grid[i] > grid[i + 1]:
            grid[i] = torch.nextafter(grid[i + 1], torch.tensor(float("inf")))
    return grid
