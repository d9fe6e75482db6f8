"""Activation regularisation: what the last layer puts out is kept small, and slow to change.

    AR   alpha mean(dropped h_t ^ 2)            TAR   beta mean((h_t - h_t-1) ^ 2), of h_t before dropout

Merity, McCann & Socher 2017; Merity, Keskar & Socher 2018, section 4.6. The papers write L2 norms; these are the
means of squares of their published code, with which the coefficients 2 and 1 go: over all steps, columns and units, and
of TAR over the T - 1 steps from one output to the next.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from torch import Tensor


class Regularisation(NamedTuple):
    """The coefficients of AR and TAR."""

    alpha: float
    beta: float

    @classmethod
    def of(cls, train: Mapping[str, Any]) -> Self:
        """As the section ``train`` says."""
        return cls(train["activation_regularisation"], train["temporal_activation_regularisation"])

    def penalty(self, outputs: Tensor, dropped: Tensor) -> Tensor:
        """Of the outputs [T, B, H] of one stack, before dropout and after it."""
        penalty = self.alpha * dropped.square().mean()
        if self.beta and len(outputs) > 1:
            penalty = penalty + self.beta * (outputs[1:] - outputs[:-1]).square().mean()
        return penalty


def with_gradient_of(loss: Tensor, penalty: Tensor) -> Tensor:
    """The value of ``loss``, so that it compares with one that has no penalty, and the gradient of both together."""
    return loss + (penalty - penalty.detach())
