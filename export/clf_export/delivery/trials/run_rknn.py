"""Rockchip's toolkit: `python run_rknn.py FOLDER` builds model.rknn there from model.onnx.

`python run_rknn.py FOLDER IMAGES.npy ANSWERS.npy` runs the simulator on it, which needs the graph.
"""

import sys
from importlib.metadata import version

import numpy as np
from rknn.api import RKNN

place = sys.argv[1]
toolkit = RKNN(verbose=False)
assert toolkit.config(target_platform="rk3588") == 0
assert toolkit.load_onnx(model=f"{place}/model.onnx") == 0
assert toolkit.build(do_quantization=False) == 0
if len(sys.argv) == 2:
    assert toolkit.export_rknn(f"{place}/model.rknn") == 0
else:
    assert toolkit.init_runtime() == 0
    images = np.load(sys.argv[2]).astype(np.float32)
    rows = [
        toolkit.inference(inputs=[np.ascontiguousarray(image[None])], data_format=["nchw"])[0].reshape(-1)
        for image in images
    ]
    np.save(sys.argv[3], np.array(rows, np.float32))
toolkit.release()
print(version("rknn-toolkit2"))
