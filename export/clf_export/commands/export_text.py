"""What `clf-export` prints of the files that it has written."""

from clf_export.adoption.adopt import Adopted
from clf_export.export import Export
from clf_export.familiarity.images import GIVEN_PARTS, LEAST_GIVEN
from clf_export.outputs import ModelFile
from clf_export.proof.proof import table
from clf_runtime.evaluation.interval import stated
from clf_runtime.evaluation.open_set import open_set_summary
from clf_runtime.model.card import ModelCard
from clf_runtime.model.familiarity import Familiarity


def export_lines(made: Export) -> list[str]:
    """The files of an export, and what was verified of them."""
    written = made.model
    lines = [f"net as trained                   {made.as_trained}", *_proof_lines(made)]
    if made.photos is not None:
        lines += made.photos.lines()
    if made.pictures:
        by_pillow = " once Pillow resizes it" * (made.photos is not None)
        same = f"{made.pictures:,} decoded as on a device, every pixel as in training{by_pillow}"
        lines.append(f"pictures                         {same}")
    if made.familiarity_problem is not None:
        lines.append(f"unknown by familiarity           never: {made.familiarity_problem}")
    if made.unused_examples:
        lines.append(f"examples of no class             {made.unused_examples:,}, not used: there is no familiarity")
    lines += [*golden_lines(written), *int8_lines(made)]
    head = f"{written.path}: {written.size:,} bytes, {written.card.model}, verified against PyTorch"
    return [head, *(f"  {line}" for line in lines)]


def _proof_lines(made: Export) -> list[str]:
    card = made.model.card
    lines = table(made.proof, card.names, trained_on=card.parity_is_of_training)
    if card.fold_accuracy is not None:
        said = f"{stated(card.fold_accuracy, card.fold_images)}, by nets that had not seen them"
        lines.append(f"{f'accuracy in {card.fold_count} folds':<33}{said}")
    return lines


def golden_lines(file: ModelFile) -> list[str]:
    """The golden cases of a file, and its SHA-256."""
    golden = file.card.golden
    lines = [f"sha256                           {file.sha256}"]
    if golden is None:
        return ["golden cases                     none: images too large, or all predictions near ties", *lines]
    picture = " and a picture" * (file.card.golden_picture is not None)
    detected = f"{file.damages - len(file.unnoticed)} of {file.damages}"
    return [
        f"golden cases                     {len(golden.probabilities)}{picture}, self-test passed",
        *_familiarity_lines(file.card.familiarity),
        *_control_lines(file.card),
        f"damage detection                 checksum: any flipped bit; golden cases alone: {detected} in weights",
        *lines,
    ]


def _familiarity_lines(familiarity: Familiarity | None) -> list[str]:
    """How many outliers are noticed, on average and of the kind of which the fewest are."""
    if familiarity is None:
        return []
    shares = dict(zip(familiarity.noticed, familiarity.kinds, strict=True))
    mean, least = sum(familiarity.noticed) / len(familiarity.noticed), min(shares)
    return [
        f"unknown by familiarity           {100 * mean:.0f} % of made outliers, fewest of '{shares[least]}': "
        f"{100 * least:.0f} %",
        *_given_lines(familiarity),
    ]


def _given_lines(familiarity: Familiarity) -> list[str]:
    if not familiarity.examples:
        return []
    learnt = f"examples of no class             {familiarity.examples:,} learnt"
    if not familiarity.given:
        return [f"{learnt}; what they did is not measured, which takes {LEAST_GIVEN * GIVEN_PARTS} or more"]
    noticed = stated(familiarity.given_noticed, familiarity.given)
    return [
        f"{learnt}, {familiarity.given:,} held back",
        f"of the examples held back        {noticed} are unknown, below the threshold of {familiarity.threshold:g} "
        "that was chosen on them",
    ]


def _control_lines(card: ModelCard) -> list[str]:
    """How often known images are called unknown, by how they are changed, and what was measured of new classes."""
    lines = []
    if card.control is not None:
        for start, shown in (("control: known, changed", False), ("control: known, smaller", True)):
            kinds = [
                (share, kind)
                for share, kind in zip(card.control.called_unknown, card.control.kinds, strict=True)
                if kind.startswith("smaller") == shown
            ]
            most, kind = max(kinds)
            mean = sum(share for share, _ in kinds) / len(kinds)
            lines.append(f"{start:<33}{100 * mean:.0f} % unknown, most if '{kind}': {100 * most:.0f} %")
    elif card.familiarity is not None:
        lines.append("control                          none: too few held-out images to tell")
    if card.open_set is not None:
        lines.append(f"classes left out                 {open_set_summary(card.open_set, card.names)}")
    return lines


def int8_lines(made: Export | Adopted) -> list[str]:
    """The verdict on int8, and the file if there is one."""
    if made.int8_problem is not None:
        return [f"int8                             {made.int8_problem}"]
    if made.quantised is None:
        return []
    verdict, names = made.quantised.verdict, made.model.card.names
    found, images = verdict.judgement, "held-out" if verdict.unseen else "training"
    lines = [
        f"int8, best of {len(made.quantised.tried):<3}                {verdict.setting}",
        f"{f'accuracy on {images} images':<33}{_both(found.int8_accuracy, found.float_accuracy, found.images)}",
        f"largest drop of a class          {names[found.worst_class]}: {0.0 - found.worst_drop:+.1f} points",
        f"size                             {verdict.size:,} bytes, float32 {verdict.float_size:,} (without cards)",
        f"speed, batch 1 and 256           {verdict.batch_1_ratio:.2f} and {verdict.batch_256_ratio:.2f} x float32",
        f"max. difference from reference   {verdict.processor_difference:.1e}, probability",
        f"verdict                          {verdict.reason()}",
    ]
    if made.int8 is not None:
        parity = made.int8.card.parity
        assert parity is not None
        lines.append(f"int8 file                        {made.int8.path}: {made.int8.size:,} bytes")
        accuracies = _both(parity.onnx_accuracy, parity.torch_accuracy, parity.images)
        if not made.int8.card.parity_is_of_training:
            lines.append(f"accuracy on test images          {accuracies}")
        lines += golden_lines(made.int8)
    return lines


def _both(int8: float, float32: float, images: int) -> str:
    return f"{stated(int8, images)}, float32 {stated(float32, images)}"
