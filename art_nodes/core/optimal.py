"""The closed form: the best clock that all orbits can share, without any learning."""

from .bank import OrbitBank
from .clock import grid_cost, optimal_clock
from .schedule import Schedule

CLOCK_NODES = 64


def describe_bank(bank: OrbitBank) -> dict:
    """What a schedule's provenance says about the recording it was made from."""
    return {
        "orbits": len(bank.stiffness), "nodes": len(bank.sigmas), "model_calls": bank.calls,
        "sample_calls": bank.sample_calls, "sigma_max": bank.sigma_max, "sigma_min": bank.sigma_min, **bank.metadata,
    }


def optimal_schedule(bank: OrbitBank, *, objective: str = "euler") -> Schedule:
    """The clock that minimises E integral |Q| theta^2 dt under the time budget (docs/theory.md, eq. 8).

    objective: "euler", the paper's surrogate; others raise ValueError.
    """
    if objective != "euler":
        raise ValueError(f"objective must be 'euler'; got {objective!r}; it is the one with a closed form")
    clock = optimal_clock(bank, CLOCK_NODES)
    return Schedule(clock, {
        "method": "closed form", "objective": objective, "cost": grid_cost(bank, clock), **describe_bank(bank),
    })
