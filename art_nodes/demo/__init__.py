"""The bundled demo model: loading its weights and dressing it as a denoiser."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from .unet import CLASSES, DemoUNet, precondition

WEIGHTS = Path(__file__).parent / "fashion_unet.safetensors"


def load_network(path=None, device="cpu") -> DemoUNet:
    """The trained network in float32 and eval mode, without gradients; `path` None means the bundled weights.

    Raises as `load_weights` does.
    """
    return load_weights(DemoUNet(), WEIGHTS if path is None else Path(path), device, "demo",
                        "install the node pack again or give the path of a trained file")


def load_weights(network, path: Path, device, name: str, way_out: str):
    """`network` with the weights of a file, in float32 and eval mode, without gradients.

    name, way_out: of the model, and what helps, for messages. Raises FileNotFoundError where there is no such file and
    ValueError where the file is damaged or holds another network.
    """
    if not path.exists():
        raise FileNotFoundError(f"the {name} model's weights are needed; {path} does not exist; {way_out}")
    try:
        network.load_state_dict(load_file(path))  # stored in half precision; the copy widens
    except (SafetensorError, RuntimeError) as error:
        raise ValueError(f"the weights must be a safetensors file of the {name} network; {path} is not ({error}); "
                         f"{way_out}") from error
    return network.to(device).eval().requires_grad_(False)


def demo_denoiser(network: DemoUNet, labels: torch.Tensor, cfg: float = 1.0):
    """D(x, sigma) -> x0 of the labelled classes, with classifier-free guidance.

    `labels` holds class weights, (10,) for every image alike or (B, 10) for a batch of
    exactly B; a row of zeros means "no class". The answer is D_none + cfg (D_class - D_none):
    cfg 1 is the conditional model and costs one network pass, any other cfg costs two.

    D takes x (B, 1, 28, 28) and sigma (B,) float32 > 0 and answers in x's shape and dtype.
    Raises ValueError where the labels do not fit the classes or the batch.
    """
    if labels.ndim not in (1, 2) or labels.shape[-1] != len(CLASSES):
        raise ValueError(
            f"labels must be of shape (10,) or (batch, 10); got {tuple(labels.shape)}; "
            "give one weight for each class, all zeros for none"
        )

    def denoise(x, sigma):
        rows = _rows(labels, x)
        if cfg == 1:
            return precondition(network, x, sigma, rows)
        both = precondition(network, torch.cat([x, x]), torch.cat([sigma, sigma]),
                            torch.cat([rows, torch.zeros_like(rows)]))
        with_class, without = both.chunk(2)
        return without + cfg * (with_class - without)

    return denoise


def _rows(labels, x):
    """One row of class weights for each image of x: (B, 10), on x's device and in its dtype."""
    if labels.ndim == 2 and len(labels) != len(x):
        raise ValueError(
            f"labels must have one row for each image; got {len(labels)} rows for {len(x)} images; "
            "give one row an image, or a single (10,) row for all"
        )
    return labels.to(x).expand(len(x), -1)
