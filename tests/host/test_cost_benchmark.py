"""The benchmark of what ART Train costs on networks of full size."""

import pytest
import torch

from benchmarks import cost
from benchmarks.comfy import networks

pytestmark = pytest.mark.host


@pytest.mark.parametrize("name, parameters", [("SD 1.5", 859_520_964), ("SDXL", 2_567_463_684),
                                              ("Flux", 11_901_408_320)])
def test_full_size_is_that_of_the_checkpoints(comfy, name, parameters):
    """As those of their checkpoints are known to be."""
    import comfy.supported_models

    network = networks.FULL[name]
    with torch.inference_mode(False):
        config = getattr(comfy.supported_models, network.config)(dict(network.build))
        config.set_inference_dtype(torch.bfloat16, None)
        model = config.get_model({}, "", device=torch.device("meta"))
    assert sum(weight.numel() for weight in model.diffusion_model.parameters()) == parameters


def test_training_is_timed_beside_sampling(comfy, monkeypatch):
    """On a narrow network, for which clocks of our own run: the faster sampling of the two counts, for 8 pictures."""
    monkeypatch.setattr(networks, "FULL", networks.NETWORKS)
    monkeypatch.setattr(cost, "PRECISION", {"Flux": torch.float32})
    times = iter((2.0, 5.0, 1.0))
    monkeypatch.setattr(cost, "timed", lambda work: (work(), (next(times), 0.0))[1])
    bench, calls = cost.Bench("Flux"), []
    bench.given[0].set_model_unet_function_wrapper(
        lambda apply, given: calls.append(1) or apply(given["input"], given["timestep"], **given["c"]))
    with torch.inference_mode():
        row = dict(zip(cost.HEAD, cost.row(bench, pictures=1, steps=3, orbits=2, nodes=16, iterations=10),
                       strict=True))
    assert len(calls) == 2 + 2 * 3 + 2 * 16
    assert [row[name] for name in ("network", "pixels", "cfg", "calls a second", "8 pictures, s", "ratio")] == [
        "Flux", "128by128", "1", "3.0", "8.0", "0.62"]
    assert bench.bank_bytes > 2 * 17**2 * 8 and 0 < bench.recording  # two Gram matrices at least
