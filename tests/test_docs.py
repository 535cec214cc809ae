"""Links and paths in the documents lead somewhere; versions and dependencies agree."""

import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import bavos_core

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # comes with pytest and mypy there

ROOT = Path(__file__).resolve().parents[1]
ROOMS = (
    "bavos_io",
    "bavos_core",
    "bavos_lab",
    "demo",
    "experiments",
    "docs",
    "tests",
    "assets",
    "notebooks",
)


def documents() -> list[str]:
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "--cached", "--others", "--exclude-standard",
         "*.md", "NOTICE"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return sorted(name for name in listed.stdout.splitlines() if (ROOT / name).is_file())


def anchors(text: str) -> set[str]:
    """GitHub's anchors of the headings."""
    headings = re.findall(r"^#+ (.*)$", text, flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def dead_links(document: Path) -> list[str]:
    text = document.read_text(encoding="utf-8")
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        if not target.exists() or (anchor and anchor not in anchors(target.read_text("utf-8"))):
            dead.append(link)
    return dead


def dead_paths(text: str) -> list[str]:
    """Paths of the repository that are named and do not exist, such as `experiments/x.py`."""
    named = re.findall(rf"\b(?:{'|'.join(ROOMS)})/[\w./-]*\w", text)
    return sorted({path for path in named if not (ROOT / path).exists()})


@pytest.mark.parametrize("document", documents())
def test_links_and_paths_of_a_document_resolve(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    assert (dead_links(ROOT / document), dead_paths(text)) == ([], [])


def test_dead_links_and_paths_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A b: c\n[x](page.md#a-b-c) [y](page.md#b) [z](none.md) [w](http://w)")
    assert dead_links(page) == ["page.md#b", "none.md"]
    assert dead_paths("see `docs/results.md` and `docs/nothing.md`.") == ["docs/nothing.md"]


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 130


# ---- versions and dependencies ------------------------------------------------------------------


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def requirements(name: str) -> set[str]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return {line for line in lines if line and not line.startswith(("#", "-r "))}


def test_the_requirements_of_the_page_are_those_of_the_package_and_its_extra() -> None:
    packaged = project()
    expected = {*packaged["dependencies"], *packaged["optional-dependencies"]["demo"]}
    assert requirements("requirements.txt") == expected
    for extra in ("lab", "batch", "ray"):
        named = set(packaged["optional-dependencies"][extra])
        assert named <= requirements("requirements-dev.txt"), extra


def test_the_extra_mcp_is_the_extra_demo_with_the_package_mcp() -> None:
    extras = project()["optional-dependencies"]
    assert extras["mcp"][:-1] == extras["demo"]
    assert extras["mcp"][-1].startswith("mcp>=")
    assert extras["mcp"][-1] in requirements("requirements-dev.txt")


def test_the_citation_and_the_changes_name_the_version() -> None:
    version = bavos_core.__version__
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)[0] == version


# ---- the notebook -------------------------------------------------------------------------------


def test_the_notebook_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = json.loads((ROOT / "notebooks" / "quickstart.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]
    assert not any(cell.get("outputs") for cell in notebook["cells"])
    monkeypatch.chdir(ROOT / "notebooks")
    for name in ("IPython", "IPython.display"):  # which a notebook always has
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(SVG=str))
    names: dict[str, Any] = {}
    exec(compile("\n".join(cells), "quickstart.ipynb", "exec"), names)
    assert names["overlay"].shape == names["attention"].shape == (240, 432, 3)
    assert "<svg" in names["tree"]
