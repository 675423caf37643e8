"""Operators of our own, which compiled programs call as they are."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

LIBRARY = torch.library.Library("centernet2", "FRAGMENT")  # type: ignore[no-untyped-call]


class Backward(NamedTuple):
    """The gradient of an operator, as torch.library.register_autograd takes it."""

    keep: Callable[..., None]  # of context, inputs and output
    gradients: Callable[..., Any]  # of context and the gradient of the output


def opaque_operator(
    name: str,
    compute: Callable[..., Tensor],
    shape: Callable[..., Tensor],
    backward: Backward | None = None,
) -> Callable[..., Tensor]:
    """Return a function as an operator of PyTorch, named centernet2::`name`.

    As torch.library.custom_op, whose first call would import the compiler; that takes as long as to
    import torch.

    Args:
        compute: takes tensors and numbers by position, and changes none of them.
        shape: of the same arguments; returns an empty tensor like the result.
        backward: None: the operator has no gradient.
    """
    schema = torch.library.infer_schema(compute, op_name=name, mutates_args=())
    LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag,))  # type: ignore[no-untyped-call]
    run = torch.no_grad()(compute)
    LIBRARY.impl(name, run, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]
    torch.library.register_fake(f"centernet2::{name}", shape, lib=LIBRARY)
    if backward is not None:
        torch.library.register_autograd(
            f"centernet2::{name}", backward.gradients, setup_context=backward.keep, lib=LIBRARY
        )
    operator: Callable[..., Tensor] = getattr(torch.ops.centernet2, name).default
    return operator
