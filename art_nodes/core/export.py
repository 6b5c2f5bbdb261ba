"""Sigmas as text that other programs read: ComfyUI's ManualSigmas, and the schedulers of diffusers."""

import json

import numpy as np
import torch

# The noise table that SD 1.x and SDXL were trained with: betas even in their square root.
TABLE_STEPS, TABLE_FIRST_BETA, TABLE_LAST_BETA = 1000, 0.00085, 0.012
FLOW_NOTE = ("sigma is the share of noise, from 1 to 0; the final 0 is added by the scheduler. The values are final: "
             "the scheduler must not shift them again, which the config sees to.")
ADDED_NOTE = ("sigma is the noise added to data of unit scale. 'sigmas' are for schedulers that take them, the final 0 "
              "included; 'timesteps', where there are any, are the nearest entries of the training table, for "
              "schedulers that take only those. Pass one of the two.")


def plain_number(value: float) -> str:
    """A float32 as the shortest decimal that reads back as the same value, never in scientific notation."""
    return np.format_float_positional(np.float32(value), unique=True, trim="0")


def manual_text(sigmas: torch.Tensor) -> str:
    """SIGMAS (K + 1,) as numbers separated by commas, for ComfyUI's ManualSigmas node."""
    return ", ".join(plain_number(value) for value in _checked(sigmas).tolist())


def diffusers_json(sigmas: torch.Tensor, *, flow: bool = False) -> str:
    """SIGMAS (K + 1,) as JSON for diffusers: "scheduler", its "config", and what set_timesteps takes.

    flow: whether sigma is the share of noise, in [0, 1]; then "sigmas" has K values without the final 0, which
        FlowMatchEulerDiscreteScheduler appends. Else "sigmas" has K + 1 values for EulerDiscreteScheduler, and
        "timesteps" K whole numbers if they fit the table of SD 1.x and SDXL without two of them falling together.
    Raises ValueError for sigmas that do not fall to 0, or for a flow's above 1.
    """
    values = [float(plain_number(value)) for value in _checked(sigmas).tolist()]
    if not flow:
        config = {"use_karras_sigmas": False, "use_exponential_sigmas": False, "use_beta_sigmas": False,
                  "final_sigmas_type": "zero"}
        content = {"scheduler": "EulerDiscreteScheduler", "config": config, "sigmas": values}
        timesteps = table_timesteps(values[:-1])
        content |= {"note": ADDED_NOTE} if timesteps is None else {"timesteps": timesteps, "note": ADDED_NOTE}
        return json.dumps(content, indent=1)
    if values[0] > 1:
        raise ValueError(f"a flow's sigmas must lie in [0, 1]; got {values[0]:g}; connect the MODEL, so that its range "
                         "is taken, or choose a schedule of a flow model")
    config = {"shift": 1.0, "use_dynamic_shifting": False, "shift_terminal": None, "use_karras_sigmas": False,
              "use_exponential_sigmas": False, "use_beta_sigmas": False}
    return json.dumps({"scheduler": "FlowMatchEulerDiscreteScheduler", "config": config, "sigmas": values[:-1],
                       "note": FLOW_NOTE}, indent=1)


def table_timesteps(sigmas) -> list[int] | None:
    """The nearest entries of SD's training table, in ln sigma; None above the table or where two are the same.

    Sigmas below the table, which leave no noise that is seen, become its last entry.
    """
    betas = np.linspace(TABLE_FIRST_BETA ** 0.5, TABLE_LAST_BETA ** 0.5, TABLE_STEPS) ** 2
    kept = np.cumprod(1 - betas)
    table = np.log(np.sqrt((1 - kept) / kept))
    wanted = np.log(np.asarray(sigmas, dtype=float))
    margin = 0.05  # of ln sigma, which tables of the same kind differ by at their ends
    if wanted[0] > table[-1] + margin:
        return None
    nearest = np.abs(wanted[:, None] - table[None, :]).argmin(axis=1)
    return nearest.tolist() if (np.diff(nearest) < 0).all() else None


def _checked(sigmas: torch.Tensor) -> torch.Tensor:
    values = torch.as_tensor(sigmas).detach().float().cpu()
    if values.ndim != 1 or len(values) < 2 or not values.isfinite().all() or values[-1] != 0 \
            or not (values.diff() < 0).all():
        raise ValueError(f"sigmas to export must fall strictly to exactly 0; got {values.flatten()[:12].tolist()}; "
                         "use a denoise above 0 and a whole schedule")
    return values
