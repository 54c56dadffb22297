from __future__ import annotations

import re
from importlib.resources import files

import pytest

from runvis_core.model.state import State, Verdict
from runvis_core.services.answers import RunSummary
from runvis_core.testing.factories import DEPLOYMENT, ENGINE, a_run_id
from runvis_core.web.drawing.looks import KEYS, look_at, look_of, sprite

CSS = files("runvis_core.web").joinpath("static", "runvis.css").read_text()


def tokens(scheme: str) -> dict[str, str]:
    light, dark = re.findall(r":root\{(.*?)\}", CSS, re.DOTALL)[:2]
    return dict(re.findall(r"--(\w+):(#\w{3,6})", light if scheme == "light" else dark))


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("key", [*KEYS, "text", "quiet", "link"])
@pytest.mark.parametrize("ground", ["ground", "raised"])
def test_every_colour_can_be_read_on_both_grounds(scheme: str, key: str, ground: str) -> None:
    known = tokens(scheme)
    assert contrast(known[key], known[ground]) >= 4.6


def test_every_state_has_a_word_a_shape_and_a_colour() -> None:
    looks = {look_of(state) for state in State} | {look_of(None)}
    assert {look.key for look in looks} <= set(KEYS)
    # Initializing and Finalizing share theirs; the word tells them apart.
    assert len({look.key for look in looks}) == len(State)
    assert len({look.word for look in looks}) == len(State) + 1
    for key in KEYS:
        assert f'id="i-{key}"' in sprite()
        assert f".{key}{{" in CSS


def test_shapes_differ_where_colours_may_not_be_seen() -> None:
    shapes = re.findall(r"<symbol[^>]*>(.*?)</symbol>", sprite())
    assert len(set(shapes)) == len(KEYS)


def test_native_states_and_presumptions_look_like_what_they_are() -> None:
    run = RunSummary(run_id=a_run_id(), engine=ENGINE, deployment=DEPLOYMENT, effective_state=State.RUNNING)
    assert look_at(run).key == "running"
    assert look_at(run.model_copy(update={"presumed": Verdict.LOST})).key == "silent"
    assert look_at(run.model_copy(update={"presumed": Verdict.BEATING})).key == "running"
    assert look_of(State.CANCELLED, "upstream_failed").key == "skipped"
    assert look_of(State.SUCCEEDED, "skipped").key == "succeeded"


def test_a_native_state_says_nothing_of_an_end_that_another_one_told() -> None:
    skipped = {"state": State.CANCELLED, "effective_state": State.CANCELLED, "native_state": "skipped"}
    run = RunSummary(run_id=a_run_id(), engine=ENGINE, deployment=DEPLOYMENT, **skipped)
    assert look_at(run).word == "Skipped"
    assert look_at(run.model_copy(update={"effective_state": State.FAILED})).word == "Failed"
