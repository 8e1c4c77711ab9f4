import math
import sys

import pytest

from sciml.imports import import_path, imported
from sciml.numerics.domain import Domain


def test_an_import_path_is_found_again():
    assert import_path(Domain) == "sciml.numerics.domain:Domain"
    assert imported("sciml.numerics.domain:Domain") is Domain
    assert imported("sciml.numerics.domain:Domain.box") == Domain.box


def test_nothing_but_sciml_is_trusted_unless_it_is_named():
    for trust in ((), ("mathematics",), ("mat",)):
        with pytest.raises(ValueError, match=r"'math:cos' is not part of sciml and not trusted; .*name 'math' in `trust`"):
            imported("math:cos", trust=trust)
    for trust in (("math",), None):
        assert imported("math:cos", trust=trust) is math.cos
    with pytest.raises(ValueError, match=r"is not part of sciml\.problems and not trusted"):
        imported("sciml.numerics.domain:Domain", home="sciml.problems")


def test_nothing_is_imported_from_the_command_line():
    for path in ("sciml.cli:main", "sciml.cli.__main__:main", "sciml.cli.sets:run_check"):
        for trust in ((), ("sciml",), None):
            with pytest.raises(ValueError, match="is part of the command line"):
                imported(path, trust=trust)
    assert "sciml.cli.__main__" not in sys.modules


def test_trust_does_not_reach_what_a_trusted_module_imported():
    for path in ("sciml.imports:importlib.import_module", "sciml.imports:imported.__globals__", "sciml.imports:__name__"):
        with pytest.raises(ValueError, match="is not defined in a trusted module but in "):
            imported(path)


@pytest.mark.parametrize("path", ["sciml.nowhere:x", "sciml.imports:nothing", "sciml.imports:", "sciml.imports"])
def test_what_is_not_there_is_named(path):
    with pytest.raises(ValueError, match=f"cannot import '{path}'"):
        imported(path)
