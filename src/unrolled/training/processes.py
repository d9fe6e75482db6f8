"""One training in several processes: each reads some columns of a batch, and takes the step of the whole batch.

All hold the same weights, the same state of the optimiser and of the generator, and what all columns carry on. So a
checkpoint is that of one process, and a training can go on in any number of them. Where one process computes

    the gradient of the mean over all terms      theirs are summed, before the norm is taken
    ||dL/dh_t|| over all columns                 the root of the sum of their squares is
    the epoch's scores, addends and lag profile  the first does so, over all columns, and tells the others its loss

What they send each other goes through torch.distributed: gloo between CPUs, NCCL between GPUs.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import torch
import torch.distributed as dist
from torch import Tensor

from unrolled.ground.task import Batch, Carry, Columns, Model, SharedTask, Task
from unrolled.recurrence.columns import drawing_for
from unrolled.recurrence.profile import Profile
from unrolled.shell.errors import UserError
from unrolled.training.carry import like, tensors_in


class Gradient(NamedTuple):
    """What a batch leaves beside the gradients at the parameters."""

    loss: Tensor  # the mean over its terms, []
    norms: dict[str, Tensor]  # by layer: ||dL/dh_t||, [T]; none where it is not profiled
    carry: Carry


class Lost(UserError):
    """Another process of the training has ended."""


class Processes:
    """The ``size`` processes of a training as the one numbered ``rank`` sees them; the first has 0."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size

    def gradient(
        self, task: Task, model: Model, batch: Batch, carry: Carry, generator: torch.Generator, profile: Profile | None
    ) -> Gradient:
        """Of the whole batch, in every process alike; ``carry``: what all its columns start from. Lost.

        ``profile`` is filled with this process's columns alone.
        """
        own, columns = cast(SharedTask, task).share(batch, self.rank, self.size)
        before = like(carry, iter([columns.of(each, 0) for each in tensors_in(carry)]))
        drawing = drawing_for(columns, generator)
        total, terms, after = task.loss(model, own, task.entry(model, own, before), generator=drawing, profile=profile)
        generator.set_state(drawing.get_state())
        mean = (total * 0.0 if columns.idle else total) / self._sum(0 if columns.idle else terms)
        mean.backward()
        with _reached():
            self._sum_gradients(model)
            whole = self._carried(after, columns)
            loss, norms = self._norms(mean, profile.norms if profile else {})
        return Gradient(loss, norms, whole)

    def told(self, make: Callable[[], Any]) -> Any:
        """What ``make`` makes in the first process, in all of them; something small, of Python's own. Lost."""
        box = [make() if self.rank == 0 else None]
        with _reached():
            dist.broadcast_object_list(box, device=torch.device("cpu"))
        return box[0]

    def _sum(self, terms: int) -> int:
        sum_of_all = torch.tensor(terms)
        with _reached():
            dist.all_reduce(sum_of_all)
        return int(sum_of_all)

    def _sum_gradients(self, model: Model) -> None:
        """In place; a sparse one stays sparse."""
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.grad = parameter.grad.coalesce() if parameter.grad.is_sparse else parameter.grad.contiguous()
        under_way = [
            dist.all_reduce(parameter.grad, async_op=True)
            for parameter in model.parameters()
            if parameter.grad is not None
        ]
        for each in under_way:
            each.wait()

    def _carried(self, own: Carry, columns: Columns) -> Carry:
        """What all columns carry on: the sum of what each process has in its places of a whole of zeros."""
        every = []
        for part in tensors_in(own):
            whole = part.new_zeros(columns.whole, *part.shape[1:])
            whole[columns.places] = part
            dist.all_reduce(whole)
            every.append(whole)
        return like(own, iter(every))

    def _norms(self, mean: Tensor, own: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of all, and the norms over the columns of all; in double precision on their way."""
        sent = torch.cat([mean.detach()[None].double(), *(own[name].double() for name in sorted(own))])
        every = [torch.empty_like(sent) for _ in range(self.size)]
        dist.all_gather(every, sent)
        found = torch.stack(every)
        joined = torch.linalg.vector_norm(found[:, 1:], dim=0).split([len(own[name]) for name in sorted(own)])
        norms = {name: _single(norm) for name, norm in zip(sorted(own), joined, strict=True)}
        return found[:, 0].sum().float(), {name: norms[name] for name in own}


def _single(norms: Tensor) -> Tensor:
    """In single precision, unless that would overflow, as `norms_of_steps` has it."""
    single = norms.float()
    return single if single.isfinite().all() else norms


@contextmanager
def _reached() -> Iterator[None]:
    """What torch raises when another process does not answer any more, as Lost."""
    try:
        yield
    except RuntimeError as error:
        raise Lost(
            "another of the processes that train this arm has ended; the same command goes on from the last checkpoint"
        ) from error
