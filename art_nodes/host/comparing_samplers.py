"""Sampling with the host's own samplers while their model calls are watched, and which of them can be compared.

A schedule is judged by how far a sampler ends from the solution of the ODE, which says
something only of a sampler that solves this ODE and steps where the schedule tells it to.
Names do not tell: signatures are alike, and other packs add samplers. So each is tried out
on a small model whose ODE has a known solution, in a fraction of a second.
"""

import math
from collections.abc import Callable

import comfy.model_management
import comfy.samplers
import torch

from ..demo.unet import CLASSES
from .demo_model import DRESSES, NO_CLASS, build_model, class_conditioning
from .progress import check_interrupt
from .recording import LARGEST_SEED, gaussian

# From the seed of the start noise to that of what a sampler adds. On the CPU both are drawn alike: with one seed the
# first noise that an ancestral sampler adds would be the start noise once more. Generators there know 32 bits of it.
NOISE_APART = 1 << 31
# Euler's method is 3 % off after so many steps, the samplers that solve another equation over 300 %.
TRIED_STEPS, TRIED_ERROR = 48, 0.1
TRIED_CFG = 2.0
# Named in errors, as far as the host has them.
SUGGESTED = ("euler", "heun", "dpm_2", "lms", "dpmpp_2m", "ipndm", "deis", "res_multistep", "uni_pc")


class WatchedGuider(comfy.samplers.CFGGuider):
    """The host's guider, which calls on_call(sigma (B,)) after every model call; what that raises ends the sampling."""

    def __init__(self, model, on_call: Callable[[torch.Tensor], None]):
        super().__init__(model)
        self.on_call = on_call

    def predict_noise(self, x, timestep, *args, **kwargs):
        denoised = super().predict_noise(x, timestep, *args, **kwargs)
        self.on_call(timestep)
        return denoised


def sample(model, positive, negative, cfg: float, noise, latent, sampler_name: str, sigmas: torch.Tensor, seed: int,
           on_call: Callable[[torch.Tensor], None]):
    """The latent where one of the host's samplers ends, like `latent` (B, ...), on `sigmas` (steps + 1,).

    noise: standard normal; the host scales it to the first sigma. seed: that of the noise; a sampler that adds noise
        draws it from another one.
    A sampler that finds no step along these sigmas ends in NaN.
    """
    guider = WatchedGuider(model, on_call)
    guider.set_conds(positive, negative)
    guider.set_cfg(cfg)
    sampler = comfy.samplers.sampler_object(sampler_name)
    torch.manual_seed(seed)  # some patches draw numbers while it samples, as token merging does
    try:  # with a copy of the sigmas: uni_pc writes into those it is given
        return guider.sample(noise, latent, sampler, sigmas.clone(), disable_pbar=True,
                             seed=(seed + NOISE_APART) & LARGEST_SEED)
    except (torch.linalg.LinAlgError, ZeroDivisionError):
        # Of a repeated sigma most samplers make NaN, but uni_pc fails, and would take a whole comparison with it.
        return latent * math.nan


def check_sampler(name: str) -> str:
    """Return the name of a host's sampler that solves the ODE along the sigmas it is given, or raise ValueError."""
    if name not in comfy.samplers.KSampler.SAMPLERS:
        known = ", ".join(comfy.samplers.KSampler.SAMPLERS)
        raise ValueError(f"sampler_name must be a sampler of the host; got {name!r}; there are: {known}")
    flaw = sampler_flaw(name)
    if flaw:
        good = ", ".join(known for known in SUGGESTED if known in comfy.samplers.KSampler.SAMPLERS)
        raise ValueError(f"sampler_name must be a sampler whose end can be compared with the solution of the ODE; "
                         f"got {name!r}, which {flaw}; choose for example one of: {good}")
    return name


def sampler_flaw(name: str) -> str | None:
    """Why a sampler's distance to the ODE's solution would say nothing about a schedule; None if it does."""
    trial = _Trial()
    try:
        first, second = trial.run(name, TRIED_STEPS, seed=1), trial.run(name, TRIED_STEPS, seed=2)
    except (comfy.model_management.InterruptProcessingException, torch.cuda.OutOfMemoryError):
        raise
    except Exception as error:  # other packs' samplers may fail in any way
        return f"fails on a plain model ({error})"
    if not torch.equal(first, second):
        return "adds noise of its own, so that it ends elsewhere with another seed"
    if not trial.visited(TRIED_STEPS):
        return "does not step along the sigmas it is given but chooses its own"
    if not trial.error(first) < TRIED_ERROR:
        return "solves another equation, or adds noise that no seed changes, so that more steps do not bring it nearer"
    return None


def count_calls(name: str, steps: int) -> int:
    """Model calls of a sampler on a grid of `steps` steps that ends at 0, found by trying; ValueError if it fails."""
    trial = _Trial()
    try:
        trial.run(name, steps, seed=1)
    except (comfy.model_management.InterruptProcessingException, torch.cuda.OutOfMemoryError):
        raise
    except Exception as error:
        raise ValueError(f"steps must suit the sampler; {name} fails at {steps} ({error}); take another "
                         "number") from error
    return len(trial.seen)


class _Trial:
    """A model with a known solution, as a MODEL of the host.

    The network answers 1 for the positive and 0 for the negative condition. Under EDM's preconditioning
    with sigma_data = 1 the guided prediction is then D = x / (1 + sigma^2) + cfg sigma / sqrt(1 + sigma^2),
    and the orbit that starts at sigma from the noise z, scaled by sqrt(1 + sigma^2), ends at z + cfg arctan(sigma).
    """

    def __init__(self):
        self.model = build_model(next(iter(DRESSES)), _Constant())
        self.sampling = self.model.get_model_object("model_sampling")
        self.latent = torch.zeros(1, 1, 4, 4)
        self.noise = gaussian(self.latent, 0)
        self.seen: list[float] = []

    def grid(self, steps: int) -> torch.Tensor:
        return comfy.samplers.calculate_sigmas(self.sampling, "karras", steps)

    def run(self, name: str, steps: int, seed: int) -> torch.Tensor:
        """Where a sampler ends; `seen` then holds the sigmas of its model calls."""
        self.seen = []
        conditions = class_conditioning(CLASSES[0]), class_conditioning(NO_CLASS)
        return sample(self.model, *conditions, TRIED_CFG, self.noise, self.latent, name, self.grid(steps), seed,
                      self._called)

    def _called(self, sigma: torch.Tensor) -> None:
        check_interrupt()  # thousands of steps take a minute
        self.seen.append(float(sigma.flatten()[0]))

    def visited(self, steps: int) -> bool:
        """Whether the model was called at every sigma of the grid above 0."""
        wanted = self.grid(steps)[:-1].tolist()
        return all(any(math.isclose(sigma, seen, rel_tol=1e-3) for seen in self.seen) for sigma in wanted)

    def error(self, end: torch.Tensor) -> float:
        """RMS distance to the solution, in units of its own RMS."""
        exact = self.noise + TRIED_CFG * math.atan(float(self.sampling.sigma_max))
        return float((end.cpu() - exact).square().mean().sqrt() / exact.square().mean().sqrt())


class _Constant(torch.nn.Module):
    """Answers the weight of the first class, whatever it is shown."""

    def __init__(self):
        super().__init__()
        # The host asks a model for its size and its device.
        self.unused = torch.nn.Parameter(torch.zeros(1), requires_grad=False)

    def forward(self, x, _noise_level, labels):
        return labels[:, :1, None, None].expand_as(x)
