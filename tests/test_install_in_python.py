"""`pip install` of a clone, for scripts without ComfyUI: the mathematics and the demo model, from any folder."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCRIPT = """
import torch
import art_nodes.core, art_nodes.demo
from art_nodes.core import record_orbits
assert sum(weights.numel() for weights in art_nodes.demo.load_network().parameters()) > 100_000
bank = record_orbits(lambda x, sigma: x / (1 + sigma.reshape(-1, 1) ** 2), torch.randn(2, 4) * 10, 10.0, 0.1)
print(art_nodes.core.__file__, len(art_nodes.core.optimal_schedule(bank).sigmas(6)))
"""


def test_an_installed_clone_works_in_another_folder(tmp_path):
    clone, place = tmp_path / "clone", tmp_path / "site"  # pip builds in the clone, so not in this one
    shutil.copytree(ROOT / "art_nodes", clone / "art_nodes", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, clone)
    install = ["-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
    _run([*install, "--target", str(place), str(clone)], tmp_path)
    told = _run(["-c", SCRIPT], tmp_path, PYTHONPATH=str(place)).split()
    assert Path(told[0]).is_relative_to(place) and told[1] == "7"
    assert not (place / "art_nodes" / "host").exists()  # which ComfyUI alone can run
    assert len(list(place.rglob("*.safetensors"))) == 1  # and nothing under another licence


def _run(arguments: list[str], folder: Path, **environment: str) -> str:
    done = subprocess.run([sys.executable, *arguments], cwd=folder, env=os.environ | environment, capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
