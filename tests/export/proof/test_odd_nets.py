"""Some of the odd nets; `python tests/export/proof/odd_nets.py` exports all of them, which takes minutes."""

import re
from pathlib import Path

import odd_nets
import pytest

# Of each kind one or two: what must be found by batches, by gradients, by what the exporter assumed, and by types.
SOME = (
    *("top_k", "window_attention", "large_scores"),
    *("leak_of_contrast", "gain_of_contrast", "leak_below_an_offset"),
    *("max_of_batch", "max_before_conv", "detached_max", "saturated_leak", "sorted_by_brightness", "products_of_rows"),
    *("softmax_over_batch", "batch_norm_as_in_training", "rows_from_256", "branch_at_100", "at_most_100"),
    *("random_noise", "remembers", "keeps_the_last", "decides_by_values", "float64", "float64_inside", "one_score"),
    *("a_pair", "nan_weight", "raises", "whole_minimum"),
)
TABLE = Path(__file__).parents[3] / "docs" / "odd-nets.md"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return odd_nets.make_base(tmp_path_factory.mktemp("odd"))


@pytest.mark.filterwarnings("ignore")  # what odd nets warn of is their own affair
@pytest.mark.parametrize("name", SOME)
def test_an_odd_net_is_proven_or_refused_in_one_line(name, base, tmp_path):
    said = odd_nets.export_net(name, *base, tmp_path)
    assert odd_nets.as_expected(name, said), said


def test_the_table_in_the_docs_has_every_net_and_what_is_said_of_it():
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", TABLE.read_text("utf-8"), re.MULTILINE))
    assert list(rows) == [*odd_nets.SOUND, *odd_nets.WRONG]
    assert [name for name, said in rows.items() if not odd_nets.as_expected(name, said)] == []
