"""What an export must say of the odd nets; run as a script it prints the table of docs/odd-nets.md."""

import re
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import sound_nets

# fmt: off
SOUND = (
    "plain", "attention", "multihead", "scaled_dot_product", "window_attention", "einsum", "bilinear_pooling",
    "top_k", "sorted_values", "median", "prelu", "gelu", "mish_and_others", "glu", "pixel_shuffle", "pixel_unshuffle",
    "channel_shuffle", "group_norm", "instance_norm", "layer_norm", "rms_norm", "local_response", "batch_norm",
    "depthwise", "dilated", "transposed", "circular", "reflected", "volume", "sequence", "upsampled", "cubic",
    "adaptive", "power_pooling", "max_unpool", "unfold", "fold", "spatial_transformer", "gather_by_image",
    "contrast_of_its_own", "standardised_without_gradient", "rounded", "gated", "mixture", "tied", "weight_norm",
    "spectral_norm", "gru", "lstm", "one_parameter", "dropout", "log_probabilities", "channels_last",
    "changed_in_place", "smallest_of_each", "position_grid", "flat_indices", "repeated", "crops", "chunks",
    "norm_without_means", "straight_through", "hot_classes", "triangle", "masked_attention", "whole_amin",
    "logsumexp", "cumulated", "flipped", "fourier_cosines", "cosines", "embedded", "whole_loop", "where",
    "float16_inside", "scripted", "large_scores", "nothing_learnt", "hundred_megabytes", "deep", "uncopied",
    "through_numpy", "fourier_complex", "softmax_at_the_end",
)
# fmt: on
NEIGHBOURS = "the output of the net for an image depends on the rest"
AGAIN = "the net is not deterministic"
NAN = "the net gives NaN or infinite scores"
COUNT = "depends on the batch size, which an ONNX graph cannot express"
PLAIN = "can be exported for a batch of 2 only"
WRONG = {
    "max_of_batch": NEIGHBOURS,
    "max_before_conv": NEIGHBOURS,
    "leak_of_contrast": NEIGHBOURS,
    "gain_of_contrast": NEIGHBOURS,
    "leak_below_an_offset": NEIGHBOURS,
    "min_of_batch": NEIGHBOURS,
    "mean_of_batch": NEIGHBOURS,
    "mean_of_all": NEIGHBOURS,
    "std_of_batch": NEIGHBOURS,
    "norm_of_batch": NEIGHBOURS,
    "detached_max": NEIGHBOURS,
    "leak_without_gradient": NEIGHBOURS,
    "saturated_leak": NEIGHBOURS,
    "median_of_batch": NEIGHBOURS,
    "cumsum_over_batch": NEIGHBOURS,
    "sorted_batch": NEIGHBOURS,
    "sorted_by_brightness": NEIGHBOURS,
    "rolled_batch": NEIGHBOURS,
    "flipped_batch": NEIGHBOURS,
    "products_of_rows": NEIGHBOURS,
    "softmax_over_batch": NEIGHBOURS,
    "top_k_of_batch": NEIGHBOURS,
    "most_frequent": NEIGHBOURS,
    "channels_as_batch": NEIGHBOURS,
    "first_row": NEIGHBOURS,
    "last_row": NEIGHBOURS,
    "next_row": NEIGHBOURS,
    "conv_over_batch": NEIGHBOURS,
    "attention_over_batch": NEIGHBOURS,
    "lstm_over_batch": NEIGHBOURS,
    "batch_norm_as_in_training": NEIGHBOURS,
    "functional_batch_norm": NEIGHBOURS,
    "rows_from_256": NEIGHBOURS,
    "slices_at_256": NEIGHBOURS,
    "slices_at_5000": "cannot establish that the net gives one row of scores per image",
    "all_but_the_last": NEIGHBOURS,
    "late_rows_changed": COUNT,
    "branch_at_100": NEIGHBOURS,
    "branch_at_1": NEIGHBOURS,
    "branch_at_5": COUNT,
    "branch_at_5000": COUNT,
    "length_as_number": PLAIN,
    "even_and_odd": NEIGHBOURS,
    "by_number_of_values": NEIGHBOURS,
    "divided_by_batch": NEIGHBOURS,
    "at_most_100": NEIGHBOURS,
    "checked_batch": COUNT,
    "row_number": NEIGHBOURS,
    "loop_over_images": PLAIN,
    "random_dropout": AGAIN,
    "random_noise": AGAIN,
    "random_number": AGAIN,
    "remembers": AGAIN,
    "counts": AGAIN,
    "counts_in_python": AGAIN,
    "keeps_the_last": AGAIN,
    "decides_by_values": NEIGHBOURS,
    "item": NEIGHBOURS,
    "masked": "cannot establish that the net gives one row of scores per image",
    "unique": NEIGHBOURS,
    "eigenvalues": r"no ONNX equivalent for aten\._linalg_eigh\.default$",
    "float64": "returns float64 .*expected logits, float32",
    "float64_inside": r"it has no Conv kernel for float64; forward\(\) must compute in float32",
    "float16": "returns float16 ",
    "bfloat16": "returns bfloat16 ",
    "integers": "returns int64 ",
    "complex_scores": "returns complex64 ",
    "wrong_width": r"returns float32 \[2, 2\]",
    "one_score": r"returns float32 \[2\]",
    "four_axes": r"returns float32 \[2, 4, 16, 16\]",
    "a_pair": "returns tuple",
    "a_dict": "returns dict",
    "a_list": "returns list",
    "nan_weight": NAN,
    "nan_for_flat_images": NAN,
    "raises": r"fails on images of .*wrong_nets\.py, line \d+\)",
    "distances": r"no ONNX equivalent for aten\._cdist_forward\.default$",
    "no_net": "returned a function",
    "nothing_to_train": "has no parameters to train",
    "whole_minimum": r"the exporter fails at aten\.amin\.default: Required parameter .dim. is not provided\.$",
}


def make_base(folder: Path):
    """Train a small model on 240 synthetic images, for a run whose record odd nets borrow; returns it and the data."""
    from clf_train import find_recipe, read_run, read_source
    from clf_train.models.recipe import change
    from clf_train.training import train

    random = np.random.default_rng(0)
    labels = np.arange(240) % 4
    images = random.integers(0, 160, (240, 3, 16, 16), dtype=np.uint8)
    images[np.arange(240), labels % 3, 4:12] += (20 * (1 + labels // 3)).astype(np.uint8)[:, None, None]
    np.savez(folder / "data.npz", images=images, labels=labels)
    dataset = read_source(str(folder / "data.npz"))
    train(dataset, {"simple": change(find_recipe("fast", "simple"), {"epochs": 1})}, folder / "base")
    return read_run(folder / "base"), dataset


def export_net(name: str, base, dataset, folder: Path) -> str:
    """Write a run folder of an odd net with the weights that it is made with, and export it: `proven`, or the error.

    The run is one of before the probe: most of the wrong nets would not get past it, and here it is the export's turn.
    """
    from clf_export.export import export_run
    from clf_runtime.errors import ClfError
    from clf_train.loop.rebuild import pack_weights
    from clf_train.models.registry import build_model, count_parameters
    from clf_train.runs.records import write_record
    from clf_train.runs.run import RECORD, WEIGHTS

    module = "sound_nets" if hasattr(sound_nets, name) else "wrong_nets"
    model, place, file = f"{module}:{name}", folder / name, folder / f"{name}.onnx"
    place.mkdir()
    try:
        made = build_model(model, base.image_shape, len(base.names))
        old = replace(base, schema=4, weights_sha256=None, probe_sha256=None)
        run = replace(old, model=model, parameters=count_parameters(made), temperature=1.0)
        accuracy = _accuracy(made, run, dataset)
        (place / WEIGHTS).write_bytes(pack_weights(made))
        write_record(place / RECORD, replace(run, test=replace(run.test, accuracy=accuracy)))
        export_run(place, dataset, file, own=model)
    except ClfError as error:
        said = str(error)
    else:
        said = "proven"
    assert "\n" not in said
    assert file.exists() == (said == "proven")
    return said


def _accuracy(net, run, dataset) -> float:
    """What a net as it was made gets right of the test images; 0 if it does not answer them."""
    import torch

    from clf_train.evaluation.inference import class_scores

    try:
        scores = class_scores(net, dataset.test.images, run.normalisation, torch.device("cpu"))
    except Exception:
        return 0.0
    return float((scores.argmax(1).numpy() == dataset.test.labels).mean())


def as_expected(name: str, said: str) -> bool:
    """Whether an export said of a net what it must."""
    return said == "proven" if name in SOUND else re.search(WRONG[name], said) is not None


def main() -> int:
    """Export the nets that are named, or all, and print a table; 1 if something else was said than expected."""
    wrong = 0
    print("| net | what the export says |\n|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        base, dataset = make_base(Path(folder))
        for name in sys.argv[1:] or (*SOUND, *WRONG):
            said = export_net(name, base, dataset, Path(folder))
            wrong += not as_expected(name, said)
            print(f"| `{name}` | {said}{'' if as_expected(name, said) else ' **UNEXPECTED**'} |", flush=True)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
