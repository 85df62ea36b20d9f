"""Who may import whom, and what no command may load before it needs it."""

import ast
import functools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import clf_export
import clf_runtime
import clf_train

ROOT = Path(__file__).parents[2]
FORBIDDEN = {
    "runtime/clf_runtime": {
        "clf_train",
        "clf_export",
        "torch",
        "onnx",
        "onnx_ir",
        "onnxscript",
        "sklearn",
        "matplotlib",
        "safetensors",
    },
    "train/clf_train": {"clf_export", "onnx", "onnx_ir", "onnxscript", "onnxruntime"},
    "export/clf_export": set(),
}
SLOW = {"numpy", "onnxruntime", "torch", "onnx", "sklearn", "matplotlib", "PIL", "rich", "pydantic"}


# The rooms of each package, and the modules of its public face, from the lowest up: each imports what stands before it.
ROOMS = {
    "runtime/clf_runtime": (
        *(
            "errors",
            "lazy",
            "system",
            "bounded",
            "whole_file",
            "engine",
            "model",
            "inputs",
            "prediction",
            "pipeline",
            "record",
            "classifier",
        ),
        *("datasets", "evaluation", "explanation", "monitoring", "scoring", "diagnostics", "commands"),
    ),
    "train/clf_train": (
        *(
            "errors",
            "files",
            "models",
            "data",
            "evaluation",
            "loop",
            "runs",
            "report",
            "scoring",
            "open_set",
            "training",
        ),
        "commands",
    ),
    "export/clf_export": (
        *("errors", "graph", "proof", "int8", "familiarity", "cards", "inputs", "outputs", "int8_export", "export"),
        *("adoption", "delivery", "commands"),
    ),
}


@functools.cache
def nodes_of(file):
    """What of a source file its imports and attributes are read from."""
    kinds = (ast.Import, ast.ImportFrom, ast.Attribute)
    return [node for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, kinds)]


def modules_imported(file):
    for node in nodes_of(file):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported(file):
    return {name.split(".")[0] for name in modules_imported(file)}


@pytest.mark.parametrize("package", ROOMS)
def test_a_room_imports_the_rooms_below_it_only(package):
    folder, rooms = ROOT / package, ROOMS[package]
    there = {entry.stem for entry in folder.iterdir() if entry.suffix == ".py" or (entry / "__init__.py").exists()}
    assert there - {"__init__", "__main__"} == set(rooms)
    upward = []
    for room in rooms:
        place = folder / room
        for file in place.rglob("*.py") if place.is_dir() else [place.with_suffix(".py")]:
            for name in modules_imported(file):
                package_name, _, rest = name.partition(".")
                target = rest.split(".")[0]
                if package_name == folder.name and target in rooms and rooms.index(target) > rooms.index(room):
                    upward.append((str(file.relative_to(folder)), name))
    assert upward == []


# What onnxruntime's objects are asked for: nothing outside of the runtime's engine room says it.
OF_A_SESSION = {
    *("InferenceSession", "SessionOptions", "GraphOptimizationLevel", "get_inputs", "get_outputs", "get_providers"),
    *("get_modelmeta", "custom_metadata_map", "run_with_iobinding", "io_binding", "get_available_providers", "ort"),
}


def test_one_room_knows_onnxruntime():
    """But for onnxruntime.quantization, a tool of the export that runs nothing."""
    engine = ROOT / "runtime/clf_runtime/engine"
    found = []
    for file in (file for package in ROOMS for file in (ROOT / package).rglob("*.py")):
        if engine not in file.parents:
            names = [name for name in modules_imported(file) if name.split(".")[0] == "onnxruntime"]
            found += [(file.name, name) for name in names if not name.startswith("onnxruntime.quantization.")]
            attributes = {node.attr for node in nodes_of(file) if isinstance(node, ast.Attribute)}
            found += [(file.name, name) for name in attributes & OF_A_SESSION]
    assert found == []


@pytest.mark.parametrize("package", FORBIDDEN)
def test_imports_go_one_way(package):
    files = list((ROOT / package).rglob("*.py"))
    assert files
    assert [(f.name, name) for f in files for name in imported(f) if name in FORBIDDEN[package]] == []


@pytest.mark.parametrize("folder", ["runtime", "train", "export"])
def test_a_folder_on_the_path_holds_its_package_only(folder):
    assert [p.name for p in (ROOT / folder).iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()] == [
        f"clf_{folder}"
    ]


def loaded_after(code):
    code += "\nimport json, sys; print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


COMMANDS = (
    *(f"clf_runtime.commands.{name}" for name in ("predict", "score", "eval", "bench", "doctor")),
    "clf_train.commands.train",
    "clf_export.commands.export",
)


@pytest.mark.parametrize("module", COMMANDS)
@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_load_nothing_slow(module, option):
    code = f"import sys; sys.argv = ['x', '{option}']\nimport {module} as c\ntry: c.main()\nexcept SystemExit: pass"
    assert loaded_after(code) & SLOW == set()


def test_a_prediction_loads_nothing_of_the_workstation(tiny_file, tmp_path):
    code = (
        f"import numpy, clf_runtime; c = clf_runtime.Classifier.load({tiny_file!r}); "
        "c.predict(numpy.zeros((3, 8, 8), numpy.uint8))"
    )
    assert loaded_after(code) & (FORBIDDEN["runtime/clf_runtime"] | {"typer", "PIL"}) == set()


def test_a_cold_prediction_loads_nothing_that_it_does_not_need(tiny_file, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((3, 8, 8), np.uint8))
    code = (
        f"import sys; sys.argv = ['x', {str(tmp_path / 'x.npy')!r}, '--model', {tiny_file!r}]\n"
        "import clf_runtime.commands.predict as c\ntry: c.main()\nexcept SystemExit: pass"
    )
    needless = {"typer", "click", "zipfile", "csv", "glob", "hashlib", "_hashlib", "PIL", "rich", "pydantic"}
    anyway = loaded_after("import numpy, onnxruntime, pathlib")  # an old numpy loads hashlib, a new pathlib glob
    assert loaded_after(code) & needless <= anyway


@pytest.mark.parametrize("package", [clf_runtime, clf_train, clf_export])
def test_every_public_name_is_there_and_nothing_else_is(package):
    if package is not clf_runtime:
        pytest.importorskip("torch", reason="as on a device, there is no torch")
    assert sorted(package.__all__) == package.__all__ == dir(package)
    for name in package.__all__:
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        package.nonsense  # noqa: B018


def test_every_error_has_the_one_root_and_a_builtin():
    from clf_export import errors as export_errors
    from clf_runtime import ClfError
    from clf_runtime import errors as runtime_errors
    from clf_train import errors as train_errors

    for module, root in (
        (runtime_errors, ClfError),
        (train_errors, train_errors.TrainError),
        (export_errors, export_errors.ExportError),
    ):
        classes = [c for c in vars(module).values() if isinstance(c, type) and c.__module__ == module.__name__]
        assert root in classes
        for error in classes:
            assert issubclass(error, ClfError)
            if error is not root:
                assert issubclass(error, root)
                assert issubclass(error, ValueError | RuntimeError | ImportError)
