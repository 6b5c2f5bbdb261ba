"""What a run of the transfer benchmark found, and the file that keeps it."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.transfer_scores import Errors, Job


@dataclass
class Results:
    """Everything that the tables are made of; lists have one entry a seed."""

    facts: dict
    errors: dict[str, dict[Job, list[np.ndarray]]] = field(default_factory=dict)  # place -> job -> (B,) a seed
    costs: dict[str, dict[str, list[float]]] = field(default_factory=dict)  # place -> clock -> J/J*
    frechet: dict[Job, list[float]] = field(default_factory=dict)  # on the digits
    floor: list[float] = field(default_factory=list)  # Frechet distance of exact draws
    checks: dict[str, float] = field(default_factory=dict)  # place -> error of its reference

    def add_errors(self, place: str, found: Errors) -> None:
        """One more seed's errors."""
        jobs = self.errors.setdefault(place, {})
        for job, values in found.items():
            jobs.setdefault(job, []).append(values)

    def add_cost(self, place: str, clock: str, cost: float) -> None:
        """One more seed's J/J* of a clock on the bank of a place."""
        self.costs.setdefault(place, {}).setdefault(clock, []).append(cost)

    def cells(self, place: str) -> list[tuple[str, int]]:
        """(solver, steps) that were judged on a place, in order."""
        return sorted({(solver, steps) for solver, _, steps in self.errors[place]})

    def clocks(self, place: str) -> list[str]:
        """The clocks and grids that were judged on a place, in order of their first appearance."""
        return list(dict.fromkeys(clock for _, clock, _ in self.errors[place]))

    def orbits(self, place: str, solver: str, steps: int) -> int:
        """Held-out orbits of a cell over all seeds; the same for every clock."""
        job = next(job for job in self.errors[place] if job[0] == solver and job[2] == steps)
        return sum(len(part) for part in self.errors[place][job])

    def save(self, path: Path) -> None:
        """As JSON; errors rounded to five digits."""
        errors = [[place, *job, [[float(f"{e:.5g}") for e in part] for part in parts]]
                  for place, jobs in self.errors.items() for job, parts in jobs.items()]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({
            "facts": self.facts, "errors": errors, "costs": self.costs, "floor": self.floor, "checks": self.checks,
            "frechet": [[*job, values] for job, values in self.frechet.items()],
        }))

    @classmethod
    def load(cls, path: Path) -> "Results":
        """What `save` wrote."""
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist; run 'python -m benchmarks transfer' first")
        stored = json.loads(path.read_text())
        results = cls(stored["facts"], costs=stored["costs"], floor=stored["floor"], checks=stored["checks"])
        for place, *job, parts in stored["errors"]:
            results.errors.setdefault(place, {})[tuple(job)] = [np.array(part) for part in parts]
        results.frechet = {tuple(job): values for *job, values in stored["frechet"]}
        return results
