"""Optimum and transformers on a delivery: `python run_transformers.py FOLDER IMAGES.npy ANSWERS.npy`."""

import sys
from importlib.metadata import version

import numpy as np
from optimum.onnxruntime import ORTModelForImageClassification
from PIL import Image
from transformers import AutoImageProcessor

place, taken, given = sys.argv[1:]
images = np.load(taken)
scale = 255 if images.dtype == np.float32 and images.max() <= 1 else 1
pictures = [Image.fromarray(np.rint(image * scale).astype(np.uint8).transpose(1, 2, 0)) for image in images]
model = ORTModelForImageClassification.from_pretrained(place, local_files_only=True)
processor = AutoImageProcessor.from_pretrained(place, local_files_only=True)
logits = model(**processor(images=pictures, return_tensors="pt")).logits
np.save(given, logits.softmax(dim=1).numpy().astype(np.float32))
print(version("optimum-onnx"), "with transformers", version("transformers"))
