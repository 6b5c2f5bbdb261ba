"""Train the bundled demo model: `python -m benchmarks train-demo`.

EDM's loss (Karras et al. 2022, eq. 107 and table 1) for data of unit variance:
ln(sigma) is normal, the squared error of D is weighted by (sigma^2 + 1) / sigma^2.
Resumes from its checkpoint; about 1.5 hours on 2 CPU cores, minutes on a GPU.
"""

import argparse
import json
import math
import time
from pathlib import Path

import torch
from safetensors.torch import save_file

from art_nodes.demo.unet import DemoUNet, precondition
from benchmarks import fashion

SIGMA_LOG_MEAN, SIGMA_LOG_STD = -0.5, 1.4
LABEL_DROPOUT = 0.1


def edm_loss(network, images, labels, generator):
    """Mean weighted denoising error of one batch; images (B, 1, 28, 28), labels (B, 10)."""
    batch = len(images)
    normal = torch.randn(batch, generator=generator)
    sigma = (SIGMA_LOG_MEAN + SIGMA_LOG_STD * normal).exp().to(images.device)
    noise = torch.randn(images.shape, generator=generator).to(images.device)
    keep = (torch.rand(batch, 1, generator=generator) >= LABEL_DROPOUT).to(images.device)
    s = sigma.reshape(-1, 1, 1, 1)
    denoised = precondition(network, images + s * noise, sigma, labels * keep)
    return ((s**2 + 1) / s**2 * (denoised.float() - images) ** 2).mean()


def learning_rate(done: float, peak: float) -> float:
    """Linear warm-up over the first 2 %, cosine to zero after that."""
    warm = 0.02
    return peak * (done / warm if done < warm else 0.5 * (1 + math.cos(math.pi * (done - warm) / (1 - warm))))


@torch.no_grad()
def update_average(average, network, step):
    """Exponential moving average of the weights, with a short memory at the start."""
    decay = min(0.9995, (1 + step) / (10 + step))
    for mean, value in zip(average.parameters(), network.parameters(), strict=True):
        mean.lerp_(value, 1 - decay)


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks train-demo", description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=1_000_000, help="images shown in all")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--peak-lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("build/train-demo"))
    args = parser.parse_args(argv)

    args.out.mkdir(parents=True, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    images, labels = fashion.load("train")
    labels = fashion.one_hot(labels)
    torch.manual_seed(args.seed)
    network = DemoUNet().to(device, memory_format=torch.channels_last)
    average = DemoUNet().to(device)
    average.load_state_dict(network.state_dict())
    optimiser = torch.optim.Adam(network.parameters(), betas=(0.9, 0.99))
    start, history = 0, []
    checkpoint = args.out / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        start, history = state["step"], json.loads(state["history"])

    steps, running, began = args.samples // args.batch, 0.0, time.time()
    for step in range(start, steps):
        generator = torch.Generator().manual_seed(args.seed * 1_000_003 + step)  # a resumed run sees the same data
        index = torch.randint(len(images), (args.batch,), generator=generator)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step / steps, args.peak_lr)
        with torch.autocast(device, torch.bfloat16):
            loss = edm_loss(network, images[index].to(device), labels[index].to(device), generator)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        update_average(average, network, step)
        running += loss.item()
        if (step + 1) % 50 == 0:
            history.append(((step + 1) * args.batch, running / 50))
            rate = (step + 1 - start) * args.batch / (time.time() - began)
            left = (steps - step - 1) * args.batch / rate / 60
            print(f"{step + 1}/{steps}  loss {running / 50:.4f}  {rate:.0f} images/s  {left:.0f} min left", flush=True)
            running = 0.0
        if (step + 1) % 500 == 0 or step + 1 == steps:
            torch.save({"network": network.state_dict(), "average": average.state_dict(), "step": step + 1,
                        "optimiser": optimiser.state_dict(), "history": json.dumps(history)}, checkpoint)
    weights = {name: value.half().contiguous().cpu() for name, value in average.state_dict().items()}
    metadata = {"samples": str(args.samples), "batch": str(args.batch), "peak_lr": str(args.peak_lr),
                "seed": str(args.seed), "loss": json.dumps(history)}
    save_file(weights, args.out / "fashion_unet.safetensors", metadata)
    print(f"saved {args.out / 'fashion_unet.safetensors'}")


if __name__ == "__main__":
    main()
