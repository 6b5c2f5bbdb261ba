"""What the tests of ART Train, ART Sigmas and the library share."""

import uuid
from contextlib import contextmanager

import numpy as np

from art_nodes.core import Schedule
from benchmarks.comfy import install

PREFIX = "art-test-"  # of every schedule that a test saves in the running host
# Small enough for a second or two; the schedules are poor and that is all right.
QUICK = {"orbits": 2, "nodes": 8, "iterations": 10, "episodes": 8, "clock_nodes": 16, "objective": "euler"}
BAD_NAMES = ["../x", "a/b", "a\\b", "<img>", "", " ", "x" * 300, "CON", "nul.x", ".hidden", "a b", "x.", "x\n",
             "x.safetensors", "ü", "..", "/etc/x", "C:x"]


def fresh_name() -> str:
    """A schedule name that no other test uses."""
    return PREFIX + uuid.uuid4().hex[:8]


def schedule(top=80.0, rate=1.0, **provenance) -> Schedule:
    """A made-up schedule that starts at sigma `top`."""
    times = np.linspace(0, 1, 33)
    return Schedule(top * (1 - times) ** (1 + rate), provenance)


def train_node(name, cfg=3.0, seed=1, steps=6, **settings) -> dict:
    """Node "train" on node "demo": outputs 0 ART_SCHEDULE, 1 SIGMAS, 2 plot, 3 report."""
    inputs = {
        "model": ["demo", 0], "positive": ["demo", 1], "negative": ["demo", 2], "latent_image": ["demo", 3],
        "cfg": cfg, "seed": seed, "steps": steps, "name": name, "method": "ART-RL", "lam": 0.05,
        "learning_rate": 0.5, "trace": 0.95, "penalty": 4.0, "knots": 24,
        **QUICK, **settings,
    }
    return {"train": {"class_type": "ARTTrain", "inputs": inputs}}


def sigmas_node(name, steps=6, denoise=1.0, **links) -> dict:
    """ART Sigmas as node "sigmas"."""
    inputs = {"schedule_name": name, "steps": steps, "denoise": denoise, **links}
    return {"sigmas": {"class_type": "ARTSigmas", "inputs": inputs}}


def host_folder():
    """Where the running host keeps trained schedules."""
    return install.base_directory() / "models" / "art_schedules"


def remove_host_files() -> None:
    """Delete what tests saved in the running host."""
    for path in host_folder().glob(PREFIX + "*"):
        path.unlink()


@contextmanager
def own_library(comfy, monkeypatch, folder):
    """The library module with empty folders of its own: `folder`/bundled and `folder`/trained."""
    import folder_paths

    from art_nodes.host import library

    (folder / "bundled").mkdir()
    monkeypatch.setattr(library, "BUNDLED", folder / "bundled")
    places = ([str(folder / "trained")], {".safetensors"})
    monkeypatch.setitem(folder_paths.folder_names_and_paths, library.FOLDER, places)
    yield library
