"""Guidance contracts errors: a denoiser guided by a formula, and what objectives make of the cfg that is told."""

import dataclasses

import numpy as np
import pytest
import torch

from art_nodes.core import OrbitBank, compare, optimal_schedule, record_orbits
from art_nodes.core.objectives import GUIDED, SamplerError, guidance_of
from tests.core import targets

CLASS, APART = 0.3, 1.0  # spread of the pictures of a class, and of the classes


def guided(cfg):
    """D of N(1, CLASS^2), guided away from N(0, CLASS^2 + APART^2)."""
    def denoiser(x, sigma):
        noise, wide = sigma[:, None] ** 2, CLASS**2 + APART**2
        of_all, of_class = x * wide / (wide + noise), 1 + (x - 1) * CLASS**2 / (CLASS**2 + noise)
        return of_all + cfg * (of_class - of_all)

    return denoiser


def recorded(cfg, high, low) -> OrbitBank:
    """16 orbits that do not say that they are guided."""
    return record_orbits(guided(cfg), targets.noise((16, 16), high), high, low)


@pytest.mark.parametrize("high, low", [targets.SDXL_RANGE, (80.0, 0.002)])
@pytest.mark.parametrize("steps", [6, 10])
def test_grids_that_know_of_guidance_end_nearer(high, low, steps):
    """At cfg 3 by a tenth or more; of the same orbits, so that only what is told differs."""
    bank, unseen = recorded(3.0, high, low), targets.noise((64, 16), high, 1)
    told = dataclasses.replace(bank, metadata={"cfg": 3.0})
    grids = {name: optimal_schedule(each, objective="end:euler", steps=(steps,)).sigmas(steps)
             for name, each in (("told", told), ("not told", bank))}
    rms = {row.name: row.rms for row in compare(guided(3.0), unseen, grids, "euler")}
    assert rms["told"] < 0.9 * rms["not told"]


def test_without_guidance_nothing_changes():
    bank = recorded(1.0, *targets.SDXL_RANGE)
    reach = SamplerError(bank, "end:euler").reach
    for cfg, factor in ((1.0, 1.0), (0.0, 1.0), (4.0, 4.0**GUIDED), ("7", 1.0), (None, 1.0), (True, 1.0),
                        (float("nan"), 1.0)):
        known = dataclasses.replace(bank, metadata={"cfg": cfg})
        assert SamplerError(known, "end:heun").reach == pytest.approx(reach / factor)


def test_the_cfg_is_kept_with_the_bank(tmp_path):
    high, low = targets.SDXL_RANGE
    bank = record_orbits(guided(3.0), targets.noise((2, 16), high), high, low, nodes=16, cfg=np.float32(3))
    bank.save(tmp_path / "bank.safetensors")
    assert guidance_of(OrbitBank.load(tmp_path / "bank.safetensors")) == 3.0
    assert guidance_of(OrbitBank.merge([bank, bank])) == 3.0
    assert guidance_of(record_orbits(guided(1.0), torch.ones(1, 2), 1.0, 0.1, nodes=8)) == 1.0
    for cfg in ("7", float("nan"), -1.0):
        with pytest.raises(ValueError, match="cfg must be a finite number >= 0; got .*leave it out"):
            record_orbits(guided(1.0), torch.ones(1, 2), 1.0, 0.1, nodes=8, cfg=cfg)
