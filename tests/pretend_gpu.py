"""A device beside the CPU, on machines that have no other.

Its tensors are the CPU's in a wrapper: they compute the same, but refuse what a GPU refuses. Those are operations on
tensors of both devices (but for numbers and indices), numpy, the CPU's generators, and numbers that it LACKS: float64,
as Apple's GPUs and some of Intel's do.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

DEVICE = torch.device("cpu")  # until there is one
LACKS = {torch.float64}
ACROSS = ("copy_", "_to_copy", "_has_compatible_shallow_copy_type")  # operations that take tensors of both


class PretendTensor(torch.Tensor):
    """A tensor on the pretended device; `near` is the one on the CPU that holds its values."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, near, requires_grad=False):
        tensor = torch.Tensor._make_wrapper_subclass(
            cls, near.shape, strides=near.stride(), storage_offset=near.storage_offset(), dtype=near.dtype,
            device=DEVICE, requires_grad=requires_grad)
        tensor.near = near
        return tensor

    @classmethod
    def __torch_dispatch__(cls, operation, _types, args=(), kwargs=None):
        return _compute(operation, *args, **(kwargs or {}))

    def tolist(self):
        return self.near.tolist()

    def __repr__(self):
        return f"{self.near!r} on {DEVICE}"


class PretendGenerator(torch.Generator):
    """torch.Generator, for the pretended device too."""

    made = {}  # address -> generator: what an operation is given is another object, of torch's class

    def __new__(cls, device="cpu"):
        if torch.device(device).type != DEVICE.type:
            return torch._C.Generator(device)
        generator = super().__new__(cls)
        return cls.made.setdefault(generator._cdata, generator)

    def __init__(self, device="cpu"):
        super().__init__()


def make_device() -> torch.device:
    """The pretended device; torch allows for one in a process."""
    global DEVICE, _fallback
    if DEVICE.type == "cpu":
        _setup_privateuseone_for_python_backend("pretend")
        DEVICE = torch.device("pretend", 0)
        _fallback = torch.library.Library("_", "IMPL")
        _fallback.fallback(_compute, "PrivateUse1")  # what makes tensors and takes none
        _fallback.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
        torch.pretend.get_amp_supported_dtype = lambda: [torch.bfloat16, torch.float16]
    return DEVICE


@contextmanager
def ways_of_its_own(monkeypatch) -> Iterator[torch.device]:
    """The pretended device, with what torch does for a GPU by ways that no backend in Python can take."""
    device, tensor = make_device(), torch.tensor

    def made_and_moved(data, *, device=None, **settings):
        if device is None and isinstance(data, PretendTensor):
            device = data.device
        made = tensor(tree_map(_near, data), **settings)
        return made if device is None else made.to(device)

    monkeypatch.setattr(torch, "tensor", made_and_moved)
    monkeypatch.setattr(torch, "Generator", PretendGenerator)
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # else a weight that moves would lose its wrapper
    yield device
    torch.__future__.set_overwrite_module_params_on_conversion(False)


def _compute(operation, *args, **kwargs):
    """The operation on the CPU, and its results wrapped if they belong to the pretended device."""
    given = {spec.name: value for spec, value in zip(operation._schema.arguments, args, strict=False)} | kwargs
    tensors = [leaf for leaf in tree_leaves(given) if isinstance(leaf, torch.Tensor)]
    pretended = [tensor for tensor in tensors if isinstance(tensor, PretendTensor)]
    stays = _stays(operation, given, pretended)
    _check(operation, given, tensors, stays)
    near_args, near_kwargs = tree_map(_near, (args, kwargs))
    owners = {id(tensor.near): tensor for tensor in pretended}
    views = bool(pretended) and any(result.alias_info for result in operation._schema.returns)

    def wrap(result):
        if not isinstance(result, torch.Tensor):
            return result
        if not stays:  # .to("cpu") of what is there already would give the very tensor
            return result.clone() if id(result) in owners else result
        if id(result) in owners:
            return owners[id(result)]
        if result.dtype in LACKS:
            raise TypeError(f"{operation}: the pretended device has no {result.dtype}")
        inference = pretended[0].is_inference() if views else torch.is_inference_mode_enabled()
        with torch.inference_mode(inference):  # a view is what its base is
            return PretendTensor(result)

    return tree_map(wrap, operation(*near_args, **near_kwargs))


def _stays(operation, given, pretended) -> bool:
    """Whether results are to be on the pretended device."""
    if _is(operation, "copy_"):
        return isinstance(given["self"], PretendTensor)
    if operation is torch.ops.aten.to.other:
        return isinstance(given["other"], PretendTensor)
    device = given.get("device")
    return bool(pretended) if device is None else torch.device(device).type == DEVICE.type


def _check(operation, given, tensors, stays) -> None:
    if _is(operation, "index", "index_put", "index_put_") and isinstance(given["self"], PretendTensor):
        tensors = [given["self"], *([given["values"]] if "values" in given else [])]  # indices may be the CPU's
    kinds = {isinstance(tensor, PretendTensor) for tensor in tensors if tensor.ndim}
    if len(kinds) > 1 and not (_is(operation, *ACROSS) or operation is torch.ops.aten.to.other):
        raise RuntimeError(f"{operation}: expected all tensors on one device; got {DEVICE} and cpu")
    generator = given.get("generator")
    if generator is not None and stays is not (generator._cdata in PretendGenerator.made):
        raise RuntimeError(f"{operation}: a generator of the other device")


def _is(operation, *names: str) -> bool:
    return operation._schema.name.removeprefix("aten::") in names


def _near(value):
    if isinstance(value, PretendTensor):
        return value.near
    return torch.device("cpu") if isinstance(value, torch.device) else value
