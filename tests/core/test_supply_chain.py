"""What no file of the packages may contain: ways to run code that comes with data."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = [ROOT / "app.py", *ROOT.glob("bavos_core/**/*.py"), *ROOT.glob("demo/**/*.py")]
CALLS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "pickle.load",
    "pickle.loads", "marshal.load", "marshal.loads", "shelve.open", "joblib.load", "yaml.load",
    "subprocess.getoutput", "subprocess.getstatusoutput", "tempfile.mktemp", "torch.hub.load",
    "runpy.run_path", "shutil.unpack_archive",
}  # fmt: skip
METHODS = {"extract", "extractall"}  # of archives: names in them are not to be trusted
MODULES_OF_CODE = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}


def dangers(source: str) -> list[str]:
    """What is dangerous in a program, and where."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [f"{node.lineno}: {a.name}" for a in node.names if a.name in MODULES_OF_CODE]
        if isinstance(node, ast.ImportFrom) and node.module in MODULES_OF_CODE:
            found.append(f"{node.lineno}: {node.module}")
        if isinstance(node, ast.Call):
            found += [f"{node.lineno}: {what}" for what in dangers_of_call(node)]
    return found


def dangers_of_call(call: ast.Call) -> list[str]:
    name = ast.unparse(call.func)
    options = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    found = [name] if name in CALLS or name.rpartition(".")[2] in METHODS else []
    found += [f"{name} shell=" for _ in range("shell" in options)]
    if name in ("np.load", "numpy.load") and options.get("allow_pickle") != "False":
        found.append(f"{name} without allow_pickle=False")
    if options.get("allow_pickle", "False") != "False":
        found.append(f"{name} allow_pickle")
    if name == "torch.load" and options.get("weights_only") != "True":
        found.append(f"{name} without weights_only=True")
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_runs_code_that_comes_with_data(path) -> None:
    assert dangers(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle", "from pickle import loads", "eval(x)", "exec(x)", "os.system(x)",
        "subprocess.run(x, shell=True)", "subprocess.run(x, shell=s)", "np.load(x)",
        "np.load(x, allow_pickle=True)", "torch.load(x)", "torch.load(x, weights_only=False)",
        "archive.extractall()", "zipfile.ZipFile(x).extract(y)", "torch.hub.load(x, y)",
    ],
)  # fmt: skip
def test_what_is_dangerous_is_found(line) -> None:
    assert dangers(line)


def test_there_are_modules_to_look_at() -> None:
    assert len(MODULES) > 40
