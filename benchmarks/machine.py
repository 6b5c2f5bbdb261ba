"""Where and when a figure was measured."""

import datetime
import os
import platform
import re
from pathlib import Path

import torch

from benchmarks.comfy.inprocess import on_gpu


def this_machine() -> str:
    """Date, processor, cores, torch's version, and the GPU where the host samples on one, for the head of a table."""
    gpu = f", {torch.cuda.get_device_name()}" if on_gpu() else ""
    return f"{datetime.date.today()}, {cpu_name()}, {os.cpu_count()} cores, torch {torch.__version__}{gpu}"


def command(words: str) -> str:
    """How a benchmark is run as it is run here, for pages: its name with options, after ART_HOST_GPU=1 on a GPU."""
    return f"`{'ART_HOST_GPU=1 ' if on_gpu() else ''}python -m benchmarks {words}`"


def cpu_name() -> str:
    """The processor's name, as Linux gives it."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.M) if info.is_file() else None
    return found.group(1) if found else platform.processor() or platform.machine()
