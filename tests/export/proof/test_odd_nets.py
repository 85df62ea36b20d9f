"""Some of the odd nets; `python tests/export/proof/odd_nets.py` exports all of them, which takes minutes."""

import re
from pathlib import Path

import odd_nets
import pytest

SOUND = ("plain", "top_k", "prelu", "pixel_shuffle", "window_attention", "large_scores", "softmax_at_the_end")
SLOW = ("eigenvalues", "distances", "loop_over_images", "masked", "slices_at_5000", "branch_at_5000")
QUICK = SOUND + tuple(name for name in odd_nets.WRONG if name not in SLOW)
TABLE = Path(__file__).parents[3] / "docs" / "odd-nets.md"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return odd_nets.make_base(tmp_path_factory.mktemp("odd"))


@pytest.mark.filterwarnings("ignore")  # what odd nets warn of is their own affair
@pytest.mark.parametrize("name", QUICK)
def test_an_odd_net_is_proven_or_refused_in_one_line(name, base, tmp_path):
    said = odd_nets.export_net(name, *base, tmp_path)
    assert odd_nets.as_expected(name, said), said


def test_the_table_in_the_docs_has_every_net_and_what_is_said_of_it():
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", TABLE.read_text("utf-8"), re.MULTILINE))
    assert list(rows) == [*odd_nets.SOUND, *odd_nets.WRONG]
    assert [name for name, said in rows.items() if not odd_nets.as_expected(name, said)] == []
