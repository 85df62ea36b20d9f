"""OpenVINO's Model API on a delivery: `python run_openvino.py FILE IMAGES.npy ANSWERS.npy`."""

import sys
from importlib.metadata import version

import numpy as np
from model_api.adapters import OpenvinoAdapter, create_core
from model_api.models import Model

place, taken, given = sys.argv[1:]
images = np.load(taken)
scale = 255 if images.dtype == np.float32 and images.max() <= 1 else 1
# By default OpenVINO computes in bfloat16, and quantises inputs of int8 weights too, on processors that have
# instructions for these.
adapter = OpenvinoAdapter(create_core(), place, device="CPU", plugin_config={"EXECUTION_MODE_HINT": "ACCURACY"})
model = Model.create_model(adapter, preload=True)
rows = []
for image in images:
    picture = np.rint(image * scale).astype(np.uint8).transpose(1, 2, 0)[..., ::-1]
    rows.append(np.array(model(np.ascontiguousarray(picture)).raw_scores))  # copied: it reuses its buffers
np.save(given, np.array(rows, np.float32).reshape(len(images), -1))
print(version("openvino-model-api"), "with openvino", version("openvino"))
