"""API-format workflows on the demo model, shared by the tests of this folder."""

EDM = "EDM (sigma 0.002-80)"
SDXL = "SDXL (EPS, sigma 0.0292-14.61)"
DRESSES = [EDM, SDXL]


def demo_model(dress=EDM, garment="sneaker", batch_size=2) -> dict:
    """Node "demo": outputs 0 MODEL, 1 positive, 2 negative, 3 LATENT, 4 VAE."""
    inputs = {"dress": dress, "garment": garment, "batch_size": batch_size}
    return {"demo": {"class_type": "ARTDemoModel", "inputs": inputs}}


def half_precision() -> dict:
    """Node "half": the model computed in bfloat16, as those that people use are."""
    return {"half": {"class_type": "ModelComputeDtype", "inputs": {"model": ["demo", 0], "dtype": "bf16"}}}


def pictures(latent) -> dict:
    """Nodes that decode `latent`, a link [node, output], and save it; "save" has the images."""
    return {
        "decode": {"class_type": "VAEDecode", "inputs": {"samples": latent, "vae": ["demo", 4]}},
        "save": {"class_type": "SaveImage", "inputs": {"images": ["decode", 0], "filename_prefix": "art-test"}},
    }


def ksampler(cfg=1.0, steps=6, seed=7, sampler_name="euler", scheduler="karras", denoise=1.0) -> dict:
    """The host's KSampler as node "sample"."""
    inputs = {
        "model": ["demo", 0], "positive": ["demo", 1], "negative": ["demo", 2], "latent_image": ["demo", 3],
        "seed": seed, "steps": steps, "cfg": cfg, "sampler_name": sampler_name, "scheduler": scheduler,
        "denoise": denoise,
    }
    return {"sample": {"class_type": "KSampler", "inputs": inputs}}


def sampler_and_sigmas(steps=6) -> dict:
    """Nodes "sampler" (euler) and "sigmas" (BasicScheduler, karras)."""
    scheduler = {"model": ["demo", 0], "scheduler": "karras", "steps": steps, "denoise": 1.0}
    return {
        "sampler": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler"}},
        "sigmas": {"class_type": "BasicScheduler", "inputs": scheduler},
    }


def sampler_custom(cfg=1.0, steps=6, seed=7) -> dict:
    """The host's SamplerCustom as node "sample"."""
    inputs = {
        "model": ["demo", 0], "positive": ["demo", 1], "negative": ["demo", 2], "latent_image": ["demo", 3],
        "add_noise": True, "noise_seed": seed, "cfg": cfg, "sampler": ["sampler", 0], "sigmas": ["sigmas", 0],
    }
    return {**sampler_and_sigmas(steps), "sample": {"class_type": "SamplerCustom", "inputs": inputs}}


def sampler_custom_advanced(cfg=1.0, steps=6, seed=7) -> dict:
    """The host's SamplerCustomAdvanced with RandomNoise and CFGGuider as node "sample"."""
    guider = {"model": ["demo", 0], "positive": ["demo", 1], "negative": ["demo", 2], "cfg": cfg}
    inputs = {
        "noise": ["noise", 0], "guider": ["guider", 0], "sampler": ["sampler", 0], "sigmas": ["sigmas", 0],
        "latent_image": ["demo", 3],
    }
    return {
        **sampler_and_sigmas(steps),
        "noise": {"class_type": "RandomNoise", "inputs": {"noise_seed": seed}},
        "guider": {"class_type": "CFGGuider", "inputs": guider},
        "sample": {"class_type": "SamplerCustomAdvanced", "inputs": inputs},
    }
