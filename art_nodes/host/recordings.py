"""Recordings of a MODEL as files in the host's output folder: what ART Record Orbits does."""

import os
import re
from pathlib import Path

import comfy.utils
import folder_paths

from ..core.files import printable
from ..core.spectrum import MAX_BYTES
from .library import check_device, check_writable
from .progress import check_interrupt
from .recording import record, table_bytes

PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def record_to_file(model, positive, negative, latent_image, cfg: float, seed: int, orbits: int, nodes: int,
                   filename_prefix: str) -> tuple[dict, str]:
    """Record orbits and save them as <prefix>_00001_.safetensors; the file as the page names it, and a line about it.

    Nothing is overwritten: the number counts up. Raises ValueError for a bad prefix, or a folder that cannot be
    written to, before the model is called, and the host's own exception when it is interrupted, which leaves no file.
    """
    if not PREFIX.fullmatch(filename_prefix):
        raise ValueError("filename_prefix must be letters, digits, '.', '_' and '-', the first a letter or digit; got "
                         f"{printable(repr(filename_prefix)):.120}; write for example orbits")
    check_device(filename_prefix, "filename_prefix")
    check_writable(Path(folder_paths.get_output_directory()), table_bytes(orbits, nodes) + MAX_BYTES)
    bar = comfy.utils.ProgressBar(1)

    def progress(done: int, total: int) -> None:
        check_interrupt()
        bar.update_absolute(done, total)

    bank = record(model, positive, negative, latent_image, cfg=cfg, seed=seed, orbits=orbits, nodes=nodes,
                  progress=progress)
    folder, name, number, subfolder, _ = folder_paths.get_save_image_path(filename_prefix,
                                                                          folder_paths.get_output_directory())
    while os.path.lexists(os.path.join(folder, file := f"{name}_{number:05}_.safetensors")):
        number += 1  # the host does not see a file whose name differs in capitals, which on macOS is the same file
    bank.save(os.path.join(folder, file))
    text = f"{len(bank.stiffness)} orbits x {len(bank.sigmas)} nodes, {bank.calls} model calls, saved as {file}"
    return {"filename": file, "subfolder": subfolder, "type": "output"}, text
