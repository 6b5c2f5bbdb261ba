"""Where and when a figure was measured."""

import datetime
import os
import platform
import re
from pathlib import Path

import torch


def this_machine() -> str:
    """Date, processor, cores and torch's version, for the head of a table."""
    return f"{datetime.date.today()}, {cpu_name()}, {os.cpu_count()} cores, torch {torch.__version__}"


def cpu_name() -> str:
    """The processor's name, as Linux gives it."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.M) if info.is_file() else None
    return found.group(1) if found else platform.processor() or platform.machine()
