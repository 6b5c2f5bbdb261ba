"""Starts ComfyUI's main.py: `python launch.py TREE [ComfyUI's own arguments]`.

Imports nothing of this project, so that it also runs with a person's own interpreter.
What it adds: the CPU build of torch has no matching torchvision in the package registry,
and the one that is there cannot load its compiled operators. It still imports once two of
them are declared, and the host never calls them. Nor is there a torchaudio, which newer
hosts import whatever they are asked to do: an empty one stands in.
"""

import importlib.abc
import importlib.machinery
import os
import runpy
import sys
import threading
from pathlib import Path

OPERATORS = ("nms", "qnms")
SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"

SOUND = ("torchaudio", "torchaudio.functional", "torchaudio.transforms")

# A torch.library.Library un-declares its operators when it is collected.
_declared = []


class DeclareOperatorsBeforeTorchvision:
    """Import hook that acts at torchvision's first import and never finds a module itself.

    The host imports torch late, after it has set the environment for it: a plain
    `import torch` at start-up would come too early.
    """

    @staticmethod
    def find_spec(name, path=None, target=None):
        """Always None: the ordinary finders go on and import torchvision."""
        if name == "torchvision":
            declare_missing_operators()
        return None


def declare_missing_operators():
    """Declares torchvision's operators unless its own compiled ones can be loaded; harmless to call twice."""
    import torch

    if _declared:
        return
    spec = importlib.machinery.PathFinder.find_spec("torchvision")
    if spec is None or _own_operators_load(torch, Path(spec.origin).parent):
        return
    library = torch.library.Library("torchvision", "DEF")
    for operator in OPERATORS:
        library.define(operator + SCHEMA)
    _declared.append(library)


def _own_operators_load(torch, folder):
    for path in [*folder.glob("_C*.so"), *folder.glob("_C*.pyd")]:
        try:
            torch.ops.load_library(str(path))
        except OSError:
            continue
        return True
    return False


class StandInForTorchaudio(importlib.abc.Loader):
    """Finds empty modules in its place, after all ordinary finders."""

    def find_spec(self, name, path=None, target=None):
        """None for all but the modules of torchaudio that the host names."""
        return importlib.machinery.ModuleSpec(name, self, is_package=name == SOUND[0]) if name in SOUND else None

    def exec_module(self, module):
        """Nothing is in them."""


def install_hook():
    """Makes `import torchvision` and `import torchaudio` work in this process; harmless to call twice."""
    if not any(isinstance(finder, DeclareOperatorsBeforeTorchvision) for finder in sys.meta_path):
        sys.meta_path.insert(0, DeclareOperatorsBeforeTorchvision())
        sys.meta_path.append(StandInForTorchaudio())


def stop_with_parent():
    """Ends this process when standard input closes, which happens when its starter is gone."""
    def watch():
        # Not through sys.stdin, whose lock a waiting thread would hold when the interpreter ends.
        while os.read(0, 1024):
            pass
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


def main():
    if len(sys.argv) < 2:
        sys.exit("usage: launch.py TREE [arguments for ComfyUI's main.py]")
    tree = Path(sys.argv[1]).resolve()
    install_hook()
    if os.environ.get("ART_STOP_WITH_PARENT") == "1":
        stop_with_parent()
    # main.py expects its own folder first on the path, not the launcher's.
    sys.path[0] = str(tree)
    sys.argv = [str(tree / "main.py"), *sys.argv[2:]]
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
