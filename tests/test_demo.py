"""The bundled demo model: its denoiser's algebra on a random network, and the shipped weights."""

import pytest
import torch
from safetensors.torch import save_file

from art_nodes.demo import WEIGHTS, demo_denoiser, load_network
from art_nodes.demo.unet import CLASSES, DemoUNet, precondition


@pytest.fixture(scope="module")
def network():
    """A random network; its last layers start at zero, so they are filled to let labels matter."""
    generator = torch.Generator().manual_seed(3)
    network = DemoUNet().eval().requires_grad_(False)
    for weight in network.parameters():
        weight.copy_(torch.randn(weight.shape, generator=generator) * 0.05)
    return network


@pytest.fixture(scope="module")
def batch():
    """States x (4, 1, 28, 28), sigma (4,) from 0.05 to 80, labels (4, 10)."""
    x = torch.randn(4, 1, 28, 28, generator=torch.Generator().manual_seed(5))
    sigma = torch.tensor([0.05, 0.5, 5.0, 80.0])
    return x * (1 + sigma.reshape(-1, 1, 1, 1)), sigma, torch.eye(len(CLASSES))[[0, 3, 7, 9]]


def close(a, b):
    return torch.allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cfg", [1.0, 1.5])
def test_denoiser_keeps_shape_and_dtype(network, batch, cfg):
    x, sigma, labels = batch
    denoised = demo_denoiser(network, labels, cfg)(x, sigma)
    assert denoised.shape == x.shape
    assert denoised.dtype == torch.float32
    assert denoised.isfinite().all()


def test_cfg_one_is_the_conditional_model(network, batch):
    x, sigma, labels = batch
    assert torch.equal(demo_denoiser(network, labels)(x, sigma), precondition(network, x, sigma, labels))


def test_cfg_is_linear_between_no_class_and_class(network, batch):
    x, sigma, labels = batch
    none = demo_denoiser(network, torch.zeros_like(labels))(x, sigma)
    asked = demo_denoiser(network, labels)(x, sigma)
    assert not close(none, asked)  # otherwise the next lines would prove nothing
    assert close(demo_denoiser(network, labels, 0.0)(x, sigma), none)
    assert close(demo_denoiser(network, labels, 2.0)(x, sigma), 2 * asked - none)


def test_zero_label_is_unconditional_at_any_cfg(network, batch):
    x, sigma, _ = batch
    none = precondition(network, x, sigma, torch.zeros(4, len(CLASSES)))
    for cfg in (1.0, 3.0):
        assert close(demo_denoiser(network, torch.zeros(len(CLASSES)), cfg)(x, sigma), none)


def test_one_row_of_labels_serves_every_image(network, batch):
    x, sigma, _ = batch
    row = torch.eye(len(CLASSES))[6]
    assert close(demo_denoiser(network, row, 1.5)(x, sigma), demo_denoiser(network, row.repeat(4, 1), 1.5)(x, sigma))


@pytest.mark.parametrize("shape", [(9,), (4, 11), (10, 4), (1, 4, 10), ()])
def test_labels_of_a_wrong_shape_are_refused(network, shape):
    with pytest.raises(ValueError, match="labels must be of shape"):
        demo_denoiser(network, torch.zeros(shape))


def test_labels_for_another_batch_are_refused(network, batch):
    x, sigma, labels = batch
    with pytest.raises(ValueError, match="got 3 rows for 4 images"):
        demo_denoiser(network, labels[:3])(x, sigma)


def test_files_that_are_not_the_network_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.safetensors does not exist"):
        load_network(tmp_path / "nowhere.safetensors")
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"not tensors at all")
    foreign = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(3)}, foreign)
    for path in (damaged, foreign):
        with pytest.raises(ValueError, match=path.name):
            load_network(path)


def test_half_precision_weights_load_as_float32(network, tmp_path):
    save_file({name: value.half() for name, value in network.state_dict().items()}, tmp_path / "half.safetensors")
    loaded = load_network(tmp_path / "half.safetensors")
    assert {weight.dtype for weight in loaded.parameters()} == {torch.float32}
    assert not any(weight.requires_grad for weight in loaded.parameters())
    assert not loaded.training


def test_shipped_weights_are_small_and_of_the_promised_size():
    assert WEIGHTS.stat().st_size <= 5e6
    loaded = load_network()
    assert 1.0e6 <= sum(weight.numel() for weight in loaded.parameters()) <= 1.4e6
    assert all(weight.isfinite().all() for weight in loaded.parameters())


def test_shipped_weights_denoise():
    """A black picture under noise: the answer must be nearer to it than the noisy one is."""
    clean = torch.full((8, 1, 28, 28), -0.81)
    noisy = clean + 0.5 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    denoised = demo_denoiser(load_network(), torch.zeros(len(CLASSES)))(noisy, torch.full((8,), 0.5))
    assert (denoised - clean).square().mean() < 0.1 * (noisy - clean).square().mean()
