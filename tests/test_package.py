import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import sciml

ROOT = Path(__file__).resolve().parents[1]


def test_importing_the_package_does_not_import_torch():
    told = subprocess.run(
        [sys.executable, "-c", "import sciml, sys; print('torch' in sys.modules)"], capture_output=True, text=True
    )
    assert told.stdout.strip() == "False"


@pytest.mark.parametrize("verb", [name for name in sciml.__all__ if name != "__version__"])
def test_every_verb_is_there(verb):
    assert callable(getattr(sciml, verb))


def test_an_unknown_verb_is_named_with_those_there_are():
    with pytest.raises(AttributeError, match="no attribute 'train'; its verbs are check"):
        _ = sciml.train


def test_every_module_says_what_it_is_and_every_public_name_is_documented():
    undocumented = []
    for file in (ROOT / "sciml").rglob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        if tree.body and not ast.get_docstring(tree):
            undocumented.append(str(file))
        undocumented += [
            f"{file}:{node.name}"
            for node in tree.body
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
            and not node.name.startswith("_")
            and not ast.get_docstring(node)
        ]
    assert not undocumented


def test_the_docs_speak_of_modules_that_exist():
    for line in (ROOT / "docs" / "api.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("::: "):
            importlib.import_module(line.removeprefix("::: "))
