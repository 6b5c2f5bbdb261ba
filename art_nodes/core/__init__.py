"""The mathematics of ART: orbits, stiffness, the clock and the actor-critic. Torch, numpy and safetensors only.

    bank = record_orbits(denoiser, noise, sigma_max, sigma_min)
    schedule = learn_schedule(bank)
    sigmas = schedule.sigmas(10)
"""

from .bank import OrbitBank
from .checks import ScheduleFileError
from .clock import grid_cost, optimal_cost
from .compare import compare
from .export import diffusers_json, manual_text
from .jvp import stiffness_jvp
from .learn import TrainConfig, TrainRecord, learn, learn_schedule
from .live import LiveModel
from .merge import merge_schedules
from .objectives import OBJECTIVES
from .optimal import optimal_schedule, with_grids
from .record import flow_recording_grid, record_orbits, recording_grid
from .schedule import Schedule
from .trial import SolverRuns, Tried, try_grids

__all__ = [
    "OBJECTIVES", "LiveModel", "OrbitBank", "Schedule", "ScheduleFileError", "SolverRuns", "TrainConfig",
    "TrainRecord", "Tried", "compare", "diffusers_json", "flow_recording_grid", "grid_cost", "learn",
    "learn_schedule", "manual_text", "merge_schedules", "optimal_cost", "optimal_schedule", "record_orbits",
    "recording_grid", "stiffness_jvp", "try_grids", "with_grids",
]
