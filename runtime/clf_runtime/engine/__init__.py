"""The engine: the one place that knows onnxruntime, from opening a session to buffers, threads and processors."""
