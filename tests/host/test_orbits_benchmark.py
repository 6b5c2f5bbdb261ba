"""The benchmark of how many orbits a recording needs."""

import types

import numpy as np
import pytest
import torch

from art_nodes.core import record_orbits
from art_nodes.core.exact import image_gaussian
from benchmarks import orbits, trial_cells
from benchmarks.chunks import save_whole
from benchmarks.matched_cells import BATCH
from benchmarks.trial_cells import SEEDS, Ground

pytestmark = pytest.mark.host


def test_more_orbits_give_a_better_clock_and_all_of_them_the_best():
    noise = 14.6 * torch.randn(16, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    bank = record_orbits(image_gaussian(), noise, 14.6, 0.03, nodes=16)
    few, many = (np.median(orbits.costs(bank, count, np.random.default_rng(0))) for count in (1, 8))
    [whole, *_] = orbits.costs(bank, len(noise), np.random.default_rng(0))
    assert whole <= many <= few and 1 - 1e-6 <= whole < 1.05



def test_end_errors_are_of_so_many_orbits_and_beside_the_strongest(comfy, monkeypatch, tmp_path):
    """Four orbits are those of the first two batches; every seed is judged against the built-in that is best."""
    monkeypatch.setattr(trial_cells, "NODES", 16)
    banks = Ground(orbits.PLACE, 0, batches=4).banks
    few, many = (orbits.grids_of(banks, count, (4,))[4] for count in (4, 8))
    assert few == orbits.grids_of(banks[:2], 4, (4,))[4] != many and len(few) == 5 and few[-1] == 0

    def save(cells, *_, also, **__):
        """karras is off by 1, the others by 2, ours by 0.5 and in the last seed by 1.5."""
        base = np.random.default_rng(0).uniform(0.9, 1.1, BATCH)
        for cell in (*cells, *also):
            size = {"karras": 1.0}.get(cell.schedule, 2.0) if not cell.schedule.startswith("ART") else \
                1.5 if cell.schedule.endswith(f"seed {SEEDS[-1]}") else 0.5
            save_whole(cell.path(tmp_path, 0), errors=size * base * (1 + 0.01 * np.sin(np.arange(BATCH) + size)))

    monkeypatch.setattr(orbits, "Ground", lambda _, seed, **__: types.SimpleNamespace(banks=banks[seed:]))
    monkeypatch.setattr(orbits, "race", save)
    monkeypatch.setattr(orbits, "END_STEPS", (4, 6))
    monkeypatch.setattr(orbits, "END_COUNTS", (4,))
    [head, [count, *ratios]] = orbits.end_errors(tmp_path, 1, print)
    assert head == ["orbits", "4 steps", "6 steps"] and count == "4"
    assert ratios == ["0.50 wins, 0.50 wins, 1.50 loses"] * 2
