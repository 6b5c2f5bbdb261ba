"""The scheme that orbits are recorded with."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from art_nodes.core import record_orbits
from art_nodes.core.adams import Adams, adams_weights
from art_nodes.core.orbits import Orbits
from tests.core import targets

efolds = st.floats(0.01, 3.0)


@given(st.lists(efolds, min_size=1, max_size=3), st.lists(st.floats(-3, 3), min_size=3, max_size=3))
def test_heads_for_the_exact_solution_of_a_polynomial(steps, factors):
    """D constant, a line or a parabola in e-folds of sigma past the newest: the mean of it under e^t, by quadrature."""
    def prediction(t):
        return sum(factor * t**i for i, factor in enumerate(factors[:len(steps)]))

    past = -np.append(0.0, np.cumsum(steps[1:]))
    found = sum(weight * prediction(t) for weight, t in zip(adams_weights(steps), past, strict=True))
    mean = quad(lambda t: np.exp(t - steps[0]) * prediction(t), 0, steps[0])[0] / -np.expm1(-steps[0])
    assert found == pytest.approx(mean, rel=1e-6, abs=1e-6)


def test_weights_of_many_runs_at_once():
    steps = np.array([[0.2, 0.5], [0.3, 0.3], [0.1, 0.7]])
    together = np.array(adams_weights(list(steps)))
    np.testing.assert_allclose(together[:, 1], adams_weights(list(steps[:, 1])), rtol=1e-12)
    np.testing.assert_allclose(together.sum(axis=0), 1.0, rtol=1e-12)


def test_a_replay_ends_where_a_recording_on_its_nodes_does():
    """Where predictions follow the state, D(x + e) = D(x) + e, as replays take them to; the last step goes to D."""
    def model(x, sigma):
        return x + torch.sin(sigma).reshape(-1, 1) * torch.tensor([1.0, -2.0, 0.5])

    seen, start = [], targets.noise((1, 3), 3.0)

    def noted(x, sigma):
        seen.append(model(x, sigma))
        return seen[-1]

    fine = record_orbits(noted, start, 3.0, 0.02, nodes=505)
    coarse = fine.sigmas[::72]
    vectors = torch.cat([start, *seen]).double().numpy()  # (N + 1, 3)
    run = Adams(Orbits(fine.sigmas), np.array([3.0]))
    for there in [*coarse[1:], 0.0]:
        run.step(np.array([there]))
    end = record_orbits(model, start, 3.0, 0.02, sigmas=coarse).ends
    np.testing.assert_allclose((run.error + run.state) @ vectors, end, rtol=1e-4)
    assert np.abs(fine.ends - end).max() > 0.3  # control: spacing matters
