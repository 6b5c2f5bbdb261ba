"""Bundle the trained photo model: `python -m benchmarks bundle-photos`.

Copies the weights in half precision to benchmarks/photo_model/ and writes docs/photo-model.md with its
pictures: samples beside held-out patches, power spectra, losses, and the licence table.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from art_nodes.core.compare import SOLVERS
from art_nodes.core.grids import power_grid
from benchmarks import photos, photos_report, train_photos
from benchmarks.machine import this_machine
from benchmarks.photo_model import CHANNELS, IMAGE_SIZE, PIXEL_MEAN, PIXEL_STD, WEIGHTS, load_network, photo_denoiser

ROOT = Path(__file__).resolve().parents[1]
CARD = Path(__file__).parent / "photos_card.md"
PATCHES = Path("tests/photo_patches.png")  # 64 held-out patches for the test of the shipped weights
SIGMA_MAX, SIGMA_MIN, STEPS = 80.0, 0.002, 40
SHOWN, COLUMNS = 96, 8
COMPARED = 4096  # real patches of each split in the comparisons


@dataclass(frozen=True)
class Figures:
    """What the model card states."""

    parameters: int
    losses: dict[str, float]  # EDM loss on patches of each split
    spectra: dict[str, np.ndarray]
    training: dict
    megabytes: float


def sample(network, count: int, seed: int, batch: int = 64) -> torch.Tensor:
    """Patches (count, 3, 32, 32) by Heun's method on EDM's grid, 79 model calls."""
    generator = torch.Generator().manual_seed(seed)
    sigmas = torch.as_tensor(power_grid(STEPS, SIGMA_MAX, SIGMA_MIN), dtype=torch.float32)
    denoise = photo_denoiser(network.to(memory_format=torch.channels_last))
    parts = []
    for start in range(0, count, batch):
        size = min(batch, count - start)
        noise = torch.randn(size, CHANNELS, IMAGE_SIZE, IMAGE_SIZE, generator=generator)
        with torch.no_grad():
            parts.append(SOLVERS["heun"](denoise, noise * (SIGMA_MAX**2 + 1) ** 0.5, sigmas))
        print(f"{start + size}/{count} samples", flush=True)
    return torch.cat(parts)


def measure(path: Path, samples: torch.Tensor) -> Figures:
    """Losses and spectra of the weights at `path`."""
    network = load_network(path)
    with safe_open(path, framework="pt") as file:
        training = json.loads(file.metadata()["training"])
    sets = {split: photos.load(split) for split in photos.SPLITS}
    spectra = {"samples": photos_report.power_spectrum(samples)}
    for split in reversed(photos.SPLITS):
        real = photos.to_network(photos.patches(sets[split], COMPARED, seed=99))
        spectra[f"{split} patches"] = photos_report.power_spectrum(real)
    return Figures(sum(p.numel() for p in network.parameters()),
                   {split: train_photos.split_loss(network, sets[split]) for split in photos.SPLITS},
                   spectra, training, path.stat().st_size / 1e6)


def write_weights(source: Path, target: Path, patches: np.ndarray) -> None:
    """The weights with, as metadata, how they were trained and their loss on the patches that go with the test."""
    network = load_network(source)
    generator = torch.Generator().manual_seed(train_photos.HELD_OUT_SEED)
    with torch.no_grad():
        loss = train_photos.edm_losses(network, photos.to_network(patches), generator).mean().item()
    with safe_open(source, framework="pt") as file:
        metadata = file.metadata()
    target.parent.mkdir(parents=True, exist_ok=True)
    save_file(load_file(source), target, {**metadata, "loss_on_test_patches": f"{loss:.6f}", "licence": "GPL-3.0"})
    target.chmod(0o644)


def tile(patches: np.ndarray, columns: int = 8) -> Image.Image:
    """Patches (N, 3, 32, 32) edge to edge in one picture, `columns` a row."""
    rows = patches.reshape(-1, columns, CHANNELS, IMAGE_SIZE, IMAGE_SIZE).transpose(0, 3, 1, 4, 2)
    return Image.fromarray(rows.reshape(-1, columns * IMAGE_SIZE, CHANNELS))


def licence_table(table: list[photos.Photo]) -> str:
    """A row for each package and licence: photographs, of them held out, authors."""
    lines = ["| package | licence | photographs | held out | authors |", "|---|---|---|---|---|"]
    for package, licence in sorted({(photo.package, photo.licence) for photo in table}):
        own = [photo for photo in table if (photo.package, photo.licence) == (package, licence)]
        authors = sorted({author for photo in own for author in photo.author.split("; ")})
        held = sum(photo.split == "held-out" for photo in own)
        lines.append(f"| {package} | {licence} | {len(own)} | {held} | {', '.join(authors)} |")
    return "\n".join(lines)


def card(figures: Figures, table: list[photos.Photo], samples: int) -> str:
    """The model card: photos_card.md with the figures filled in."""
    made, ratios = figures.training, {}
    for name in ("samples", "train patches"):
        ratio = figures.spectra[name] / figures.spectra["held-out patches"]
        ratios[name] = ", ".join(f"{ratio[cycles - 1]:.2f}" for cycles in (1, 4, 8, 15))
    slopes = {name: photos_report.slope(spectrum) for name, spectrum in figures.spectra.items()}
    counts = {name: sum(photo.split == name for photo in table) for name in photos.SPLITS}
    return CARD.read_text(encoding="utf-8").format(
        machine=this_machine(), parameters=figures.parameters, megabytes=figures.megabytes,
        mean=PIXEL_MEAN, std=PIXEL_STD, scales=", ".join(map(str, photos.SCALES)),
        log_mean=train_photos.SIGMA_LOG_MEAN, log_std=train_photos.SIGMA_LOG_STD, dropout=train_photos.DROPOUT,
        count_train=counts["train"], count_held=counts["held-out"],
        **{name: made[name] for name in ("images", "batch", "peak_lr", "seed", "minutes")},
        loss_train=figures.losses["train"], loss_held=figures.losses["held-out"],
        loss_patches=train_photos.HELD_OUT_PATCHES, samples=samples, steps=STEPS, sigma_max=SIGMA_MAX,
        slope_samples=slopes["samples"], slope_held=slopes["held-out patches"], slope_train=slopes["train patches"],
        ratio_samples=ratios["samples"], ratio_train=ratios["train patches"], licences=licence_table(table),
    )


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks bundle-photos", description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, default=train_photos.OUT / train_photos.WEIGHTS,
                        help="what train-photos wrote (default %(default)s)")
    parser.add_argument("--samples", type=int, default=1024, help="for the spectrum (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT, help="root of the repository that is written to")
    args = parser.parse_args(argv)
    if args.samples < SHOWN:
        parser.error(f"--samples must be >= {SHOWN}, as many as the sheet shows; got {args.samples}")
    samples = sample(load_network(args.weights), args.samples, args.seed)
    figures = measure(args.weights, samples)
    held_out = photos.patches(photos.load("held-out"), SHOWN, seed=7)
    images = args.out / "docs" / "images"
    images.mkdir(parents=True, exist_ok=True)
    (args.out / PATCHES).parent.mkdir(exist_ok=True)
    shown = {"samples": photos.to_pixels(samples[:SHOWN]), "held-out patches": held_out.transpose(0, 2, 3, 1)}
    photos_report.sheet(shown, COLUMNS).save(images / "photo-samples.png", optimize=True)
    photos_report.plot_spectra(figures.spectra, images / "photo-spectrum.png")
    photos_report.plot_losses(figures.training["history"], images / "photo-loss.png")
    tile(held_out[:64]).save(args.out / PATCHES, optimize=True)
    write_weights(args.weights, args.out / WEIGHTS.relative_to(ROOT), held_out[:64])
    page = args.out / "docs" / "photo-model.md"
    page.write_text(card(figures, photos.read_table(), args.samples), encoding="utf-8")
    print(f"wrote {page} and {args.out / WEIGHTS.relative_to(ROOT)}: held-out loss {figures.losses['held-out']:.4f}, "
          f"spectrum slope {photos_report.slope(figures.spectra['samples']):.2f}")


if __name__ == "__main__":
    main()
