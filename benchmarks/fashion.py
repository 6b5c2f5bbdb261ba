"""Fashion-MNIST as tensors, from Debian's package `dataset-fashion-mnist`."""

import gzip
import os
from pathlib import Path

import numpy as np
import torch

from art_nodes.demo.unet import CLASSES, IMAGE_SIZE, PIXEL_MEAN, PIXEL_STD

DATA_DIR = Path(os.environ.get("FASHION_MNIST_DIR", "/usr/share/datasets/fashion-mnist"))


def _read_idx(name: str, header: int) -> np.ndarray:
    path = DATA_DIR / name
    if not path.exists():
        raise FileNotFoundError(
            f"Fashion-MNIST is needed; {path} does not exist; run 'apt-get install dataset-fashion-mnist' "
            "or point FASHION_MNIST_DIR at a folder with the four idx .gz files"
        )
    with gzip.open(path) as file:
        return np.frombuffer(file.read(), dtype=np.uint8, offset=header)


def load(split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (N, 1, 28, 28) as (pixel - mean) / std and labels (N,); split is 'train' or 't10k'."""
    images = torch.from_numpy(_read_idx(f"{split}-images-idx3-ubyte.gz", 16).copy())
    labels = torch.from_numpy(_read_idx(f"{split}-labels-idx1-ubyte.gz", 8).copy()).long()
    pixels = images.reshape(-1, 1, IMAGE_SIZE, IMAGE_SIZE).float() / 255
    return (pixels - PIXEL_MEAN) / PIXEL_STD, labels


def one_hot(labels: torch.Tensor) -> torch.Tensor:
    """(N,) class numbers to the (N, 10) weights that the network takes."""
    return torch.nn.functional.one_hot(labels, len(CLASSES)).float()
