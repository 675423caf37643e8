"""Deformable convolution (arXiv 1703.06211, 1811.11168) from plain tensor operations."""

from collections.abc import Sequence
from typing import Any, cast

import torch
import torchvision
from torch import Tensor
from torch.nn import functional as F

from centernet2.ops.constants import constant
from centernet2.ops.dispatch import backend
from centernet2.ops.precision import product_dtype

CHUNK_NUMBERS = 2**21  # how many sampled numbers are held at a time


def deform_conv2d(
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
    """A convolution [N, O, h, w] of x [N, C, H, W] that samples at offsets from the regular grid.

    Equal to `torchvision.ops.deform_conv2d`, which is used on accelerators that it has a kernel for, and in programs
    that are compiled or exported. Elsewhere the samples are gathered as whole rows of channels, each a weighted sum of
    the four pixels around it, and one matrix product turns them into the result. Under autocast this runs in the lower
    precision; positions stay as exact as they are given, and gradients, each a sum over many places, as the weight.

    Args:
        offset: [N, 2 * D * K, h, w], (dy, dx) in pixels of each of the K samples, for each of D groups of channels.
        weight: [O, C / groups, kh, kw] with kh * kw = K.
        bias: [O].
        mask: [N, D * K, h, w], a factor of each sample.
    """
    if has_own_kernel(x):
        out: Tensor = torchvision.ops.deform_conv2d(
            x.to(weight.dtype),
            offset,
            weight,
            bias,
            stride=stride,
            padding=padding,
            dilation=dilation,
            mask=mask,
        )
        return out
    n, channels = x.shape[:2]
    h, w = offset.shape[2:]
    taps = weight.shape[2] * weight.shape[3]
    parts = offset.shape[1] // (2 * taps)  # D
    position = _positions(offset, (weight.shape[2], weight.shape[3]), stride, padding, dilation)
    index, share = _corners(position, x.shape[2], x.shape[3])  # [N, h, w, K, D, 4]
    if mask is not None:
        share = share * mask.reshape(n, parts, taps, h, w).permute(0, 3, 4, 2, 1).unsqueeze(-1)
    rows = (
        x.permute(0, 2, 3, 1).contiguous().view(-1, channels // parts).to(product_dtype(x))
    )  # [N H W D, C / D]
    places = (n * h * w, taps * parts, 4)
    result = cast(
        Tensor, _SampledProduct.apply(rows, index.reshape(places), share.reshape(places), weight)
    )
    result = result if bias is None else result + bias.to(result.dtype)
    result = result.view(n, h, w, len(weight)).permute(0, 3, 1, 2)
    return result if x.is_contiguous(memory_format=torch.channels_last) else result.contiguous()


def has_own_kernel(x: Tensor) -> bool:
    """Whether a kernel made for the device is there, and no slower than gathering rows."""
    if x.device.type == "cpu":
        return torch.compiler.is_compiling() or torch.compiler.is_exporting()
    return x.is_meta or backend("deform_conv2d", x.device.type) == "torchvision"


def _positions(
    offset: Tensor,
    size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    """Where the samples lie, in pixels: [N, h, w, K, D, 2] of y, x."""
    n, channels, h, w = offset.shape
    y, x = (
        (torch.arange(count, device=offset.device) * s - p)[:, None]
        + torch.arange(k, device=offset.device) * d
        for count, k, s, p, d in zip((h, w), size, stride, padding, dilation, strict=True)
    )  # [h, kh], [w, kw]
    shape = (h, w, *size)
    grid = torch.stack(
        [y[:, None, :, None].expand(shape), x[None, :, None, :].expand(shape)], dim=-1
    )
    taps = size[0] * size[1]
    moved = offset.reshape(n, channels // (2 * taps), taps, 2, h, w).permute(
        0, 4, 5, 2, 1, 3
    )  # [N, h, w, K, D, 2]
    return moved.contiguous() + grid.view(h, w, taps, 1, 2)


def _corners(position: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """The four pixels around each position [N, h, w, K, D, 2] and their shares: both [N, h, w, K, D, 4].

    A pixel outside the map has no share. Pixels are numbered by image, row, column, group of channels.
    """
    floor = position.detach().floor()
    far = position - floor
    pixel = (
        floor.long().unsqueeze(-2) + torch.arange(2, device=position.device)[:, None]
    )  # [..., 2, 2]
    limit = constant([height, width], floor).long()
    share = torch.stack([1 - far, far], dim=-2) * (
        (pixel >= 0) & (pixel < limit)
    )  # [..., 2 of near and far, 2 of yx]
    pixel = pixel.clamp(min=0).minimum(limit - 1)
    images, parts = (torch.arange(position.shape[d], device=position.device) for d in (0, 4))
    row = images.view(-1, 1, 1, 1, 1, 1) * height + pixel[..., 0]  # [N, h, w, K, D, 2]
    index = (row.unsqueeze(-1) * width + pixel[..., 1].unsqueeze(-2)) * len(parts) + parts[
        :, None, None
    ]
    return index.flatten(-2), (share[..., 0].unsqueeze(-1) * share[..., 1].unsqueeze(-2)).flatten(
        -2
    )


class _SampledProduct(torch.autograd.Function):
    """samples @ weight, where a sample is a weighted sum of rows.

    Written out, rather than left to autograd, so that the samples, K times as large as the map, are never all there.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, index: Tensor, share: Tensor, weight: Tensor) -> Tensor:
        """Rows [N H W D, C / D], index and share [P, K D, 4], weight [O, C / groups, kh, kw]; gives [P, O]."""
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
        grad = torch.unflatten(grads[0].to(rows.dtype), 1, (len(matrix), -1)).transpose(
            0, 1
        )  # [groups, P, O / groups]
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
        by_channel = torch.unflatten(grad_matrix, 1, (-1, weight.shape[1])).permute(
            0, 3, 2, 1
        )  # [groups, O, C, K]
        return (
            grad_rows.to(kind),
            None,
            torch.cat(grad_shares).to(share.dtype),
            by_channel.reshape(weight.shape),
        )


def _matrix(weight: Tensor, rows: Tensor, index: Tensor) -> Tensor:
    """The weight as a matrix [groups, K C / groups, O / groups]."""
    channels = rows.shape[1] * index.shape[1] // weight[0, 0].numel()
    groups = channels // weight.shape[1]
    matrix = torch.unflatten(weight.flatten(2), 0, (groups, -1)).permute(
        0, 3, 2, 1
    )  # [groups, K, C / groups, ...]
    return matrix.flatten(1, 2)


def _samples(rows: Tensor, index: Tensor, share: Tensor) -> Tensor:
    """Weighted sums [P, K D, C / D] of four rows each."""
    if rows.device.type == "cpu":  # in one pass over memory
        factors = share.flatten(0, 1).to(rows.dtype)
        sums = F.embedding_bag(index.flatten(0, 1), rows, mode="sum", per_sample_weights=factors)
        return sums.view(*index.shape[:2], rows.shape[1])
    gathered = rows.index_select(0, index.flatten()).view(
        *index.shape, rows.shape[1]
    )  # [P, K D, 4, C / D]
    return (gathered * share.unsqueeze(-1).to(rows.dtype)).sum(dim=2)


def _split(samples: Tensor, weight: Tensor, matrix: Tensor) -> Tensor:
    """Samples [P, K D, C / D] by the convolution's groups: [groups, P, K C / groups]."""
    by_group = samples.reshape(
        len(samples), weight[0, 0].numel(), len(matrix), weight.shape[1]
    )  # [P, K, groups, C / groups]
    return by_group.permute(2, 0, 1, 3).flatten(2)


def _chunks(rows: Tensor, index: Tensor, share: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Indices and shares of as many places at a time as CHUNK_NUMBERS allows."""
    length = max(1, CHUNK_NUMBERS // (index.shape[1] * rows.shape[1]))
    return list(zip(torch.split(index, length), torch.split(share, length), strict=True))
