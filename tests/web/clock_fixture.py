"""Schedules and the sigmas that Python reads from them: `python tests/web/clock_fixture.py` writes them anew.

tests/test_web_modules.py checks that the file is what this makes; clock.test.mjs that the page reads the same.
"""

import json
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
FILE = Path(__file__).with_name("clock_fixture.json")
STEPS = (1, 2, 3, 7, 10, 20, 40)
DENOISE = (1.0, 0.99, 0.75, 0.5, 0.3, 0.05)


def schedules() -> dict:
    """Name -> Schedule: smooth, with grids, steep, flat and uneven."""
    from art_nodes.core import Schedule

    times = np.linspace(0, 1, 33)
    grids = {steps: 14.6 * (1 - np.linspace(0, 1, steps + 1)) ** (3 + steps / 10) for steps in (4, 8, 20)}
    steep = np.append(80 * np.exp(-9 * np.linspace(0, 1, 20) ** 0.3), 0.0)
    uneven = np.cumsum((1.5 + np.sin(np.arange(65) ** 1.3))[::-1])[::-1]
    return {
        "smooth": Schedule(80 * (1 - times) ** 3),
        "grids": Schedule(14.6 * (1 - times) ** 2, grids=grids),
        "steep": Schedule(steep),
        "two": Schedule(np.array([1.0, 0.0])),
        "close": Schedule(np.append(1 - 1e-9 * np.arange(12), 0.0)),
        "uneven": Schedule(np.append(uneven / uneven[0] * 14.6, 0.0)),
    }


def make() -> dict:
    """{"schedules": [{name, clock, grids, cases: [{steps, denoise, sigma_max, sigmas}]}]}, plain values."""
    return {"schedules": [{"name": name, "clock": schedule.clock.tolist(),
                           "grids": {str(steps): grid.tolist() for steps, grid in schedule.grids.items()},
                           "cases": _cases(schedule)} for name, schedule in schedules().items()]}


def _cases(schedule) -> list[dict]:
    wanted = [(steps, denoise, None) for steps in STEPS for denoise in DENOISE]
    wanted += [(steps, denoise, top * schedule.sigma_max) for steps in (1, 6, 20) for denoise in (1.0, 0.6)
               for top in (0.99, 0.3, 0.01, 1.5)]
    cases = []
    for steps, denoise, top in wanted:
        sigmas = schedule.sigmas(steps, denoise=denoise, sigma_max=top).double().tolist()
        cases.append({"steps": steps, "denoise": denoise, "sigma_max": top,
                      "sigmas": [float(f"{sigma:.9g}") for sigma in sigmas]})
    return cases


def text(made: dict) -> str:
    """One schedule a line."""
    lines = ",\n".join(json.dumps(schedule) for schedule in made["schedules"])
    return '{"schedules": [\n' + lines + "\n]}\n"


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    FILE.write_text(text(make()))
