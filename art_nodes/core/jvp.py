"""Stiffness |Q| at a point by its definition, from a Jacobian-vector product.

Q = d_psi F + (d_x F) F (docs/theory.md, eq. 4) with F = (D - x)/sigma (eq. 2) is the derivative of
F in the direction (F, -1) of (x, sigma). Nothing here uses eq. (5), on which the secants of
`stiffness` rest: the two measure the same number in independent ways.
"""

import torch

from .checks import check_denoised
from .exact import Denoiser, _column
from .stiffness import rms

try:
    from torch.nn.attention import SDPBackend, sdpa_kernel
except ImportError:  # torch before 2.3
    SDPBackend = None

# Denoiser calls at one point: one for the direction F, one for the derivative along it. torch.func.linearize
# would share them, but it traces the network afresh at every point and silently answers 0 under inference_mode.
CALLS = 2


def stiffness_jvp(denoiser: Denoiser, x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """|Q| at (x, sigma), x (B, ...), sigma (B,) > 0; -> (B,) float64 on the CPU. See `denoised_and_stiffness`."""
    return denoised_and_stiffness(denoiser, x, sigma)[1]


@torch.inference_mode(False)
@torch.no_grad()
def denoised_and_stiffness(
    denoiser: Denoiser, x: torch.Tensor, sigma: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """D(x, sigma), shaped as x (B, ...), and |Q| there, (B,) float64 on the CPU; sigma (B,) > 0.

    Calls the denoiser CALLS times, over the whole batch: D is the answer of a plain call, and |Q| takes a second
    one with derivatives, which costs several plain ones.
    |Q| is a root mean square over a sample's elements, in units of D over sigma squared: a value at a point,
    exact but for rounding. Two limits: an error e in D becomes one of about e/sigma^2, so in half precision |Q| is
    noise at small sigma; and what a denoiser looks up by sigma counts as constant, so a model with a table of
    noise levels (SD 1.5, SDXL) is misjudged. Use secants for both.
    Raises ValueError where the denoiser lets no forward derivative through, or one that is 0 or not finite.
    """
    _check_point(x, sigma)
    # Forward derivatives refuse expanded tensors, and those of older torch (2.4) are 0 for inference_mode's.
    x, sigma = (part.clone(memory_format=torch.contiguous_format) for part in (x, sigma))
    denoised = check_denoised(denoiser(x.clone(), sigma), x, float(sigma.max()))
    direction = ((denoised - x) / _column(sigma, x)).to(x), -torch.ones_like(sigma)

    def drift(x, sigma):  # eq. (2), and D beside it
        answer = denoiser(x.clone(), sigma)
        return (answer - x) / _column(sigma, x), answer

    try:
        with _attention_with_derivatives():
            _, (q, change) = torch.func.jvp(drift, (x, sigma), direction)
    except torch.cuda.OutOfMemoryError:
        raise
    except (RuntimeError, TypeError) as error:  # an operation without them, or data that has left torch
        raise _no_derivative(str(error).splitlines()[0]) from error
    if not change.any():
        raise _no_derivative("a derivative of 0 everywhere, as if its answer were detached or rounded")
    if not torch.isfinite(q).all():
        raise _no_derivative("a derivative of NaN or infinity")
    return denoised, rms(q)


def _attention_with_derivatives():
    """Context in which torch takes the one kernel of attention that has forward derivatives."""
    if SDPBackend is None:
        return torch.backends.cuda.sdp_kernel(enable_flash=False, enable_mem_efficient=False)
    return sdpa_kernel(SDPBackend.MATH)


def _check_point(x: torch.Tensor, sigma: torch.Tensor) -> None:
    """Raise ValueError unless sigma holds one value > 0 for each sample of x (B, ...)."""
    if not isinstance(sigma, torch.Tensor) or sigma.shape != x.shape[:1] or not (sigma > 0).all():
        got = sigma.tolist() if isinstance(sigma, torch.Tensor) else sigma
        raise ValueError(
            f"sigma must hold one value > 0 for each of {len(x)} samples; got {got}; "
            "fill a tensor of shape (batch,) and stop at sigma_min"
        )


def _no_derivative(got: str) -> ValueError:
    return ValueError(
        "a denoiser must let forward derivatives through for |Q| by its definition; "
        f"got {got}; use stiffness='secant', which needs plain calls only"
    )
