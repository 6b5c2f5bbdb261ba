"""Run by ComfyUI-Manager after requirements.txt, with the host's own Python.

Only looks whether the requirements are there: it installs nothing, needs no network
and may run any number of times. torch comes with ComfyUI and is never touched.
"""

import importlib.util

# Import names of requirements.txt, which differ from the package names.
REQUIRED = {"numpy": "numpy", "safetensors": "safetensors", "PIL": "Pillow", "threadpoolctl": "threadpoolctl"}


def missing_packages() -> list[str]:
    """Package names from requirements.txt that cannot be imported."""
    return [package for module, package in REQUIRED.items() if importlib.util.find_spec(module) is None]


if __name__ == "__main__":
    missing = missing_packages()
    if missing:
        print(f"[ComfyUI-ART] missing: {', '.join(missing)}; run: pip install -r requirements.txt")
    else:
        print("[ComfyUI-ART] ready: all requirements are there")
