"""The actor-critic of ART-RL: roll-outs, policy evaluation and policy improvement (docs/theory.md, section 5)."""

from dataclasses import dataclass

import numpy as np

from .policy import BaseClock, Critic, GaussianPolicy

MAX_CHANGE, MAX_STEPWISE_CHANGE = 0.3, 0.1  # of the log speed, in one iteration
SMOOTHING, STEPWISE_SMOOTHING, RIDGE = 0.1, 0.01, 1e-3  # of the actor's step, against the mean curvature
STATE_RIDGE = 0.1  # the same where the actor sees x: what it is told may well be the same thing twice
CRITIC_KNOTS = 16
MOST_OF_THE_WAY = 0.999  # that one of a few long steps may take, the last one apart
LEAST_STEP = 1e-6  # of the mean step: the mean of few episodes may stand still for a moment


@dataclass(frozen=True)
class Rollout:
    """K steps of E episodes; every array but the last two (K, E, ...)."""

    policy_features: np.ndarray
    critic_features: np.ndarray
    push: np.ndarray  # d log pi / d ln mu = (a - mu) mu / variance
    curvature: np.ndarray  # |Q| mu^2, what the charge curves by when ln mu changes
    mean: np.ndarray  # mu
    reward: np.ndarray
    end: np.ndarray  # (E,) p at clock time 1
    path: np.ndarray  # (K + 1,) p of the mean episode


class ActorCritic:
    """A Gaussian policy, its critic and the multiplier, learning in one environment.

    `env` is a BankEnvironment, a ReplayEnvironment or a LiveEnvironment; `config` a TrainConfig.
    """

    def __init__(self, env, config, base: BaseClock, state_dependent: bool):
        self.env, self.config, self.base = env, config, base
        self.rng = np.random.default_rng(config.seed)
        known = env.knows if state_dependent else 0
        knots = min(config.knots, max(3, config.clock_nodes))
        self.policy = GaussianPolicy(base, config.lam, knots, config.budget, known, env.steepness)
        self.critic = Critic(min(CRITIC_KNOTS, config.clock_nodes), env.knows)
        self.arrives = config.budget == "feedback"
        # A critic that knows little of x would mislead the actor if returns were cut short by it.
        self.trace = config.trace_of_step if env.foresees else 1.0
        # Transversality of the HJB equation: V_psi = 0 at the end, so gamma = -2 |Q| theta there.
        self.multiplier = -2.0 * float(np.sqrt(env.end_stiffness))
        self.curvature: np.ndarray | None = None
        rough = np.zeros((knots - 2, len(self.policy.weights)))
        for i in range(knots - 2):
            rough[i, i:i + 3] = 1, -2, 1
        self.roughness = rough.T @ rough
        self.ridge = np.full(len(self.policy.weights), RIDGE)
        self.ridge[len(self.ridge) - self.policy.state_weights:] = STATE_RIDGE

    def roll_out(self) -> Rollout:
        """E episodes of K steps under the policy; noise in mirrored pairs halves what chance adds to the update."""
        env, policy, steps = self.env, self.policy, self.config.clock_nodes
        episodes = self.config.episodes + self.config.episodes % 2
        env.start(episodes, self.rng)
        position, path, columns = np.zeros(episodes), [0.0], []
        for k in range(steps):
            u, time = self.base.time(position), k / steps
            known = policy.features(u, time, env.state() if policy.state else None)
            judged = self.critic.features(u, time, env.outlook())
            mean = policy.mean(position, time, known)
            variance = policy.variance(mean, *env.stiffness())
            noise = self.rng.standard_normal(episodes // 2)
            speed = mean + np.sqrt(variance) * np.concatenate([noise, -noise])
            push, curvature = (speed - mean) * mean / variance, env.curving * policy.lam / variance * mean**2
            if self.arrives:
                speed = np.minimum(speed, (1 - position) * steps)
                if k == steps - 1:
                    speed, push, curvature = (1 - position) * steps, 0.0 * push, 0.0 * curvature
            home = self.base.curved and self.arrives and k == steps - 1
            position = np.ones(episodes) if home else self.base.follow(position, speed / steps)
            reward = -env.advance(position, 1 / steps)
            columns.append((known, judged, push, curvature, mean, reward))
            path.append(position.mean())
        env.finish()
        return Rollout(*(np.stack(column) for column in zip(*columns, strict=True)), position, np.array(path))

    def td_errors(self, rollout: Rollout) -> np.ndarray:
        """Increments of V plus reward, (K, E): martingale increments if V is the policy's value, eq. (11).

        The multiplier's share of the reward telescopes to gamma (psi - psi(T)), so V carries
        gamma psi exactly and only the rest is learned.
        """
        miss = rollout.end - 1
        terminal = -self.multiplier * miss - 0.5 * self.config.penalty * miss**2
        value = self.critic.value(rollout.critic_features)
        return np.concatenate([value[1:], terminal[None]]) - value + rollout.reward

    def evaluate(self, rollout: Rollout, rate: float) -> np.ndarray:
        """Policy evaluation: lambda-sums of the TD errors (K, E), then one step of the critic."""
        error = self.td_errors(rollout)
        advantage, ahead = np.empty_like(error), np.zeros(error.shape[1])
        for k in range(len(error) - 1, -1, -1):
            ahead = error[k] + self.trace * ahead
            advantage[k] = ahead
        self.critic.fit(rollout.critic_features, advantage + self.critic.value(rollout.critic_features), rate)
        return advantage

    def improve(self, rollout: Rollout, advantage: np.ndarray, rate: float) -> None:
        """Policy improvement along the actor's moment identity, and the multiplier's step (eqs. 11 and 12).

        The gradient is scaled by the curvature that the closed form lets one expect: 2 |Q| mu^2
        along the clock and, where a price keeps the budget, the penalty across it. Roughness in the
        scale spreads the step smoothly.
        """
        features, steps, episodes = rollout.policy_features, *rollout.push.shape
        flat = features.reshape(-1, features.shape[-1])
        gradient = flat.T @ (rollout.push * advantage).ravel() / episodes
        curvature = 2 * (flat.T * rollout.curvature.ravel()) @ flat / (steps * episodes)
        self.curvature = curvature if self.curvature is None else 0.8 * self.curvature + 0.2 * curvature
        size = len(gradient)
        smoothing, most = ((STEPWISE_SMOOTHING, MAX_STEPWISE_CHANGE) if self.base.stepwise else
                           (SMOOTHING, MAX_CHANGE))
        matrix = self.curvature + np.trace(self.curvature) / size * (np.diag(self.ridge) + smoothing * self.roughness)
        if self.config.budget == "price":
            reach = flat.T @ rollout.mean.ravel() / (steps * episodes)
            matrix = matrix + self.config.penalty * np.outer(reach, reach)
        step = rate * np.linalg.solve(matrix, gradient)
        step *= min(1.0, most / max(1e-12, np.abs(flat @ step).max()))
        self.policy.weights = self.policy.weights + step
        # One step of gamma an episode, each along its own miss; taken together since they run in parallel.
        self.multiplier += 0.3 * rate * self.config.penalty * float((rollout.end - 1).mean())

    def mean_clock(self, rollout: Rollout) -> tuple[np.ndarray, float]:
        """Distillation: one clock for all orbits; p (K + 1,), ending at 1, and where it ended before that.

        The clock that the mean speed drives, or, where the actor sees x, that of the mean episode.
        """
        path = rollout.path if self.policy.state else self.plain_path()
        return _always_forwards(path), float(path[-1])

    def renew_base(self) -> None:
        """Make the mean speed, but for what it owes to x, the base clock's; the weights begin again at 0."""
        self.base.renew(_always_forwards(self.plain_path()))
        self.policy.weights[:self.policy.knots] = 0.0

    def plain_path(self) -> np.ndarray:
        """p (K + 1,) along which the mean speed drives an orbit whose x is nothing special."""
        steps, nothing = self.config.clock_nodes, np.zeros((1, self.policy.state))
        position, path = np.zeros(1), [0.0]
        for k in range(steps):
            known = self.policy.features(self.base.time(position), k / steps, nothing)
            step = self.policy.mean(position, k / steps, known) / steps
            if self.base.stepwise:  # the last of a few long steps goes to the end, as in a roll-out
                step = 1 - position if k == steps - 1 else np.minimum(step, MOST_OF_THE_WAY * (1 - position))
            position = self.base.follow(position, step)
            path.append(position[0])
        return np.array(path)


def _always_forwards(path: np.ndarray) -> np.ndarray:
    """A path (K + 1,) of p as a clock, which ends at 1 and stands still at no step."""
    steps = np.maximum(np.diff(path), path[-1] * LEAST_STEP / len(path))
    clock = np.append(0.0, np.cumsum(steps))
    return clock / clock[-1]
