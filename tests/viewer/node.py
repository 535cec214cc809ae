"""The viewer's modules in node."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

VIEWER = Path(__file__).resolve().parents[2] / "demo" / "viewer"


def node(
    script: str, modules: dict[str, str], data: object = None, folder: Path = VIEWER
) -> object:
    """Return what a script prints as JSON with `print(value)`; skip without node.

    modules: names imported from each of the viewer's modules. The script has `data`, given as JSON.
    """
    if shutil.which("node") is None:
        give_up = pytest.fail if os.environ.get("CI") else pytest.skip
        give_up("No node on PATH.")
    imports = "".join(
        f"import {{ {names} }} from '{(VIEWER / module).as_uri()}';\n"
        for module, names in modules.items()
    )
    program = f"""{imports}
const data = JSON.parse({json.dumps(json.dumps(data))});
const print = (value) => console.log(JSON.stringify(value));
{script}"""
    done = subprocess.run(
        ["node", "--input-type=module"],
        input=program,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
