"""ncnn on a delivery: `python run_ncnn.py FOLDER IMAGES.npy ANSWERS.npy`."""

import sys
from importlib.metadata import version

import ncnn
import numpy as np

place, taken, given = sys.argv[1:]
images, rows = np.load(taken).astype(np.float32), []
with ncnn.Net() as net:
    for option in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
        setattr(net.opt, option, False)
    assert net.load_param(f"{place}/model.ncnn.param") == 0
    assert net.load_model(f"{place}/model.ncnn.bin") == 0
    for image in images:
        with net.create_extractor() as extractor:
            extractor.input("in0", ncnn.Mat(np.ascontiguousarray(image)).clone())
            code, answer = extractor.extract("out0")
            assert code == 0, code
            rows.append(np.array(answer).reshape(-1))
np.save(given, np.array(rows, np.float32))
print(version("ncnn"), "with pnnx", version("pnnx"))
