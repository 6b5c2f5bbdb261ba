"""The workflow that records one prompt on a checkpoint in ComfyUI, and what is usual for each family of models."""

from dataclasses import dataclass
from pathlib import Path

from art_nodes.demo.unet import CLASSES
from benchmarks.demo_workflow import MODEL as DEMO_SDXL

PROMPTS = Path(__file__).with_name("prompts.txt")
NEGATIVE = ""
EMPTY_4, EMPTY_16 = "EmptyLatentImage", "EmptySD3LatentImage"  # by the latents' channels
DEMO_DRESSES = {"demo-edm": "EDM (sigma 0.002-80)", "demo-sdxl": DEMO_SDXL}
PREFIX = "art-recording"


@dataclass(frozen=True)
class Recipe:
    """How a family is usually sampled: picture size in pixels, guidance, and the node of its empty latent.

    embedded: guidance that the model takes as an input (Flux), None for a model without.
    """

    width: int
    height: int
    cfg: float
    latent: str = EMPTY_4
    embedded: float | None = None


RECIPES = {
    "sd15": Recipe(512, 512, 7.0),
    "sdxl": Recipe(1024, 1024, 6.0),
    "sd3": Recipe(1024, 1024, 4.5, EMPTY_16),
    "flux": Recipe(1024, 1024, 1.0, EMPTY_16, embedded=3.5),
    "flow": Recipe(1024, 1024, 4.5, EMPTY_16),
    "eps": Recipe(512, 512, 7.0),
    "demo-edm": Recipe(28, 28, 1.0),
    "demo-sdxl": Recipe(28, 28, 1.0),
}
# Families whose models do not start from a prompt and noise alone.
NOT_FROM_PROMPTS = {
    "svd": "its models start from a picture; record it with ART Train in your own workflow",
    "sdxl-refiner": "it goes on from SDXL's half-made pictures; record it with ART Train in your own workflow",
}


def recipe_of(family: str) -> Recipe:
    """The usual settings of a family; ValueError for one that cannot be recorded from prompts, or does not exist."""
    if family in NOT_FROM_PROMPTS:
        raise ValueError(f"--family must be one that is sampled from prompts; got {family}: {NOT_FROM_PROMPTS[family]}")
    if family not in RECIPES:
        raise ValueError(f"--family must be one of: {', '.join(RECIPES)}; got {family!r}; take the nearest")
    return RECIPES[family]


def read_prompts(family: str, path: Path = PROMPTS) -> list[str]:
    """The prompts of a file, one a line, without comments; the demo model's classes for its families."""
    if family in DEMO_DRESSES:
        return list(CLASSES)
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def build(family: str, checkpoint: str, recipe: Recipe, prompt: str, *, seed: int, seeds: int, nodes: int,
          batch: int) -> dict:
    """The workflow in API format; node "record" answers with the file of the recording."""
    demo = family in DEMO_DRESSES
    graph, links = _demo(family, prompt, batch) if demo else _checkpoint(checkpoint, recipe, prompt, batch)
    record = _node("ARTRecordOrbits", **links, cfg=recipe.cfg, seed=seed, orbits=seeds, nodes=nodes,
                   filename_prefix=PREFIX)
    return {**graph, "record": record}


def needed_nodes(family: str) -> set[str]:
    """Node types that the workflow of a family is made of."""
    sample = build(family, "", recipe_of(family), CLASSES[0], seed=0, seeds=1, nodes=8, batch=1)
    return {node["class_type"] for node in sample.values()}


def _node(class_type: str, **inputs) -> dict:
    return {"class_type": class_type, "inputs": inputs}


def _demo(family: str, garment: str, batch: int) -> tuple[dict, dict]:
    """The demo model in the place of a checkpoint: nodes, and the links of what is recorded."""
    links = {"model": ["model", 0], "positive": ["model", 1], "negative": ["model", 2], "latent_image": ["model", 3]}
    return {"model": _node("ARTDemoModel", dress=DEMO_DRESSES[family], garment=garment, batch_size=batch)}, links


def _checkpoint(checkpoint: str, recipe: Recipe, prompt: str, batch: int) -> tuple[dict, dict]:
    """A checkpoint with its own text encoder, both prompts, and an empty latent; nodes and links as above."""
    graph = {
        "model": _node("CheckpointLoaderSimple", ckpt_name=checkpoint),
        "positive": _node("CLIPTextEncode", text=prompt, clip=["model", 1]),
        "negative": _node("CLIPTextEncode", text=NEGATIVE, clip=["model", 1]),
        "latent": _node(recipe.latent, width=recipe.width, height=recipe.height, batch_size=batch),
    }
    positive = ["positive", 0]
    if recipe.embedded is not None:
        graph["guidance"] = _node("FluxGuidance", conditioning=positive, guidance=recipe.embedded)
        positive = ["guidance", 0]
    links = {"model": ["model", 0], "positive": positive, "negative": ["negative", 0], "latent_image": ["latent", 0]}
    return graph, links
