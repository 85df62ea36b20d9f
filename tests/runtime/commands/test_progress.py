from clf_runtime.commands import progress as module
from clf_runtime.commands.progress import following


class Clock:
    now = 0.0

    def monotonic(self):
        return self.now


def test_without_a_terminal_there_is_a_line_each_ten_seconds(monkeypatch, capsys):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    with following("clf-x") as watch:
        for clock.now in range(31):
            watch(f"image {clock.now}\n")
    assert capsys.readouterr().err == "".join(f"clf-x: image {n}\\n\n" for n in (10, 20, 30))
    with following("clf-x", quiet=True) as watch:
        clock.now = 1000
        watch("x")
    assert capsys.readouterr().err == ""


def test_on_a_terminal_one_line_passes_and_is_wiped_away(monkeypatch, capsys):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(module.sys.stderr, "isatty", lambda: True)
    with following("clf-x") as watch:
        for clock.now in (1, 1.01, 2):
            watch(f"at {clock.now}")
    assert capsys.readouterr().err == "\r\x1b[Kat 1\r\x1b[Kat 2\r\x1b[K"
