"""What `bavos_core` offers, and what it must not pull in."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import bavos_core

ROOT = Path(bavos_core.__file__).parents[1]
MODULES = sorted([*ROOT.glob("bavos_core/**/*.py"), *ROOT.glob("bavos_io/**/*.py")])


def test_all_is_exactly_what_is_exported() -> None:
    ours = {
        name
        for name in dir(bavos_core)
        if not name.startswith("_")
        and getattr(getattr(bavos_core, name), "__module__", "").startswith(
            ("bavos_core.", "bavos_io.")
        )
    }
    assert ours == set(bavos_core.__all__)
    assert bavos_core.__all__ == sorted(bavos_core.__all__)


@pytest.mark.parametrize("name", bavos_core.__all__)
def test_everything_exported_is_documented(name: str) -> None:
    value = getattr(bavos_core, name)
    assert inspect.getdoc(value)
    if inspect.isfunction(value):
        parameters = inspect.signature(value).parameters.values()
        assert all(p.annotation is not p.empty for p in parameters)


def test_the_version_is_a_version() -> None:
    assert [part.isdigit() for part in bavos_core.__version__.split(".")] == [True] * 3


def test_importing_the_core_brings_in_nothing_of_the_extras_and_prints_nothing() -> None:
    code = (
        "import bavos_core, bavos_core.cli, bavos_core.export, sys; "
        "sys.exit(not {'gradio', 'demo', 'bavos_lab', 'pandas', 'matplotlib', 'torchvision'}"
        ".isdisjoint(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:bavos_core", "-c", code],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("module", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_module_of_the_core_imports_the_page_or_what_the_extras_bring(module: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            imported.add((node.module or "").split(".")[0])
    assert not imported & {"gradio", "spaces", "demo", "app", "bavos_lab"}
    assert not imported & {"pandas", "matplotlib", "torchvision"}


def test_a_user_can_catch_every_error_about_input_as_one_type() -> None:
    assert issubclass(bavos_core.BackboneUnavailable, bavos_core.InputError)
    assert issubclass(bavos_core.InputError, ValueError)
    assert not issubclass(bavos_core.Cancelled, ValueError)
