"""Called by photo_graph.py inside an engine's environment: resize photos by a graph, without Pillow or clf-edge."""

import sys

import numpy as np
from engine_answers import FOREIGN


def _onnxruntime(model):  # type: ignore[no-untyped-def]
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return lambda photo: session.run(None, {"image": photo})[0]


def main() -> int:
    name, model, photos, pixels = sys.argv[1:]
    try:
        run = FOREIGN.get(name, _onnxruntime)(model)
        with np.load(photos) as archive:
            np.save(pixels, np.concatenate([np.array(run(archive[key][None])) for key in archive.files]))
    except Exception as error:  # each engine has its own
        print(f"{type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
