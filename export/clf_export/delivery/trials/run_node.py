"""The delivered script for Node.js: `python run_node.py FOLDER IMAGES.npy ANSWERS.npy`; it needs NODE_PATH."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

place, taken, given = sys.argv[1:]
images, rows = np.load(taken), []
for image in images:
    with tempfile.TemporaryDirectory() as scratch:
        pixels = Path(scratch) / "pixels"
        pixels.write_bytes(np.ascontiguousarray(image).tobytes())
        sides = map(str, image.shape[:2])
        done = subprocess.run(
            ["node", Path(place) / "classify.js", pixels, *sides], check=True, capture_output=True, timeout=60
        )
        [answer] = json.loads(done.stdout.splitlines()[0]).values()
        rows.append(answer)
np.save(given, np.array(rows, np.float32))
code = "console.log(require('onnxruntime-node/package.json').version, 'with node', process.versions.node)"
print(subprocess.run(["node", "-e", code], check=True, capture_output=True, text=True, timeout=60).stdout.strip())
