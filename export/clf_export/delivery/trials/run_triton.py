"""Triton's own parser on a delivery's config.pbtxt; the server is no Python package, so that nothing is answered."""

import sys
from importlib.metadata import version
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

place = Path(sys.argv[1])
config = text_format.Parse((place / "config.pbtxt").read_text("utf-8"), model_config_pb2.ModelConfig())
assert config.name == place.name, config.name
assert len(config.input) == 1, config.input
assert (place / config.output[0].label_filename).exists(), config.output
print(version("tritonclient"))
