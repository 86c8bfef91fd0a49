"""Writing files that hold secrets: whole or not at all, for one owner, and only when something is different."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Owner:
    """Whom a file belongs to, and what they may do with it. Only root can give files away: others keep them."""

    uid: int
    gid: int
    file_mode: int
    folder_mode: int


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The folder for one process alone; it is made if it is not there. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o711)
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def make_folder(path: Path, owner: Owner) -> None:
    """Make it; it is root's, so that who may read in it cannot put something there. Raises OSError."""
    path.mkdir(mode=0o700, exist_ok=True)
    _belong(path, 0, owner.gid, owner.folder_mode)


def write(path: Path, content: str, owner: Owner) -> bool:
    """Write it unless it is there already; whether anything changed. Raises OSError.

    A reader sees the old or the new content; after a power cut too.
    """
    if _content(path) == content:
        return _belong(path, owner.uid, owner.gid, owner.file_mode)
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(content)
            file.flush()
            _belong(new, owner.uid, owner.gid, owner.file_mode)
            os.fsync(file.fileno())
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)
    return True


def remove(path: Path) -> bool:
    """Remove a file; whether it was there. Raises OSError."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def read(path: Path) -> str:
    """Its text, "" when it is not there. Raises OSError."""
    return _content(path) or ""


def _content(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except FileNotFoundError:
        return None


def _belong(path: Path, uid: int, gid: int, mode: int) -> bool:
    now = path.stat()
    changed = False
    if os.geteuid() == 0 and (now.st_uid, now.st_gid) != (uid, gid):
        os.chown(path, uid, gid)
        changed = True
    if stat.S_IMODE(now.st_mode) != mode:
        path.chmod(mode)
        changed = True
    return changed


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):  # some file systems cannot
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
