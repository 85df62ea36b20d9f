"""The tools that a file can be handed to, and the one function that does it."""

from pathlib import Path

from clf_export.delivery import litert, mnn, ncnn, node, openvino, rknn, transformers, triton, ultralytics
from clf_export.delivery.original import read_original
from clf_export.delivery.place import named_at_end, refuse_taken
from clf_export.delivery.proof import prove_by_onnxruntime, prove_by_tool
from clf_export.delivery.tool import Tool
from clf_export.errors import DeliveryError

TOOLS: dict[str, Tool] = {
    module.TOOL.name: module.TOOL
    for module in (openvino, triton, transformers, ultralytics, node, mnn, ncnn, litert, rknn)
}


def find_tool(name: str) -> Tool:
    """The tool of this name. Raises DeliveryError, with those that are known, if there is none."""
    if name not in TOOLS:
        raise DeliveryError(f"no tool is called {name[:60]!r}; known are {', '.join(TOOLS)}")
    return TOOLS[name]


def write_for(tool: str, model: Path, to: Path, *, labelled: str | None = None, overwrite: bool = False) -> list[str]:
    """Write an exported file as another tool takes it, and return what to print, one line each.

    `model` is a file of clf-export, `to` the file or the folder to write (`TOOLS[tool].folder` says which). Before it
    gets its name it is proven on the golden cases: with onnxruntime, and with the tool itself where it is installed,
    here or in an environment whose programs are on the PATH. A delivery that is calibrated takes images of `labelled`,
    a source like that of clf-train, and is measured on others; the rest ignore it.

    Raises DeliveryError for an unknown tool, a file that it cannot take, or other answers than the file's; OutputError
    for a place that is taken, or cannot be written; MissingToolError if a tool that is needed for the conversion is not
    installed; ModelError if `model` is none; DataError if `labelled` cannot be read.
    """
    wanted, to = find_tool(tool), to.absolute()
    if wanted.suffix and to.suffix != wanted.suffix:
        raise DeliveryError(f"{to}: for {tool} a file is written whose name ends in {wanted.suffix}")
    refuse_taken(to, wanted.folder, overwrite=overwrite)
    original = read_original(model, labelled if wanted.calibrates else None)
    if to == model.absolute():
        raise DeliveryError(f"{to}: is the file itself; choose another place")
    with named_at_end(to, wanted.folder) as place:
        written = wanted.write(original, place)
        proofs = [prove_by_onnxruntime(original, written), prove_by_tool(original, wanted, place)]
        size = sum(f.stat().st_size for f in place.rglob("*")) if wanted.folder else place.stat().st_size
    return [
        f"{to}: {size:,} bytes, for {wanted.about}",
        *(f"  golden cases                     {line}" for line in proofs),
        *(f"  note                             {line}" for line in written.lines),
    ]
