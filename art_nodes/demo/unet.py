"""The networks of the bundled models: a small U-Net, and the demo model's with its ten classes.

They are small enough to sample hundreds of pictures a second on a laptop, and
real diffusion models all the same: EDM preconditioning (Karras et al. 2022,
arXiv 2206.00364, table 1) with data of unit variance, sigma_data = 1, and label
dropout, so that classifier-free guidance works.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

CLASSES = (
    "t-shirt", "trouser", "pullover", "dress", "coat",
    "sandal", "shirt", "sneaker", "bag", "ankle boot",
)
IMAGE_SIZE = 28
# Mean and standard deviation of Fashion-MNIST's training pixels in [0, 1]: the
# network sees (pixel - mean) / std, so that sigma means the same as it does for
# a latent of unit variance.
PIXEL_MEAN, PIXEL_STD = 0.2860, 0.3530


def fourier_features(values: torch.Tensor, dim: int) -> torch.Tensor:
    """Sine and cosine features of (B,) noise levels, geometric frequencies; (B, dim)."""
    freqs = torch.exp(torch.linspace(0, math.log(64.0), dim // 2, device=values.device))
    angles = values.float()[:, None] * freqs[None] * math.pi
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class ResBlock(nn.Module):
    """Two 3x3 convolutions with a residual path; the embedding scales and shifts in between."""

    def __init__(self, channels_in: int, channels: int, emb_dim: int, dropout: float = 0.0):
        super().__init__()
        self.norm1 = nn.GroupNorm(8, channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels, 3, padding=1)
        self.emb = nn.Linear(emb_dim, 2 * channels)
        self.norm2 = nn.GroupNorm(8, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.dropout = dropout
        self.skip = nn.Identity() if channels_in == channels else nn.Conv2d(channels_in, channels, 1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)

    def forward(self, x, emb):
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.emb(emb)[:, :, None, None].chunk(2, dim=1)
        h = F.silu(self.norm2(h) * (1 + scale) + shift)
        return self.skip(x) + self.conv2(F.dropout(h, self.dropout, self.training))


class Attention(nn.Module):
    """Plain self-attention over the pixels of the coarsest level."""

    def __init__(self, channels: int, heads: int = 4):
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(8, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x):
        b, c, height, width = x.shape
        qkv = self.qkv(self.norm(x)).reshape(b, 3, self.heads, c // self.heads, height * width)
        q, k, v = (part.transpose(-1, -2) for part in qkv.unbind(1))  # (B, heads, pixels, c/heads)
        h = F.scaled_dot_product_attention(q, k, v)
        return x + self.out(h.transpose(-1, -2).reshape(b, c, height, width))


class UNet(nn.Module):
    """F(c_in x, c_noise, labels): the raw network inside EDM's preconditioning.

    `x` (B, channels, H, W), H and W multiples of 4, is already scaled by 1/sqrt(sigma^2 + 1),
    `c_noise` (B,) is ln(sigma)/4, `labels` (B, classes) holds class weights; a row of zeros
    means "no class". A network of 0 classes takes None.
    """

    def __init__(self, channels: int, classes: int, widths=(32, 64, 128), emb_dim: int = 128, dropout: float = 0.0):
        super().__init__()
        w1, w2, w3 = widths
        self.emb_dim = emb_dim
        self.noise_mlp = nn.Sequential(nn.Linear(emb_dim, emb_dim), nn.SiLU(), nn.Linear(emb_dim, emb_dim))
        self.label_emb = nn.Linear(classes, emb_dim, bias=False) if classes else None

        def block(width_in, width):
            return ResBlock(width_in, width, emb_dim, dropout)

        self.conv_in = nn.Conv2d(channels, w1, 3, padding=1)
        self.enc1 = block(w1, w1)
        self.down1 = nn.Conv2d(w1, w2, 3, stride=2, padding=1)
        self.enc2 = block(w2, w2)
        self.down2 = nn.Conv2d(w2, w3, 3, stride=2, padding=1)
        self.mid1 = block(w3, w3)
        self.attention = Attention(w3)
        self.mid2 = block(w3, w3)
        self.up2 = nn.Conv2d(w3, w2, 3, padding=1)
        self.dec2 = block(2 * w2, w2)
        self.up1 = nn.Conv2d(w2, w1, 3, padding=1)
        self.dec1 = block(2 * w1, w1)
        self.norm_out = nn.GroupNorm(8, w1)
        self.conv_out = nn.Conv2d(w1, channels, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)

    def forward(self, x, c_noise, labels=None):
        emb = self.noise_mlp(fourier_features(c_noise, self.emb_dim).to(x.dtype))
        if self.label_emb is not None:
            emb = emb + self.label_emb(labels.to(x.dtype))
        emb = F.silu(emb)
        h1 = self.enc1(self.conv_in(x), emb)
        h2 = self.enc2(self.down1(h1), emb)
        h = self.mid2(self.attention(self.mid1(self.down2(h2), emb)), emb)
        h = self.dec2(torch.cat([self.up2(F.interpolate(h, scale_factor=2.0)), h2], dim=1), emb)
        h = self.dec1(torch.cat([self.up1(F.interpolate(h, scale_factor=2.0)), h1], dim=1), emb)
        return self.conv_out(F.silu(self.norm_out(h)))


class DemoUNet(UNet):
    """The demo model's network: (B, 1, 28, 28) images of the ten classes."""

    def __init__(self):
        super().__init__(1, len(CLASSES))


def precondition(network, x, sigma, labels=None):
    """EDM's denoiser D(x, sigma) for data of unit variance; x (B, channels, H, W), sigma (B,)."""
    s = sigma.reshape(-1, 1, 1, 1).to(x.dtype)
    scale = torch.sqrt(s**2 + 1)
    return x / scale**2 + s / scale * network(x / scale, sigma.log() / 4, labels)
