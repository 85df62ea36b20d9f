"""onnxruntime-node: a folder with the file as it is, its labels, and a script of a few lines that runs it."""

import json
from pathlib import Path

from clf_export.delivery.original import Original
from clf_export.delivery.tool import Tool, Written

_SCRIPT = """\
// node classify.js PIXELS{usage}: the file holds the raw {dtype} values of {what}. First: npm install
process.env.ORT_DISABLE_TELEMETRY = "1";
const {{ readFileSync }} = require("fs");
const ort = require("onnxruntime-node");
const names = JSON.parse(readFileSync(`${{__dirname}}/labels.json`));
ort.InferenceSession.create(`${{__dirname}}/model.onnx`).then(async (session) => {{
  const bytes = new Uint8Array(readFileSync(process.argv[2]));
  const image = new ort.Tensor("{dtype}", {values}, {shape});
  const answers = await session.run({{ {input}: image }});
  for (const [name, {{ data }}] of Object.entries(answers)) console.log(JSON.stringify({{ [name]: [...data] }}));
  console.log(names[answers.{output}.data.indexOf(Math.max(...answers.{output}.data))]);
}});
"""


def write(original: Original, place: Path) -> Written:
    """Write `model.onnx`, unchanged, `labels.json`, `package.json` and `classify.js` into a folder."""
    card, graph = original.card, original.graph.graph
    photo = card.input == "photo"
    channels, height, width = card.image_shape
    shape = "[1, +process.argv[3], +process.argv[4], 3]" if photo else json.dumps([1, channels, height, width])
    script = _SCRIPT.format(
        usage=" HEIGHT WIDTH" if photo else "",
        what="one photo [height, width, 3] in RGB" if photo else f"one image {list(card.input_shape)} in RGB",
        dtype=card.dtype,
        values="bytes" if card.dtype == "uint8" else "new Float32Array(bytes.buffer)",
        shape=shape,
        input=graph.input[0].name,
        output=graph.output[0].name,
    )
    (place / "model.onnx").write_bytes(original.data)
    (place / "classify.js").write_text(script, "utf-8")
    (place / "labels.json").write_text(json.dumps(list(card.names), ensure_ascii=False) + "\n", "utf-8")
    package = {"private": True, "dependencies": {"onnxruntime-node": "^1.20.0"}}
    (place / "package.json").write_text(json.dumps(package, indent=2) + "\n", "utf-8")
    return Written(original.data, lines=("in it: npm install; node classify.js PIXELS",), alone=photo)


TOOL = Tool("node", "onnxruntime-node", "Node.js with onnxruntime-node", "", write, "", "run_node.py")
