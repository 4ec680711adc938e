"""The packages that users import from: what each names, and that naming it waits for nothing."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

FACES = (
    "omnitrace",
    "omnitrace.ablation",
    "omnitrace.analysis",
    "omnitrace.estimator",
    "omnitrace.evaluation",
    "omnitrace.export",
    "omnitrace.models",
    "omnitrace.runs",
    "omnitrace.serve",
    "omnitrace.signals",
    "omnitrace.sources",
    "omnitrace.testing",
    "omnitrace.testing.doctor",
)


def imported_for_types(face: str) -> set[str]:
    """Names that the package imports, for type checkers or at once."""
    tree = ast.parse(Path(importlib.import_module(face).__file__ or "").read_text(encoding="utf-8"))
    return {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("omnitrace.")
        for alias in node.names
    } - {"lazy_names"}


@pytest.mark.parametrize("face", FACES)
def test_a_face_lists_its_names_once_and_has_them_all(face: str) -> None:
    package = importlib.import_module(face)
    names = package.__all__
    assert len(set(names)) == len(names)
    assert sorted(names) == dir(package)
    assert set(names) == imported_for_types(face)
    for name in names:
        assert getattr(package, name) is not None
        assert not inspect.ismodule(getattr(package, name)), f"the module {name} hides a name"
    with pytest.raises(AttributeError, match="has no attribute 'nothing_of_this_name'"):
        package.nothing_of_this_name  # noqa: B018


def test_importing_the_faces_waits_for_nothing_heavy() -> None:
    heavy = {"torch", "transformers", "numpy"}
    code = f"import sys, {', '.join(FACES)}; print({heavy} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_root_of_the_package_holds_few_modules() -> None:
    root = Path(importlib.import_module("omnitrace").__file__ or "").parent
    modules = {path.stem for path in root.glob("*.py")}
    assert modules == {"__init__", "__main__", "builtin", "errors", "tracer", "types"}


def test_modules_fit_a_reader() -> None:
    root = Path(importlib.import_module("omnitrace").__file__ or "").parent
    long = {
        str(path.relative_to(root)): lines
        for path in root.rglob("*.py")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert long == {}
