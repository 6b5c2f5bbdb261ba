"""Photographs from Debian packages as 32x32 colour patches at several scales.

photos.csv lists the photographs: package, path in it, author and licence as the package states
them, and the split. Held-out photographs share no picture with the training set. Packages are
downloaded with apt-get and unpacked, not installed.
"""

import csv
import hashlib
import os
import subprocess
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from benchmarks.photo_model import IMAGE_SIZE, PIXEL_MEAN, PIXEL_STD

TABLE = Path(__file__).parent / "photos.csv"
FOLDER = Path(os.environ.get("PHOTOS_DIR", "build/photos"))
# Short side of a photograph at each scale, in pixels: a patch sees from half of it down to an eleventh.
# Finer ones would mostly add flat patches: the background of many of these photographs is out of focus.
SCALES = (64, 91, 128, 181, 256, 362)
SPLITS = ("train", "held-out")


class Photo(NamedTuple):
    """One row of the table."""

    package: str
    path: str
    author: str
    licence: str
    split: str
    sha256: str


def read_table(path: Path = TABLE) -> list[Photo]:
    """All photographs of the table, in its order."""
    with open(path, newline="", encoding="utf-8") as file:
        return [Photo(**row) for row in csv.DictReader(file)]


def fetch(photos: list[Photo], folder: Path = FOLDER) -> None:
    """Downloads and unpacks the packages that are not there yet: about 250 MB the first time."""
    for package in sorted({photo.package for photo in photos}):
        tree = folder / "tree" / package
        if tree.is_dir():
            continue
        (folder / "deb").mkdir(parents=True, exist_ok=True)
        print(f"fetching {package}", flush=True)
        # apt's own sandbox user may not write into a folder of the repository.
        _command("apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", package, cwd=folder / "deb")
        archive = max((folder / "deb").glob(f"{package}_*.deb"), key=lambda path: path.stat().st_mtime)
        unfinished = tree.with_name(f"{package}.{os.getpid()}")
        unfinished.mkdir(parents=True)
        _command("dpkg-deb", "-x", str(archive), str(unfinished))
        unfinished.rename(tree)


def _command(*words: str, cwd: Path | None = None) -> None:
    try:
        subprocess.run(words, check=True, cwd=cwd)
    except (OSError, subprocess.CalledProcessError) as error:
        raise RuntimeError(
            f"the photographs come from Debian packages; '{' '.join(words)}' failed ({error}); run 'apt-get update' "
            "on Debian 12, or unpack the packages of benchmarks/photos.csv into PHOTOS_DIR/tree/PACKAGE yourself"
        ) from error


def open_photo(photo: Photo, folder: Path = FOLDER) -> Image.Image:
    """The picture in RGB, after a check that it is the one that the table means."""
    path = folder / "tree" / photo.package / photo.path
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != photo.sha256:
        raise ValueError(
            f"{path} must be the picture of benchmarks/photos.csv; it is {'another' if path.is_file() else 'missing'}; "
            f"delete {folder / 'tree' / photo.package} to fetch the package again, or look for the version of Debian 12"
        )
    with Image.open(path) as picture:
        return picture.convert("RGB")


def pyramid(picture: Image.Image, scales=SCALES) -> list[np.ndarray]:
    """The picture averaged over areas down to each short side that it has, (H, W, 3) uint8; never enlarged."""
    short = min(picture.size)
    sizes = [[round(side * scale / short) for side in picture.size] for scale in scales if scale <= short]
    return [np.asarray(picture.resize(size, Image.Resampling.BOX)) for size in sizes]


def load(split: str, folder: Path = FOLDER, table: Path = TABLE) -> list[list[np.ndarray]]:
    """The pyramid of every photograph of a split; read from a cache in `folder` the second time."""
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}; got {split!r}; choose one of these")
    key = hashlib.sha256(table.read_bytes() + repr(SCALES).encode()).hexdigest()[:12]
    cache = folder / f"{split}-{key}.npz"
    if not cache.exists():
        photos = [photo for photo in read_table(table) if photo.split == split]
        fetch(photos, folder)
        levels = {f"{i}/{j}": level for i, photo in enumerate(photos)
                  for j, level in enumerate(pyramid(open_photo(photo, folder)))}
        unfinished = cache.with_name(f"{cache.stem}.{os.getpid()}.npz")
        np.savez(unfinished, **levels)
        unfinished.replace(cache)
    with np.load(cache) as arrays:
        photos = {}
        for name in arrays.files:
            photos.setdefault(name.split("/")[0], []).append(arrays[name])
    return list(photos.values())


def patches(photos: list[list[np.ndarray]], count: int, seed: int) -> np.ndarray:
    """Random patches (count, 3, 32, 32) uint8: photograph, scale, place and mirroring drawn evenly from the seed."""
    random = np.random.default_rng(seed)
    out = np.empty((count, 3, IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    for patch in out:
        levels = photos[random.integers(len(photos))]
        level = levels[random.integers(len(levels))]
        top, left = (random.integers(side - IMAGE_SIZE + 1) for side in level.shape[:2])
        crop = level[top:top + IMAGE_SIZE, left:left + IMAGE_SIZE]
        patch[:] = (crop[:, ::-1] if random.integers(2) else crop).transpose(2, 0, 1)
    return out


def to_network(values: np.ndarray) -> torch.Tensor:
    """Patches uint8 as the network sees them: float32 of mean 0 and unit variance over the training set."""
    return (torch.from_numpy(values).float() / 255 - PIXEL_MEAN) / PIXEL_STD


def to_pixels(x: torch.Tensor) -> np.ndarray:
    """The way back: (N, 3, H, W) network units to (N, H, W, 3) uint8, clipped."""
    return ((x * PIXEL_STD + PIXEL_MEAN).clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
