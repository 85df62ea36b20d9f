"""Commands that messages suggest, to be run as printed in the folder where the training was started."""

import os
import shlex
from pathlib import Path

from clf_train.models.registry import is_own
from clf_train.runs.plan import Plan


def resume_command(folder: Path, plan: Plan) -> str:
    """The command that resumes the training of `plan` with the run folder `folder`.

    It names the user's own models, whose code is imported only then, and starts as many processes as before; how
    several hosts were started, only their user knows.
    """
    words = ["clf-train"]
    if plan.processes > 1:
        words = ["torchrun", f"--nproc-per-node={plan.processes}", "-m", "clf_train"]
        here = os.environ.get("LOCAL_WORLD_SIZE")
        if here is not None and int(here) != plan.processes:
            words = ["torchrun", "...", "-m", "clf_train"]
    place = str(folder)
    words += ["--resume", f"./{place}" if place.startswith("-") else place]
    own = [model for model in plan.recipes if is_own(model)]
    if own:
        words += ["--model", ",".join(own)]
    return shlex.join(words)
