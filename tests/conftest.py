"""How tests run: each process with a host of its own, and no test left out unseen.

A skipped test, an expected failure and a surprise pass all count as failed.
"""

import importlib
import os
import sys
import types
from importlib import metadata
from pathlib import Path

import hypothesis
import pytest
from threadpoolctl import threadpool_limits

# The same examples each time, and no time limit for one: a busy machine is no error.
hypothesis.settings.register_profile("steady", deadline=None, derandomize=True)
hypothesis.settings.load_profile("steady")


def pytest_configure():
    """Each of several processes has a host of its own, with a base directory of its own."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker:
        base = os.environ.get("COMFYUI_BASE") or Path(__file__).parents[1] / ".comfyui" / "base"
        os.environ["COMFYUI_BASE"] = f"{base}-{worker}"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Whole files go to a process, and all files of the page to one: two browsers would keep both cores busy."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "tests/browser" if nodeid.startswith("tests/browser/") else super()._split_scope(nodeid)

    return Scheduling(config, log)


@pytest.fixture(scope="session", autouse=True)
def _one_blas_thread():
    """On a busy machine the threads of numpy's BLAS wait for each other: learning takes ten times as long."""
    with threadpool_limits(1, user_api="blas"):
        yield


@pytest.fixture(scope="session")
def k_diffusion_sampling():
    """k-diffusion's sampling module alone: the package's own __init__ asks for clip, wandb and more."""
    folder = next(file for file in metadata.files("k-diffusion") if file.name == "sampling.py").locate().parent
    package = types.ModuleType("k_diffusion")
    package.__path__ = [str(folder)]
    sys.modules["k_diffusion"] = package
    utils = types.ModuleType("k_diffusion.utils")
    utils.append_dims = lambda x, dims: x[(...,) + (None,) * (dims - x.ndim)]
    sys.modules["k_diffusion.utils"] = utils
    yield importlib.import_module("k_diffusion.sampling")
    for name in [name for name in sys.modules if name.split(".")[0] == "k_diffusion"]:
        del sys.modules[name]


@pytest.fixture
def pretend_gpu(monkeypatch):
    """A device beside the CPU (tests/pretend_gpu.py)."""
    from tests.pretend_gpu import ways_of_its_own

    with ways_of_its_own(monkeypatch) as device:
        yield device


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item, call):
    """Turns a test that was skipped or marked xfail into a failed one."""
    report = yield
    reason = getattr(report, "wasxfail", None)
    if report.skipped or reason is not None:
        report.outcome = "failed"
        report.longrepr = _complaint(item.nodeid, reason or report.longrepr)
        vars(report).pop("wasxfail", None)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report(collector):
    """The same for a whole file, which a missing import can skip."""
    report = yield
    if report.skipped:
        report.outcome = "failed"
        report.longrepr = _complaint(collector.nodeid, report.longrepr)
    return report


def _complaint(where: str, reason) -> str:
    why = reason[2] if isinstance(reason, tuple) else reason
    return f"every test must run; {where} did not ({why}); run .ci/setup, or mend or delete the test"
