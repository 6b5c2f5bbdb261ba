"""The shipped weights of the photo model: that they are whole, and as good as their metadata say."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from benchmarks import photos, train_photos
from benchmarks.photo_model import CHANNELS, IMAGE_SIZE, WEIGHTS, load_network, photo_denoiser
from benchmarks.targets import PHOTOS

PATCHES = Path(__file__).parent / "photo_patches.png"  # 64 patches of held-out photographs, edge to edge


@pytest.fixture(scope="module")
def network():
    return load_network()


def held_out() -> torch.Tensor:
    """The 64 patches in network units."""
    tiles = np.asarray(Image.open(PATCHES)).reshape(-1, IMAGE_SIZE, 8, IMAGE_SIZE, CHANNELS)
    return photos.to_network(np.ascontiguousarray(tiles.transpose(0, 2, 4, 1, 3).reshape(64, CHANNELS, 32, 32)))


def test_loss_on_held_out_patches_is_the_recorded_one(network):
    with safe_open(WEIGHTS, framework="pt") as file:
        recorded = float(file.metadata()["loss_on_test_patches"])
    generator = torch.Generator().manual_seed(train_photos.HELD_OUT_SEED)
    with torch.no_grad():
        loss = train_photos.edm_losses(network, held_out(), generator).mean().item()
    assert loss == pytest.approx(recorded, rel=1e-3)
    assert loss < 0.5  # an untrained network has 1; a prediction of 0 has more


def test_weights_fit_the_limit_and_are_finite(network):
    assert WEIGHTS.stat().st_size <= 6e6
    assert all(weight.isfinite().all() for weight in network.parameters())


@pytest.mark.parametrize("sigma", [0.002, 0.05, 1.0, 80.0])
def test_denoiser_is_sane_over_the_range(network, sigma):
    clean = held_out()[:16]
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        denoised = photo_denoiser(network)(clean + sigma * noise, torch.full((16,), sigma))
    # So little noise was hardly ever trained on: there it may stay, but no more may come.
    assert (denoised - clean).square().mean().sqrt() < min(1.3, (1.05 if sigma < 0.01 else 0.9) * sigma)


def test_orbits_are_recorded():
    bank = PHOTOS[0].record(seed=1, nodes=8)
    assert bank.stiffness.shape[0] == PHOTOS[0].shape[0]
    assert np.isfinite(np.asarray(bank.stiffness)).all()
