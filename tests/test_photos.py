"""Photographs to patches, the photo network's denoiser, its training and its model card, on a tiny made-up table."""

import csv
import hashlib
import json
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from benchmarks import bundle_photos, photos, photos_report, train_photos
from benchmarks.photo_model import CHANNELS, load_network, new_network, photo_denoiser

SPLIT = {"sky": "train", "grass": "train", "cat": "held-out"}


def picture(seed: int, size=(200, 140)) -> Image.Image:
    """A smooth random picture."""
    noise = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder as after the packages were unpacked, with a table of three pictures; photos reads it."""
    rows = []
    for seed, (name, split) in enumerate(SPLIT.items()):
        path = tmp_path / "tree" / "pictures" / f"usr/{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(seed).save(path)
        rows.append(photos.Photo("pictures", f"usr/{name}.png", f"author of {name}", "CC0-1.0", split,
                                 hashlib.sha256(path.read_bytes()).hexdigest()))
    with open(tmp_path / "photos.csv", "w", newline="") as file:
        csv.writer(file).writerows([photos.Photo._fields, *rows])
    own_load = photos.load
    monkeypatch.setattr(photos, "load", lambda split: own_load(split, tmp_path, tmp_path / "photos.csv"))
    return tmp_path


def test_the_table_that_is_shipped_is_sound():
    table = photos.read_table()
    assert {photo.split for photo in table} == set(photos.SPLITS)
    assert len({photo.sha256 for photo in table}) == len(table) >= 50
    assert all(photo.author and photo.licence and not photo.path.startswith("/") for photo in table)
    assert not any(word in photo.licence for photo in table for word in ("NC", "ND", "GFDL"))


def test_patches_are_reproducible_and_of_their_split(folder):
    train, held_out = photos.load("train"), photos.load("held-out")
    assert (len(train), len(held_out)) == (2, 1)
    first, again = photos.patches(train, 20, seed=3), photos.patches(photos.load("train"), 20, seed=3)
    assert first.shape == (20, 3, 32, 32) and first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert not np.array_equal(first, photos.patches(train, 20, seed=4))


def test_pyramid_averages_and_never_enlarges():
    black_and_white = np.zeros((128, 192, 3), np.uint8)
    black_and_white[:, ::2] = 254  # finest stripes there are: an area average makes them grey, anything else aliases
    levels = photos.pyramid(Image.fromarray(black_and_white))
    assert [level.shape[:2] for level in levels] == [(64, 96), (91, 136), (128, 192)]
    assert (levels[0] == 127).all()


def test_network_units_and_the_way_back():
    values = np.random.default_rng(0).integers(0, 256, (4, 3, 32, 32), dtype=np.uint8)
    back = photos.to_pixels(photos.to_network(values))
    assert np.array_equal(back, values.transpose(0, 2, 3, 1))


def test_another_picture_than_the_tables_is_refused(folder):
    picture(9).save(folder / "tree/pictures/usr/cat.png")
    with pytest.raises(ValueError, match="it is another; delete .* to fetch the package again"):
        photos.load("held-out")
    with pytest.raises(ValueError, match="split must be one of train, held-out"):
        photos.load("test")


def test_a_package_that_cannot_be_fetched_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="run 'apt-get update' on Debian 12, or unpack"):
        photos.fetch(photos.read_table()[:1], tmp_path)


def test_denoiser_keeps_shape_and_checks_its_input():
    denoise = photo_denoiser(new_network().eval())
    x, sigma = torch.randn(2, CHANNELS, 32, 32), torch.tensor([0.1, 40.0])
    assert denoise(x, sigma).shape == x.shape and denoise(x, sigma).dtype == torch.float32
    # An untrained network answers 0: what is left is EDM's skip connection for data of unit variance.
    assert torch.allclose(denoise(x, sigma), x / (sigma.reshape(-1, 1, 1, 1) ** 2 + 1))
    for wrong in (torch.randn(2, 1, 32, 32), torch.randn(2, 3, 30, 32), torch.randn(3, 32, 32)):
        with pytest.raises(ValueError, match=r"must be of shape \(batch, 3, height, width\), both multiples of 4"):
            denoise(wrong, sigma)
    with pytest.raises(ValueError, match="sigma must be > 0"):
        denoise(x, torch.tensor([0.1, 0.0]))


def test_weights_of_another_network_and_missing_ones_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="train one with 'python -m benchmarks train-photos'"):
        load_network(tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"no weights")
    with pytest.raises(ValueError, match="must be a safetensors file of the photo network"):
        load_network(tmp_path / "bad.safetensors")


def test_a_gaussian_loss_is_what_it_must_be(folder):
    # The untrained network is D = x / (sigma^2 + 1): on data of unit variance its weighted error is 1 at any sigma.
    images = torch.randn(512, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    losses = train_photos.edm_losses(new_network().eval(), images, torch.Generator().manual_seed(2))
    assert losses.shape == (512,)
    assert losses.mean().item() == pytest.approx(1, abs=0.01)


def test_an_interrupted_training_ends_with_the_same_weights(folder, tmp_path):
    arguments = ["--images", "48", "--batch", "8", "--minutes", "1000"]  # the share of images rules
    assert train_photos.main([*arguments, "--out", str(tmp_path / "whole")]) == 0

    stop_after(folder, tmp_path / "parts", steps=3, arguments=arguments)
    assert train_photos.main([*arguments, "--out", str(tmp_path / "parts")]) == 0

    whole, parts = (load_network(tmp_path / name / train_photos.WEIGHTS).state_dict() for name in ("whole", "parts"))
    assert all(torch.allclose(whole[name], parts[name], atol=1e-3) for name in whole)
    with pytest.raises(ValueError, match="give that --seed, or another --out"):
        train_photos.main([*arguments, "--seed", "1", "--out", str(tmp_path / "parts")])


def stop_after(folder, out: Path, steps: int, arguments: list[str]) -> None:
    """Runs the training until SIGTERM comes in the middle of a step."""
    own_update = train_photos.Training.update

    def update(self, images, done):
        if self.step == steps - 1:
            signal.raise_signal(signal.SIGTERM)
        return own_update(self, images, done)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_photos.Training, "update", update)
        assert train_photos.main([*arguments, "--out", str(out)]) == 1
    assert torch.load(out / "checkpoint.pt", weights_only=True)["step"] == steps
    assert not list(out.glob("*.safetensors"))


@pytest.fixture(autouse=True)
def own_signals():
    """The training takes over SIGTERM and SIGINT of the process: give them back."""
    assert threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_slope_of_a_known_spectrum():
    frequency = np.fft.fftfreq(32, 1 / 32)
    radius = np.maximum(np.hypot(frequency[:, None], frequency[None]), 1)
    white = torch.randn(400, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    coloured = torch.fft.ifft2(torch.fft.fft2(white) / torch.from_numpy(radius)).real
    assert photos_report.slope(photos_report.power_spectrum(white)) == pytest.approx(0, abs=0.1)
    assert photos_report.slope(photos_report.power_spectrum(coloured)) == pytest.approx(-2, abs=0.25)


def test_bundle_writes_card_pictures_and_weights(folder, tmp_path, monkeypatch):
    assert train_photos.main(["--images", "160", "--batch", "8", "--out", str(tmp_path / "run")]) == 0
    monkeypatch.setattr(bundle_photos, "STEPS", 2)
    monkeypatch.setattr(bundle_photos, "COMPARED", 64)
    monkeypatch.setattr(train_photos, "HELD_OUT_PATCHES", 64)
    bundle_photos.main(["--weights", str(tmp_path / "run" / train_photos.WEIGHTS), "--samples", "96",
                        "--out", str(tmp_path / "root")])
    root = tmp_path / "root"
    page = (root / "docs/photo-model.md").read_text()
    assert f"{sum(weight.numel() for weight in new_network().parameters()):,} parameters" in page
    assert "| plasma-workspace-wallpapers | GPL-2+ | 11 | 2 |" in page
    assert all((root / "docs/images" / f"photo-{name}.png").is_file() for name in ("samples", "spectrum", "loss"))
    weights = root / "benchmarks/photo_model/photo_unet.safetensors"
    load_network(weights)
    with safe_open(weights, framework="pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["training"])["images"] == 160
    assert float(metadata["loss_on_test_patches"]) > 0
    assert Image.open(root / bundle_photos.PATCHES).size == (256, 256)
