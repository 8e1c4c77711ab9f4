import sys

import pytest

from sciml.cli import main


@pytest.fixture
def sciml(monkeypatch, capsys):
    """Run the command in this process: exit status, output, error line."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["sciml", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return stop.value.code or 0, captured.out, captured.err

    return run
