"""Definition of deformable convolution (arXiv 1703.06211, modulated: 1811.11168)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from centernet2.ops.tensors import constant


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
    """Convolve x [N, C, H, W] at sampling positions with offsets: [N, O, h, w].

    Args:
        offset: [N, 2 * D * K, h, w], (dy, dx) in pixels of the K samples, for each of D groups of
            channels.
        weight: [O, C / groups, kh, kw] with kh * kw = K.
        bias: [O].
        mask: [N, D * K, h, w], a factor of each sample.
    """
    parts = offset.shape[1] // (2 * weight.shape[2] * weight.shape[3])  # D
    size = (weight.shape[2], weight.shape[3])
    position = sampling_positions(offset, size, stride, padding, dilation)
    index, share = bilinear_corners(position, x.shape[2], x.shape[3], mask)
    rows = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1] // parts)  # [N H W D, C / D]
    samples = (rows[index] * share.unsqueeze(-1).to(rows.dtype)).sum(dim=-2).flatten(-2)
    groups = x.shape[1] // weight.shape[1]
    samples = torch.unflatten(samples, -1, (groups, -1))  # [N, h, w, K, groups, C / groups]
    kernel = torch.unflatten(weight.flatten(2), 0, (groups, -1))  # [groups, O / groups, C ..., K]
    out = torch.einsum("nhwkgc,gock->nhwgo", samples, kernel.to(samples.dtype)).flatten(-2)
    out = out if bias is None else out + bias.to(out.dtype)
    return out.permute(0, 3, 1, 2)


def sampling_positions(
    offset: Tensor,
    size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    """Compute the sampling positions [N, h, w, K, D, 2] (y, x) in pixels."""
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
    moved = offset.reshape(n, channels // (2 * taps), taps, 2, h, w)
    moved = moved.permute(0, 4, 5, 2, 1, 3).contiguous()  # [N, h, w, K, D, 2]
    return moved + grid.view(h, w, taps, 1, 2)


def bilinear_corners(
    position: Tensor, height: int, width: int, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return indices and weights [N, h, w, K, D, 4] of the pixels around positions.

    Positions are [N, h, w, K, D, 2]. Pixels are numbered by image, row, column, group of channels.
    A pixel outside the feature map has weight 0; a mask [N, D * K, h, w] scales all four weights.
    """
    floor = position.detach().floor()
    far = position - floor
    near_and_far = torch.arange(2, device=position.device)[:, None]
    pixel = floor.long().unsqueeze(-2) + near_and_far  # [..., 2 of near and far, 2 of y, x]
    limit = constant([height, width], floor).long()
    share = torch.stack([1 - far, far], dim=-2) * ((pixel >= 0) & (pixel < limit))
    pixel = pixel.clamp(min=0).minimum(limit - 1)
    images, parts = (torch.arange(position.shape[d], device=position.device) for d in (0, 4))
    row = images.view(-1, 1, 1, 1, 1, 1) * height + pixel[..., 0]  # [N, h, w, K, D, 2]
    index = row.unsqueeze(-1) * width + pixel[..., 1].unsqueeze(-2)
    index = (index * len(parts) + parts[:, None, None]).flatten(-2)
    share = (share[..., 0].unsqueeze(-1) * share[..., 1].unsqueeze(-2)).flatten(-2)
    if mask is not None:
        n, h, w, taps, groups = position.shape[:5]
        share = share * mask.reshape(n, groups, taps, h, w).permute(0, 3, 4, 2, 1).unsqueeze(-1)
    return index, share
