"""The few sizes that batches are padded to when shapes are to stay the same."""

from centernet2.config import Config


def fixed_sizes(config: Config, divisibility: int) -> list[tuple[int, int]]:
    """(height, width), multiples of `divisibility`: wide, tall and mixed batches of training and of test."""
    a = config.augmentation
    edges = (
        [(a.train_size, a.train_size)]
        if a.custom_aug in ("EfficientDetResizeCrop", "LargeScaleJitter")
        else []
    )
    edges += [] if edges else [(max(a.min_size_train), a.max_size_train)]
    if a.test_input_type == "square":
        edges.append((a.test_size, a.test_size))
    elif a.min_size_test > 0:
        edges.append((a.min_size_test, a.max_size_test))
    sizes = set()
    for short, long in edges:
        short, long = (-(-min(edge, long) // divisibility) * divisibility for edge in (short, long))
        sizes |= {(short, long), (long, short), (long, long)}
    return sorted(sizes)
