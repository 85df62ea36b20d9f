"""The graph: a net translated to ONNX, then simplified and optimised."""
