"""Selection of values by label."""

import torch

from centernet2.ops.tensors import of_labels


def test_values_of_each_label() -> None:
    values, labels = torch.arange(3 * 4).view(3, 4, 1), torch.tensor([2, 0, 4])
    assert of_labels(values, labels).tolist() == [[2], [4], [11]]
    assert of_labels(values[:, :1], labels).tolist() == [[0], [4], [8]]
