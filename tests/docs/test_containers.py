"""What the container files name is there. Building and running them needs an engine, which no test has."""

from __future__ import annotations

import json
import re
import stat
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from runvis_core.cli.app import app
from runvis_core.settings import Settings, variable_name

PROJECT = Path(__file__).parents[2]
FOLDER = PROJECT / "docs/how-to/containers"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
# One instruction a line: continued ones are joined.
DOCKERFILE = [
    line.split(maxsplit=1)
    for line in (FOLDER / "Dockerfile").read_text().replace("\\\n", "").splitlines()
    if line.strip() and not line.startswith("#")
]


def instructions(name: str) -> list[str]:
    return [said for instruction, said in DOCKERFILE if instruction == name]


def variables_of_settings() -> set[str]:
    names: set[str] = set()
    for name, field in Settings.model_fields.items():
        section = getattr(field.annotation, "model_fields", None)
        names |= {variable_name(name, key) for key in section} if section else {variable_name(name)}
    return names


def named_variables() -> set[str]:
    said = {name for service in COMPOSE["services"].values() for name in service.get("environment", {})}
    said |= set(re.findall(r"\b(RUNVIS_\w+)=", " ".join(instructions("ENV"))))
    return {name for name in said if name.startswith("RUNVIS")}


def test_every_file_that_an_image_copies_is_in_the_source() -> None:
    sources = [source for said in instructions("COPY") for source in said.split()[:-1]]
    assert {"src", "pyproject.toml"} <= set(sources)
    assert [source for source in sources if not (PROJECT / source).exists()] == []


def test_the_services_build_from_this_source() -> None:
    builds = [service["build"] for service in COMPOSE["services"].values() if "build" in service]
    assert builds
    for build in builds:
        context = (FOLDER / build["context"]).resolve()
        assert context == PROJECT.resolve()
        assert (context / build["dockerfile"]).samefile(FOLDER / "Dockerfile")


def test_every_setting_that_is_named_is_one() -> None:
    assert named_variables() >= {"RUNVIS_URL", "RUNVIS_TOKEN_FILE", "RUNVIS__SERVER__LOG_FORMAT"}
    assert named_variables() - variables_of_settings() == set()


@pytest.mark.parametrize(
    "words",
    [
        json.loads(instructions("CMD")[0]),
        *(service["command"] for service in COMPOSE["services"].values() if "command" in service),
    ],
    ids=" ".join,
)
def test_every_command_is_understood(words: list[str]) -> None:
    command = typer.main.get_command(app)
    rest = words
    while hasattr(command, "commands"):
        command, rest = command.commands[rest[0]], rest[1:]
    command.make_context(words[0], list(rest))


def test_the_image_runs_what_is_installed() -> None:
    (entry,) = instructions("ENTRYPOINT")
    assert json.loads(entry) == ["runvis"]
    (health,) = (said for name, said in DOCKERFILE if name == "HEALTHCHECK")
    assert "/health/ready" in health
    assert instructions("USER") == ["runvis"]


HOW_TO = (FOLDER.parent / "containers.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", HOW_TO, re.DOTALL)


def test_the_server_s_user_can_read_the_secrets_and_nobody_else_here_can(tmp_path: Path) -> None:
    made = [line for line in blocks("console")[0].splitlines() if line.split()[0] in ("mkdir", "python3", "chmod")]
    subprocess.run(["bash", "-eu"], input="umask 077\n" + "\n".join(made), text=True, cwd=tmp_path, check=True)
    for secret in COMPOSE["secrets"].values():
        file = tmp_path / secret["file"]
        assert file.read_text().strip()
        assert stat.S_IMODE(file.stat().st_mode) == 0o644
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
        assert file.parent != tmp_path
    assert "up --detach --wait" in blocks("console")[0]


def test_the_settings_file_is_put_where_the_server_looks_for_it() -> None:
    (override,) = map(yaml.safe_load, blocks("yaml"))
    (volume,) = override["services"]["server"]["volumes"]
    source, target, mode = volume.split(":")
    assert (source.startswith("./"), mode) == (True, "ro")
    (folder,) = instructions("WORKDIR")[1:]
    assert target == f"{folder}/runvis.toml"


def test_what_drains_spools_runs_as_who_owns_them() -> None:
    (own, drain) = (line for line in blocks("console")[1].replace("\\\n", "").splitlines() if line)
    (user,) = re.findall(r"--user (\d+:\d+)", drain)
    assert own.split()[-2:] == [user, "/spool"]
    assert "--volume spools:/spool" in own
    # The image's own folder is its own user's.
    assert {"--workdir /spool", "--volume spools:/spool"} <= {" ".join(two) for two in pairwise(drain.split())}


def test_what_services_depend_on_and_mount_is_declared() -> None:
    services = COMPOSE["services"]
    for service in services.values():
        assert set(service.get("depends_on", {})) <= set(services)
        assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"])
        named = {volume.partition(":")[0] for volume in service.get("volumes", [])}
        assert named <= set(COMPOSE["volumes"])
