"""Judge the demo model: are its samples the garments that were asked for?

`python -m benchmarks judge-demo` draws class-conditional samples with EDM's Heun sampler
(Karras et al. 2022, algorithm 1 without churn), lets the classifier name them, and
prints the share that it names as asked.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from safetensors import safe_open

from art_nodes.core.compare import heun
from art_nodes.core.grids import power_grid
from art_nodes.demo import WEIGHTS, demo_denoiser, load_network
from art_nodes.demo.unet import CLASSES, IMAGE_SIZE, PIXEL_MEAN, PIXEL_STD, DemoUNet
from benchmarks import fashion
from benchmarks.classifier import load_classifier, real_accuracy

SIGMA_MAX, SIGMA_MIN = 80.0, 0.002
ZOOM, MARGIN, HEADER = 2, 4, 16  # enlargement, and pixels of the sheet


@torch.no_grad()
def draw(network, classes: torch.Tensor, *, cfg=1.0, steps=50, seed=0, batch=100) -> torch.Tensor:
    """One sample (N, 1, 28, 28) of each class number in `classes` (N,), on the CPU.

    The noise is drawn at once on the CPU, so it depends on neither batch nor device.
    """
    noise = SIGMA_MAX * torch.randn(len(classes), 1, IMAGE_SIZE, IMAGE_SIZE,
                                    generator=torch.Generator().manual_seed(seed))
    device = next(network.parameters()).device
    sigmas = torch.from_numpy(power_grid(steps, SIGMA_MAX, SIGMA_MIN))
    parts = []
    for part, numbers in zip(noise.split(batch), classes.split(batch), strict=True):
        x = part.to(device, memory_format=torch.channels_last)
        parts.append(heun(demo_denoiser(network, fashion.one_hot(numbers), cfg), x, sigmas).cpu())
    return torch.cat(parts)


def shares(guesses: torch.Tensor, classes: torch.Tensor) -> list[float]:
    """For each class, the share of its samples that were named as asked; guesses and classes (N,)."""
    return [(guesses[classes == k] == k).double().mean().item() for k in range(len(CLASSES))]


def to_pixels(images: torch.Tensor) -> np.ndarray:
    """Network units (N, 1, 28, 28) to grey levels (N, 28, 28) uint8, clipped."""
    pixels = (images[:, 0] * PIXEL_STD + PIXEL_MEAN).clamp(0, 1)
    return (pixels * 255).round().byte().numpy()


def sheet(images: torch.Tensor, classes: torch.Tensor, rows: int) -> Image.Image:
    """The first `rows` samples of every class, a labelled column for each class, enlarged without smoothing."""
    pitch = IMAGE_SIZE * ZOOM + MARGIN
    picture = Image.new("L", (MARGIN + pitch * len(CLASSES), HEADER + pitch * rows), 255)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(10)
    for column, name in enumerate(CLASSES):
        left = MARGIN + column * pitch
        pen.text((left + IMAGE_SIZE * ZOOM / 2, HEADER / 2), name, fill=0, font=font, anchor="mm")
        for row, pixels in enumerate(to_pixels(images[classes == column][:rows])):
            big = pixels.repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)
            picture.paste(Image.fromarray(big), (left, HEADER + row * pitch))
    return picture


def loss_history(path: Path) -> list[tuple[int, float]]:
    """(images shown, mean loss of the last 50 batches) as the weights' metadata records them."""
    with safe_open(path, framework="pt") as file:
        history = json.loads((file.metadata() or {}).get("loss", "[]"))
    if not history:
        raise ValueError(f"the weights must carry their loss history; {path} has none; write them with train-demo")
    return history


def plot_loss(path: Path, out: Path) -> None:
    """The training loss of the weights at `path` as a picture at `out`."""
    from matplotlib.figure import Figure  # only this picture needs it

    shown, loss = zip(*loss_history(path), strict=True)
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.plot([count / 1000 for count in shown], loss, linewidth=1)
    axes.set(xlabel="images shown, thousands", ylabel="EDM loss, mean of 50 batches", yscale="log")
    axes.yaxis.set_major_formatter("{x:.2g}")
    axes.yaxis.set_minor_formatter("{x:.2g}")
    axes.grid(alpha=0.3, which="both")
    figure.savefig(out, dpi=110)


@torch.no_grad()
def print_rounding(network, checkpoint: Path, seed: int) -> None:
    """How far the weights' half precision moves D from the float32 average in train-demo's checkpoint.

    In the network's units (data of unit variance), over 256 real test images with noise at each sigma.
    """
    original = DemoUNet().eval()
    original.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True)["average"])
    images, labels = (part[:256] for part in fashion.load("t10k"))
    rows, noise = fashion.one_hot(labels), torch.randn(images.shape, generator=torch.Generator().manual_seed(seed))
    print(f"{'sigma':>8} {'max |dD|':>10} {'RMS dD':>10}")
    for level in (0.002, 0.05, 0.3, 1.0, 5.0, 80.0):
        x, sigma = images + level * noise, torch.full((len(images),), level)
        gap = demo_denoiser(network, rows)(x, sigma) - demo_denoiser(original, rows)(x, sigma)
        print(f"{level:8g} {gap.abs().max():10.2e} {gap.square().mean().sqrt():10.2e}")


def print_verdict(guesses: torch.Tensor, classes: torch.Tensor) -> None:
    """A line for each class: named as asked, the classifier's own accuracy there, the commonest mistake."""
    overall_real, real = real_accuracy()
    print(f"{'class':12} {'as asked':>9} {'real test':>10}   commonest mistake")
    for k, share in enumerate(shares(guesses, classes)):
        wrong = torch.bincount(guesses[(classes == k) & (guesses != k)], minlength=len(CLASSES))
        mistake = f"{CLASSES[wrong.argmax()]} ({wrong.max()})" if wrong.any() else ""
        print(f"{CLASSES[k]:12} {share:9.1%} {real[k]:10.1%}   {mistake}")
    overall = (guesses == classes).double().mean().item()
    print(f"{'all':12} {overall:9.1%} {overall_real:10.1%}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks judge-demo", description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--per-class", type=int, default=100, help="samples of each of the ten classes")
    parser.add_argument("--steps", type=int, default=50, help="Heun steps; each but the last costs two model calls")
    parser.add_argument("--cfg", type=float, nargs="+", default=[1.0], help="guidance; several are judged in turn")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rows", type=int, default=10, help="rows of the sample sheet")
    parser.add_argument("--sheet", type=Path, default=Path("build/judge-demo/samples.png"),
                        help="where the sample sheet of the first cfg goes")
    parser.add_argument("--loss", type=Path, help="also write the loss curve here")
    parser.add_argument("--checkpoint", type=Path, help="compare with the float32 average of this checkpoint")
    return parser


def main(argv=None):
    args = _parser().parse_args(argv)
    network = load_network(args.weights, args.device).to(memory_format=torch.channels_last)
    judge = load_classifier()
    classes = torch.arange(len(CLASSES)).repeat(args.per_class)
    for order, cfg in enumerate(args.cfg):
        began = time.time()
        images = draw(network, classes, cfg=cfg, steps=args.steps, seed=args.seed, batch=args.batch)
        print(f"cfg {cfg:g}: {len(images)} samples, {args.steps} Heun steps ({2 * args.steps - 1} denoiser calls), "
              f"seed {args.seed}, {time.time() - began:.0f} s")
        print_verdict(judge.predict(images), classes)
        if order == 0:
            args.sheet.parent.mkdir(parents=True, exist_ok=True)
            sheet(images, classes, args.rows).save(args.sheet, optimize=True)
            print(f"sample sheet: {args.sheet}")
    if args.loss:
        args.loss.parent.mkdir(parents=True, exist_ok=True)
        plot_loss(args.weights, args.loss)
        print(f"loss curve: {args.loss}")
    if args.checkpoint:
        print_rounding(network.cpu(), args.checkpoint, args.seed)


if __name__ == "__main__":
    main()
