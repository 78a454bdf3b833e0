"""Who may talk to ``kuttab serve``, and what its clients need to know: the token, the kubeconfig, certificates on request.

Everything is a file of its user alone in the data folder, made at the first start and kept.
"""

from __future__ import annotations

import base64
import os
import secrets
import tempfile
from pathlib import Path
from typing import Any

import yaml

from kuttab.base import errors

TOKEN_FILE = "token"  # noqa: S105  # the name of the file
KUBECONFIG_FILE = "kubeconfig"
NAME = "kuttab"
"""Name of cluster, user and context in the kubeconfig."""
_SHORTEST = 16


def token(data: Path) -> str:
    """The bearer token of a data folder, made at first use; CorruptError when the file holds none or others may read it."""
    path = data / TOKEN_FILE
    try:
        if not path.exists():
            write(path, secrets.token_urlsafe(32) + "\n")
        if path.stat().st_mode & 0o077:
            raise errors.CorruptError(f"{path} can be read by others; remove it for a new token, or chmod 600 it")
        found = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise errors.CorruptError(f"{path} cannot be read ({error}); remove it for a new token") from error
    if len(found) < _SHORTEST or not found.isprintable() or " " in found:
        raise errors.CorruptError(
            f"{path} does not hold one token of at least {_SHORTEST} letters; remove it for a new one"
        )
    return found


def kubeconfig(url: str, token_: str, authority: bytes = b"", namespace: str = "default") -> str:
    """A kubeconfig with one context; ``authority`` is the certificate that signed the server's."""
    scheme, _, rest = url.partition("://")
    # kubectl sends no bearer token over plain HTTP; what stands before the host it sends as Basic.
    cluster: dict[str, Any] = {"server": url if scheme == "https" else f"{scheme}://{NAME}:{token_}@{rest}"}
    if authority:
        cluster["certificate-authority-data"] = base64.b64encode(authority).decode()
    context = {"cluster": NAME, "user": NAME, "namespace": namespace}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": NAME, "cluster": cluster}],
        "users": [{"name": NAME, "user": {"token": token_}}],
        "contexts": [{"name": NAME, "context": context}],
        "current-context": NAME,
    }
    return yaml.safe_dump(document, sort_keys=False)


def write_kubeconfig(path: Path, text: str) -> None:
    """Write it for its user alone; BadInputError for a file that holds other clusters than ours."""
    try:
        if path.exists():
            _check_ours(path)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write(path, text)
    except OSError as error:
        raise errors.BadInputError(f"--kubeconfig {path}: cannot be written: {error.strerror}") from error


def write(path: Path, text: str | bytes) -> None:
    """A whole file of mode 0600, or none; raises OSError."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mkstemp's files have mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode() if isinstance(text, str) else text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).rename(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _check_ours(path: Path) -> None:
    try:
        found = yaml.safe_load(path.read_bytes())
        clusters = [str(item["name"]) for item in (found or {}).get("clusters") or ()]
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError, TypeError, KeyError):
        clusters = ["something that is no kubeconfig"]
    others = [name for name in clusters if name != NAME]
    if others:
        raise errors.BadInputError(
            f"--kubeconfig {path}: holds {', '.join(others)[:200]} and would be replaced; name another file, and put both into KUBECONFIG"
        )
