"""A device that is the CPU under another name: what was left on the CPU beside it is an error, as it is beside a GPU.

    Elsewhere [4, 3], device "elsewhere:0"         an operation takes the tensors inside, and what comes out
      raw: a tensor [4, 3] of the CPU              is put inside anew: same numbers, same views, same gradients

To be imported in a process of its own: torch has one such device, and it stays for as long as the process.
"""

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import return_and_correct_aliasing
from torch.utils._pytree import tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "elsewhere"
CROSSING = ("aten::_to_copy", "aten::copy_")  # what may read on one device and write on the other

_setup_privateuseone_for_python_backend(NAME)
# A tensor of ours cannot be viewed in inference mode; must stand before the first decorator that asks for it.
torch.inference_mode = lambda mode=True: torch.no_grad() if mode else nullcontext()


class Elsewhere(torch.Tensor):
    raw: Tensor

    @staticmethod
    def __new__(cls, raw: Tensor) -> "Elsewhere":
        made = torch.Tensor._make_wrapper_subclass(
            cls, raw.size(), strides=raw.stride(), storage_offset=raw.storage_offset(), dtype=raw.dtype,
            device=f"{NAME}:0",
        )  # fmt: skip
        made.raw = raw
        return made

    def tolist(self) -> Any:
        return self.raw.tolist()

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["raw"], None

    @staticmethod
    def __tensor_unflatten__(inner: dict[str, Tensor], *_: Any) -> "Elsewhere":
        return Elsewhere(inner["raw"])

    @classmethod
    def __torch_dispatch__(cls, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(op, args, kwargs or {})


def _run(op: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    crossing, whole = op.name().split(".")[0] in CROSSING, {}

    def inside(each: Any) -> Any:
        if isinstance(each, Elsewhere):
            whole[id(each.raw)] = each  # an operation in place gives back what it was given
            return each.raw
        if isinstance(each, Tensor) and each.dim() and not crossing:
            raise RuntimeError(f"{op}: a tensor {list(each.shape)} was left on the CPU")
        return each

    def outside(each: Any) -> Any:
        if not isinstance(each, Tensor):
            return each
        return whole[id(each)] if id(each) in whole else Elsewhere(each)

    raw_args, raw_kwargs = tree_map(inside, (args, kwargs))
    if wanted := kwargs.get("device"):
        raw_kwargs["device"] = "cpu"
    result = op(*raw_args, **raw_kwargs)
    if wanted and torch.device(wanted).type == "cpu":
        return result
    return return_and_correct_aliasing(op, args, kwargs, tree_map(outside, result))


_rest = torch.library.Library("_", "IMPL")  # what is called without a tensor of ours, as torch.empty
_rest.fallback(lambda op, *args, **kwargs: _run(op, args, kwargs), "PrivateUse1")
