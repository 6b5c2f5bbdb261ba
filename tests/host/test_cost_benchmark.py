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
    """On narrow networks: model calls are those of ART Train and of four times as many pictures."""
    monkeypatch.setattr(networks, "FULL", networks.NETWORKS)
    monkeypatch.setattr(cost, "PRECISION", {"Flux": torch.float32})
    bench, calls = cost.Bench("Flux", side=8), []
    bench.given[0].set_model_unet_function_wrapper(
        lambda apply, given: calls.append(1) or apply(given["input"], given["timestep"], **given["c"]))
    with torch.inference_mode():
        row = dict(zip(cost.HEAD, cost.row(bench, pictures=1, steps=3, orbits=2, nodes=16, iterations=10),
                       strict=True))
    assert len(calls) == 2 + 2 * 3 + 2 * 16
    assert (row["network"], row["pixels"], row["cfg"]) == ("Flux", "64by64", "1") and float(row["bank, MiB"]) >= 0
    spent = float(row["recording, s"]) + float(row["learning, s"])
    assert float(row["ratio"]) == pytest.approx(spent / float(row["8 pictures, s"]), rel=0.5)
