"""MNN on a delivery: `python run_mnn.py FOLDER IMAGES.npy ANSWERS.npy`."""

import sys
from importlib.metadata import version

import MNN.expr as F
import numpy as np
from MNN import nn

place, taken, given = sys.argv[1:]
images, rows = np.load(taken).astype(np.float32), []
net = nn.load_module_from_file(f"{place}/model.mnn", ["image"], ["probabilities"])
for image in images:
    variable = F.const(np.ascontiguousarray(image[None]), [1, *image.shape], F.NCHW, F.float)
    rows.append(np.array(F.convert(net.forward([variable])[0], F.NCHW).read()).reshape(-1))
np.save(given, np.array(rows, np.float32))
print(version("MNN"))
