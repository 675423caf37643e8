"""Whether the images of a graph fit into the memory of this machine."""

from centernet2.export.graph import GraphOptions
from centernet2.images.resize import make_test_resize
from centernet2.structures import TestSize

CHANNELS = 3
GIVEN_SIZE = (480, 640)  # of images where the graph takes any: they are resized in any case
BYTES_OF_PIXEL = 500  # feature maps of a pixel that a detector resizes to; most need more
GIGABYTE = 10**9


def require_memory(test_size: TestSize, options: GraphOptions) -> None:
    """Raise ValueError if a call of a graph certainly needs more memory than there is."""
    import psutil  # type: ignore[import-untyped]

    batch, (height, width) = options.batch or 1, options.size or GIVEN_SIZE
    rows, columns = make_test_resize(test_size).output_size(height, width)
    needed = batch * (CHANNELS * height * width + BYTES_OF_PIXEL * rows * columns)
    present = psutil.virtual_memory().total
    if needed > present:
        raise ValueError(
            f"the file cannot be compared with PyTorch: a batch of {batch} and images of {height} "
            f"x {width}, resized to {rows} x {columns}, need {needed // GIGABYTE:,} GB of memory, "
            f"but there are {present // GIGABYTE:,}; choose a smaller --batch, --size or "
            "INPUT.MIN_SIZE_TEST"
        )
