"""Cross-entropy of a linear layer over all its outputs, in memory that is kept between steps.

The bits are those of `cross_entropy(linear(hidden))`: the same kernels run, but into two buffers
of batch times outputs. Fresh memory of this size comes from the system page by page; where pages
are dear the step took three times as long (97 ms against 30, batch 1,024, 4,096 outputs of 64).
"""

from typing import Any, final

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn


class _CrossEntropy(torch.autograd.Function):
    """Mean nats; `logits` and `logs` are written over, by the forward and the backward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor,
        targets: Tensor,
        logits: Tensor,
        logs: Tensor,
    ) -> Tensor:
        torch.addmm(bias, hidden, weight.T, out=logits)
        torch.log_softmax(logits, 1, out=logs)
        ctx.save_for_backward(hidden, weight, targets)
        ctx.buffers = logits, logs
        return nn.functional.nll_loss(logs, targets)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, targets = ctx.saved_tensors
        wanted, logs = ctx.buffers
        wanted.zero_().scatter_(1, targets[:, None], (-gradients[0] / len(targets)).item())
        torch.ops.aten._log_softmax_backward_data.out(wanted, logs, 1, logs.dtype, out=wanted)
        return wanted @ weight, wanted.T @ hidden, wanted.sum(0), None, None, None


@final
class FullSoftmax:
    """-ln softmax(head(hidden))[target], the mean of a batch; one backward pass a call.

    Args:
        head: gives a logit an output.
    """

    def __init__(self, head: nn.Linear) -> None:
        self.head = head
        self.buffers = torch.empty(0), torch.empty(0)

    def __call__(
        self, hidden: Float[Tensor, "B H"], targets: Int64[Tensor, " B"]
    ) -> Float[Tensor, ""]:
        shape = len(hidden), self.head.out_features
        if self.buffers[0].shape != shape:
            self.buffers = hidden.new_empty(shape), hidden.new_empty(shape)
        return _CrossEntropy.apply(hidden, self.head.weight, self.head.bias, targets, *self.buffers)  # type: ignore[return-value]
