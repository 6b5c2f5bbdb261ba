"""The judge of the demo model's samples: a small classifier for Fashion-MNIST.

`python -m benchmarks train-classifier` trains it, measures it on the 10,000 real test
images and saves it in half precision. It never sees a generated picture.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

from art_nodes.demo.unet import CLASSES, IMAGE_SIZE, PIXEL_MEAN, PIXEL_STD
from benchmarks import fashion

WEIGHTS = Path(__file__).parent / "data" / "fashion_classifier.safetensors"
FEATURES = 96
BLACK = -PIXEL_MEAN / PIXEL_STD  # a black pixel as the networks see it


class Classifier(nn.Module):
    """LeNet's plan (convolve, pool, convolve, pool, two linear layers) with batch norm; 28x28 in."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 5, padding=2, bias=False)
        self.norm1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(32)
        self.hidden = nn.Linear(32 * (IMAGE_SIZE // 4) ** 2, FEATURES)
        self.out = nn.Linear(FEATURES, len(CLASSES))

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """The penultimate layer, (B, 96), of images (B, 1, 28, 28) normalised as `fashion.load` does."""
        h = F.max_pool2d(F.relu(self.norm1(self.conv1(x))), 2)
        h = F.max_pool2d(F.relu(self.norm2(self.conv2(h))), 2)
        return F.relu(self.hidden(h.flatten(1)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Class scores before the softmax, (B, 10)."""
        return self.out(self.features(x))

    @torch.no_grad()
    def predict(self, x: torch.Tensor) -> torch.Tensor:
        """The likeliest class number of each image, (B,)."""
        return self(x).argmax(dim=1)


def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Fresh weights from `generator` alone, so that the global random state plays no part."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def jitter(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The batch (B, 1, 28, 28) moved as one by up to a pixel each way; black comes in at the border.

    No mirroring, though it would add accuracy: a judge that cannot tell left from right
    would forgive the model a shoe that points the wrong way.
    """
    top, left = torch.randint(3, (2,), generator=generator).tolist()
    padded = F.pad(images, (1, 1, 1, 1), value=BLACK)
    return padded[:, :, top:top + IMAGE_SIZE, left:left + IMAGE_SIZE]


def train(images, labels, *, epochs=8, batch=128, peak_lr=2e-3, seed=0, report=lambda line: None) -> Classifier:
    """A classifier trained on images (N, 1, 28, 28) and labels (N,); in eval mode.

    AdamW, one-cycle learning rate, slight label smoothing. The same seed gives the same
    weights on the same machine. `report` gets one line of text an epoch.
    """
    generator = torch.Generator().manual_seed(seed)
    network = Classifier()
    initialise(network, generator)
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=0.02)
    steps = -(-len(images) // batch)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimiser, peak_lr, epochs * steps)
    for epoch in range(epochs):
        network.train()
        total = 0.0
        for index in torch.randperm(len(images), generator=generator).split(batch):
            scores = network(jitter(images[index], generator))
            loss = F.cross_entropy(scores, labels[index], label_smoothing=0.05)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            rates.step()
            total += loss.item()
        report(f"epoch {epoch + 1}/{epochs}  loss {total / steps:.4f}")
    return network.eval()


def class_accuracy(network: Classifier, images, labels) -> torch.Tensor:
    """Share of each class's images that the network gets right, (10,) in [0, 1]."""
    guesses = torch.cat([network.predict(part) for part in images.split(1000)])
    return torch.stack([(guesses[labels == k] == k).double().mean() for k in range(len(CLASSES))])


def load_classifier(path: Path = WEIGHTS) -> Classifier:
    """The saved classifier in float32 and eval mode, without gradients."""
    if not Path(path).exists():
        raise FileNotFoundError(
            f"the judge's weights are needed; {path} does not exist; run 'python -m benchmarks train-classifier'"
        )
    network = Classifier()
    network.load_state_dict(load_file(path))
    return network.eval().requires_grad_(False)


def real_accuracy(path: Path = WEIGHTS) -> tuple[float, list[float]]:
    """Accuracy on the real test images as the weights' file records it: overall and for each class."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    return float(metadata["accuracy"]), json.loads(metadata["class_accuracy"])


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks train-classifier", description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    args = parser.parse_args(argv)

    began = time.time()
    network = train(*fashion.load("train"), epochs=args.epochs, seed=args.seed,
                    report=lambda line: print(f"{line}  {time.time() - began:.0f} s", flush=True))
    # Measured after rounding to half precision: the figure belongs to the file.
    weights = {name: value.half() if value.is_floating_point() else value
               for name, value in network.state_dict().items()}
    network.load_state_dict(weights)
    images, labels = fashion.load("t10k")
    by_class = class_accuracy(network, images, labels)
    accuracy = by_class.mean().item()  # the test set has 1,000 images of each class
    args.out.parent.mkdir(parents=True, exist_ok=True)
    save_file(weights, args.out, {
        "accuracy": f"{accuracy:.4f}", "class_accuracy": json.dumps([round(value, 4) for value in by_class.tolist()]),
        "seed": str(args.seed), "epochs": str(args.epochs),
    })
    for name, value in zip(CLASSES, by_class.tolist(), strict=True):
        print(f"{name:12} {value:6.1%}")
    print(f"accuracy on the real test images {accuracy:.2%}; saved {args.out}")


if __name__ == "__main__":
    main()
