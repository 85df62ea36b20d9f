"""LiteRT on a delivery, or on one .tflite file: `python run_litert.py PLACE IMAGES.npy ANSWERS.npy`."""

import os
import sys
from importlib.metadata import version

import numpy as np
from ai_edge_litert.interpreter import Interpreter

place, taken, given = sys.argv[1:]
images, rows = np.load(taken).astype(np.float32), []
interpreter = Interpreter(place if os.path.isfile(place) else f"{place}/model.tflite")
interpreter.allocate_tensors()
[first], [last] = interpreter.get_input_details(), interpreter.get_output_details()
for image in images.transpose(0, 2, 3, 1):
    values = image[None]
    if first["dtype"] == np.int8:
        scale, zero = first["quantization"]
        values = np.clip(np.rint(values / scale + zero), -128, 127).astype(np.int8)
    interpreter.set_tensor(first["index"], np.ascontiguousarray(values))
    interpreter.invoke()
    answer = interpreter.get_tensor(last["index"]).astype(np.float32)
    if last["dtype"] == np.int8:
        scale, zero = last["quantization"]
        answer = (answer - zero) * scale
    rows.append(answer.reshape(-1))
np.save(given, np.array(rows, np.float32))
print(version("ai-edge-litert"))
