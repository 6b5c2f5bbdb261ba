"""The demo model's VAE: no network, only the way between pixels and normalised pixels."""

import torch

from ..demo.unet import PIXEL_MEAN, PIXEL_STD


class DemoVAE:
    """What the host's VAE nodes ask of a VAE, for latents that are grey pixels of unit variance.

    Has no weights, so it works on whatever device its input is on. Tiling changes
    nothing pixel by pixel: the tiled calls are the plain ones.
    """

    latent_channels = 1
    latent_dim = 2
    output_channels = 3
    downscale_ratio = 1
    upscale_ratio = 1

    def decode(self, samples_in, *_args, **_options) -> torch.Tensor:
        """Latent (B, 1, H, W) to IMAGE (B, H, W, 3) in [0, 1]."""
        if samples_in.ndim != 4 or samples_in.shape[1] != 1:
            raise ValueError(
                f"the demo VAE decodes latents of shape (batch, 1, height, width); got {tuple(samples_in.shape)}; "
                "connect a latent that was sampled with ART Demo Model"
            )
        pixels = (samples_in.float() * PIXEL_STD + PIXEL_MEAN).clamp(0.0, 1.0)
        return pixels.movedim(1, -1).repeat(1, 1, 1, 3)

    def encode(self, pixel_samples, *_args, **_options) -> torch.Tensor:
        """IMAGE (B, H, W, C) to latent (B, 1, H, W), from the mean of the colours."""
        grey = pixel_samples[..., :3].float().mean(dim=-1)
        return ((grey - PIXEL_MEAN) / PIXEL_STD).unsqueeze(1)

    def decode_tiled(self, samples, **_tiles) -> torch.Tensor:
        """The same as decode()."""
        return self.decode(samples)

    def encode_tiled(self, pixel_samples, **_tiles) -> torch.Tensor:
        """The same as encode()."""
        return self.encode(pixel_samples)

    def spacial_compression_decode(self) -> int:
        """Image pixels per latent pixel along a side; the host's spelling."""
        return self.upscale_ratio

    def spacial_compression_encode(self) -> int:
        """Image pixels per latent pixel along a side; the host's spelling."""
        return self.downscale_ratio

    def temporal_compression_decode(self) -> None:
        """None: not a video VAE."""

    def throw_exception_if_invalid(self) -> None:
        """Nothing to load, so nothing can be invalid."""
