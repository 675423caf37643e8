"""OpenVINO files from ONNX models.

OpenVINO reads all operators of these models, except DeformConv, for which it has no rule.
"""

import json
from pathlib import Path
from typing import Any

from centernet2.outputs import mark_of
from centernet2.runtime.session import METADATA_KEY


def save_openvino(
    onnx_model: Path, path: Path, metadata: str, *, half_weights: bool = False
) -> None:
    """Write an .xml file and, beside it, the .bin file of its weights.

    Args:
        metadata: JSON that the file carries under METADATA_KEY; `model_info` are keys of Model API.
        half_weights: store weights in half precision; they are converted when the file is opened.
    """
    import openvino
    from openvino.frontend.onnx import ConversionExtension

    rules = [ConversionExtension("DeformConv", _deform_conv)]
    model = openvino.convert_model(onnx_model, extension=rules)
    model.set_friendly_name(mark_of("export"))
    model.set_rt_info(metadata, METADATA_KEY)
    for key, value in json.loads(metadata).get("model_info", {}).items():
        model.set_rt_info(value, ["model_info", key])
    openvino.save_model(model, path, compress_to_fp16=half_weights)


def _deform_conv(node: Any) -> list[Any]:
    """Convert DeformConv of ONNX: inputs are image, weight, offset, bias and mask."""
    from openvino import opset8

    inputs = [node.get_input(i) for i in range(node.get_input_size())]
    image, weight, offset = inputs[:3]
    pads = node.get_attribute("pads")
    out = opset8.deformable_convolution(
        image,
        offset,
        weight,
        node.get_attribute("strides"),
        pads[:2],
        pads[2:],
        node.get_attribute("dilations"),
        mask=inputs[4] if len(inputs) > 4 else None,
        group=node.get_attribute("group", 1),
        deformable_group=node.get_attribute("offset_group", 1),
        bilinear_interpolation_pad=True,  # a sample beyond the edge is interpolated with zeros
    )
    if len(inputs) > 3:  # the bias, one per channel
        out = opset8.add(out, opset8.unsqueeze(inputs[3], opset8.constant([0, 2, 3])))
    return list(out.outputs())
