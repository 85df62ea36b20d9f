# make demo   set up, train on the embedded images, export, verify, predict
# make test   set up, run every test
# make check  lint, format, types
# make compatibility   run the models that ship on other engines, versions and tools, each in its own environment
# make oldest newest   run them on the oldest and the newest onnxruntime and numpy only, if these are available
# make test-cuda       the tests that need an NVIDIA GPU; packages that are missing are taken from the folder cuda-wheels
# make cuda-wheels     gather these packages, for a machine without a network
# make page   the model that ships as a page for a browser, in artifacts/page
# make processors      run them on Debian 13's onnxruntime for other processors, emulated
# make bounds          walk the whole way with the oldest and the newest packages that pyproject.toml allows
# make clean  remove what these created

PYTHON  ?= python3
VENV    := .venv
BIN     := $(VENV)/bin
READY   := $(VENV)/.ready
DEMO    := artifacts/demo
WITH_GPU ?= $(if $(wildcard $(READY)),$(BIN)/python,$(PYTHON))
FOR_PYTHON ?= $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
NODE    := node_modules/.ready
SHIPPED := artifacts/conv*.onnx artifacts/simple*.onnx artifacts/resnet8*.onnx

.PHONY: demo test check page compatibility oldest processors bounds newest format clean test-cuda cuda-wheels

.DELETE_ON_ERROR:

demo: $(DEMO)/conv.onnx $(DEMO)/image.npy
	$(BIN)/clf-predict $(DEMO)/image.npy --model $(DEMO)/conv.onnx --top 3

test: $(READY) $(NODE)
	$(BIN)/python -m pytest --numprocesses auto --dist loadscope --no-loadscope-reorder

test-cuda:
	if [ -d cuda-wheels ]; then $(WITH_GPU) tests/cuda/wheels.py unpack cuda-wheels build/cuda-packages; fi
	PYTHONPATH=runtime:train:export:build/cuda-packages:$$PYTHONPATH $(WITH_GPU) -m pytest tests/cuda -m cuda

cuda-wheels:
	$(PYTHON) tests/cuda/wheels.py gather cuda-wheels $(FOR_PYTHON)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

page: $(READY) $(NODE)
	$(BIN)/python -c "from pathlib import Path; from clf_export.delivery.page import write_page; \
	  ort = Path('node_modules/onnxruntime-web'); page = Path('artifacts/page'); \
	  print(*write_page(Path('artifacts/conv.onnx'), page, ort_web=ort if ort.exists() else None, overwrite=True), sep='\n')"

compatibility: $(READY) processors bounds
	$(BIN)/python benchmarks/compatibility.py $(SHIPPED)
	$(BIN)/python benchmarks/deliveries.py $(SHIPPED) --if-there

processors: $(READY)
	$(BIN)/python benchmarks/other_processors.py $(SHIPPED) --if-there

bounds: $(READY)
	$(BIN)/python benchmarks/bounds.py --end oldest
	$(BIN)/python benchmarks/bounds.py --end newest

oldest newest: $(READY)
	$(BIN)/python benchmarks/compatibility.py $(SHIPPED) --engine $@ --if-there

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) node_modules artifacts/page $(DEMO) $(DEMO).partial build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade --constraint constraints.txt pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all]' --group dev
	-$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[pretrained]'  # or without them
	-$(BIN)/python -m pip install --quiet --constraint constraints.txt --group browser  # or without tests of pages
	touch $@

$(NODE): package-lock.json
	-npm ci --ignore-scripts --no-audit --no-fund --fetch-retries=1 --fetch-timeout=60000 && touch $@  # or without it

$(DEMO)/comparison.html: $(READY)
	$(BIN)/clf-train --out $(DEMO) --overwrite

$(DEMO)/conv.onnx: $(DEMO)/comparison.html
	$(BIN)/clf-export $(DEMO) --overwrite

$(DEMO)/image.npy: $(DEMO)/comparison.html
	$(BIN)/python -c "import numpy; from clf_train import read_source; \
	  numpy.save('$@', read_source('digits').test.images[0])"
