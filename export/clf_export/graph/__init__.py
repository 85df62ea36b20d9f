"""The graph: a net translated to ONNX, and rewritten to be small and fast."""
