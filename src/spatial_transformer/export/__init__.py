"""Export as torch.export programs and ONNX models, each checked before it is written."""

from spatial_transformer.export.network import export_network as export_network
from spatial_transformer.export.onnx import export_module as export_module
from spatial_transformer.export.onnx import export_onnx as export_onnx
from spatial_transformer.export.program import export_program as export_program
from spatial_transformer.export.program import save_program as save_program
from spatial_transformer.export.warp import Warp as Warp
from spatial_transformer.export.warp import export_warp as export_warp
