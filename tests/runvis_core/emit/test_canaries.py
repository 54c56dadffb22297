"""Canaries: secrets in every place and shape, none of which is to be found in any file afterwards.

`RUNVIS_TEST_CANARIES` sets how many; they are the same ones each time.
"""

from __future__ import annotations

import json
import logging
import os
import random
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from tests.faults.scale import ROUNDS, found

from runvis_core.emit.drain import drain_spool
from runvis_core.emit.recorder import Recorder
from runvis_core.model.event import (
    ActionEvent,
    ArtifactEvent,
    ContextEvent,
    DatasetEvent,
    DefinitionEvent,
    EventBase,
    FailureEvent,
    LogEvent,
    NoteEvent,
)
from runvis_core.settings import Settings
from runvis_core.testing.factories import make

NUMBER = int(os.environ.get("RUNVIS_TEST_CANARIES", 200 if ROUNDS == 1 else 1000))

Shape = Callable[[str], Any]


def nested(value: Any, depth: int) -> Any:
    for level in range(depth):
        value = {"inner": value, "level": level} if level % 2 else [value, level]
    return value


TEXTS: list[Shape] = [
    lambda c: f"password={c}",
    lambda c: f'connect(host="db", password="{c}", port=5432)',
    lambda c: f"password='two words {c}'",
    lambda c: f"api_key=b'{c}'",
    lambda c: f"token => {c}",
    lambda c: f"Authorization: Bearer {c}",
    lambda c: f"Authorization: Basic {c}==",
    lambda c: f"Cookie: theme=dark; session={c}",
    lambda c: f"postgresql://etl:{c}@db.internal:5432/orders",
    lambda c: f"amqp://etl:a/{c}@mq/v",
    lambda c: f"https://x.example/hook?a=1&access_token={c}&b=2",
    lambda c: f"Server=db;User Id=etl;Password={c};Encrypt=yes",
    lambda c: f"DRIVER={{x}};UID=etl;PWD={{a;{c}}}",
    lambda c: f"mysql --host db --password {c} orders",
    lambda c: f"mysql --password='a b {c}' orders",
    lambda c: f"curl -u etl:{c} https://x.example",
    lambda c: f"export PGPASSWORD={c}",
    lambda c: f"machine h login etl password {c}",
    lambda c: f"<config><password>{c}</password></config>",
    lambda c: f"db:\n  user: etl\n  password: two {c}\n",
    lambda c: str({"user": "etl", "secret": f"x, {c}"}),
    lambda c: str([("user", "etl"), ("password", c)]),
    lambda c: json.dumps({"db": {"password": c}}),
    lambda c: json.dumps({"db": json.dumps({"password": c})}),
    lambda c: json.dumps(json.dumps({"password": c})),
    lambda c: f"sent {json.dumps(json.dumps({'token': c}))} to it",
    lambda c: f"Config(user='etl', password=SecretStr('{c}'))",
    lambda c: f"ghp_{c}{c}",
    lambda c: f"rvt_{c}{c}",
    lambda c: f"-----BEGIN RSA PRIVATE KEY-----\n{c}\n{c}\n-----END RSA PRIVATE KEY-----",
    lambda c: f'Traceback (most recent call last):\n  File "a.py", line 3\n    f(token="{c}")\nError: token={c}',
    lambda c: f"badge-number: {c}",
    lambda c: f"the password is {c}",
    lambda c: f"The passphrase for user etl was {c}.",
    lambda c: f"logged in with password {c} for user etl",
    lambda c: f"the token was {c}, and it has expired",
    lambda c: f"API key: {c}",
    lambda c: f"its secret key is now '{c}'",
    lambda c: f"Badge number is {c}",
    lambda c: f"the value {registered(c)} was registered",
    lambda c: f"https://x.example/?q={quote(registered(c), safe='')}",
]
VALUES: list[Shape] = [
    lambda c: {"password": c},
    lambda c: {"Api-Key": [c, {"more": c}]},
    lambda c: {"credentials": {"user": c, "key": c}},
    lambda c: {"env": [{"name": "DB_PASSWORD", "value": c}]},
    lambda c: {"env": [{"key": "token", "value": "shown elsewhere", "default": c}]},
    lambda c: {"headers": [["Authorization", c], ["Accept", "text/html"]]},
    lambda c: {"argv": ["run", "--token", c, "--fast"]},
    lambda c: [["password", c]],
    lambda c: {"badgeNumber": c},
    lambda c: {f"https://etl:{c}@x.example/": 1},
    lambda c: {"note": registered(c)},
    lambda c: {"note": [f"the password was changed to {c}", "the password is wrong, the token has expired"]},
]


def registered(canary: str) -> str:
    """The canary as an engine registers it: with characters that an address spells otherwise."""
    return f"{canary}/+ {canary[::-1]}"


PLACES: list[Callable[[Any, str], EventBase]] = [
    lambda said, plain: make(ContextEvent, content={"parameters": {"said": said, "plain": plain}}),
    lambda said, plain: make(ContextEvent, content={"conf": [said, plain]}),
    lambda said, plain: make(ContextEvent, environment={"variables": said, "plain": plain}),
    lambda said, plain: make(ContextEvent, engine_context={"said": said, "plain": plain}, code={"path": plain}),
    lambda said, plain: make(FailureEvent, content={"message": said, "traceback": [said, plain]}),
    lambda said, plain: make(LogEvent, content={"tail": [plain, said]}),
    lambda said, plain: make(NoteEvent, content={"text": said, "author": plain}),
    lambda said, plain: make(ActionEvent, name="mark", content={"detail": said, "actor": plain}),
    lambda said, plain: make(DatasetEvent, direction="read", namespace="s3://b", name=plain, content={"extra": said}),
    lambda said, plain: make(
        DefinitionEvent, definition="d", definition_kind="dag", version=plain, content={"docs": said}
    ),
]


def hide(canary: str, plain: str, dice: random.Random) -> EventBase:
    """Return an event that holds a canary somewhere, and beside it a word that is none."""
    said: Any = dice.choice(TEXTS)(canary) if dice.random() < 0.7 else dice.choice(VALUES)(canary)
    if isinstance(said, str) and dice.random() < 0.5:
        said = f"{dice.choice(['failed with', 'retry 2/3', '[2026-11-24 08:00:00] INFO', 'step 4,'])} {said}"
    if dice.random() < 0.2 and isinstance(said, str) and "\n" not in said:
        return make(ArtifactEvent, name=plain, uri=said)
    if dice.random() < 0.3:
        said = nested(said, dice.randint(1, 12))
    if dice.random() < 0.2:
        said = json.dumps(said)
    # What a sentence says of a password is no secret: the word beside each canary stands in one, too.
    plain = dice.choice(["{}", "{}", "the password is wrong: {}", "token expired for {}"]).format(plain)
    return dice.choice(PLACES)(said, plain)


def test_no_canary_is_in_any_file_and_no_word_beside_one_is_missing(
    make_settings: Callable[..., Settings],
    make_recorder: Callable[..., Recorder],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    dice = random.Random(20261124)
    canaries = ["".join(dice.choices(string.ascii_letters + string.digits, k=20)) for _ in range(NUMBER)]
    plain = [f"plain-{number:06}-{dice.randrange(10**9):09}" for number in range(NUMBER)]
    emit = {"secret_keys": ("badge_number",)}
    # Nobody answers there, so that all of it lies in the spool first.
    recorder = make_recorder(settings=make_settings(url="http://127.0.0.1:1", emit=emit))
    recorder.mask(registered(canary) for canary in canaries)
    recorder.record(hide(canary, word, dice) for canary, word in zip(canaries, plain, strict=True))
    assert recorder.refused == 0

    def held() -> bytes:
        files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
        return b"".join([*files, caplog.text.encode()])

    def leaked() -> list[str]:
        there = held()
        return [canary for canary in canaries if canary.encode() in there or canary[::-1].encode() in there]

    def missing() -> int:
        there = held()
        return sum(word.encode() not in there for word in plain)

    found("secrets", canaries=NUMBER, leaked=len(leaked()), masked_falsely=missing())
    assert leaked() == []
    assert missing() <= NUMBER / 100
    recorder.close(budget_seconds=0)
    report = drain_spool(make_settings(url=f"sqlite:///{tmp_path / 'runvis.db'}"))
    assert report.tally.refused == 0
    assert report.tally.delivered >= NUMBER
    for path in tmp_path.glob("spool/**/*.spool"):
        path.unlink()
    found("secrets", leaked=len(leaked()))
    assert leaked() == []
    assert missing() <= NUMBER / 100
