"""How well a model notices pictures of a subject that it was trained without, of each subject in turn.

    python benchmarks/left_out_subjects.py FOLDER [--model efficientnet_lite0] [--recipe fast]

FOLDER holds class-named folders of pictures. For each, a model is trained on the others, exported, and evaluated on the
fifth of these that was held out, with the folder as outliers: by the three commands, as a user would.

Prints a table, and one JSON line last: AUROC of familiarity and of the probability, share of the outliers that is
accepted and of the held-out images that is unknown.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="efficientnet_lite0")
    parser.add_argument("--recipe", default="fast")
    asked = parser.parse_args()
    subjects = sorted(entry for entry in asked.folder.iterdir() if entry.is_dir())
    found = {}
    for left_out in subjects:
        with tempfile.TemporaryDirectory() as place:
            others, run = Path(place, "others"), Path(place, "run")
            for subject in subjects:
                if subject != left_out:
                    shutil.copytree(subject, others / subject.name)
            how = ("--model", asked.model, "--recipe", asked.recipe, "--out", run)
            _run("train.commands.train", "--data", others, *how)
            _run("export.commands.export", run)
            model = run.with_suffix(".onnx")
            said = _run("runtime.commands.eval", model, others, "--outliers", left_out, "--json")
        row = found[left_out.name] = json.loads(said)["unknown"]
        print(
            f"{left_out.name:12} {row['familiarity_auroc']:.3f}  softmax {row['probability_auroc']:.3f}"
            f"  accepted {100 * row['accepted']:.0f} % of {row['outliers']},"
            f"  unknown {100 * row['rejected']:.0f} % of {row['images']}",
            flush=True,
        )
    means = {
        name: round(sum(row[name] for row in found.values()) / len(found), 3)
        for name in ("familiarity_auroc", "probability_auroc", "accepted", "rejected")
    }
    print(json.dumps({"benchmark": "left_out_subjects", "model": asked.model, "mean": means, "subjects": found}))


def _run(module: str, *arguments: object) -> str:
    """Run the command in a module of clf-edge and return what it prints."""
    main = f"from clf_{module} import main; main()"
    call = [sys.executable, "-c", main, *map(str, arguments), "--quiet"]
    return subprocess.run(call, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main()
