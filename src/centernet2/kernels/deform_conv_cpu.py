"""Deformable convolution that gathers rows of channels, in chunks of locations.

Each sample is a weighted sum of four rows, and one matrix product maps the samples to the output.
Also for devices without their own kernel.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from centernet2.ops.deform_conv import bilinear_corners, sampling_positions
from centernet2.ops.tensors import product_dtype

CHUNK_NUMBERS = 2**21  # sampled numbers in memory at a time


def deform_conv_cpu(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    mask: Tensor | None,
) -> Tensor:
    """Kernel of `ops.deform_conv.deform_conv2d`.

    Under autocast this runs in lower precision, but positions keep their precision, and gradients,
    which are sums over many locations, have the precision of the weight.
    """
    n, channels = x.shape[:2]
    h, w = offset.shape[2:]
    size = (weight.shape[2], weight.shape[3])
    parts = offset.shape[1] // (2 * size[0] * size[1])  # D
    position = sampling_positions(offset, size, stride, padding, dilation)
    index, share = bilinear_corners(position, x.shape[2], x.shape[3], mask)  # [N, h, w, K, D, 4]
    rows = x.permute(0, 2, 3, 1).contiguous().view(-1, channels // parts)  # [N H W D, C / D]
    rows = rows.to(product_dtype(x))
    shape = (n * h * w, size[0] * size[1] * parts, 4)
    result = cast(
        Tensor, _SampledProduct.apply(rows, index.reshape(shape), share.reshape(shape), weight)
    )
    result = result if bias is None else result + bias.to(result.dtype)
    result = result.view(n, h, w, len(weight)).permute(0, 3, 1, 2)
    return result if x.is_contiguous(memory_format=torch.channels_last) else result.contiguous()


class _SampledProduct(torch.autograd.Function):
    """samples @ weight, where a sample is a weighted sum of rows.

    The gradient is written out, because autograd would save all samples, which are K times as large
    as the feature map.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, index: Tensor, share: Tensor, weight: Tensor) -> Tensor:
        """Return the products [P, O].

        rows [N H W D, C / D], index and share [P, K D, 4], weight [O, C / groups, kh, kw].
        """
        ctx.save_for_backward(rows, index, share, weight)
        matrix = _matrix(weight, rows, index).to(rows.dtype)
        pieces = [
            _split(_samples(rows, i, s), weight, matrix) @ matrix
            for i, s in _chunks(rows, index, share)
        ]
        return torch.cat(pieces, dim=1).transpose(0, 1).flatten(1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        rows, index, share, weight = ctx.saved_tensors
        kind, rows = rows.dtype, rows.to(weight.dtype)
        matrix = _matrix(weight, rows, index)
        grad = torch.unflatten(grads[0].to(rows.dtype), 1, (len(matrix), -1))
        grad = grad.transpose(0, 1)  # [groups, P, O / groups]
        grad_rows, grad_matrix, grad_shares = torch.zeros_like(rows), torch.zeros_like(matrix), []
        start = 0
        for i, s in _chunks(rows, index, share):
            own = grad[:, start : start + len(i)]
            start += len(i)
            with torch.enable_grad():
                inputs = rows.detach().requires_grad_(), s.detach().to(rows.dtype).requires_grad_()
                samples = _samples(inputs[0], i, inputs[1])
            grad_matrix += _split(samples.detach(), weight, matrix).transpose(1, 2) @ own
            grad_samples = torch.unflatten(
                own @ matrix.transpose(1, 2), 2, (-1, weight.shape[1])
            ).permute(1, 2, 0, 3)
            from_rows, from_share = torch.autograd.grad(
                samples, inputs, grad_samples.reshape(samples.shape)
            )
            grad_rows += from_rows
            grad_shares.append(from_share)
        by_channel = torch.unflatten(grad_matrix, 1, (-1, weight.shape[1]))
        by_channel = by_channel.permute(0, 3, 2, 1)  # [groups, O / groups, C / groups, K]
        return (
            grad_rows.to(kind),
            None,
            torch.cat(grad_shares).to(share.dtype),
            by_channel.reshape(weight.shape),
        )


def _matrix(weight: Tensor, rows: Tensor, index: Tensor) -> Tensor:
    """Reshape the weight to a matrix [groups, K C / groups, O / groups]."""
    channels = rows.shape[1] * index.shape[1] // weight[0, 0].numel()
    groups = channels // weight.shape[1]
    matrix = torch.unflatten(weight.flatten(2), 0, (groups, -1))  # [groups, O / groups, C ..., K]
    return matrix.permute(0, 3, 2, 1).flatten(1, 2)


def _samples(rows: Tensor, index: Tensor, share: Tensor) -> Tensor:
    """Compute samples [P, K D, C / D], each a weighted sum of four rows."""
    if rows.device.type == "cpu":  # in one pass over memory
        factors = share.flatten(0, 1).to(rows.dtype)
        sums = F.embedding_bag(index.flatten(0, 1), rows, mode="sum", per_sample_weights=factors)
        return sums.view(*index.shape[:2], rows.shape[1])
    gathered = rows.index_select(0, index.flatten())
    gathered = gathered.view(*index.shape, rows.shape[1])  # [P, K D, 4, C / D]
    return (gathered * share.unsqueeze(-1).to(rows.dtype)).sum(dim=2)


def _split(samples: Tensor, weight: Tensor, matrix: Tensor) -> Tensor:
    """Split samples [P, K D, C / D] by groups: [groups, P, K C / groups]."""
    shape = (len(samples), weight[0, 0].numel(), len(matrix), weight.shape[1])
    by_group = samples.reshape(shape)  # [P, K, groups, C / groups]
    return by_group.permute(2, 0, 1, 3).flatten(2)


def _chunks(rows: Tensor, index: Tensor, share: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Split indices and weights into chunks of locations, by CHUNK_NUMBERS."""
    length = max(1, CHUNK_NUMBERS // (index.shape[1] * rows.shape[1]))
    return list(zip(torch.split(index, length), torch.split(share, length), strict=True))
