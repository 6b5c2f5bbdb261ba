"""The host's own networks of the models that people use, with random weights: NETWORKS are narrow, FULL as they are.

What they paint is nothing to look at. But conditioning, guidance, shapes of latents, noise levels and
precision go the same ways through the host as with the checkpoints themselves, and those of full size take as long.
"""

import math
from dataclasses import dataclass, field

import torch


@dataclass(frozen=True)
class Network:
    """A model of the host: the class that describes it, what its network is built from, and what it is fed."""

    config: str  # in comfy.supported_models
    build: dict
    latent: tuple[int, ...]
    tokens: tuple[int, int]  # of the prompt: how many, how wide
    pooled: int = 0  # width of the pooled prompt, 0 where there is none
    more: dict = field(default_factory=dict)  # further conditioning


def _unet(**more) -> dict:
    return {
        "image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": 32, "num_res_blocks": [1, 1],
        "channel_mult": [1, 2], "use_spatial_transformer": True, "transformer_depth": [0, 1],
        "transformer_depth_middle": 1, "transformer_depth_output": [0, 0, 1, 1], "use_linear_in_transformer": True,
        "legacy": False, "use_temporal_attention": False, "use_temporal_resblock": False, **more,
    }


def _sdxl(adm: int, context: int) -> dict:
    return _unet(num_classes="sequential", adm_in_channels=adm, context_dim=context)


def _flux(guidance: bool) -> dict:
    return {
        "image_model": "flux", "in_channels": 16, "out_channels": 16, "patch_size": 2, "vec_in_dim": 768,
        "context_in_dim": 4096, "hidden_size": 64, "mlp_ratio": 2.0, "num_heads": 2, "depth": 1,
        "depth_single_blocks": 1, "axes_dim": [8, 12, 12], "theta": 10000, "qkv_bias": True,
        "guidance_embed": guidance,
    }


def _lumina(tokens: int, axes_lens: list[int]) -> dict:
    return {
        "image_model": "lumina2", "patch_size": 2, "in_channels": 16, "cap_feat_dim": tokens, "n_layers": 1,
        "qk_norm": True, "dim": 96, "n_heads": 3, "n_kv_heads": 3, "axes_dims": [8, 12, 12],
        "axes_lens": axes_lens, "n_refiner_layers": 1,
    }


NETWORKS = {
    "SD 1.5": Network("SD15", _unet(adm_in_channels=None, context_dim=768, use_linear_in_transformer=False),
                      (4, 16, 16), (77, 768)),
    "SDXL": Network("SDXL", _sdxl(2816, 2048), (4, 16, 16), (77, 2048), 1280),
    "SDXL refiner": Network("SDXLRefiner", _sdxl(2560, 1280), (4, 16, 16), (77, 1280), 1280),
    "SVD": Network("SVD_img2vid", {
        **_sdxl(768, 1024), "in_channels": 8, "use_temporal_attention": True, "use_temporal_resblock": True,
        "video_kernel_size": [3, 1, 1], "extra_ff_mix_layer": True, "use_spatial_context": True,
        "merge_strategy": "learned_with_images",
    }, (4, 8, 8), (1, 1024), more={"concat_latent_image": torch.ones(1, 4, 8, 8)}),
    "SD3": Network("SD3", {
        "input_size": None, "in_channels": 16, "out_channels": 16, "patch_size": 2, "depth": 2,
        "adm_in_channels": 2048, "num_patches": 64 * 64, "pos_embed_max_size": 64, "pos_embed_scaling_factor": None,
        "qk_norm": "rms", "context_embedder_config": {"target": "torch.nn.Linear",
                                                      "params": {"in_features": 4096, "out_features": 128}},
    }, (16, 16, 16), (77, 4096), 2048),
    "Flux": Network("Flux", _flux(True), (16, 16, 16), (16, 4096), 768, {"guidance": 3.5}),
    "Flux Schnell": Network("FluxSchnell", _flux(False), (16, 16, 16), (16, 4096), 768),
    "Flux 2": Network("Flux2", {
        **_flux(True), "image_model": "flux2", "in_channels": 128, "out_channels": 128, "patch_size": 1,
        "vec_in_dim": None, "context_in_dim": 256, "mlp_ratio": 3.0, "axes_dim": [8, 8, 8, 8], "theta": 2000,
        "qkv_bias": False, "ops_bias": False, "global_modulation": True, "mlp_silu_act": True,
        "default_ref_method": "index", "ref_index_scale": 10.0,
    }, (128, 8, 8), (512, 256), 768, {"guidance": 3.5}),
    "Chroma": Network("Chroma", {
        **{key: value for key, value in _flux(False).items() if key not in ("vec_in_dim", "guidance_embed")},
        "image_model": "chroma", "in_channels": 64, "out_channels": 64, "in_dim": 64, "out_dim": 64, "hidden_dim": 64,
        "n_layers": 2,
    }, (16, 16, 16), (16, 4096), 768),
    "Lumina 2": Network("Lumina2", _lumina(2304, [300, 512, 512]), (16, 16, 16), (16, 2304)),
    "Z-Image": Network("ZImage", {
        **_lumina(2560, [1536, 512, 512]), "rope_theta": 256.0, "z_image_modulation": True, "time_scale": 1000.0,
        "pad_tokens_multiple": 32, "dim": 256, "n_heads": 8, "n_kv_heads": 8,
    }, (16, 16, 16), (16, 2560)),
    "Qwen-Image": Network("QwenImage", {
        "image_model": "qwen_image", "in_channels": 64, "out_channels": 16, "num_layers": 1, "attention_head_dim": 32,
        "num_attention_heads": 2, "axes_dims_rope": (8, 12, 12),
    }, (16, 1, 16, 16), (16, 3584)),
    "Wan 2.1": Network("WAN21_T2V", {
        "image_model": "wan2.1", "model_type": "t2v", "dim": 64, "ffn_dim": 128, "freq_dim": 64, "num_heads": 2,
        "num_layers": 2,
    }, (16, 3, 16, 16), (16, 4096)),
    "Cosmos Predict 2": Network("CosmosT2IPredict2", {
        "image_model": "cosmos_predict2", "max_img_h": 240, "max_img_w": 240, "max_frames": 128, "in_channels": 16,
        "out_channels": 16, "patch_spatial": 2, "patch_temporal": 1, "model_channels": 64, "num_blocks": 1,
        "num_heads": 2, "pos_emb_cls": "rope3d", "use_adaln_lora": True, "adaln_lora_dim": 16,
    }, (16, 1, 16, 16), (16, 1024)),
}

_SD_UNET = {
    "image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": 320, "use_spatial_transformer": True,
    "legacy": False, "use_temporal_attention": False, "use_temporal_resblock": False,
}
# At the size that each is meant for: 512 by 512 pixels, and 1024 by 1024.
FULL = {
    "SD 1.5": Network("SD15", {
        **_SD_UNET, "num_res_blocks": [2] * 4, "channel_mult": [1, 2, 4, 4], "adm_in_channels": None,
        "transformer_depth": [1] * 6 + [0] * 2, "transformer_depth_middle": 1,
        "transformer_depth_output": [1] * 9 + [0] * 3, "context_dim": 768, "num_heads": 8,
        "use_linear_in_transformer": False,
    }, (4, 64, 64), (77, 768)),
    "SDXL": Network("SDXL", {
        **_SD_UNET, "num_res_blocks": [2] * 3, "channel_mult": [1, 2, 4], "num_classes": "sequential",
        "adm_in_channels": 2816, "transformer_depth": [0, 0, 2, 2, 10, 10], "transformer_depth_middle": 10,
        "transformer_depth_output": [0] * 3 + [2] * 3 + [10] * 3, "context_dim": 2048, "num_head_channels": 64,
        "use_linear_in_transformer": True,
    }, (4, 128, 128), (77, 2048), 1280),
    "Flux": Network("Flux", {
        **_flux(True), "hidden_size": 3072, "mlp_ratio": 4.0, "num_heads": 24, "depth": 19,
        "depth_single_blocks": 38, "axes_dim": [16, 56, 56],
    }, (16, 128, 128), (256, 4096), 768, {"guidance": 3.5}),
}


def inputs(name: str, dtype: torch.dtype = torch.float32, cast: torch.dtype | None = None, batch: int = 2,
           full: bool = False) -> tuple:
    """MODEL, positive, negative and LATENT of `batch` samples; weights in `dtype`, computed in `cast` if given.

    full: of full size, with weights drawn on the host's device.
    """
    import comfy.model_management

    network = (FULL if full else NETWORKS)[name]
    latent = {"samples": torch.zeros(batch, *network.latent)}
    device = comfy.model_management.get_torch_device() if full else torch.device("cpu")
    return _model(network, dtype, cast, device), _prompt(network, 1.0), _prompt(network, -1.0), latent


def _model(network: Network, dtype, cast, device):
    import comfy.model_management
    import comfy.supported_models
    from comfy.model_patcher import ModelPatcher

    config = getattr(comfy.supported_models, network.config)({**_newer(network.build), **network.build})
    config.set_inference_dtype(dtype, cast)
    generator = torch.Generator(device).manual_seed(0)
    with torch.inference_mode(False), torch.no_grad():
        model = config.get_model({}, "", device=device)
        # The host's layers come with whatever was in memory: weights are read from a file afterwards.
        network = model.diffusion_model
        for values in (*network.parameters(), *(b for name, b in network.named_buffers() if "pos_embed" in name)):
            values.copy_(_weights(values.shape, generator))
    return ModelPatcher(model.eval(), comfy.model_management.get_torch_device(), device)


def _newer(build: dict) -> dict:
    """What newer hosts ask for in building Flux and its kin."""
    from comfy.ldm.chroma.model import ChromaParams
    from comfy.ldm.flux.model import FluxParams

    params = {"flux": FluxParams, "flux2": FluxParams, "chroma": ChromaParams}.get(build.get("image_model"))
    return {name: value for name, value in {"txt_ids_dims": [], "vec_in_dim": None}.items()
            if params and name in params.__dataclass_fields__}


def _weights(shape, generator) -> torch.Tensor:
    """Of a matrix such that its answers are as large as what it is given; of a vector small ones about 1/2."""
    noise = torch.randn(shape, generator=generator, device=generator.device)
    return noise / math.sqrt(noise[0].numel()) if len(shape) > 1 else 0.5 + 0.1 * noise


def _prompt(network: Network, sign: float) -> list:
    """CONDITIONING; the negative one is the opposite of the positive one."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randn(1, *network.tokens, generator=generator)
    pooled = {"pooled_output": sign * torch.randn(1, network.pooled, generator=generator)} if network.pooled else {}
    return [[sign * tokens, {**pooled, **network.more}]]
