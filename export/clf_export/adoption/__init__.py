"""Foreign ONNX classifiers made into clf-edge models: what is stated, what the file says, the graph, the proof."""
