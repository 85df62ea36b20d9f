"""onnxruntime-web, which runs a model in a browser: its two files, from an npm package on disk or from a CDN.

The package is https://www.npmjs.com/package/onnxruntime-web. The build for the processor alone is taken: one module and
one WebAssembly file, which needs SIMD.
"""

import base64
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from clf_export.errors import DeliveryError
from clf_runtime.bounded import read_bounded

VERSION = "1.30.0"  # the tested one, which package.json has too
MODULE = "ort.wasm.bundle.min.mjs"
WASM = "ort-wasm-simd-threaded.wasm"
# Of the files of the npm package (`openssl dgst -sha384 -binary FILE | base64`), which the CDN serves unchanged.
INTEGRITY = {
    MODULE: "sha384-PLWz+nHEVHpjwBsO0YVdvQj6n5814Iv8E3b8FG0Rp/uIAtjFMCKOpP66iPzedrIG",
    WASM: "sha384-vjBJ1z7qrhkTyYsNqKeF6c7N+nOJSU94czEo+tvZcu8G75JparGq9kB+kTnEUNVM",
}
CDN = f"https://cdn.jsdelivr.net/npm/onnxruntime-web@{VERSION}/dist/"
MAX_BYTES = 128 << 20  # of one file; the largest has 14 MB


@dataclass(frozen=True)
class OrtWeb:
    """Where a page finds onnxruntime-web: the bytes of its `files` by name, or None for those of the CDN."""

    version: str
    files: dict[str, bytes] | None

    @property
    def name(self) -> str:
        """The name and version, as the page states it."""
        return f"onnxruntime-web {self.version}".rstrip()


def find_ort_web(folder: Path | None) -> OrtWeb:
    """The files of onnxruntime-web in an npm package's folder, its `dist`, or a folder with `node_modules`.

    Without a folder, those of the tested version on the CDN. Raises DeliveryError if the folder lacks one of them.
    """
    if folder is None:
        return OrtWeb(VERSION, None)
    package = Path("node_modules", "onnxruntime-web")
    for place in (folder, folder / "dist", folder / "onnxruntime-web" / "dist", folder / package / "dist"):
        if (place / WASM).is_file():
            return OrtWeb(_version(place), {name: _read(place / name) for name in (MODULE, WASM)})
    raise DeliveryError(
        f"{folder}: has no {WASM}: make the folder with npm install onnxruntime-web@{VERSION}, and pass "
        f"{package} as --ort-web"
    )


def integrity(data: bytes) -> str:
    """The SHA-384 of a file in the form in which browsers check it (https://www.w3.org/TR/sri-2/)."""
    return "sha384-" + base64.b64encode(hashlib.sha384(data).digest()).decode("ascii")


def _version(dist: Path) -> str:
    """The version by the package.json beside the files; empty if there is none."""
    try:
        found = json.loads(read_bounded(dist.parent / "package.json", 1 << 20) or b"{}")
    except (OSError, ValueError, RecursionError):
        return ""
    version = found.get("version") if isinstance(found, dict) else None
    return version[:40] if isinstance(version, str) else ""


def _read(file: Path) -> bytes:
    try:
        data = read_bounded(file, MAX_BYTES)
    except OSError as error:
        raise DeliveryError(
            f"{file}: cannot be read: {error.strerror or error}; is onnxruntime-web complete?"
        ) from None
    if not data:
        raise DeliveryError(f"{file}: is empty, or larger than {MAX_BYTES >> 20} MiB; install onnxruntime-web again")
    return data
