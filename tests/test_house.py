"""The rules of the house: imports go one way, and nothing grows too large."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAY_IMPORT = {  # of our packages, beside itself
    "bavos_io": set(),
    "bavos_core": {"bavos_io"},
    "bavos_lab": {"bavos_io", "bavos_core"},
    "demo": {"bavos_io", "bavos_core", "bavos_lab"},
}
# Commands and backbones of bavos_lab are imported by name when they are asked for: in two tables.
LAB_TABLES = {"bavos_core/cli.py", "bavos_core/backbones/__init__.py"}
PACKAGES = [path for name in MAY_IMPORT for path in sorted((ROOT / name).rglob("*.py"))]
FILES = [
    path
    for pattern in ("*.py", "demo/**/*.js", "demo/**/*.css", *(
        f"{room}/**/*.py" for room in (*MAY_IMPORT, "experiments", "tests")
    ))
    for path in sorted(ROOT.glob(pattern))
]  # fmt: skip
PROGRAMS = [path for path in FILES if path.suffix == ".py"]
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
NESTING = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.Match)
VERBS = {
    "adds", "asks", "builds", "calls", "checks", "computes", "finds", "gives", "keeps", "loads",
    "makes", "opens", "puts", "raises", "reads", "removes", "returns", "runs", "says", "sets",
    "shows", "starts", "stops", "takes", "tells", "turns", "writes", "yields",
}  # fmt: skip


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported_packages(path: Path) -> set[str]:
    """Top-level names of all absolute imports, those inside functions too."""
    found = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add((node.module or "").partition(".")[0])
    return found


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, FUNCTIONS))


def depth(node: ast.AST) -> int:
    """Levels of blocks below a node. An `elif` is one level with its `if`; functions start anew."""
    deepest = 0
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (*FUNCTIONS, ast.ClassDef)):
            continue
        is_elif = isinstance(node, ast.If) and isinstance(child, ast.If) and child in node.orelse
        deepest = max(deepest, depth(child) + (isinstance(child, NESTING) and not is_elif))
    return deepest


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_go_one_way(package: str) -> None:
    ours = {*MAY_IMPORT, "app", "experiments", "tests"}
    wrong = {
        named(path): forbidden
        for path in sorted((ROOT / package).rglob("*.py"))
        if (forbidden := imported_packages(path) & ours - {package} - MAY_IMPORT[package])
    }
    assert wrong == {}


def test_the_core_names_the_lab_only_in_its_two_tables() -> None:
    texts = {
        named(path)
        for path in sorted((ROOT / "bavos_core").rglob("*.py"))
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Constant) and str(node.value).startswith(("bavos_lab.", "demo."))
    }
    assert texts <= LAB_TABLES


@pytest.mark.parametrize("of_tests", [False, True], ids=["code", "tests"])
def test_no_file_is_longer_than_350_lines(of_tests: bool) -> None:
    lines = {
        named(path): len(path.read_text(encoding="utf-8").splitlines())
        for path in FILES
        if named(path).startswith("tests/") == of_tests
    }
    assert {name: count for name, count in lines.items() if count > 350} == {}


def test_no_function_is_longer_than_45_lines() -> None:
    lengths = {
        f"{named(path)}:{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in PROGRAMS
        for node in functions(parsed(path))
    }
    assert {name: count for name, count in lengths.items() if count > 45} == {}


def test_no_function_is_nested_deeper_than_4() -> None:
    depths = {
        f"{named(path)}:{node.name}": depth(node)
        for path in PROGRAMS
        for node in functions(parsed(path))
    }
    assert {name: count for name, count in depths.items() if count > 4} == {}


def test_the_core_is_thin() -> None:
    files = (ROOT / "bavos_core").rglob("*.py")
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files) <= 5500


def test_docstrings_are_imperative() -> None:
    bad = [
        f"{named(path)}: {text.splitlines()[0]}"
        for path in PACKAGES
        for node in ast.walk(parsed(path))
        if isinstance(node, (*FUNCTIONS, ast.ClassDef, ast.Module))
        and (text := ast.get_docstring(node))
        and first_word_is_wrong(node, text.partition(" ")[0])
    ]
    assert bad == []


def first_word_is_wrong(node: ast.AST, word: str) -> bool:
    """Tell whether it is "What", or a verb in the third person in the docstring of a function."""
    return word == "What" or (isinstance(node, FUNCTIONS) and word.lower() in VERBS)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("pass", 0),
        ("if a:\n  pass\nelif b:\n  pass\nelse:\n  pass", 1),
        ("for a in b:\n  with c:\n    if d:\n      pass", 3),
        ("if a:\n  def g():\n    if b:\n      pass", 1),
    ],
)
def test_depth_counts_blocks(source: str, expected: int) -> None:
    assert depth(ast.parse(source)) == expected


def test_every_program_can_be_loaded() -> None:
    names = [f"experiments.{path.stem}" for path in sorted((ROOT / "experiments").glob("*.py"))]
    code = f"import importlib\nfor name in {names}: importlib.import_module(name)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert loaded.returncode == 0, loaded.stderr
