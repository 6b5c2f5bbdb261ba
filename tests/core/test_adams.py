"""The scheme that orbits are recorded with."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from art_nodes.core.adams import adams_weights

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
