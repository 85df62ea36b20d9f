"""Score a source: plan it, do what is missing, and say how far it is."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from clf_runtime.classifier import Classifier
from clf_runtime.engine.threads import usable_processors
from clf_runtime.errors import ImageError, ModelError, ScoringError
from clf_runtime.model.assumptions import Assumptions
from clf_runtime.model.familiarity import NO_FAMILIARITY
from clf_runtime.model.file import find_model, read_model
from clf_runtime.prediction import Reject, check_probability
from clf_runtime.scoring import plan, results
from clf_runtime.scoring.on_ray import require_ray, score_on_ray
from clf_runtime.scoring.processes import TRIES, score_in_processes
from clf_runtime.scoring.scorer import Job, Scored
from clf_runtime.scoring.source import Skipped, files_of, met_below, refuse_around
from clf_runtime.scoring.storage import as_local, is_remote, join, place_of, status, written_whole
from clf_runtime.whole_file import refuse_place

Engine = Literal["local", "ray"]
FILES_PER_PARTITION = 1000


@dataclass(frozen=True)
class Progress:
    """How far a run is: partitions done, also by earlier runs, of all; what this one scored: images, errors, seconds.

    `seconds` and `processor_seconds` are the sums of the workers', without their start.
    """

    done: int
    partitions: int
    images: int = 0
    errors: int = 0
    seconds: float = 0.0
    processor_seconds: float = 0.0


def score(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    model: str | os.PathLike[str] | None = None,
    *,
    engine: Engine = "local",
    workers: int = 0,
    form: results.Form = "parquet",
    files_per_partition: int = FILES_PER_PARTITION,
    top: int = 1,
    reject_below: float = 0.0,
    reject: Reject = None,
    device: str = "auto",
    assume: Assumptions | None = None,
    note: Callable[[str], object] = lambda text: None,
    watch: Callable[[Progress], object] = lambda progress: None,
) -> Progress:
    """Classify every image of a source into the folder `out`, one row per image; what is there already is kept.

    `source` and `out` are paths or URIs (s3://...). `workers` processes or Ray actors, 0 for as many as there are
    processors, each take a partition at a time and write its rows as one file, whole. `note` is called with sentences
    on what was assumed or skipped, `watch` after each partition. The processes are spawned: a script that calls this
    needs `if __name__ == "__main__":`.
    Raises ModelError and DeviceError as Classifier.load does; ImageError if the source is missing or has no images;
    ScoringError if `out` is or contains the source, belongs to another model, source or options, or is being written by
    another process, or if workers died; MissingExtraError without pyarrow or Ray where they are needed; OSError if
    nothing can be written.
    """
    check_probability(reject_below)
    if form == "parquet":
        results.require_pyarrow()
    if engine == "ray":
        require_ray()
    source, out = place_of(source), place_of(out)
    if status(source) is None:
        raise ImageError(f"{source}: no such file or folder")
    refuse_around(source, out)
    if not is_remote(out):
        try:
            refuse_place(Path(out, "any"))
        except OSError as error:
            raise ScoringError(f"{out}: cannot be written: {error.strerror or error}; give another folder") from None
    file = find_model(model, note)
    data = read_model(file)
    classifier = Classifier(data, str(file), device=device, assume=assume)
    if reject is not None and classifier.card.familiarity is None:
        raise ModelError(f"{file}: {NO_FAMILIARITY}")
    for text in classifier.notes:
        note(text)
    top = min(top, len(classifier.card.names))
    job = Job(
        out, form, str(file), classifier.sha256, device, assume, top=top, reject_below=reject_below, reject=reject
    )
    options: dict[str, object] = {
        "top": top,
        "reject_below": reject_below,
        "reject": reject,
        "files_per_partition": files_per_partition,
    }
    options["assume"] = None if assume is None else repr(assume)
    with results.locked(out):
        extent = _planned(source, job, data, options, note)
        return _run(job, extent, engine, workers, watch)


def _planned(
    source: str, job: Job, model: bytes, options: dict[str, object], note: Callable[[str], object]
) -> plan.Extent:
    """Write the plan, the model and the manifest, or compare with those that are there."""
    skipped = Skipped()
    most = options["files_per_partition"]
    assert isinstance(most, int)
    there = results.read_manifest(job.out)
    if there is not None:  # what can be compared at once, before a long look at the source
        same = results.Manifest(
            source, there.partitions, there.files, there.bytes, there.plan_sha256, job.sha256, job.form, options
        )
        results.refuse_another(job.out, there, same)
    partitions = plan.divide(files_of(source, met_below(source, job.out), skipped), most)
    extent = plan.measure(partitions) if there else plan.write(partitions, join(job.out, results.PLAN))
    if skipped.count:
        note(f"{source}: {skipped.note()}")
    now = results.Manifest(
        source, extent.partitions, extent.files, extent.bytes, extent.sha256, job.sha256, job.form, options
    )
    if there is not None:
        results.refuse_another(job.out, there, now)
    elif not extent.files:
        raise ImageError(f"{source}: contains no images")
    else:
        with written_whole(join(job.out, results.MODEL)) as partial:
            partial.write_bytes(model)
        results.write_manifest(job.out, now)
    return extent


def _run(job: Job, extent: plan.Extent, engine: Engine, workers: int, watch: Callable[[Progress], object]) -> Progress:
    """Score the partitions that are missing."""
    done = results.done(job.out, job.form)
    missing = extent.partitions - len(done)
    progress = Progress(len(done), extent.partitions)
    watch(progress)
    if not missing:
        return progress
    with as_local(join(job.out, results.PLAN)) as local:
        if results.digest(str(local)) != extent.sha256:
            raise ScoringError(f"{join(job.out, results.PLAN)}: damaged; give another folder")
        todo = (each for each in plan.entries_of(results.plan_lines(str(local))) if each.number not in done)
        found: Iterator[Scored | plan.Entry]
        if engine == "ray":
            found = score_on_ray(job, todo, workers)
        else:
            found = score_in_processes(job, todo, min(workers or usable_processors(), missing))
        lost = []
        for each in found:
            if isinstance(each, plan.Entry):
                lost.append(each.number)
                continue
            progress = Progress(
                progress.done + 1,
                progress.partitions,
                progress.images + each.images,
                progress.errors + each.errors,
                progress.seconds + each.seconds,
                progress.processor_seconds + each.processor_seconds,
            )
            watch(progress)
    if lost:
        which = ", ".join(map(str, lost[:5])) + ", ..." * (len(lost) > 5)
        raise ScoringError(
            f"{job.out}: {len(lost):,} partitions are missing ({which}): their worker died {TRIES} times, perhaps "
            "for lack of memory; start again with fewer workers"
        )
    return progress
