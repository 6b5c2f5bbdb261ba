"""The photo model: 32x32 colour patches of photographs, to learn schedules for natural images on."""

from pathlib import Path

import torch

from art_nodes.demo import load_weights
from art_nodes.demo.unet import UNet, precondition

WEIGHTS = Path(__file__).parent / "photo_unet.safetensors"
IMAGE_SIZE, CHANNELS = 32, 3
# Mean and standard deviation over pixels and colours of the training patches, as shares of white:
# the network sees (value - mean) / std, so that sigma means the same as for a latent of unit variance.
PIXEL_MEAN, PIXEL_STD = 0.4218, 0.2717


def new_network(dropout: float = 0.0) -> UNet:
    """The photo model's network, untrained; unconditional, 1.7 million parameters."""
    return UNet(CHANNELS, classes=0, widths=(32, 64, 160), dropout=dropout)


def load_network(path=None, device="cpu") -> UNet:
    """The trained network in float32 and eval mode, without gradients; `path` None means the bundled weights.

    Raises as `art_nodes.demo.load_weights` does.
    """
    return load_weights(new_network(), WEIGHTS if path is None else Path(path), device, "photo",
                        "give the path of a trained file or train one with 'python -m benchmarks train-photos'")


def photo_denoiser(network: UNet):
    """D(x, sigma) -> x0 of photo patches; x (B, 3, H, W), sigma (B,) float32 > 0, in x's shape and dtype.

    Trained on 32x32; any height and width that are multiples of 4 run. Raises ValueError for
    another shape and for a sigma that is not positive.
    """
    def denoise(x, sigma):
        if x.ndim != 4 or x.shape[1] != CHANNELS or x.shape[2] % 4 or x.shape[3] % 4:
            raise ValueError(
                f"photo patches must be of shape (batch, {CHANNELS}, height, width), both multiples of 4; "
                f"got {tuple(x.shape)}; the model was trained on {IMAGE_SIZE}x{IMAGE_SIZE}"
            )
        if not bool((torch.as_tensor(sigma) > 0).all()):
            raise ValueError(f"sigma must be > 0; got {sigma}; stop at sigma_min and take D as the answer for 0")
        return precondition(network, x, sigma)

    return denoise
