"""The README's code runs as it stands."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BEFORE = """
import torch
from art_nodes.core.exact import gaussian
denoiser, sigma_max, sigma_min = gaussian(), 14.6, 0.03
noise = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
"""
AFTER = """
assert sigmas.shape == (11,) and sigmas[-1] == 0 and 10 in schedule.grids and schedule.cost(bank) < 1.02
"""


def test_the_code_runs_as_it_stands(tmp_path):
    code = re.search(r"## In Python.+?```python\n(.+?)```", (ROOT / "README.md").read_text(), re.S).group(1)
    done = subprocess.run([sys.executable, "-c", BEFORE + code + AFTER], cwd=tmp_path, text=True, capture_output=True,
                          env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, timeout=300)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mine.safetensors").is_file()
