"""Half precision: what rounding does to recorded predictions, and how it is kept out (docs/theory.md, section 6).

Two cases. A denoiser may answer with half-precision numbers: they are recognised, and how far they are off is known.
Or a network computes in half precision inside and the answer is put together in float32, as D = x - sigma eps is in
ComfyUI: that has to be said, and how far it is off is measured with a few further calls.
"""

import numpy as np
import torch

from .checks import check_denoised
from .exact import Denoiser, ask

HALF = (torch.bfloat16, torch.float16)
PROBES = 5  # nodes at which noise is measured; in between its logarithm is taken to be straight
CALLS_A_PROBE = 2


def spacing(values: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Distance between the numbers of a dtype around each value."""
    return torch.finfo(dtype).eps * torch.exp2(torch.floor(torch.log2(values.abs().clamp_min(1e-30))))


def rounding_step(denoised: torch.Tensor) -> torch.Tensor | None:
    """Spacing of representable numbers around each value of a half-precision answer; None for true float32.

    A rounded constant cannot reveal its rounding by repetition, so the grid of bfloat16
    or float16 numbers is recognised instead.
    """
    values = denoised.float()
    for dtype in HALF:
        if torch.equal(values.to(dtype).float(), values):
            return spacing(values, dtype)
    return None


def rounding_square(step: torch.Tensor | None) -> float:
    """Mean square of the noise in values rounded to this spacing and dithered by one step (see `Rounding`); else 0."""
    return 0.0 if step is None else float(step.double().square().mean() / 6)


def recognised(denoised: torch.Tensor) -> np.ndarray:
    """(N,) mean squares of the noise in predictions (N, B, E) that are half-precision numbers; 0 in others."""
    return np.array([rounding_square(rounding_step(values)) for values in denoised])


def probed_nodes(nodes: int, precision: torch.dtype | None) -> list[int]:
    """Indices of the nodes at which noise is measured, of a recording on so many; none in float32."""
    return sorted({*np.linspace(0, nodes - 1, PROBES).round().astype(int).tolist()}) if precision in HALF else []


class Rounding:
    """What rounding does to the predictions of a recording on N nodes.

    precision: bfloat16 or float16 where the network is known to compute in it; answers are looked at in any case.
    known: (N + 1,) squares of the noise from another recording on the same nodes, which saves measuring it.
    """

    def __init__(self, nodes: int, precision: torch.dtype | None = None, known: np.ndarray | None = None):
        if precision is not None and not isinstance(precision, torch.dtype):
            raise ValueError(f"precision must be a dtype of torch or None; got {precision!r}; write torch.bfloat16")
        if known is not None and np.shape(known) != (nodes + 1,):
            raise ValueError(f"rounding must be that of a bank of as many nodes, ({nodes + 1},); got "
                             f"{np.shape(known)}; leave it out to measure it")
        self.precision = precision if precision in HALF else None
        self.known = known if self.precision else None
        self.probed = probed_nodes(nodes, precision) if known is None else []
        self.seen: list[float] = []  # mean squares, as answers tell them at each node
        self.measured: list[float] = []  # and at each of the probed ones
        self.step: torch.Tensor | None = None
        self.generator = torch.Generator().manual_seed(0)

    def calls(self, nodes: int) -> int:
        """Model calls that measuring takes up to and with so many nodes."""
        return CALLS_A_PROBE * sum(node < nodes for node in self.probed)

    def dithered(self, x: torch.Tensor) -> torch.Tensor:
        """x (B, ...), with noise uniform over one step of rounding once answers are seen to be half-precision numbers.

        Near sigma = 0 D follows x and x follows D: without it both stick to the same numbers and the orbit seems to
        stand still. An answer that is put together from x in float32 does not stick.
        """
        return x if self.step is None else x + self._uniform(self.step).to(x)

    def _uniform(self, step: torch.Tensor) -> torch.Tensor:
        """Noise from -1/2 to 1/2 step."""
        return step * (torch.rand(step.shape, generator=self.generator, device="cpu") - 0.5).to(step)

    def look(self, i: int, denoiser: Denoiser, x: torch.Tensor, sigma: torch.Tensor, denoised: torch.Tensor) -> None:
        """Look at the answer D(x, sigma) at node i, on the CPU, for what rounding does to it."""
        self.step = rounding_step(denoised)
        self.seen.append(rounding_square(self.step))
        if i in self.probed:
            self.measured.append(self._measure(denoiser, x, sigma, denoised))

    def _measure(self, denoiser: Denoiser, x, sigma, denoised) -> float:
        """Mean square of what rounding adds to D(x, sigma).

        What D(x + u) + D(x - u) - 2 D(x) leaves of a smooth D is of second order in u, but the noise of all three adds
        up. Of errors that hardly depend on x some is missed: a third of the square at large sigma, on an exact denoiser
        of noise prediction.
        """
        u = self._uniform(2 * spacing(x, self.precision))
        above, below = (check_denoised(ask(denoiser, x + shift, sigma), x, float(sigma[0])).cpu().double()
                        for shift in (u, -u))
        return float((above + below - 2 * denoised.double()).square().mean() / 6)

    def noise(self, sigmas: np.ndarray) -> np.ndarray:
        """(N + 1,) mean squares of the noise in the start state, which has none, and in each prediction."""
        if self.known is not None:
            return self.known
        squares = np.array(self.seen)
        if self.probed:
            at, found = np.log(sigmas), np.log(np.maximum(self.measured, 1e-30))
            squares = np.maximum(squares, np.exp(np.interp(-at, -at[self.probed], found)))
        return np.append(0.0, squares)
