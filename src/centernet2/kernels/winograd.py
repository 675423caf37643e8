"""3 x 3 convolution by Winograd's algorithm: a quarter of the multiplications.

F(4 x 4, 3 x 3) of arXiv 1509.09308. The output is cut into tiles of 4 x 4 pixels, each of which
depends on 6 x 6 input pixels. In the transformed domain a tile has 36 numbers per channel, and the
convolution is 36 matrix products over channels: output = A' [(G w G') * (B' d B)] A. Transforms are
sums of neighboring rows, then of neighboring columns. Tensors are channels_last.
"""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

TILES_AT_ONCE = 256  # so that intermediate results stay in the cache
# G, which transforms the three weights of a row or a column
WEIGHT_TRANSFORM = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)


def applies(weight: Tensor, geometry: Sequence[int]) -> bool:
    """Whether this module can compute a convolution.

    Args:
        geometry: stride, padding and dilation, two numbers each, and groups.
    """
    return (*weight.shape[2:], *geometry) == (3, 3, 1, 1, 1, 1, 1, 1, 1)


def count_tiles(x: Tensor) -> int:
    """Count the tiles of a feature map [N, C, H, W]."""
    n, _, h, w = x.shape
    return n * -(-h // 4) * -(-w // 4)


class Buffers:
    """Memory that all chunks share; allocation would take as long as the arithmetic."""

    def __init__(self, like: Tensor) -> None:
        self.like = like
        self.flat: dict[str, Tensor] = {}

    def __call__(self, name: str, *shape: int) -> Tensor:
        """Return an uninitialized tensor, valid until the next call with this name."""
        size = math.prod(shape)
        if name not in self.flat or len(self.flat[name]) < size:
            self.flat[name] = self.like.new_empty(size)
        return self.flat[name][:size].view(shape)


def transform_weight(weight: Tensor) -> Tensor:
    """Compute G w G' of weight [O, C, 3, 3]: matrices [36, C, O]."""
    flat = weight.permute(3, 2, 0, 1).reshape(9, -1)
    return (_weight_matrix(weight) @ flat).view(36, *weight.shape[:2]).transpose(1, 2)


def convolve(x: Tensor, matrices: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve zero-padded x [N, C, H, W] with matrices [36, C, O]: [N, O, H, W]."""
    n, _, h, w = x.shape
    out = torch.empty(
        (n, matrices.shape[2], h, w), dtype=x.dtype, memory_format=torch.channels_last
    )
    pixels, results = x.permute(0, 2, 3, 1), out.permute(0, 2, 3, 1)
    buffers = Buffers(x)
    for images, top, bottom in _chunks(n, h, w):
        tiles = _transform_input(pixels[images], top, bottom, buffers)
        products = buffers("products", *tiles.shape[:-1], matrices.shape[2])
        torch.bmm(tiles.flatten(1, 3), matrices, out=products.flatten(1, 3))
        strip = _transform_output(products, buffers)[:, : bottom - top, :w]
        target = results[images, top:bottom]
        target.copy_(strip) if bias is None else torch.add(strip, bias, out=target)
    return out


def input_gradient(grad: Tensor, weight: Tensor) -> Tensor:
    """Compute the gradient [N, C, H, W] of the input from that of the output.

    It is a convolution with the flipped weight.
    """
    return convolve(grad, transform_weight(weight.flip(2, 3)).transpose(1, 2), None)


def weight_gradient(x: Tensor, grad: Tensor) -> Tensor:
    """Compute the gradient [O, C, 3, 3] of the weight from that of the output."""
    n, channels, h, w = x.shape
    pixels, grads = x.permute(0, 2, 3, 1), grad.permute(0, 2, 3, 1)
    sums = x.new_zeros(36, grad.shape[1], channels)
    buffers = Buffers(x)
    for images, top, bottom in _chunks(n, h, w):
        tiles = _transform_input(pixels[images], top, bottom, buffers)
        spread = _transform_gradient(grads[images], top, bottom, buffers)
        sums.baddbmm_(spread.flatten(1, 3).transpose(1, 2), tiles.flatten(1, 3))
    return (_weight_matrix(x).t() @ sums.flatten(1)).view(3, 3, -1, channels).permute(2, 3, 1, 0)


def _weight_matrix(like: Tensor) -> Tensor:
    """Return G for both axes, [36, 9]: columns before rows, as in the whole module."""
    matrix = torch.tensor(WEIGHT_TRANSFORM, dtype=torch.float64)
    return torch.kron(matrix, matrix).to(like)


def _chunks(n: int, h: int, w: int) -> Iterator[tuple[slice, int, int]]:
    """Yield (images, first row, end row) of chunks of about TILES_AT_ONCE tiles."""
    across, down = -(-w // 4), -(-h // 4)
    images = max(1, round(TILES_AT_ONCE / (across * down)))
    parts = max(1, round(across * down / TILES_AT_ONCE))
    step = 4 * -(-down // parts)
    for image in range(0, n, images):
        for top in range(0, h, step):
            yield slice(image, image + images), top, min(h, top + step)


def _transform_input(pixels: Tensor, top: int, bottom: int, buffers: Buffers) -> Tensor:
    """Compute B' d B of rows of pixels [N, H, W, C]: [36, N, down, across, C]."""
    n, h, w, c = pixels.shape
    down, across = -(-(bottom - top) // 4), -(-w // 4)
    strip = buffers("strip", n, 4 * down + 2, 4 * across + 2, c)
    first, last = max(0, top - 1), min(h, top + 4 * down + 1)
    _embed(pixels[:, first:last], strip, first - top + 1, 1)
    half = buffers("half", 6, n, down, strip.shape[2], c)
    _six_to_six(strip.unfold(1, 6, 4).unbind(-1), half)
    tiles = buffers("tiles", 6, 6, n, down, across, c)
    _six_to_six(half.unfold(3, 6, 4).unbind(-1), tiles)
    return tiles.flatten(0, 1)


def _transform_output(products: Tensor, buffers: Buffers) -> Tensor:
    """Compute A' m A of products [36, N, down, across, O]: [N, 4 down, 4 across, O]."""
    _, n, down, across, channels = products.shape
    half = buffers("half", 6, n, down, across, 4, channels)
    _six_to_four(products.view(6, 6, n, down, across, channels), half.unbind(4))
    results = buffers("strip", n, down, 4, 4 * across, channels)
    _six_to_four(half.flatten(3, 4), results.unbind(2))
    return results.flatten(1, 2)


def _transform_gradient(grads: Tensor, top: int, bottom: int, buffers: Buffers) -> Tensor:
    """Compute A g A' of some rows of gradients [N, H, W, O]: [36, N, down, across, O]."""
    n, _, w, channels = grads.shape
    down, across = -(-(bottom - top) // 4), -(-w // 4)
    strip = buffers("strip", n, 4 * down, 4 * across, channels)
    _embed(grads[:, top:bottom], strip, 0, 0)
    half = buffers("half", 6, n, down, 4 * across, channels)
    _four_to_six(strip.view(n, down, 4, 4 * across, channels).unbind(2), half)
    spread = buffers("spread", 6, 6, n, down, across, channels)
    _four_to_six(half.view(6, n, down, across, 4, channels).unbind(4), spread)
    return spread.flatten(0, 1)


def _embed(pixels: Tensor, strip: Tensor, row: int, column: int) -> None:
    """Copy pixels [N, h, w, C] into a strip at (row, column), and set the border to 0."""
    below, right = row + pixels.shape[1], column + pixels.shape[2]
    strip[:, row:below, column:right] = pixels
    for border in (strip[:, :row], strip[:, below:], strip[:, :, :column], strip[:, :, right:]):
        border.zero_()


def _six_to_six(d: Sequence[Tensor], out: Tensor) -> None:
    """Multiply by B', with as few sums as possible.

    B' = [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0],
    [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]].
    """
    even, odd = torch.sub(d[4], d[2], alpha=4), torch.sub(d[3], d[1], alpha=4)
    torch.add(even, odd, out=out[1])
    torch.sub(even, odd, out=out[2])
    torch.sub(d[4], d[2], out=even)
    torch.sub(d[3], d[1], out=odd)
    torch.add(even, odd, alpha=2, out=out[3])
    torch.sub(even, odd, alpha=2, out=out[4])
    torch.sub(d[0], d[2], out=out[0])
    torch.add(even, out[0], alpha=4, out=out[0])
    torch.sub(d[5], d[3], out=out[5])
    torch.sub(out[5], odd, alpha=4, out=out[5])


def _six_to_four(m: Sequence[Tensor] | Tensor, out: Sequence[Tensor]) -> None:
    """Multiply by A'.

    A' = [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]].
    """
    sum1, difference1, sum2, difference2 = m[1] + m[2], m[1] - m[2], m[3] + m[4], m[3] - m[4]
    torch.add(difference1, difference2, alpha=2, out=out[1])
    torch.add(sum1, sum2, alpha=4, out=out[2])
    torch.add(difference1, difference2, alpha=8, out=difference1)
    torch.add(difference1, m[5], out=out[3])
    torch.add(sum1, sum2, out=sum1)
    torch.add(sum1, m[0], out=out[0])


def _four_to_six(g: Sequence[Tensor], out: Tensor) -> None:
    """Multiply by A, the transpose of A'."""
    even, odd = g[0] + g[2], g[1] + g[3]
    torch.add(even, odd, out=out[1])
    torch.sub(even, odd, out=out[2])
    torch.add(g[0], g[2], alpha=4, out=even)
    torch.add(g[1], g[3], alpha=4, out=odd)
    torch.add(even, odd, alpha=2, out=out[3])
    torch.sub(even, odd, alpha=2, out=out[4])
    out[0] = g[0]
    out[5] = g[3]
