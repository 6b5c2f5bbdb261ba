"""Replays of the host's samplers, against the host's own code for them."""

import numpy as np
import pytest
import torch

from art_nodes.core import recording_grid
from art_nodes.core.arrival import Arrival
from art_nodes.core.orbits import Orbits
from art_nodes.core.samplers import REPLAYS
from benchmarks.comfy.inprocess import BareModel
from tests.core.test_replay import HIGH, LOW, SPREADS, exact

GRID = recording_grid(HIGH, LOW, 64)
# The host integrates DEIS's polynomials by 10,000 left sums; its UniPC takes logarithms of differences in float32.
ACCURACY = {"deis": 5e-4, "uni_pc": 5e-4}


@pytest.mark.parametrize("name", [name for name in REPLAYS if name != "rk4"])
@pytest.mark.parametrize("steps", [2, 3, 4, 8])
def test_replays_are_the_samplers_of_the_host(name, steps, comfy):
    """A run of the host's code, with the prediction that a replay assumes, ends where the replay does."""
    from comfy.samplers import sampler_object

    orbits = Orbits(GRID)
    values = np.stack([np.append(exact(HIGH, spread)[0], exact(GRID, spread)[1]) for spread in SPREADS], axis=1)
    ways = np.stack([np.append(np.geomspace(HIGH, low, steps), 0.0) for low in (0.03, 0.3, 1.0)])
    runs = REPLAYS[name](orbits, np.full(3, HIGH), steps=steps)
    for there in ways.T[1:]:
        runs.step(there)
    for way, error in zip(ways, runs.error, strict=True):
        def denoiser(x, sigma):
            at = sigma[:1].double().numpy()
            off = x - torch.from_numpy(orbits.state(at) @ values)
            return (torch.from_numpy(orbits.denoised(at) @ values) + off).to(x.dtype)

        kind = torch.float32 if name == "uni_pc" else torch.float64
        # torch.tensor copies: UniPC writes into the sigmas that it is given.
        end = sampler_object(name).sampler_function(BareModel(denoiser), torch.tensor(values[:1], dtype=kind),
                                                    torch.tensor(way, dtype=kind), extra_args={}, disable=True)
        np.testing.assert_allclose(end.numpy()[0], error @ values + values[-1], rtol=ACCURACY.get(name, 1e-8),
                                   atol=ACCURACY.get(name, 1e-8))


@pytest.mark.parametrize("name", ["res_multistep", "deis", "uni_pc"])
@pytest.mark.parametrize("spread", [0.5, 2.0])
def test_replays_follow_a_gaussian_off_its_orbit(name, spread, comfy):
    """With errors that are contracted by its spread a replay is the host's sampler on the exact prediction."""
    from comfy.samplers import sampler_object

    nodes, way = recording_grid(HIGH, LOW, 256), np.append(np.geomspace(HIGH, 0.3, 6), 0.0)
    values, ends = np.append(exact(HIGH, spread)[0], exact(nodes, spread)[1]), []
    for arrival in (Arrival(spread), None):
        runs = REPLAYS[name](Orbits(nodes), np.full(1, HIGH), steps=6, arrival=arrival)
        for there in way[1:]:
            runs.step(np.array([there]))
        ends.append(runs.error[0] @ values + values[-1])
    model = BareModel(lambda x, sigma: x * spread**2 / (spread**2 + sigma[:1] ** 2))
    true = sampler_object(name).sampler_function(model, torch.tensor([[values[0]]]).float(), torch.tensor(way).float(),
                                                 extra_args={}, disable=True).item()
    off = np.abs(np.array(ends) / true - 1)
    assert off[0] < 2e-3 and off[1] > 10 * off[0]
