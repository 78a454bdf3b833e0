"""What stands for a container image on this machine.

No image is ever fetched or unpacked. By default ``python`` and ``python3`` are the interpreter that runs kuttab and any other program is
looked up in PATH. The ``images`` setting maps names of images (shell patterns, first match wins, with or without tag) to a
folder that stands for the image's file system, an interpreter, environment, working directory and entry point. Absolute paths in
command and arguments that exist below that folder are mapped into it.
"""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from kuttab.base import errors
from kuttab.node import processes

PYTHONS = frozenset({"python", "python3"})
SYSTEM_PATH: Final = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_DEFAULT_PATH = os.pathsep.join(SYSTEM_PATH)
_PATH_TOKEN = re.compile(r"""(?<![\w.~/\-])/[^\s'"=:,;|&<>()\[\]{}`$*?!#]+""")


@dataclass(frozen=True, slots=True)
class Image:
    """What stands for an image: every field may be empty."""

    root: Path | None = None
    python: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    command: Sequence[str] = ()
    workdir: str = ""


Images = Mapping[str, Image]
"""Image name pattern to what stands for it, in order of precedence."""


def read(setting: Mapping[str, Any], base: Path = Path()) -> dict[str, Image]:
    """Read the setting from a configuration file; InvalidError with every problem. Relative folders are below ``base``."""
    problems: list[errors.Problem] = []
    images = {}
    for pattern, entry in setting.items():
        path = f"images[{pattern!r}]"
        if not isinstance(entry, Mapping):
            problems.append(errors.Problem(path, "must be a map of root, python, env, command, workdir"))
            continue
        problems += [
            errors.Problem(
                f"{path}.{key}", "unknown; known are root, python, env, command, workdir", "FieldValueNotSupported"
            )
            for key in entry.keys() - {"root", "python", "env", "command", "workdir"}
        ]
        problems += _mistyped(path, entry)
        root = base / os.path.expanduser(entry["root"]) if isinstance(entry.get("root"), str) else None
        if root is not None and not root.is_dir():
            problems.append(errors.Problem(f"{path}.root", f"{str(root)!r} is not a folder"))
        if not problems:
            images[str(pattern)] = Image(
                root=root.resolve() if root else None,
                python=os.path.expanduser(entry.get("python", "")),
                env=dict(entry.get("env", {})),
                command=tuple(entry.get("command", ())),
                workdir=entry.get("workdir", ""),
            )
    if problems:
        raise errors.InvalidError(problems, "images")
    return images


def _mistyped(path: str, entry: Mapping[str, Any]) -> list[errors.Problem]:
    problems = [
        errors.Problem(f"{path}.{key}", "must be text")
        for key in ("root", "python", "workdir")
        if not isinstance(entry.get(key, ""), str)
    ]
    env = entry.get("env", {})
    if not isinstance(env, Mapping) or not all(isinstance(t, str) for pair in env.items() for t in pair):
        problems.append(errors.Problem(f"{path}.env", "must be a map of text to text"))
    command = entry.get("command", [])
    if not isinstance(command, list) or not all(isinstance(word, str) for word in command):
        problems.append(errors.Problem(f"{path}.command", "must be a list of text"))
    return problems


def find(images: Images, name: str) -> Image:
    """What stands for an image; the empty stand-in when no pattern matches. Tag and digest may be left out of a pattern."""
    bare = name.partition("@")[0]
    head, slash, tail = bare.rpartition("/")
    untagged = head + slash + tail.partition(":")[0]
    for pattern, image in images.items():
        if any(fnmatch.fnmatchcase(candidate, pattern) for candidate in (name, bare, untagged)):
            return image
    return Image()


def below_root(image: Image, text: str) -> str:
    """The text with absolute paths that exist below the image's folder mapped there."""
    root = image.root
    if root is None or "/" not in text:
        return text

    def mapped(match: re.Match[str]) -> str:
        path = match.group()
        inside = root / path.lstrip("/")
        # A lone top folder ("/tmp", "/") is everyone's: only what lies below one, or a file, belongs to the image.
        owned = inside.is_file() or (path.rstrip("/").count("/") > 1 and inside.exists())
        return str(inside) + ("/" if path.endswith("/") else "") if owned else path

    return _PATH_TOKEN.sub(mapped, text)


def program(image: Image, argv0: str, env: Mapping[str, str], cwd: Path) -> str:
    """The file to execute for the first word of a command; CannotRunError names where it was looked for."""
    if argv0 in PYTHONS:
        return image.python or _from_root(image, argv0) or sys.executable
    if "/" in argv0:
        path = cwd / argv0
        if path.is_file() and os.access(path, os.X_OK):
            return str(path)
        raise processes.CannotRunError(
            f"program {argv0!r} is {'not executable' if path.is_file() else 'not a file on this machine'};"
            f" set images[...].root to a folder that holds it for its image"
        )
    search = env.get("PATH", _DEFAULT_PATH)
    found = _from_root(image, argv0) or shutil.which(argv0, path=search)
    if found is None:
        places = f"{image.root} (images setting) and " if image.root else ""
        raise processes.CannotRunError(
            f"program {argv0!r} was not found in {places}PATH={search}; install it, or give its image a root folder or a"
            " command in the images setting"
        )
    return found


def _from_root(image: Image, name: str) -> str:
    if image.root is None:
        return ""
    for folder in SYSTEM_PATH:
        candidate = image.root / folder.lstrip("/") / name
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return str(candidate)
    return ""
