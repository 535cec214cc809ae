"""Result folders, where only files of an earlier result are replaced."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from .errors import InputError
from .files import cannot_write

MANIFEST = "bavos.json"  # {"bavos_files": {path below the folder: bytes}}; does not list itself
_KEY = "bavos_files"
_STAGE = ".bavos-"  # begins the name of the folder in which files are made
_REMEDY = "choose another folder"


@contextmanager
def filled(out: Path) -> Iterator[Path]:
    """Yield an empty folder whose files replace an earlier result in `out` at the end.

    All other files in `out` stay. After an error everything is as it was before. Raise InputError
    as `check_out_folder` does, and when files cannot be written.
    """
    check_out_folder(out)
    new = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=_STAGE, dir=out) as place:
            made, old = Path(place) / "new", Path(place) / "old"
            made.mkdir()
            yield made
            _replace(out, made, old)
    except BaseException as error:
        for folder in new:  # a folder that is not empty by now holds another's files
            with suppress(OSError):
                folder.rmdir()
        if isinstance(error, OSError):
            raise cannot_write(out, error) from error
        raise


def check_out_folder(out: Path, inputs: Iterable[Path] = ()) -> None:
    """Raise InputError unless a result can be written to a folder and nothing else is lost.

    The folder must be new, empty, or hold an earlier result whose files are unchanged. A link to a
    folder is followed, links inside are not. inputs: files and folders that must not be inside.
    """
    there = next(folder for folder in (out, *out.absolute().parents) if os.path.lexists(folder))
    if not there.is_dir():
        what = "a link to nothing" if there.is_symlink() else "a file"
        raise InputError(f"{str(there)!r} is {what}; {_REMEDY}.")
    if not os.access(there, os.W_OK | os.X_OK | os.R_OK):
        raise cannot_write(there)
    for path in inputs:
        if path.exists() and _is_below(path, out):
            raise InputError(f"{path.name!r} is in {str(out)!r}, where results go; {_REMEDY}.")
    for name, size in _listed(out).items():
        path = out / name
        _check_links(out, name)
        if path.exists() and (not path.is_file() or path.stat().st_size != size):
            raise InputError(
                f"{name!r} in {str(out)!r} was changed since it was written; move it away, or "
                f"{_REMEDY}."
            )


def _is_below(path: Path, folder: Path) -> bool:
    """Return whether a path is a folder or lies in it, by its name or by where its links lead."""
    places = (path.resolve(), path.absolute().parent.resolve() / path.name)
    return any(place.is_relative_to(folder.resolve()) for place in places)


def _listed(out: Path) -> dict[str, int]:
    """Return paths and bytes of the files of an earlier result.

    Raise InputError if there are files, but no manifest that can be trusted.
    """
    if not out.exists() or all(item.name.startswith(_STAGE) for item in out.iterdir()):
        return {}
    manifest = out / MANIFEST
    with suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
        files = json.loads(manifest.read_text(encoding="utf-8"))[_KEY]
        if not manifest.is_symlink() and all(map(_stays_inside, files)):
            return dict(files)
    raise InputError(
        f"{str(out)!r} is not empty, and no {MANIFEST} says that it holds an earlier result; "
        "choose an empty or a new folder."
    )


def _stays_inside(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return bool(parts) and "/" not in parts and ".." not in parts and name != MANIFEST


def _check_links(out: Path, name: str) -> None:
    """Raise InputError if a path below `out` is a link or leads through one."""
    path = out
    for part in PurePosixPath(name).parts:
        path /= part
        if path.is_symlink():
            raise InputError(f"{str(path)!r} is a link; remove it, or {_REMEDY}.")


def _replace(out: Path, made: Path, old: Path) -> None:
    """Move the earlier result to `old` and the files in `made` to `out`, or move nothing.

    A manifest that lists missing files does no harm, so the old one goes last and the new one
    comes first.
    """
    files = [path for path in made.rglob("*") if path.is_file()]
    sizes = {path.relative_to(made).as_posix(): path.stat().st_size for path in files}
    earlier: list[str] = []
    if (out / MANIFEST).exists():
        check_out_folder(out)  # again, since minutes may have passed
        earlier = [name for name in (*_listed(out), MANIFEST) if (out / name).exists()]
    for name in sizes:
        _check_links(out, name)
        if name not in earlier and (out / name).exists():
            raise InputError(
                f"{name!r} in {str(out)!r} is of no earlier result; move it away, or {_REMEDY}."
            )
    (made / MANIFEST).write_text(json.dumps({_KEY: sizes}, indent=1), encoding="utf-8")
    moves = [(out / name, old / name) for name in earlier]
    moves += [(made / name, out / name) for name in (MANIFEST, *sizes)]
    try:
        for source, target in moves:
            target.parent.mkdir(parents=True, exist_ok=True)
            source.rename(target)
    except BaseException:
        for source, target in reversed(moves):
            if target.exists() and not source.exists():
                target.rename(source)
        raise
    finally:
        emptied = {parent for name in (*earlier, *sizes) for parent in PurePosixPath(name).parents}
        for folder in sorted(emptied - {PurePosixPath(".")}, reverse=True):
            with suppress(OSError):  # it holds files
                (out / folder).rmdir()
