"""Workflows in the page's own format for the tests of this folder, small enough to run in a second or two.

A workflow that trains has an id of its own name: the page remembers the trainings of a workflow by its id, and several
tests may share a page.
"""

import uuid

SAMPLED = (("model", "MODEL"), ("positive", "CONDITIONING"), ("negative", "CONDITIONING"), ("latent_image", "LATENT"))


def demo_node(node_id=1, batch_size=4) -> dict:
    """ART Demo Model; its outputs are wired by `wire`."""
    outputs = [("model", "MODEL"), ("positive", "CONDITIONING"), ("negative", "CONDITIONING"), ("latent", "LATENT"),
               ("vae", "VAE")]
    return _node(node_id, "ARTDemoModel", (0, 100), [], outputs,
                 ["SDXL (EPS, sigma 0.0292-14.61)", "all classes in turn", batch_size])


def train_node(node_id=2, name="browser", seed=1, iterations=60, orbits=4, y=0) -> dict:
    """ART Train with few iterations."""
    outputs = [("schedule", "ART_SCHEDULE"), ("sigmas", "SIGMAS"), ("plot", "IMAGE"), ("report", "STRING")]
    values = [1.0, seed, "fixed", orbits, 16, 6, name, "ART-RL", iterations, 32, 32, 0.05, 0.5, 0.95, 4.0, 16,
              "feedback", "euler"]
    return _node(node_id, "ARTTrain", (360, y), SAMPLED, outputs, values)


def ksampler_node(node_id=2, seed=77) -> dict:
    """KSampler with values that are all different from the defaults."""
    return _node(node_id, "KSampler", (420, 100), SAMPLED, [("LATENT", "LATENT")],
                 [seed, "fixed", 9, 1.5, "heun", "karras", 0.8])


def custom_node(node_id=2) -> dict:
    """SamplerCustom, with nothing for its sampler and sigmas."""
    inputs = [*SAMPLED[:3], ("sampler", "SAMPLER"), ("sigmas", "SIGMAS"), SAMPLED[3]]
    return _node(node_id, "SamplerCustom", (420, 100), inputs, [("output", "LATENT"), ("denoised_output", "LATENT")],
                 [True, 5, "fixed", 2.5])


def sigmas_node(node_id=2, name="auto", steps=10) -> dict:
    """ART Sigmas; its inputs for wires are a schedule and a model."""
    return _node(node_id, "ARTSigmas", (420, 100), [("schedule", "ART_SCHEDULE"), ("model", "MODEL")],
                 [("sigmas", "SIGMAS")], [name, steps, 1.0])


def info_node(node_id=2, name="demo-sdxl") -> dict:
    """ART Schedule Info; it is an output node."""
    return _node(node_id, "ARTScheduleInfo", (420, 600), [("schedule", "ART_SCHEDULE")],
                 [("curve", "IMAGE"), ("text", "STRING")], [name, "6, 10"])


def compare_node(node_id=2) -> dict:
    """ART Compare of two schedules at one number of steps; it is an output node."""
    inputs = [*SAMPLED, ("schedule", "ART_SCHEDULE"), ("sigmas", "SIGMAS"), ("vae", "VAE")]
    outputs = [("table", "STRING"), ("plot", "IMAGE"), ("pictures", "IMAGE")]
    return _node(node_id, "ARTCompare", (420, 400), inputs, outputs,
                 [1.0, 0, "fixed", 1, "euler", "4", "karras, simple", 40])


def preview_node(node_id=3, pos=(800, 0)) -> dict:
    """PreviewAny, an output node; it makes the host run what it is wired to."""
    return _node(node_id, "PreviewAny", pos, [("source", "*")], [], [])


def decode_node(node_id=3) -> dict:
    """VAEDecode."""
    return _node(node_id, "VAEDecode", (900, 100), [("samples", "LATENT"), ("vae", "VAE")], [("IMAGE", "IMAGE")], [])


def graph(nodes: list[dict], wires: list[tuple], workflow_id="00000000-0000-4000-8000-000000000001") -> dict:
    """A workflow; a wire is (from, slot, to, slot)."""
    links = []
    by_id = {node["id"]: node for node in nodes}
    for number, (origin, slot, target, to) in enumerate(wires, start=1):
        output, given = by_id[origin]["outputs"][slot], by_id[target]["inputs"][to]
        links.append([number, origin, slot, target, to, output["type"]])
        output["links"].append(number)
        given["link"] = number
    return {"id": workflow_id, "revision": 0, "last_node_id": max(by_id), "last_link_id": len(links), "nodes": nodes,
            "links": links, "groups": [], "config": {}, "extra": {}, "version": 0.4}


def named_id(name: str) -> str:
    """The same id for the same name."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, name))


def sampled(node_id: int) -> list[tuple]:
    """Wires from the demo model to a node that samples."""
    return [(1, slot, node_id, slot) for slot in range(4)]


def training(**options) -> dict:
    """Demo model, ART Train and a preview of its report."""
    return graph([demo_node(), train_node(2, **options), preview_node(3)], [*sampled(2), (2, 3, 3, 0)],
                 named_id(options["name"]))


def two_trainings(first: str, second: str) -> dict:
    """Two ART Train nodes, 2 and 4, which the host runs one after the other."""
    nodes = [demo_node(), train_node(2, first), preview_node(3), train_node(4, second, seed=2, y=1100),
             preview_node(5, (800, 1100))]
    return graph(nodes, [*sampled(2), *sampled(4), (2, 3, 3, 0), (4, 3, 5, 0)], named_id(first + second))


def automatic(steps: int = 10) -> dict:
    """Demo model, ART Sigmas that chooses for it, and a preview."""
    return graph([demo_node(), sigmas_node(steps=steps), preview_node(3)], [(1, 0, 2, 1), (2, 0, 3, 0)])


def speaking(steps: int) -> dict:
    """ART Sigmas as node 2, on the schedule of another model, with a preview, and ART Schedule Info as node 4."""
    nodes = [demo_node(), sigmas_node(2, "sd3", steps), preview_node(3), info_node(4)]
    return graph(nodes, [(1, 0, 2, 1), (2, 0, 3, 0)], named_id("speaking"))


def compared(steps: int) -> dict:
    """Demo model, ART Sigmas that chooses for it, a preview, and ART Compare as node 4."""
    nodes = [demo_node(), sigmas_node(steps=steps), preview_node(3), compare_node(4)]
    return graph(nodes, [(1, 0, 2, 1), (2, 0, 3, 0), *sampled(4)], named_id("compared"))


def sampling() -> dict:
    """Demo model, KSampler and VAEDecode."""
    return graph([demo_node(), ksampler_node(2), decode_node(3)], [*sampled(2), (2, 0, 3, 0), (1, 4, 3, 1)])


def custom_sampling() -> dict:
    """Demo model, SamplerCustom and VAEDecode."""
    wires = [(1, 0, 2, 0), (1, 1, 2, 1), (1, 2, 2, 2), (1, 3, 2, 5), (2, 0, 3, 0), (1, 4, 3, 1)]
    return graph([demo_node(), custom_node(2), decode_node(3)], wires)


def _node(node_id, kind, pos, inputs, outputs, values) -> dict:
    return {
        "id": node_id, "type": kind, "pos": list(pos), "size": [320, 200], "flags": {}, "order": node_id, "mode": 0,
        "inputs": [{"name": name, "type": type_, "link": None} for name, type_ in inputs],
        "outputs": [{"name": name, "type": type_, "links": []} for name, type_ in outputs],
        "properties": {"Node name for S&R": kind}, "widgets_values": values,
    }
