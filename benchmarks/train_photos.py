"""Train the photo model: `python -m benchmarks train-photos`.

EDM's loss (Karras et al. 2022, eq. 107 and table 1) on random patches of the training photographs,
data of unit variance. The learning rate follows the share of the budget that is spent, images or
minutes of processor time whichever is nearer its end; what was spent before an interruption counts.
Processor time, because a training that yields to other work takes as long as that work wants. Every few
minutes, at the end and on SIGTERM the state goes to a checkpoint that the same command resumes from.
"""

import argparse
import json
import os
import signal
import time
from pathlib import Path

import torch
from safetensors.torch import save_file

from benchmarks import photos
from benchmarks.photo_model import new_network, photo_denoiser
from benchmarks.train_demo import learning_rate, update_average

OUT = Path("build/train-photos")
WEIGHTS = "photo_unet.safetensors"
# Natural images still change at sigma 20: the mean lies higher than the demo model's.
SIGMA_LOG_MEAN, SIGMA_LOG_STD = -0.4, 1.5
DROPOUT = 0.05  # against learning the few dozen photographs by heart
HELD_OUT_PATCHES, HELD_OUT_SEED = 2048, 12345
REPORT_STEPS = 50


def edm_losses(denoiser, images, generator):
    """Weighted denoising error of each image at a random noise level: (B,); images (B, 3, 32, 32)."""
    sigma = (SIGMA_LOG_MEAN + SIGMA_LOG_STD * torch.randn(len(images), generator=generator)).exp()
    s = sigma.reshape(-1, 1, 1, 1)
    noisy = images + s * torch.randn(images.shape, generator=generator)
    device = next(iter(denoiser.parameters())).device
    denoised = photo_denoiser(denoiser)(noisy.to(device), sigma.to(device)).float().cpu()
    return ((s**2 + 1) / s**2 * (denoised - images) ** 2).flatten(1).mean(1)


@torch.no_grad()
def split_loss(network, photographs, batch: int = 256) -> float:
    """Mean EDM loss on fixed patches of the photographs of a split, with fixed noise."""
    images = photos.to_network(photos.patches(photographs, HELD_OUT_PATCHES, HELD_OUT_SEED))
    generator = torch.Generator().manual_seed(HELD_OUT_SEED)
    return torch.cat([edm_losses(network, part, generator) for part in images.split(batch)]).mean().item()


class Training:
    """Network, its average, optimiser and how far they are: what a checkpoint holds."""

    def __init__(self, peak_lr: float, seed: int, device: str):
        torch.manual_seed(seed)
        self.network = new_network(DROPOUT).to(device, memory_format=torch.channels_last)
        self.average = new_network().to(device, memory_format=torch.channels_last).requires_grad_(False)
        self.average.load_state_dict(self.network.state_dict())
        self.optimiser = torch.optim.Adam(self.network.parameters(), betas=(0.9, 0.99))
        self.peak_lr, self.seed, self.device = peak_lr, seed, device
        self.step, self.seconds = 0, 0.0
        self.history: list[tuple[int, float, float | None]] = []  # images, loss, held-out loss of the average

    def update(self, images, done: float) -> float:
        """One step of Adam on a batch, with the learning rate of the share `done`; returns the loss."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(done, self.peak_lr)
        with torch.autocast(self.device, torch.bfloat16):
            loss = edm_losses(self.network, images, generator).mean()
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        update_average(self.average, self.network, self.step)
        self.step += 1
        return loss.item()

    def save(self, path: Path) -> None:
        """Writes the checkpoint in one piece: a crash leaves the one before."""
        unfinished = path.with_suffix(f".{os.getpid()}")
        torch.save({"network": self.network.state_dict(), "average": self.average.state_dict(),
                    "optimiser": self.optimiser.state_dict(), "step": self.step, "seconds": self.seconds,
                    "seed": self.seed, "history": json.dumps(self.history)}, unfinished)
        unfinished.replace(path)

    def load(self, path: Path) -> None:
        """Takes up a checkpoint of the same seed."""
        state = torch.load(path, map_location=self.device, weights_only=True)
        if state["seed"] != self.seed:
            raise ValueError(f"{path} must be of seed {self.seed}; it is of seed {state['seed']}; "
                             "give that --seed, or another --out")
        for name in ("network", "average", "optimiser"):
            getattr(self, name).load_state_dict(state[name])
        self.step, self.seconds, self.history = state["step"], state["seconds"], json.loads(state["history"])


def train(state: Training, args, checkpoint: Path) -> bool:
    """Trains until a budget is spent (True) or SIGTERM or SIGINT comes (False); saves on the way."""
    stopped = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.append(True))
    train_set, held_out = photos.load("train"), photos.load("held-out")
    steps, before, spent = args.images // args.batch, state.seconds, time.process_time()
    saved = began = time.monotonic()
    first, running = state.step, []

    def done():
        return max(state.step / steps, state.seconds / (60 * args.minutes))

    while done() < 1 and not stopped:
        # Seeded by the step: a resumed run sees the same patches as one that was never interrupted.
        batch = photos.patches(train_set, args.batch, state.seed * 1_000_003 + state.step)
        running.append(state.update(photos.to_network(batch), done()))
        state.seconds = before + time.process_time() - spent
        if state.step % REPORT_STEPS == 0:
            report(state, running, held_out, args, done(), (state.step - first) / (time.monotonic() - began))
            running = []
        if time.monotonic() - saved > 60 * args.save_minutes:
            state.save(checkpoint)
            saved = time.monotonic()
    state.save(checkpoint)
    return not stopped


def report(state, running, held_out, args, done: float, rate: float) -> None:
    """Prints a line and remembers the losses; the held-out one is measured every twentieth time."""
    loss = sum(running) / len(running)
    held = split_loss(state.average, held_out) if state.step % (20 * REPORT_STEPS) == 0 else None
    state.history.append((state.step * args.batch, loss, held))
    left = state.step * (1 / done - 1) / rate / 60
    print(f"{state.step * args.batch} images ({done:.1%})  loss {loss:.4f}  "
          + (f"held out {held:.4f}  " if held else "")
          + f"{rate * args.batch:.0f} images/s  {left:.0f} min left", flush=True)


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks train-photos", description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1_000_000, help="patches shown in all (default %(default)s)")
    parser.add_argument("--minutes", type=float, default=120.0, help="processor time in all (default %(default)s)")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--peak-lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save-minutes", type=float, default=3.0, help="between checkpoints (default %(default)s)")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    checkpoint = args.out / "checkpoint.pt"
    state = Training(args.peak_lr, args.seed, "cuda" if torch.cuda.is_available() else "cpu")
    if checkpoint.exists():
        state.load(checkpoint)
        print(f"goes on after {state.step} steps and {state.seconds / 60:.0f} min of processor time", flush=True)
    if not train(state, args, checkpoint):
        print(f"stopped; the same command goes on from {checkpoint}")
        return 1
    weights = {name: value.half().contiguous().cpu() for name, value in state.average.state_dict().items()}
    facts = {"images": state.step * args.batch, "minutes": state.seconds / 60, "batch": args.batch,
             "peak_lr": args.peak_lr, "seed": args.seed, "history": state.history}
    save_file(weights, args.out / WEIGHTS, {"training": json.dumps(facts)})
    print(f"saved {args.out / WEIGHTS}; 'python -m benchmarks bundle-photos' writes its model card")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
