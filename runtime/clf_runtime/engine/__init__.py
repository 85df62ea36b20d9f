"""The engine: the only place that uses onnxruntime, from opening a session to buffers, threads and processors."""
