# make demo   set up, train on the embedded images, export, verify, predict
# make test   set up, run every test
# make check  lint, format, types
# make compatibility   run the models that ship on other engines and versions, each in its own environment
# make oldest          run them on the oldest onnxruntime and numpy only, if these are available
# make processors      run them on Debian 13's onnxruntime for other processors, emulated
# make bounds          walk the whole way with the oldest and the newest packages that pyproject.toml allows
# make clean  remove what these created

PYTHON  ?= python3
VENV    := .venv
BIN     := $(VENV)/bin
READY   := $(VENV)/.ready
DEMO    := artifacts/demo
SHIPPED := artifacts/conv*.onnx artifacts/simple*.onnx artifacts/resnet8*.onnx

.PHONY: demo test check compatibility oldest processors bounds format clean

.DELETE_ON_ERROR:

demo: $(DEMO)/conv.onnx $(DEMO)/image.npy
	$(BIN)/clf-predict $(DEMO)/image.npy --model $(DEMO)/conv.onnx --top 3

test: $(READY)
	$(BIN)/python -m pytest --numprocesses auto --dist loadscope

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

compatibility: $(READY) processors bounds
	$(BIN)/python benchmarks/compatibility.py $(SHIPPED)

processors: $(READY)
	$(BIN)/python benchmarks/other_processors.py $(SHIPPED) --if-there

bounds: $(READY)
	$(BIN)/python benchmarks/bounds.py --end oldest
	$(BIN)/python benchmarks/bounds.py --end newest

oldest: $(READY)
	$(BIN)/python benchmarks/compatibility.py $(SHIPPED) --engine oldest --if-there

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(DEMO) $(DEMO).partial build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade --constraint constraints.txt pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all]' --group dev
	-$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[pretrained]'  # or without them
	touch $@

$(DEMO)/comparison.html: $(READY)
	$(BIN)/clf-train --out $(DEMO) --overwrite

$(DEMO)/conv.onnx: $(DEMO)/comparison.html
	$(BIN)/clf-export $(DEMO) --overwrite

$(DEMO)/image.npy: $(DEMO)/comparison.html
	$(BIN)/python -c "import numpy; from clf_train import read_source; \
	  numpy.save('$@', read_source('digits').test.images[0])"
