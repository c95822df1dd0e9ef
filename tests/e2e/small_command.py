"""A command of kseg, by its module's name in kseg.cli, with the small network of tests/kseg/small_resnet.py."""

import importlib
import pathlib
import sys

import pytest

from kseg import command

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "kseg"))


def main(module: str) -> None:
    import_tensorflow = command._import_tensorflow

    def import_and_shrink() -> None:
        import_tensorflow()
        from small_resnet import shrink

        shrink(pytest.MonkeyPatch())

    command._import_tensorflow = import_and_shrink
    importlib.import_module(f"kseg.cli.{module}").main()


main(sys.argv.pop(1))
