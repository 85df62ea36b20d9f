"""The files of a page that runs a model in a browser.

Scripts, style sheet and template are the files in `web/`; nothing is compiled. A strict Content-Security-Policy lets
the page load its own files, and those of onnxruntime-web on the CDN where they are not beside it, and nothing else.
"""

import base64
import gzip
import hashlib
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from clf_export.delivery.ort_web import CDN, INTEGRITY, MODULE, WASM, OrtWeb, integrity
from clf_export.delivery.page_data import PageData
from clf_export.delivery.page_files import GENERATOR

# In the order in which one file contains them: each imports those before it only.
MODULES = (
    *("resize.js", "geometry.js", "tensor.js", "resources.js", "model.js", "pictures.js", "self-test.js"),
    *("sources.js", "camera.js", "drawing.js", "results.js", "answer-list.js", "offline.js", "main.js"),
)
_WEB = Path(__file__).parent / "web"


def folder_page(page: PageData, model: bytes, runtime: OrtWeb) -> dict[str, bytes]:
    """The files of a page in a folder, by their paths in it."""
    files = {name: (_WEB / name).read_bytes() for name in (*MODULES, "style.css", "icon.svg")}
    files["model.onnx"] = model
    if runtime.files is not None:
        files |= {f"ort/{name}": data for name, data in runtime.files.items()}
        files["ort/LICENSE.txt"] = (_WEB / "ort-license.txt").read_bytes()
    files["manifest.webmanifest"] = _json(
        {
            "name": page.title,
            "short_name": page.title,
            "start_url": "./",
            "display": "standalone",
            "icons": [{"src": "icon.svg", "sizes": "any", "type": "image/svg+xml"}],
        }
    ).encode()
    sources = {
        "runtime": _source(f"ort/{MODULE}", files, MODULE),
        "wasm": _source(f"ort/{WASM}", files, WASM),
        "model": _source("model.onnx", files),
    }
    policy = _policy(sources, script="'self'", style="'self'")
    data = _json({**page.scripts, "files": sources, "offline": True})
    files["index.html"] = _render(page, runtime, policy=policy, data=data, single=False, embedded={})
    kept = {path: integrity(data) for path, data in sorted(files.items()) if not path.endswith(".txt")}
    kept |= {source["url"]: source["integrity"] for source in sources.values()}
    version = hashlib.sha256(_json(kept).encode()).hexdigest()[:16]
    worker = f"self.PAGE = {_json({'version': version, 'files': kept})};\n\n"
    files["service-worker.js"] = worker.encode() + (_WEB / "service-worker.js").read_bytes()
    return files


def single_page(page: PageData, model: bytes, runtime: OrtWeb) -> bytes:
    """A page as one HTML file; what it contains is compressed, in base64."""
    embedded = {"model-file": _packed(model)}
    sources = {"model": {"embedded": "model-file"}}
    for key, name in (("runtime", MODULE), ("wasm", WASM)):
        if runtime.files is None:
            sources[key] = _source("", {}, name)
        else:
            embedded[f"{key}-file"] = _packed(runtime.files[name])
            sources[key] = {"embedded": f"{key}-file"}
    style, script = (_WEB / "style.css").read_text("utf-8"), _joined_modules()
    policy = _policy(sources, script=_hash(script), style=_hash(style))
    data = _json({**page.scripts, "files": sources, "offline": False})
    inline = {"style": Markup(style), "script": Markup(script), "embedded": embedded}
    return _render(page, runtime, policy=policy, data=data, single=True, **inline)


def _source(path: str, files: dict[str, bytes], of_cdn: str = "") -> dict[str, str]:
    """Where the page fetches a file, and its integrity: a file of the page, or else one of the CDN."""
    if path in files:
        return {"url": path, "integrity": integrity(files[path])}
    return {"url": CDN + of_cdn, "integrity": INTEGRITY[of_cdn]}


def _policy(sources: dict[str, dict[str, str]], *, script: str, style: str) -> str:
    """The Content-Security-Policy (https://www.w3.org/TR/CSP3/): own files, those of the CDN, and nothing else.

    blob: is for onnxruntime-web, which is imported from bytes whose integrity was checked.
    """
    urls = [source["url"] for source in sources.values() if "url" in source]
    fetched = ["'self'"] * any("://" not in url for url in urls) + [url for url in urls if "://" in url]
    own = "'self'" if script == "'self'" else "'none'"
    rules = {
        "default-src": "'none'",
        "script-src": f"{script} blob: 'wasm-unsafe-eval'",
        "style-src": style,
        "img-src": own,
        "manifest-src": own,
        "worker-src": own,
        "connect-src": " ".join(fetched) or "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _joined_modules() -> str:
    """All scripts of the page as one module: their imports of each other, and their exports, are left out."""
    text = "\n".join((_WEB / name).read_text("utf-8") for name in MODULES)
    text = re.sub(r'^import \{[^}]*\} from "\./[\w-]+\.js";\n', "", text, flags=re.MULTILINE)
    return re.sub(r"^export ", "", text, flags=re.MULTILINE)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"


def _packed(data: bytes) -> str:
    return base64.b64encode(gzip.compress(data, 6, mtime=0)).decode("ascii")


def _json(value: Any) -> str:
    """JSON that can stand in a script element: none of its text can end the element, or begin a comment in it."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))  # ASCII only
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_WEB),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _render(page: PageData, runtime: OrtWeb, *, data: str, **values: Any) -> bytes:
    template = _environment().get_template("index.html.j2")
    shown = {"page": page, "runtime": runtime.name, "generator": GENERATOR}
    return template.render({**shown, **values, "data": Markup(data)}).encode()
