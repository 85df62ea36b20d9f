"""The microcontrollers' interpreter on the int8 file of a delivery, or its float32 one; prints the bytes of its arena.

`python run_tflite_micro.py FOLDER IMAGES.npy ANSWERS.npy`
"""

import os
import re
import sys
import tempfile
from importlib.metadata import version

import numpy as np
from tflite_micro.python.tflite_micro import runtime

place, taken, given = sys.argv[1:]
images, rows = np.load(taken).astype(np.float32), []
file = place if os.path.isfile(place) else f"{place}/model.int8.tflite"
interpreter = runtime.Interpreter.from_file(file)
first, last = interpreter.get_input_details(0), interpreter.get_output_details(0)
for image in images.transpose(0, 2, 3, 1):
    values = image[None]
    if first["dtype"] == np.int8:
        scale, zero = (first["quantization_parameters"][key][0] for key in ("scales", "zero_points"))
        values = np.clip(np.rint(values / scale + zero), -128, 127).astype(np.int8)
    interpreter.set_input(np.ascontiguousarray(values), 0)
    interpreter.invoke()
    answer = interpreter.get_output(0).astype(np.float32)
    if last["dtype"] == np.int8:
        scale, zero = (last["quantization_parameters"][key][0] for key in ("scales", "zero_points"))
        answer = (answer - zero) * scale
    rows.append(answer.reshape(-1))
np.save(given, np.array(rows, np.float32))
with tempfile.TemporaryFile() as said:  # it reports on the process's stderr
    os.dup2(said.fileno(), 2)
    interpreter.print_allocations()
    said.seek(0)
    found = re.search(rb"Arena allocation total (\d+)", said.read())
print(version("tflite-micro"), f"arena {int(found[1]):,} bytes" if found else "")
