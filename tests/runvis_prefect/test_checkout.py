from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from runvis_prefect.checkout import find_checkout

Git = Callable[..., str]


@pytest.fixture
def git(tmp_path: Path) -> Git:
    def run(*arguments: str, at: Path = tmp_path) -> str:
        identity = ["-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]
        done = subprocess.run(["git", *identity, *arguments], cwd=at, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    run("init", "--quiet", "--initial-branch", "main")
    run("commit", "--quiet", "--allow-empty", "--message", "first")
    return run


def test_a_folder_in_a_checkout_has_its_commit_and_branch(git: Git, tmp_path: Path) -> None:
    (tmp_path / "flows" / "daily").mkdir(parents=True)
    checkout = find_checkout(tmp_path / "flows" / "daily")
    assert checkout is not None
    assert (checkout.root, checkout.commit, checkout.branch) == (tmp_path, git("rev-parse", "HEAD"), "main")


def test_packed_branches_are_read(git: Git, tmp_path: Path) -> None:
    git("pack-refs", "--all")
    checkout = find_checkout(tmp_path)
    assert checkout is not None
    assert checkout.commit == git("rev-parse", "HEAD")


def test_a_detached_head_has_no_branch(git: Git, tmp_path: Path) -> None:
    git("checkout", "--quiet", "--detach")
    checkout = find_checkout(tmp_path)
    assert checkout is not None
    assert (checkout.commit, checkout.branch) == (git("rev-parse", "HEAD"), None)


def test_a_worktree_has_its_own_branch(git: Git, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    git("worktree", "add", "--quiet", "-b", "other", str(tree))
    git("commit", "--quiet", "--allow-empty", "--message", "second", at=tree)
    checkout = find_checkout(tree)
    assert checkout is not None
    assert (checkout.commit, checkout.branch) == (git("rev-parse", "HEAD", at=tree), "other")


def test_before_the_first_commit_there_is_none(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    checkout = find_checkout(tmp_path)
    assert checkout is not None
    assert checkout.commit is None


def test_outside_of_a_checkout_there_is_nothing_to_say() -> None:
    assert find_checkout(Path("/")) is None
