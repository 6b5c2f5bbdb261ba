"""Models with the host's own patches on them: a recording follows what the patched model does."""

import asyncio
import importlib
import inspect

import numpy as np
import pytest
import torch

from benchmarks.comfy import networks

pytestmark = pytest.mark.host
CFG, SEED, NODES, STEPS = 4.0, 1, 40, 60
# Module of comfy_extras and node, with its defaults but for what is given.
PATCHES = {
    ("nodes_apg", "APG"): {}, ("nodes_cfg", "CFGNorm"): {"strength": 0.5}, ("nodes_freelunch", "FreeU_V2"): {},
    ("nodes_model_downscale", "PatchModelAddDownscale"): {"block_number": 1},
    ("nodes_pag", "PerturbedAttentionGuidance"): {}, ("nodes_sag", "SelfAttentionGuidance"): {},
    ("nodes_tcfg", "TCFG"): {},
}


def patched(module: str, name: str, model, **given):
    """The model that a node makes of it, of the old kind or the new."""
    nodes = importlib.import_module(f"comfy_extras.{module}")
    node = getattr(nodes, "NODE_CLASS_MAPPINGS", {}).get(name)
    if node is None:
        extension = nodes.comfy_entrypoint()
        extension = asyncio.run(extension) if inspect.isawaitable(extension) else extension
        node = next(one for one in asyncio.run(extension.get_node_list()) if one.GET_SCHEMA().node_id == name)
    for key, (kind, *options) in node.INPUT_TYPES()["required"].items():
        given.setdefault(key, model if kind == "MODEL" else _default(kind, *options))
    if hasattr(node, "GET_SCHEMA"):
        return node.execute(**given).args[0]
    return getattr(node(), node.FUNCTION)(**given)[0]


def _default(kind, options=None):
    known = options or {}
    return known["default"] if "default" in known else (kind if isinstance(kind, list) else known["options"])[0]


def fine_end(model, positive, negative, latent) -> torch.Tensor:
    """Where the host's own sampler ends in many steps, from the noise of a recording."""
    from art_nodes.host.comparing import reference_grid
    from art_nodes.host.comparing_samplers import sample
    from art_nodes.host.recording import flat, gaussian

    grid, empty = reference_grid(model.get_model_object("model_sampling"), STEPS), latent["samples"]
    with torch.inference_mode():
        return flat(sample(model, positive, negative, CFG, gaussian(empty, SEED), empty, "dpmpp_2m", grid, SEED,
                           lambda _: None))


@pytest.fixture(scope="module")
def plain(comfy):
    """A narrow SDXL's inputs, and where it ends without a patch."""
    inputs = networks.inputs("SDXL", batch=1)
    return inputs, fine_end(*inputs)


@pytest.mark.parametrize("node", PATCHES, ids=lambda node: node[1])
def test_recorded_orbits_end_where_the_patched_model_does(plain, recording, node):
    (model, *others), unpatched = plain
    changed = patched(*node, model.clone(), **PATCHES[node])
    fine = fine_end(changed, *others)
    with torch.inference_mode():
        bank = recording.record(changed, *others, cfg=CFG, seed=SEED, orbits=1, nodes=NODES)

    def off(end) -> float:
        return float(np.linalg.norm(bank.ends - end.numpy()) / np.linalg.norm(end))

    found, control = off(fine), off(unpatched)
    assert found < 0.05 and found < control / 2, (found, control)
