"""Export: what other programs read back is what was written."""

import json
import re

import numpy as np
import pytest
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    HeunDiscreteScheduler,
)
from hypothesis import given
from hypothesis import strategies as st

from art_nodes.core.export import diffusers_json, manual_text, plain_number, table_timesteps
from tests.host import schedules

# ManualSigmas takes every run of digits with at most one point before or in it; nothing else counts.
NUMBER = re.compile(r"[-+]?[0-9]*\.?[0-9]+")
SDXL = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "timestep_spacing": "leading"}
STEPS = [1, 2, 6, 10, 20, 30]


def manual(text: str) -> torch.Tensor:
    return torch.FloatTensor([float(number) for number in NUMBER.findall(text)])


@given(st.lists(st.floats(2.0**-126, 2.0**20, width=32), min_size=1, max_size=40, unique=True))
def test_manual_sigmas_reads_back_every_bit(values):
    sigmas = torch.tensor([*sorted(values, reverse=True), 0.0])
    text = manual_text(sigmas)
    assert not re.search("[eEnN]", text)
    assert torch.equal(manual(text), sigmas)


@pytest.mark.parametrize("value, text", [(0.0, "0.0"), (1.0, "1.0"), (14.6146, "14.6146"), (0.000316, "0.000316"),
                                         (1e-12, "0.000000000001"), (4518.8, "4518.8"), (700, "700.0")])
def test_plain_numbers(value, text):
    assert plain_number(value) == text


def learned(top, steps) -> torch.Tensor:
    return schedules.schedule(top=top, rate=2.0).sigmas(steps)


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("config", [{}, {"shift": 3.0}, {"use_dynamic_shifting": True, "shift": 3.0},
                                    {"shift_terminal": 0.02}, {"use_karras_sigmas": True},
                                    {"use_exponential_sigmas": True}, {"use_beta_sigmas": True}])
def test_flow_sigmas_reach_diffusers_unchanged(steps, config):
    """Whatever a pipeline's scheduler would do to sigmas: the exported config stops it."""
    sigmas = learned(1.0, steps)
    content = json.loads(diffusers_json(sigmas, flow=True))
    assert all(0 < value <= 1 for value in content["sigmas"]) and len(content["sigmas"]) == steps
    pipeline = FlowMatchEulerDiscreteScheduler.from_config({"num_train_timesteps": 1000, **config})
    scheduler = FlowMatchEulerDiscreteScheduler.from_config(pipeline.config, **content["config"])
    scheduler.set_timesteps(sigmas=content["sigmas"], mu=1.15)
    assert torch.allclose(scheduler.sigmas, sigmas, rtol=1e-6, atol=0)
    assert torch.allclose(scheduler.timesteps, 1000 * sigmas[:-1], rtol=1e-6)


def test_without_the_config_a_shift_would_move_them():
    """The negative control of the test above."""
    sigmas = learned(1.0, 6)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(sigmas=json.loads(diffusers_json(sigmas, flow=True))["sigmas"])
    assert not torch.allclose(scheduler.sigmas, sigmas, rtol=1e-2)


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("spacing", ["karras", "exponential", "beta"])
@pytest.mark.parametrize("kind", [EulerDiscreteScheduler])
def test_added_noise_sigmas_reach_diffusers_unchanged(steps, kind, spacing):
    sigmas = learned(14.6146, steps)
    content = json.loads(diffusers_json(sigmas))
    pipeline = kind.from_config({**SDXL, f"use_{spacing}_sigmas": True})
    scheduler = kind.from_config(pipeline.config, **content["config"])
    scheduler.set_timesteps(sigmas=content["sigmas"])
    assert content["scheduler"] == kind.__name__
    assert torch.allclose(scheduler.sigmas, sigmas, rtol=1e-6, atol=0) and len(scheduler.timesteps) == steps


@pytest.mark.parametrize("spacing", ["karras", "exponential", "beta"])
@pytest.mark.parametrize("kind", [EulerDiscreteScheduler, DPMSolverMultistepScheduler, HeunDiscreteScheduler])
def test_timesteps_are_the_nearest_of_the_table(kind, spacing):
    sigmas = learned(14.6146, 10)
    content = json.loads(diffusers_json(sigmas, flow=False))
    assert content["timesteps"][0] == 999 and len(content["timesteps"]) == 10
    scheduler = kind.from_config({**SDXL, f"use_{spacing}_sigmas": True, **content["config"]})
    scheduler.set_timesteps(timesteps=content["timesteps"])
    reached = scheduler.sigmas.double()
    wanted = sigmas.double()
    if kind is HeunDiscreteScheduler:  # it lists every sigma but the ends twice
        reached = torch.cat([reached[:1], reached[1:-1:2], reached[-1:]])
    assert torch.allclose((reached[:-1] / wanted[:-1]).log().abs(), nearest(wanted[:-1]), rtol=1e-3, atol=1e-6)
    assert reached[-1] == 0


def nearest(sigmas: torch.Tensor) -> torch.Tensor:
    """Distance in ln sigma to the nearest entry of diffusers' own table."""
    kept = EulerDiscreteScheduler.from_config(SDXL).alphas_cumprod.double()
    table = ((1 - kept) / kept).sqrt().log()
    return (sigmas.log()[:, None] - table[None, :]).abs().amin(dim=1)


def test_timesteps_only_where_the_table_has_them():
    assert table_timesteps([700.0, 10.0]) is None, "above the table"
    assert table_timesteps([14.6, 0.03, 0.0295]) is None, "two on one entry"
    assert table_timesteps([15.0, 10.0])[0] == 999, "tables of a kind differ a little"
    assert table_timesteps([16.0, 10.0]) is None
    assert "timesteps" not in json.loads(diffusers_json(learned(700.0, 10), flow=False))
    table = EulerDiscreteScheduler.from_config(SDXL)
    known = np.sqrt((1 - table.alphas_cumprod.numpy()) / table.alphas_cumprod.numpy())[::-1]
    assert table_timesteps(known) == list(range(999, -1, -1))


@pytest.mark.parametrize("sigmas", [[], [1.0], [1.0, 0.5], [1.0, 1.0, 0.0], [0.5, 1.0, 0.0], [float("nan"), 0.0],
                                    [[1.0, 0.0]]])
def test_what_is_no_whole_schedule_is_refused(sigmas):
    for export in (manual_text, lambda values: diffusers_json(values, flow=True)):
        with pytest.raises(ValueError, match="fall strictly to exactly 0"):
            export(torch.tensor(sigmas))


def test_a_flow_has_no_sigma_above_1():
    with pytest.raises(ValueError, match=r"in \[0, 1\]; got 14.6; connect the MODEL"):
        diffusers_json(learned(14.6, 4), flow=True)
