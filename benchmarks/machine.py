"""Where and when a figure was measured."""

import datetime
import os
import platform

import torch


def this_machine() -> str:
    """Date, processor, cores and torch's version, for the head of a table."""
    names = [line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    return (f"{datetime.date.today()}, {names[0] if names else platform.machine()}, {os.cpu_count()} cores, "
            f"torch {torch.__version__}")


def _cpuinfo() -> list[str]:
    try:
        with open("/proc/cpuinfo") as file:
            return file.readlines()
    except OSError:
        return []
