"""The paper's own environment: a model call at every step of every episode, nothing recorded beforehand."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from .bank import OrbitBank
from .checks import check_denoised, check_noise, check_scale, check_sigma_range
from .clock import grid_cost, optimal_cost
from .exact import Denoiser, _column, ask
from .jvp import CALLS, denoised_and_stiffness
from .record import recording_grid
from .stiffness import as_float64, rms
from .version import ART_VERSION

PROFILE_CELLS = 64
STIFFNESS = ("secant", "jvp")
MOST_SPREAD = 3.0  # standard deviations: what actor and critic are told of x goes no further
LEAST_SPREAD = 0.05  # of its size: a feature that hardly differs between orbits is not blown up
# A secant whose D changes by less than this share of D, a hundred roundings of float32, is noise; the last one
# is kept instead.
LEAST_CHANGE, ROUNDING = 1e-5, 1e-7


@dataclass(frozen=True)
class LiveModel:
    """A denoiser to learn on by live roll-outs, as in the paper's Algorithm 1.

    denoiser: D(x, sigma) -> x0.
    noise_fn: noise_fn(batch, generator) -> start states (batch, ...), already scaled by sigma_max; drawing
        with the torch.Generator, of the CPU, makes runs repeatable. A function of the batch size alone is fine too;
        a second parameter that has a default is taken for something else, unless it is called generator.
    stiffness: "secant" takes |Q| from consecutive predictions, at no further call; "jvp" from a
        Jacobian-vector product, at one more and dearer call a step. Both want a float32 denoiser;
        for one in half precision record a bank.
    """

    denoiser: Denoiser
    noise_fn: Callable
    sigma_max: float
    sigma_min: float
    stiffness: str = "secant"

    def __post_init__(self):
        for name, sigma in zip(("sigma_max", "sigma_min"), check_sigma_range(self.sigma_max, self.sigma_min),
                               strict=True):
            object.__setattr__(self, name, sigma)
        if self.stiffness not in STIFFNESS:
            raise ValueError(f"stiffness must be 'secant' or 'jvp'; got {self.stiffness!r}; 'secant' is the cheap one")

    def noise(self, batch: int, generator: torch.Generator) -> torch.Tensor:
        """Start states (batch, ...), checked."""
        noise = self.noise_fn(batch, generator) if _takes_generator(self.noise_fn) else self.noise_fn(batch)
        if len(check_noise(noise)) != batch:
            raise ValueError(f"noise_fn must answer {batch} start states; got {len(noise)}; use its first argument")
        check_scale(noise, self.sigma_max)
        return noise


def _takes_generator(noise_fn: Callable) -> bool:
    """Whether the function's second positional parameter is to be the generator."""
    try:
        known = inspect.signature(noise_fn).parameters.values()
    except ValueError:  # some builtins tell of none
        return False
    if any(one.kind is one.VAR_POSITIONAL for one in known):
        return True
    ordered = [one for one in known if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    return len(ordered) > 1 and (ordered[1].default is ordered[1].empty or ordered[1].name == "generator")


class LiveEnvironment:
    """Episodes that carry their own x and call the model at every step.

    What it sees of |Q| and of x goes into profiles over physical time: E|Q|, which the units, the
    cost of a clock and the policy's variance need, and means and spreads of the features that
    actor and critic see. The features of x are three numbers, each standardised at its own
    physical time: |Q|, RMS of D (how much content has emerged) and mean of D (dark or bright).
    """

    knows = 3
    sees_state = True
    foresees = False
    steepness = curving = 1.0

    def __init__(self, model: LiveModel, seed: int):
        self.model, self.calls, self.sample_calls = model, 0, 0
        self.sigma_max, self.sigma_min = float(model.sigma_max), float(model.sigma_min)
        self.generator = torch.Generator().manual_seed(seed % 2**64)
        nodes = recording_grid(self.sigma_max, self.sigma_min, PROFILE_CELLS)
        borders = 1 - np.append(nodes, 0.0) / self.sigma_max  # (cells + 1,)
        self.nodes, self.profile = nodes, _Profile(0.5 * (borders[1:] + borders[:-1]), self.knows)
        self.unit = 1.0  # |Q| T / J*, set by `survey`

    def survey(self, clock: np.ndarray, episodes: int) -> None:
        """Follow a first batch along `clock` (K + 1,) of p, to know the units; K + 1 model calls."""
        self.start(episodes, np.random.default_rng(0))
        for position in clock[1:]:
            self.advance(np.full(len(self.x), position), 1 / (len(clock) - 1))
        self.finish()
        self.unit = self.sigma_max / optimal_cost(self.bank())

    def bank(self) -> OrbitBank:
        """E|Q| as seen in all episodes so far: a bank of one average orbit."""
        return OrbitBank(self.nodes, self.profile.mean[0][None], self.calls, self.sample_calls)

    @property
    def end_stiffness(self) -> float:
        """E q at sigma 0."""
        return float(self.profile.mean[0, -1] * self.unit)

    @torch.no_grad()
    def start(self, episodes: int, rng: np.random.Generator) -> None:
        """Draw noise for E episodes, in pairs that share it, and call the model on it."""
        noise = self.model.noise(-(-episodes // 2), self.generator)
        self.x = torch.cat([noise, noise])[:episodes].float()
        self.position = np.zeros(episodes)
        self.q = np.full(episodes, self.profile.mean[0, 0])  # until there is a first secant
        self.measured = np.zeros(episodes, dtype=bool)  # whether there was one
        self.ratio = np.ones(episodes)  # of q to E q, where it was last measured
        self.vector_q = torch.zeros_like(self.x)  # Q itself, from the last secant; stays 0 with "jvp"
        self.history = []
        self._look()

    def stiffness(self) -> tuple[np.ndarray, np.ndarray]:
        """q of each episode and E q where it stands; both (E,).

        A secant lies behind, where q may be half of what it is here; so what is carried on is its ratio to E q.
        """
        mean_q = self.profile.at(self.position)[0] * self.unit
        return self.ratio * mean_q, mean_q

    def outlook(self) -> np.ndarray:
        """What actor and critic know of each episode's x: (E, 3), standardised, 0 on an average orbit."""
        q = self.ratio * self.profile.at(self.position)[0]
        return self.profile.standardise(self.position, np.stack([q, *self.seen]))

    state = outlook

    @torch.no_grad()
    def advance(self, position: np.ndarray, duration: float) -> np.ndarray:
        """Move every episode to `position` (E,) in `duration` of clock time; returns what that costs, (E,)."""
        before, way = self.sigma(), position - self.position
        denoised, q = self.denoised, self.q
        self.position = position
        sigma = self.sigma()
        keep, step = _per_sample(sigma / before, self.x), _per_sample(before - sigma, self.x)
        self.x = keep * self.x + (1 - keep) * denoised + 0.5 * step**2 * self.vector_q  # x + h F + h^2 Q / 2
        self._look()
        if self.model.stiffness == "secant":
            change = self.denoised - denoised
            # Any change, and none, is a first secant, as small as rounding can tell: what the profile begins with, in
            # no units, would else stay in it for good.
            first = ~self.measured & (before > sigma)
            self.measured |= first
            enough = first | (rms(change).numpy() > LEAST_CHANGE * self.seen[0])
            span = 0.5 * (before**2 - sigma**2)  # |Q| = |dD/dsigma|/sigma, eq. (5), taken as constant on the way
            secant = change / _per_sample(np.where(enough, span, 1.0), self.x)
            self.vector_q = torch.where(_per_sample(enough, self.x).bool(), secant, self.vector_q)
            least = np.where(first, ROUNDING * self.seen[0], 0.0) / np.where(first, span, 1.0)
            self.q = charged = np.where(enough, np.maximum(rms(secant).numpy(), least), q)
            measured_at = np.where(enough, position - 0.5 * way, position)
        else:
            charged, measured_at = 0.5 * (q + self.q), position
        self.ratio = self.q / self.profile.at(measured_at)[0]
        self.history.append((self.position, np.stack([charged, *self.seen])))
        return way / duration * charged * self.unit * way

    def finish(self) -> None:
        """Learn the profiles from the episodes that have just ended."""
        self.profile.learn(self.history)

    def sigma(self) -> np.ndarray:
        """Noise level of each episode; (E,), never outside the model's range."""
        return np.clip(self.sigma_max * (1 - self.position), self.sigma_min, self.sigma_max)

    def cost(self, sigmas: np.ndarray) -> float:
        """J of a grid (K + 1,) as a multiple of J*, both by the E|Q| seen so far."""
        return grid_cost(self.bank(), sigmas)

    def describe(self) -> dict:
        """What the provenance of a schedule says about this environment."""
        return {"art_version": ART_VERSION, "environment": "live", "stiffness": self.model.stiffness,
                "model_calls": self.calls, "sample_calls": self.sample_calls,
                "sigma_max": self.sigma_max, "sigma_min": self.sigma_min}

    def _look(self) -> None:
        """Call the model where the episodes stand."""
        sigma = self.sigma()
        levels = torch.as_tensor(sigma, dtype=torch.float32, device=self.x.device)
        if self.model.stiffness == "jvp":
            denoised, stiffness = denoised_and_stiffness(self.model.denoiser, self.x, levels)
            self.q, calls = stiffness.numpy(), CALLS
        else:
            denoised, calls = ask(self.model.denoiser, self.x, levels), 1
        self.denoised = check_denoised(denoised, self.x, float(sigma.min())).float()
        self.seen = rms(self.denoised).numpy(), as_float64(self.denoised.flatten(1)).mean(dim=1).numpy()
        self.calls, self.sample_calls = self.calls + calls, self.sample_calls + calls * len(self.x)


class _Profile:
    """Running means and spreads of a few quantities over physical time, from episodes on any clock."""

    def __init__(self, middle: np.ndarray, quantities: int):
        self.middle, self.count = middle, 0  # (N,) cell centres in p
        self.mean, self.square = np.ones((quantities, len(middle))), np.ones((quantities, len(middle)))

    def learn(self, history: list) -> None:
        """Take in K steps of E episodes: where each one ended, (E,), and the quantities of the step, (Q, E)."""
        ends = np.maximum.accumulate(np.stack([position for position, _ in history]))  # (K, E)
        values = np.stack([values for _, values in history])  # (K, Q, E)
        episodes = ends.shape[1]
        step = np.stack([np.searchsorted(ends[:, e], self.middle) for e in range(episodes)], axis=1)
        found = values[np.minimum(step, len(values) - 1)[:, None, :], np.arange(values.shape[1])[:, None],
                       np.arange(episodes)]  # (N, Q, E)
        self.count += 1
        rate = 1 / self.count
        self.mean = self.mean + rate * (found.mean(axis=2).T - self.mean)
        self.square = self.square + rate * ((found**2).mean(axis=2).T - self.square)

    def at(self, position: np.ndarray) -> np.ndarray:
        """Mean of each quantity at physical times (E,); (Q, E)."""
        return np.stack([np.interp(position, self.middle, row) for row in self.mean])

    def standardise(self, position: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Values (Q, E) in standard deviations from their mean at that time; (E, Q)."""
        mean = self.at(position)
        size = np.stack([np.interp(position, self.middle, row) for row in self.square])
        spread = np.sqrt(np.maximum(size - mean**2, LEAST_SPREAD**2 * size) + 1e-300)
        return np.clip((values - mean) / spread, -MOST_SPREAD, MOST_SPREAD).T


def _per_sample(values: np.ndarray, x: torch.Tensor) -> torch.Tensor:
    """(E,) numbers of numpy's shaped to broadcast against x (E, ...)."""
    return _column(torch.as_tensor(values), x)
