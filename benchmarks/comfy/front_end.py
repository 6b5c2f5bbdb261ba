"""The page's builds that the browser tests open: the host's own, and the newest one of the package registry.

`python -m benchmarks.comfy.front_end` unpacks the second to `.comfyui/front-ends/`; nothing to do the second time.
"""

import shutil
import sys
import zipfile
from pathlib import Path

from benchmarks.comfy import install

# Pinned, so that the tests of one commit stay the same; raise it when a newer one is there.
NEWEST = "1.58.1"
PACKAGE = "comfyui-frontend-package"
STATIC_IN_WHEEL = "comfyui_frontend_package/static/"


def newest() -> Path:
    """Folder of the newest build, for the host's --front-end-root; HostMissingError if it is not unpacked."""
    folder = _folder()
    if not (folder / "index.html").is_file():
        raise install.HostMissingError(f"the front end {NEWEST} must be in {folder}; it is not; run .ci/setup")
    return folder


def install_newest() -> Path:
    """Downloads and unpacks the newest build unless it is there."""
    folder = _folder()
    if (folder / "index.html").is_file():
        return folder
    install.say(f"downloading {PACKAGE}=={NEWEST}")
    scratch = folder.with_name(f"{NEWEST}.unpacked")
    shutil.rmtree(scratch, ignore_errors=True)
    install._pip("download", "--no-deps", "--dest", str(scratch), f"{PACKAGE}=={NEWEST}")
    with zipfile.ZipFile(next(scratch.glob("*.whl"))) as wheel:
        wheel.extractall(scratch, [name for name in wheel.namelist() if name.startswith(STATIC_IN_WHEEL)])
    # In one piece and last: an interrupted run leaves no half build behind.
    (scratch / STATIC_IN_WHEEL).rename(folder)
    shutil.rmtree(scratch)
    return folder


def _folder() -> Path:
    return install.HOME / "front-ends" / NEWEST


if __name__ == "__main__":
    try:
        install.say(f"front end {NEWEST} is in {install_newest()}")
    except install.HostMissingError as error:
        sys.exit(f"[comfyui] {error}")
