"""Recording orbits of a MODEL through the host's own sampling path.

One guider.sample a batch: conditioning, guidance, hooks, patches, model loading and memory
estimates are then all the host's, as when the model is sampled.
"""

import dataclasses
import inspect
import itertools
from collections.abc import Callable

import comfy.model_base
import comfy.sample
import comfy.samplers
import numpy as np
import torch

from ..core import OrbitBank, flow_recording_grid, record_orbits, recording_grid
from ..core.checks import MIN_NODES, check_nodes, check_sigma_range
from ..core.half import CALLS_A_PROBE, probed_nodes
from ..core.record import MAX_ELEMENTS
from .caches import check_uncached
from .families import IMG_TO_IMG, MEANING, SHARE, prediction_of

LARGEST_SEED = 0xFFFFFFFFFFFFFFFF
MOST_MEMORY = 2 * 2**30  # bytes for what is kept of a recording; for a moment it takes twice as much
VIEWS = 3  # of the predictions of a batch that are kept while it is followed: as they are, their details, their waves


def record(model, positive, negative, latent_image: dict, *, cfg: float, seed: int, orbits: int, nodes: int,
           progress: Callable[[int, int], None] | None = None) -> OrbitBank:
    """Record `orbits` orbits of a MODEL from pure noise, on about `nodes` noise levels.

    latent_image: LATENT; only its shape counts. Its batch size is that of the model calls;
        batch number i draws its noise from seed + i.
    progress: called as progress(calls done, calls in all), over all batches.
    A model that knows only a table of noise levels is recorded on entries of that table, which may be fewer than
    `nodes`. What half precision adds to the predictions is measured in the first batch, with a few further calls. Of
    one conditioning for both, as with a model that takes no negative, cfg 1 is recorded, see `true_cfg`. Raises
    ValueError for fewer than 1 orbit or 8 nodes, for a model with a cache on it, and what the model itself raises.
    Keeps nothing of the model.
    """
    if orbits < 1:
        raise ValueError(f"orbits must be at least 1; got {orbits}; 4 is a good start, 24 for trials")
    check_room(orbits, check_nodes(nodes))
    check_uncached(model)
    check_noise_levels(model)
    cfg = true_cfg(model, positive, negative, cfg)
    grid = recording_nodes(model.get_model_object("model_sampling"), nodes)
    latent = empty_like(model, latent_image)
    orbits = whole_videos(model, orbits, latent.shape[0])
    check_room(orbits, nodes, latent)
    sizes = batch_sizes(orbits, latent.shape[0])
    precision, banks = computed_in(model), []
    further = CALLS_A_PROBE * len(probed_nodes(len(grid), precision))
    for i, size in enumerate(sizes):
        told = _offset(progress, sum(bank.calls for bank in banks), len(sizes) * len(grid) + further)
        batch = first_samples(latent, size)
        guider = comfy.samplers.CFGGuider(model)
        guider.set_conds(positive, negative)
        guider.set_cfg(cfg)
        half = {"precision": precision, "rounding": banks[0].rounding if banks else None}
        banks.append(_record_batch(guider, batch, batch_seed(seed, i), grid, told, half))
    metadata = {**describe_model(model), **describe_run(latent, sizes[0], cfg, seed)}
    share = is_share(model.get_model_object("model_sampling"))
    return dataclasses.replace(OrbitBank.merge(banks), metadata=metadata, share=share)


def _record_batch(guider, latent, seed: int, grid: np.ndarray, progress, half: dict) -> OrbitBank:
    """Orbits of one batch; the start states come scaled from the host."""
    banks = []
    torch.manual_seed(seed)  # as the host does before it samples: some patches draw numbers while it does

    def follow(denoise, x, sigmas, extra_args=None, callback=None, disable=None):
        latest, steps = {}, itertools.count()

        def denoiser(x, sigma):
            latest.update(x=x, sigma=sigma, sigma_hat=sigma, denoised=denoise(x, sigma, **(extra_args or {})))
            return latest["denoised"]

        def told(done, total):
            if callback is not None:  # of a wrapper that counts steps, as packs with windows over frames do
                callback({"i": next(steps), **latest})
            if progress is not None:
                progress(done, total)

        banks.append(record_orbits(denoiser, x, grid[0], grid[-1], progress=told, sigmas=grid, **half))
        return torch.from_numpy(banks[-1].ends).reshape(x.shape).to(x)

    sigmas = torch.tensor([*grid, 0.0], dtype=torch.float32)
    end = guider.sample(gaussian(latent, seed), latent, comfy.samplers.KSAMPLER(follow), sigmas, disable_pbar=True,
                        seed=seed)
    if not banks:
        raise ValueError(
            "the model must be sampled when it is asked to; a patch on it answered without calling the sampler; "
            "connect the model from before that patch"
        )
    # As the host gives out what it has sampled, which other samplers' ends are compared with.
    return dataclasses.replace(banks[-1], ends=flat(end).float().numpy())


def check_noise_levels(model) -> None:
    """ValueError for a model that makes a picture out of another in one go."""
    if _prediction(model.get_model_object("model_sampling")) == "img_to_img":
        raise ValueError(f"the model must have noise levels to place steps on; this one {IMG_TO_IMG}")


def table_bytes(orbits: int, nodes: int) -> int:
    """What the inner products of a recording take: of pictures there are two tables for each orbit, of float64."""
    return 2 * orbits * (nodes + 1) ** 2 * 8


def batch_bytes(orbits: int, nodes: int, latent) -> int:
    """What the predictions of a batch like a latent's take while it is followed, in float32."""
    batch, elements = min(orbits, latent.shape[0]), sum(part[0].numel() for part in parts_of(latent))
    return VIEWS * (nodes + 1) * batch * min(elements, MAX_ELEMENTS) * 4


def check_room(orbits: int, nodes: int, latent=None) -> None:
    """ValueError, before any model call, for a recording that would fill the memory, in batches like the latent's."""
    wanted = table_bytes(orbits, nodes) + (0 if latent is None else batch_bytes(orbits, nodes, latent))
    if wanted > MOST_MEMORY:
        raise ValueError(f"orbits, nodes and batch size must leave room in memory: {orbits} orbits of {nodes} nodes "
                         f"take {wanted / 2**30:.1f} GiB, and {MOST_MEMORY / 2**30:g} at most are taken; 64 nodes do, "
                         "and 80 orbits are many")


def true_cfg(model, positive, negative, cfg: float) -> float:
    """The cfg, or 1 where both conditionings are the same and nothing tells the two apart: then nothing is guided.

    A patch may, as those that leave out layers or show pictures to one of them only; the refiner gives the negative
    another aesthetic score.
    """
    if not same(positive, negative) or type(model.model).__name__ == "SDXLRefiner":
        return cfg
    options = dict(model.model_options)
    told = [*options.pop("transformer_options", {}).values(), *options.values()]
    told += getattr(model, "wrappers", {}).values()
    return 1.0 if all(map(_is_nothing, told)) else cfg


def _is_nothing(value) -> bool:
    """Whether a model's option holds nothing; a tensor does, whatever its values."""
    return value is None or value is False or isinstance(value, dict | list | tuple | set) and not value


def same(one, other) -> bool:
    """Whether two conditionings, or parts of them, hold the same, as those of two nodes with one text do."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return (one.dtype, one.device) == (other.dtype, other.device) and torch.equal(one, other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one is other or isinstance(one, str | int | float) and one == other


def batch_seed(seed: int, batch: int) -> int:
    """Of the noise of a batch."""
    return (seed + batch) & LARGEST_SEED


def batch_sizes(orbits: int, batch: int) -> list[int]:
    """Sizes of the batches that make up `orbits`; only the last may be smaller than `batch`."""
    return [min(batch, orbits - start) for start in range(0, orbits, batch)]


def is_video_batch(model) -> bool:
    """Whether the batch of a MODEL's latents is one video, of which each sample is a frame that sees the others."""
    return isinstance(model.model, comfy.model_base.SVD_img2vid)


def whole_videos(model, orbits: int, batch: int) -> int:
    """`orbits`, or as many more as it takes to follow whole batches where a batch is one video."""
    return -(-orbits // batch) * batch if is_video_batch(model) else orbits


def _offset(progress, before: int, total: int):
    """A batch's own progress, as progress over all batches."""
    return None if progress is None else lambda done, _: progress(before + done, total)


def computed_in(model) -> torch.dtype | None:
    """What the network of a MODEL computes in: its weights' type, unless the host casts to another."""
    try:
        return model.get_model_object("manual_cast_dtype") or model.model_dtype()
    except AttributeError:  # a model of another make
        return None


# Noise levels

def recording_nodes(sampling, nodes: int) -> np.ndarray:
    """(N,) float64 descending sigmas over a model_sampling's range; entries of its table where it has one."""
    high, low = check_sigma_range(sampling.sigma_max, sampling.sigma_min)
    table = noise_table(sampling)
    if table is not None:
        return table_nodes(table, nodes)
    if is_share(sampling):  # some shifts make it 1 and a rounding
        return flow_recording_grid(min(high, 1.0), low, nodes)
    return recording_grid(high, low, nodes)


def is_share(sampling) -> bool:
    """Whether sigma is the share of noise of a rectified flow in a model_sampling."""
    return MEANING.get(_prediction(sampling)) == SHARE


def _prediction(sampling) -> str:
    """The prediction type of a model_sampling, as `prediction_of` names it."""
    return prediction_of({base.__name__ for base in type(sampling).__mro__})


def noise_table(sampling) -> np.ndarray | None:
    """(L,) descending sigmas that the model knows exactly, or None for a model that takes any sigma.

    Between two entries a table model denoises for the nearer one: D is a staircase there and
    its secants are not its slope. Such a model answers timestep() with whole numbers.
    """
    table = getattr(sampling, "sigmas", None)
    if table is None or table.ndim != 1 or not hasattr(sampling, "timestep"):
        return None
    levels = np.unique(table.detach().cpu().double().numpy())[::-1]
    levels = levels[np.isfinite(levels) & (levels > 0)]
    if len(levels) < MIN_NODES or sampling.timestep(table[-1:]).is_floating_point():
        return None
    return levels


def table_nodes(table: np.ndarray, nodes: int) -> np.ndarray:
    """Up to `nodes` entries of a descending table, first and last included, spread like the recording grid.

    Several points of the grid may fall onto one entry: the grid is refined until enough are left.
    """
    if len(table) <= nodes:
        return table.copy()
    best, count = _nearest(table, nodes), nodes
    while len(best) < nodes and count < 4 * nodes:
        count += 1 + count // 50
        finer = _nearest(table, count)
        if len(best) < len(finer) <= nodes:
            best = finer
    return best


def _nearest(table: np.ndarray, count: int) -> np.ndarray:
    """Distinct entries nearest in log sigma to `count` points of the recording grid, descending."""
    wanted = np.log(recording_grid(table[0], table[-1], count))
    known = np.log(table)
    return table[np.unique(np.abs(known[None, :] - wanted[:, None]).argmin(axis=1))]


# Latents: tensors, or the host's nested ones that hold several (video with sound)

def empty_like(model, latent_image: dict):
    """Zeros of the latent's shape with the channels that the model wants, float32."""
    zeros = _each(latent_image["samples"], lambda part: torch.zeros_like(part, dtype=torch.float32))
    fix = comfy.sample.fix_empty_latent_channels
    # Newer hosts also fit the size of an empty latent that was made for another model.
    known = ("downscale_ratio_spacial", "downscale_ratio_temporal")
    return fix(model, zeros, **{name: latent_image.get(name) for name in known
                                if name in inspect.signature(fix).parameters})


def parts_of(latent) -> list[torch.Tensor]:
    """The tensors of a latent: itself, or those of a nested one, the pictures first."""
    return list(latent.unbind()) if getattr(latent, "is_nested", False) else [latent]


def flat(latent) -> torch.Tensor:
    """A latent as float64 (B, elements) on the CPU, the parts of a nested one side by side."""
    return torch.cat([part.detach().cpu().double().flatten(1) for part in parts_of(latent)], dim=1)


def gaussian(latent, seed: int):
    """Standard normal noise of the latent's shape, from a generator of its own."""
    generator = torch.Generator("cpu").manual_seed(seed)
    return _each(latent, lambda part: torch.randn(part.shape, generator=generator))


def first_samples(latent, size: int):
    """The first `size` samples."""
    return _each(latent, lambda part: part[:size])


def _each(latent, change):
    """Apply `change` to the tensor, or to each tensor of a nested one."""
    if getattr(latent, "is_nested", False):
        return type(latent)([change(part) for part in latent.unbind()])
    return change(latent)


# Provenance

def describe_model(model) -> dict:
    """What a schedule must remember of the MODEL it was learned on; plain values only."""
    sampling = model.get_model_object("model_sampling")
    known = {
        "model": type(model.model).__name__,
        "model_sampling": sampling_name(sampling),
        "sigma_max": float(sampling.sigma_max),
        "sigma_min": float(sampling.sigma_min),
        "latent_format": type(model.get_model_object("latent_format")).__name__,
        "dtype": str(model.model_dtype()).removeprefix("torch."),
    }
    return known | noise_settings(sampling)


def noise_settings(sampling) -> dict[str, float]:
    """What decides a flow's noise levels and what the network is told of them, as far as a model_sampling has it."""
    return {name: float(getattr(sampling, name)) for name in ("shift", "multiplier")
            if getattr(sampling, name, None) is not None}


def sampling_name(sampling) -> str:
    """Class names of a model_sampling, noise levels and prediction type: "ModelSamplingDiscrete + EPS"."""
    # The host glues the two together in a class made on the spot, whose own name says nothing.
    bases = [base for base in type(sampling).__bases__ if base not in (object, torch.nn.Module)]
    return " + ".join(base.__name__ for base in bases) or type(sampling).__name__


def describe_run(latent, batch_size: int, cfg: float, seed: int) -> dict:
    """What a schedule must remember of the recording itself; plain values only."""
    parts = parts_of(latent)
    return {
        "cfg": float(cfg),
        "seed": int(seed),
        "batch_size": int(batch_size),
        "latent_shape": [list(part.shape[1:]) for part in parts] if len(parts) > 1 else list(parts[0].shape[1:]),
        "comfyui": host_version(),
    }


def host_version() -> str:
    """ComfyUI's version, "unknown" where it does not say."""
    try:
        import comfyui_version
    except ImportError:
        return "unknown"
    return str(getattr(comfyui_version, "__version__", "unknown"))
