"""The orbit bank: recorded stiffness that a clock can be learned on without a model.

A clock only re-times an orbit, it never bends it. So a set of orbits recorded once
on a fine grid answers every later question about any clock.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from .checks import ScheduleFileError, is_number
from .files import as_json, write_whole
from .orbits import Orbits
from .spectrum import Spectrum

FORMAT = "art-orbit-bank"
ALIKE = 1e-3  # relative distance of nodes that count as the same
GRAMS = ("gram", "detail")
PARTS, PREFIX = ("gram", "share", "aim"), "spectrum_"  # of a Spectrum, as files name them


@dataclass(frozen=True, eq=False)
class OrbitBank:
    """Stiffness along B recorded orbits.

    sigmas: (N,) float64, strictly descending, > 0: the nodes; the first is sigma_max.
    stiffness: (B, N) float64, > 0: |Q| on the cell below each node; the last reaches down to 0.
    calls: model calls that the recording took, each over a whole batch.
    sample_calls: the same counted per sample.
    metadata: what else is known, plain values, kept in the file; objectives of a sampler read its "cfg".
    gram: (B, N + 1, N + 1) float64: inner products, per element, of the state at sigma_max and the N predictions
        of each orbit; what samplers are replayed with. None in a bank that knows only stiffness.
    detail: (B, N + 1, N + 1) float64: the same of pictures whose fine structure counts for more, see
        `weigh_frequencies`; None where samples are no pictures, or the bank is older.
    elements: how many elements a sample has, 0 if not known.
    share: whether sigma is the share of noise of a rectified flow, x = (1 - sigma) x0 + sigma eps.
    ends: (B, elements) float32: where the orbits end, to try grids on the model itself. Not kept in files.
    spectrum: the predictions' inner products in bands of frequencies; None where `detail` is, and of so many nodes
        that it would take too much memory.
    rounding: (N + 1,) squares of the noise that rounding to half precision leaves in what `gram` is made of, already
        taken off it; None where there is none.
    """

    sigmas: np.ndarray
    stiffness: np.ndarray
    calls: int = 0
    sample_calls: int = 0
    metadata: dict = field(default_factory=dict)
    gram: np.ndarray | None = None
    elements: int = 0
    share: bool = False
    detail: np.ndarray | None = None
    ends: np.ndarray | None = None
    spectrum: Spectrum | None = None
    rounding: np.ndarray | None = None

    def __post_init__(self):
        sigmas, q = self.sigmas, self.stiffness
        if q.ndim != 2 or q.shape[0] < 1 or sigmas.ndim != 1 or q.shape[1] != len(sigmas) or len(sigmas) < 2:
            raise ValueError(
                "a bank needs at least one orbit of at least two nodes, stiffness (orbits, nodes); "
                f"got sigmas {sigmas.shape}, stiffness {q.shape}; record orbits with record_orbits(...)"
            )
        if not (np.isfinite(sigmas).all() and (sigmas > 0).all() and (np.diff(sigmas) < 0).all()):
            raise ValueError("a bank's sigmas must be finite, > 0 and strictly descending; record it afresh")
        if not (np.isfinite(q).all() and (q > 0).all()):
            raise ValueError("a bank's stiffness must be finite and > 0; record it afresh")
        for name, gram in ((name, getattr(self, name)) for name in GRAMS):
            if gram is not None and (gram.shape != (len(q), len(sigmas) + 1, len(sigmas) + 1)
                                     or not np.isfinite(gram).all()):
                raise ValueError(f"a bank's {name} must be finite, (orbits, nodes + 1, nodes + 1); got {gram.shape}; "
                                 "record it afresh")
        wide = len(sigmas) + 1
        if self.rounding is not None and self.rounding.shape != (wide,):
            raise ValueError(f"a bank's rounding must be (nodes + 1,); got {self.rounding.shape}; record it afresh")
        if self.spectrum is not None and self.spectrum.gram.shape != (len(self.spectrum.share), wide, wide):
            raise ValueError("a bank's spectrum must be (bands, nodes + 1, nodes + 1); got "
                             f"{self.spectrum.gram.shape}; record it afresh")

    @property
    def sigma_max(self) -> float:
        """The sigma at which the orbits start; also the horizon T of the clock."""
        return float(self.sigmas[0])

    @property
    def sigma_min(self) -> float:
        """The smallest sigma at which the model was called."""
        return float(self.sigmas[-1])

    @property
    def edges(self) -> np.ndarray:
        """(N + 1,) cell borders in sigma, descending, the last exactly 0."""
        return np.append(self.sigmas, 0.0)

    @property
    def mean_stiffness(self) -> np.ndarray:
        """E|Q| on each cell; (N,)."""
        return self.stiffness.mean(axis=0)

    @classmethod
    def merge(cls, banks: Iterable["OrbitBank"]) -> "OrbitBank":
        """All orbits of several recordings over the same range; other grids are laid onto a common one."""
        banks = list(banks)
        if not banks:
            raise ValueError("an empty list of banks cannot be merged; record at least one bank")
        first = banks[0]
        if any(not np.isclose(b.sigma_max, first.sigma_max, rtol=1e-4) for b in banks):
            ranges = sorted({b.sigma_max for b in banks})
            raise ValueError(f"banks to merge must start at the same sigma; got {ranges}; record them over one range")
        if any(b.share != first.share for b in banks):
            raise ValueError("banks to merge must mean the same by sigma; got a rectified flow's and others; "
                             "record them on one kind of model")
        sigmas = _common_nodes([b.sigmas for b in banks], first.share)
        stiffness = np.concatenate([b._on(sigmas) for b in banks])
        gram, detail = (None if any(getattr(b, name) is None for b in banks) else
                        np.concatenate([b._on_nodes(getattr(b, name), sigmas) for b in banks])
                        for name in GRAMS)
        if gram is not None and any(b.elements != first.elements for b in banks):
            sizes = sorted({b.elements for b in banks})
            raise ValueError(f"banks to merge must be of samples of one size; got {sizes} elements; record them on "
                             "latents of one size")
        # What is foretold of a recording's own error would not hold for orbits of fewer nodes.
        known = all(b.ends is not None and b.sigmas.shape == sigmas.shape for b in banks)
        ends = np.concatenate([b.ends for b in banks]) if known else None
        return cls(sigmas, stiffness, sum(b.calls for b in banks), sum(b.sample_calls for b in banks),
                   cls._merged_metadata(banks), gram, first.elements, first.share, detail, ends,
                   cls._merged_spectrum(banks, sigmas), cls._merged_rounding(banks, sigmas))

    @staticmethod
    def _merged_metadata(banks: list["OrbitBank"]) -> dict:
        """The first one's, with the mean of the cfgs that all were recorded with."""
        cfgs, metadata = [b.metadata.get("cfg") for b in banks], dict(banks[0].metadata)
        if all(map(is_number, cfgs)) and len(set(cfgs)) > 1:
            metadata["cfg"] = float(np.mean(cfgs))
        return metadata

    @staticmethod
    def _merged_spectrum(banks: list["OrbitBank"], sigmas: np.ndarray) -> Spectrum | None:
        """The mean over all orbits, where all are of one shape; it aims at what the first one does."""
        first = banks[0].spectrum
        if any(b.spectrum is None or b.spectrum.shape != first.shape for b in banks):
            return None
        gram = sum(len(b.stiffness) * b._on_nodes(b.spectrum.gram, sigmas) for b in banks)
        return replace(first, gram=gram / sum(len(b.stiffness) for b in banks))

    @staticmethod
    def _merged_rounding(banks: list["OrbitBank"], sigmas: np.ndarray) -> np.ndarray | None:
        """The largest at each node; None if no bank has any."""
        known = [np.interp(-sigmas, -b.sigmas, b.rounding[1:]) for b in banks if b.rounding is not None]
        return np.append(0.0, np.max(known, axis=0)) if known else None

    def aiming_at(self, pictures: torch.Tensor) -> "OrbitBank":
        """The same bank, whose objectives "spectrum:<sampler>" want the power of `pictures` at each frequency.

        pictures: (B, channels, ..., height, width) in the model's units, shaped like the recorded ones; a few dozen.
        Raises ValueError for pictures of another shape, or a bank without spectrum.
        """
        if self.spectrum is None:
            raise ValueError("pictures can be aimed at only with orbits of pictures whose spectrum was recorded; "
                             "record the bank afresh")
        return replace(self, spectrum=self.spectrum.aiming_at(pictures))

    def _on(self, sigmas: np.ndarray) -> np.ndarray:
        """Stiffness read on another set of nodes, cell by cell; (B, len(sigmas))."""
        middle = 0.5 * (sigmas + np.append(sigmas[1:], 0.0))
        cell = np.searchsorted(-self.sigmas, -middle, side="right") - 1
        return self.stiffness[:, np.clip(cell, 0, len(self.sigmas) - 1)]

    def _on_nodes(self, gram: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
        """Inner products of the predictions read at another set of nodes; (B, len(sigmas) + 1, len(sigmas) + 1)."""
        if np.array_equal(sigmas, self.sigmas):
            return gram
        weights = np.concatenate([np.eye(1, len(self.sigmas) + 1), Orbits(self.sigmas).denoised(sigmas)])
        return weights @ gram @ weights.T

    def save(self, path) -> None:
        """Write the bank as safetensors; the file appears whole or not at all."""
        counts = {"calls": self.calls, "sample_calls": self.sample_calls, "metadata": self.metadata,
                  "elements": self.elements, "share": self.share}
        tensors = {"sigmas": np.ascontiguousarray(self.sigmas), "stiffness": np.ascontiguousarray(self.stiffness)}
        tensors |= {name: np.ascontiguousarray(gram) for name in GRAMS if (gram := getattr(self, name)) is not None}
        if self.rounding is not None:
            tensors["rounding"] = self.rounding
        if self.spectrum is not None:
            counts["shape"] = list(self.spectrum.shape)
            tensors |= {PREFIX + name: np.ascontiguousarray(part) for name in PARTS
                        if (part := getattr(self.spectrum, name)) is not None}
        write_whole(path, save(tensors, {"format": FORMAT, "bank": as_json(counts)}))

    @classmethod
    def load(cls, path) -> "OrbitBank":
        """Read a bank; ScheduleFileError names the file if it is not one."""
        try:
            with safe_open(str(path), framework="numpy") as file:
                header = file.metadata() or {}
                if header.get("format") != FORMAT:
                    raise ScheduleFileError(f"{Path(path).name} is no orbit bank; choose a file made by OrbitBank.save")
                counts = json.loads(header["bank"])
                held = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, no dict
                grams = {name: held[name] for name in GRAMS if name in held}
                shape, spectrum = counts.pop("shape", None), None
                if shape:
                    parts = {name: held[PREFIX + name] for name in PARTS if PREFIX + name in held}
                    spectrum = Spectrum(shape=tuple(shape), **parts)
                return cls(held["sigmas"], held["stiffness"], **counts, **grams, spectrum=spectrum,
                           rounding=held.get("rounding"))
        except ScheduleFileError:
            raise
        except FileNotFoundError:
            raise ScheduleFileError(f"{path} does not exist; record a bank and save it first") from None
        except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError) as error:
            raise ScheduleFileError(f"{Path(path).name} is damaged ({error}); record it afresh") from error


def _common_nodes(grids: list[np.ndarray], share: bool) -> np.ndarray:
    """The first grid, if all are alike; else the nodes of all, of those next to each other one."""
    first = grids[0]
    if all(len(grid) == len(first) and np.allclose(grid, first, rtol=ALIKE) for grid in grids):
        return first
    every = np.unique(np.concatenate(grids))[::-1]
    kept = [0]
    # Near a share of 1 nodes that are far apart hardly differ in sigma.
    noise = every / np.maximum(1 - every, 1e-9) if share else every
    for i in range(1, len(every)):
        if noise[i] < (1 - ALIKE) * noise[kept[-1]]:
            kept.append(i)
    return every[kept]
