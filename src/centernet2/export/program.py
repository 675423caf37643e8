"""The graph of a detector as a program of torch.export, where all formats start."""

from copy import deepcopy

import torch
from torch.export import Dim, ExportedProgram

from centernet2.export.graph import DetectionGraph
from centernet2.models.detector import Detector
from centernet2.models.optimize import fuse_norms

TRACED_SHAPE = (2, 3, 200, 300)  # of dynamic images; sizes that differ are not taken for equal


def export_program(graph: DetectionGraph) -> ExportedProgram:
    """Trace a graph, for the shapes that its options allow."""
    batch, size = graph.options.batch, graph.options.size
    shape = (batch or TRACED_SHAPE[0], 3, *(size or TRACED_SHAPE[2:]))
    free = {0: Dim.DYNAMIC} if batch is None else {}
    free |= {2: Dim.DYNAMIC, 3: Dim.DYNAMIC} if size is None else {}
    images = torch.zeros(shape, dtype=torch.uint8)
    with torch.no_grad():
        return torch.export.export(graph, (images,), dynamic_shapes=(free,), strict=False)


def exportable(detector: Detector) -> Detector:
    """Return a copy with fused normalization, in the format of exported graphs."""
    copy = deepcopy(detector).cpu().eval()
    fuse_norms(copy)
    return copy.to(memory_format=torch.contiguous_format)
