"""The bar and the lines beside it."""

from kseg import progress as module
from kseg.progress import bar, say


def test_bar_shows_what_is_done_and_the_speed_on_standard_error(capsys):
    with bar(3, "images", "convert") as progress:
        progress.update(3)
    captured = capsys.readouterr()
    assert captured.out == ""
    last = captured.err.split("\r")[-1]
    assert last.startswith("convert: 100%")
    assert "3/3 [" in last
    assert "images/s" in last


def test_lines_go_to_standard_output_while_a_bar_is_open(capsys):
    with bar(2, "images"):
        say("epoch=1 validation:mIOU=0.5")
    assert capsys.readouterr().out == "epoch=1 validation:mIOU=0.5\n"


def test_nothing_is_shown_by_a_process_that_another_speaks_for(capsys, monkeypatch):
    monkeypatch.setattr(module, "_silent", False)
    module.silence()
    with bar(2, "images") as progress:
        progress.update(2)
        say("epoch=1 validation:mIOU=0.5")
    assert capsys.readouterr() == ("", "")
