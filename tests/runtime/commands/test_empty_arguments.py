"""An empty word is a variable that is not set: as a path it would be the current folder."""

import pytest

from clf_runtime.commands import bench as bench_cli
from clf_runtime.commands import doctor as doctor_cli
from clf_runtime.commands import eval as eval_cli
from clf_runtime.commands import predict as cli


@pytest.mark.parametrize("main", [cli.main, eval_cli.main, bench_cli.main, doctor_cli.main])
@pytest.mark.parametrize("arguments", [[""], ["x", ""], ["--model", ""], ["--device=", "x"]])
def test_an_empty_argument_is_refused(command, tmp_path, monkeypatch, main, arguments):
    monkeypatch.chdir(tmp_path)
    ended = command(main, *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.count("\n") == 1
    assert "is empty (an unset shell variable?)" in ended.err
