"""The git checkout that a file lies in, read from git's own files: no process is started for it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Checkout:
    """A working tree and what its HEAD names. Says nothing about uncommitted changes."""

    root: Path
    commit: str | None
    """None before the first commit."""
    branch: str | None
    """None when HEAD is detached."""


@lru_cache(maxsize=256)
def find_checkout(folder: Path) -> Checkout | None:
    """Return the checkout that `folder` is in, as it was when this process first asked; None outside of any."""
    for root in (folder, *folder.parents):
        git = root / ".git"
        try:
            if git.is_dir():
                return _read_checkout(root, git)
            if git.is_file():  # a worktree or a submodule: a file that says where the folder is
                return _read_checkout(root, root / git.read_text().partition("gitdir:")[2].strip())
        except (OSError, UnicodeDecodeError):
            return None  # unreadable is as good as absent: the run is recorded without a commit
    return None


def _read_checkout(root: Path, git: Path) -> Checkout:
    head = (git / "HEAD").read_text().strip()
    if not head.startswith("ref:"):
        return Checkout(root, head, None)
    reference = head.removeprefix("ref:").strip()
    return Checkout(root, _read_reference(_common_folder(git), reference), reference.removeprefix("refs/heads/"))


def _common_folder(git: Path) -> Path:
    """Return where the branches are: a worktree has a HEAD of its own and shares the rest."""
    common = git / "commondir"
    return git / common.read_text().strip() if common.is_file() else git


def _read_reference(common: Path, reference: str) -> str | None:
    loose = common / reference
    if loose.is_file():
        return loose.read_text().strip()
    packed = common / "packed-refs"
    if packed.is_file():
        for line in packed.read_text().splitlines():
            commit, _, name = line.partition(" ")
            if name == reference:
                return commit
    return None
