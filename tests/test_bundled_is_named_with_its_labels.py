"""Wherever users read the name of the bundled backbone, they read that it was tuned on labels."""

import argparse
import ast
import contextlib
import inspect
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bavos_core import Analysis, InputError, Settings, analyse, backbones
from bavos_core.cli import MORE_COMMANDS, build_parser
from bavos_lab.evaluation.predictions import Pipeline
from bavos_lab.evaluation.report import as_markdown
from bavos_lab.evaluation.runner import Run
from demo import recipe, strings
from demo.api import Api, as_json
from demo.edits import Edits
from demo.store import Result, Store

ROOT = Path(__file__).resolve().parents[1]
NAME = "bundled-vits14"
LABELS = "tuned on saliency labels"
CARD = "bavos_core/data/bundled-vits14/README.md"
PROGRAMS = [
    ROOT / "app.py",
    *(
        path
        for room in ("bavos_core", "bavos_lab", "demo", "experiments")
        for path in ROOT.glob(f"{room}/**/*.py")
    ),
]


# ---- documents ----------------------------------------------------------------------------------


def documents() -> list[str]:
    """All Markdown files of the repository, those that are not committed yet included."""
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "--cached", "--others", "--exclude-standard",
         "*.md"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return sorted(name for name in listed.stdout.splitlines() if (ROOT / name).is_file())


def sections(text: str) -> Iterator[str]:
    """What lies between headings, each with its own; a # in a block of code is no heading."""
    section: list[str] = []
    in_code = False
    for line in text.splitlines():
        in_code ^= line.lstrip().startswith("```")
        if not in_code and re.match(r"#+ ", line):
            yield "\n".join(section)
            section = []
        section.append(line)
    yield "\n".join(section)


def silent_sections(text: str) -> list[str]:
    """Sections that name the bundled backbone and keep to themselves what it was tuned on."""
    return [s for s in sections(text) if NAME in s and "saliency" not in s.lower()]


@pytest.mark.parametrize("document", documents())
def test_every_section_of_a_document_that_names_it_says_saliency(document) -> None:
    assert silent_sections((ROOT / document).read_text(encoding="utf-8")) == []


def test_a_section_that_does_not_say_it_is_found() -> None:
    text = f"# A\n{NAME}, tuned on saliency labels\n```sh\n# b\n{NAME}\n```\n## B\n{NAME}\n"
    assert silent_sections(text) == [f"## B\n{NAME}"]


@pytest.mark.parametrize("document", ["README.md", CARD, "NOTICE"])
def test_the_readme_the_model_card_and_the_notice_name_it(document) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    assert NAME in text
    assert "saliency" in text.lower()


# ---- the command line ---------------------------------------------------------------------------


def commands() -> dict[str, argparse.ArgumentParser]:
    """All parsers by the name of their command."""
    found = {}
    for command in (None, *MORE_COMMANDS):
        parser = build_parser(command)
        (below,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
        found |= {"": parser, **{name: p for name, p in below.choices.items() if name not in found}}
        if command:
            found[command] = below.choices[command]
    return found


@pytest.mark.parametrize("command", commands())
def test_every_help_that_names_it_says_it(command, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "9999")  # argparse breaks lines at hyphens
    parser = commands()[command]
    lines = [line for line in parser.format_help().splitlines() if NAME in line]
    assert all(LABELS in line for line in lines)
    if any("--backbone" in action.option_strings for action in parser._actions):
        assert any(f"{NAME} ({LABELS})" in line for line in lines)


def test_the_commands_that_take_a_backbone_are_those_of_the_readme() -> None:
    taking = {
        name
        for name, parser in commands().items()
        if any("--backbone" in action.option_strings for action in parser._actions)
    }
    assert taking == {"segment", "attend", "batch", "train", "evaluate"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": NAME, "weights": Path("x.pth")},
        {"name": "builtin", "weights": Path("x.pth")},
    ],
)
def test_errors_that_name_it_say_it(wrong) -> None:
    with pytest.raises(InputError, match=re.escape(f"{NAME} ({LABELS})")):
        backbones.load(**wrong)


def test_the_sentence_about_a_substitute_says_it() -> None:
    assert f"{NAME} ({LABELS})" in backbones.unreachable("dino-vits8")


def test_the_report_of_an_evaluation_says_it(tmp_path) -> None:
    pipeline = Pipeline(Settings(backbone=NAME), tmp_path)
    assert f"{NAME} ({LABELS})" in as_markdown(Run(tmp_path, "DAVIS", [], pipeline, ()), [], [])


# ---- the page and its API -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    clip = np.random.default_rng(0).integers(0, 256, (2, 28, 42, 3), np.uint8)
    return analyse(clip, Settings(backbone="builtin", frames=2, size=(28, 42), device="cpu"))


@pytest.fixture
def result(analysis, tmp_path) -> Iterator[Result]:
    """A result of the page, without notices, so that each text has to say it by itself."""
    clip = tmp_path / "clip.mp4"
    clip.touch()
    with contextlib.closing(Store()) as store, store.put(analysis, clip, ()) as kept:
        yield kept


def test_the_choice_of_backbones_on_the_page_says_it() -> None:
    labels = {name: label for label, name in strings.backbone_choices()}
    assert labels[NAME] == f"{NAME} ({LABELS})"
    assert LABELS in strings.BACKBONE


def test_the_report_and_the_code_on_the_page_say_it(result) -> None:
    cut = result.analysis.segment()
    assert f"{NAME} ({LABELS})" in strings.report(result)
    assert f"{NAME} ({LABELS})" in recipe.code(result, cut, Edits(), "")


def test_the_notices_on_the_page_and_in_its_api_say_it(result) -> None:
    noticed = replace(result, notices=result.analysis.notes)
    assert f"The bundled backbone is DINOv2 ViT-S/14 {LABELS}" in strings.report(noticed)
    summary = as_json(noticed)
    assert summary["backbone"] == NAME
    assert any(LABELS in notice for notice in summary["notices"])


def test_the_documentation_of_the_api_says_it() -> None:
    assert f"{NAME} ({LABELS})" in (inspect.getdoc(Api.segment) or "")


# ---- programs -----------------------------------------------------------------------------------

NAMED = re.compile(rf"{NAME}|\bBUNDLED\b")
SAID = re.compile(r"saliency|\bdescribe\b|TUNED_ON_SALIENCY", re.IGNORECASE)


def docstrings(tree: ast.Module) -> Iterator[str]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, kinds):
            yield ast.get_docstring(node) or ""


def sentences(tree: ast.Module) -> Iterator[str]:
    """Texts of several words, and those that are put together, as they stand in the program."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield ast.unparse(node)
        elif isinstance(node, ast.Constant) and " " in str(node.value):
            yield str(node.value)


def silent_texts(source: str) -> list[str]:
    """Texts of a program that name it and do not say what it was tuned on."""
    tree = ast.parse(source)
    texts = [text for text in docstrings(tree) if re.search(NAME, text)]
    texts += [text for text in sentences(tree) if NAMED.search(text)]
    module = ast.get_docstring(tree) or ""
    texts += [module] if "bundled backbone" in module.lower() else []
    return [text for text in texts if not SAID.search(text)]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_text_of_a_program_that_names_it_says_it(program) -> None:
    assert silent_texts(program.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        f'"""Run {NAME}."""',
        '"""The bundled backbone."""',
        f'def f():\n    """Return {NAME}."""',
        f'x = "use {NAME} instead"',
        'x = f"use {backbones.BUNDLED} instead"',
    ],
)
def test_a_text_that_does_not_say_it_is_found(source) -> None:
    assert silent_texts(source)


def test_there_are_programs_to_look_at() -> None:
    assert len(PROGRAMS) > 60
    assert sum(NAME in path.read_text(encoding="utf-8") for path in PROGRAMS) >= 3
