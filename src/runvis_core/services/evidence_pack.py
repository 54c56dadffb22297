"""An auditor's pack as files: in a folder or a zip file, written and read. Needs no store."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Final, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from runvis_core.errors import RunVisError, SettingsError
from runvis_core.services.calendar import AskedEnd, AskedMoment
from runvis_core.services.filters import Word

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip file can say: it is no time of anything."""
_NAME: Final = re.compile(r"(?:proofs/)?[A-Za-z0-9][A-Za-z0-9._-]{0,100}")


class Subject(BaseModel):
    """Of which runs a pack is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    definition: Word = Field(description="The definition's whole name.")
    since: AskedMoment = Field(description="Only runs that began at this moment or later.")
    until: AskedEnd = Field(description="Only runs that began before this moment.")
    engine: Word | None = Field(default=None, description="The engine: airflow, prefect, …")
    deployment: Word | None = Field(default=None, description="The installation of the engine.")


class Pack(NamedTuple):
    """A pack's files by name."""

    files: Mapping[str, bytes]

    @property
    def runs(self) -> int:
        """How many runs it tells of."""
        return self.files["runs.jsonl"].count(b"\n")

    @property
    def entries(self) -> int:
        """How many entries of the log it holds."""
        return self.files["entries.jsonl"].count(b"\n")


def write_pack(pack: Pack, output: Path) -> None:
    """Write a pack as a zip file, or into a new folder. Raises `SettingsError` where something is there already."""
    if output.exists():
        raise SettingsError(f"{output} is there already: name a folder or .zip file that is not")
    try:
        if output.suffix == ".zip":
            with output.open("xb") as opened:
                zip_pack(pack, opened)
            return
        for name, data in pack.files.items():
            (output / name).parent.mkdir(parents=True, exist_ok=True)
            (output / name).write_bytes(data)
    except OSError as error:
        raise SettingsError(f"the pack can't be written to {output}: {error}") from error


def zip_pack(pack: Pack, output: IO[bytes]) -> None:
    """Write a pack as a zip file: the same files give the same bytes."""
    with zipfile.ZipFile(output, "w", zipfile.ZIP_STORED) as archive:
        for name, data in sorted(pack.files.items()):
            member = zipfile.ZipInfo(name, _EPOCH)
            # As on any system: what is in the file is all that it says.
            member.create_system, member.external_attr = 3, 0o644 << 16
            archive.writestr(member, data)


def read_pack(data: IO[bytes]) -> Pack:
    """Return the pack in a zip file. Raises `RunVisError` for what is none: a name that leads elsewhere, too."""
    try:
        with zipfile.ZipFile(data) as archive:
            members = archive.infolist()
            strange = [member.filename for member in members if not _NAME.fullmatch(member.filename)]
            if strange or any(member.compress_type != zipfile.ZIP_STORED for member in members):
                raise RunVisError("this is no pack of evidence: it holds files that a pack does not")
            pack = Pack({member.filename: archive.read(member) for member in members})
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        raise RunVisError(f"this is no pack of evidence: {error}") from error
    if not {"README.md", "runs.jsonl", "entries.jsonl"} <= pack.files.keys():
        raise RunVisError("this is no pack of evidence: it lacks what every pack has")
    return pack
