from __future__ import annotations

import os
import resource
import signal
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runvis_core.emit.spool import (
    SpoolFullError,
    SpoolReader,
    SpoolWriter,
    decode_line,
    encode_line,
    read_ack,
    remove_spool,
    write_ack,
)

ITEMS = st.lists(st.binary(min_size=1, max_size=40).map(lambda data: data.replace(b"\n", b"n")), min_size=1, max_size=8)


def read_all(path: Path, *, max_items: int = 3, max_bytes: int = 100) -> tuple[list[bytes], list[bytes]]:
    reader = SpoolReader(path)
    items: list[bytes] = []
    torn: list[bytes] = []
    position = 0
    while position < reader.size():
        batch = reader.read(position, reader.size(), max_items=max_items, max_bytes=max_bytes)
        assert batch.end > position
        assert len(batch.items) <= max_items
        items += batch.items
        torn += batch.torn
        position = batch.end
    reader.close()
    return items, torn


@given(items=ITEMS, data=st.data())
def test_a_spool_cut_at_any_byte_gives_every_whole_line_and_sets_the_rest_aside(
    items: list[bytes], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lines = [encode_line(item) for item in items]
    whole = b"".join(lines)
    length = data.draw(st.integers(0, len(whole)))
    path = tmp_path_factory.mktemp("cut") / "a.spool"
    path.write_bytes(whole[:length])

    read, torn = read_all(path)

    complete = next(n for n in range(len(lines), -1, -1) if len(b"".join(lines[:n])) <= length)
    rest = whole[len(b"".join(lines[:complete])) : length]
    assert read == items[:complete]
    assert torn == ([rest] if rest else [])


@given(items=ITEMS, data=st.data())
def test_a_changed_byte_costs_no_other_line(
    items: list[bytes], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lines = [bytearray(encode_line(item)) for item in items]
    hit = data.draw(st.integers(0, len(lines) - 1))
    place = data.draw(st.integers(0, len(lines[hit]) - 2))
    lines[hit][place] ^= data.draw(st.sampled_from([1, 2, 128]))
    if lines[hit][place] == ord("\n"):
        lines[hit][place] = 0
    path = tmp_path_factory.mktemp("changed") / "a.spool"
    path.write_bytes(b"".join(lines))

    read, torn = read_all(path)

    assert read == items[:hit] + items[hit + 1 :]
    assert torn == [bytes(lines[hit])]


@given(st.binary())
def test_what_is_no_line_of_ours_is_no_item(data: bytes) -> None:
    item = decode_line(data)
    assert item is None or encode_line(item) == data


def test_a_spool_is_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "spool" / "test"
    writer = SpoolWriter.create(folder, max_bytes=1000)
    assert writer.path.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert folder.parent.stat().st_mode & 0o777 == 0o700
    writer.close()


def test_a_line_that_could_be_written_in_part_leaves_nothing_behind(tmp_path: Path) -> None:
    # A limit on the file's size cuts a write short, as a full disk does.
    writer = SpoolWriter.create(tmp_path, max_bytes=10_000)
    writer.append([encode_line(b"first")])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (writer.end + 10, limits[1]))
        with pytest.raises(OSError, match=r"only 10 of 109 bytes"):
            writer.append([encode_line(b"x" * 99)])
        with pytest.raises(OSError, match=r"too large|only"):
            writer.append([encode_line(b"x" * 99)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    writer.append([encode_line(b"second")])
    assert read_all(writer.path) == ([b"first", b"second"], [])
    writer.close()


def test_a_torn_line_that_can_not_be_taken_back_costs_no_other_line(tmp_path: Path) -> None:
    writer = SpoolWriter.create(tmp_path, max_bytes=10_000)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
        with mock.patch("os.ftruncate", side_effect=OSError("read-only")), pytest.raises(OSError, match="only 10"):
            writer.append([encode_line(b"x" * 99)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    writer.append([encode_line(b"second")])
    items, torn = read_all(writer.path)
    assert items == [b"second"]
    assert torn == [encode_line(b"x" * 99)[:10] + b"\n"]
    writer.close()


def test_a_spool_has_a_largest_size(tmp_path: Path) -> None:
    writer = SpoolWriter.create(tmp_path, max_bytes=100)
    writer.append([encode_line(b"x" * 50)])
    with pytest.raises(SpoolFullError, match="SPOOL_MAX_BYTES"):
        writer.append([encode_line(b"x" * 50)])
    writer.close()


@pytest.mark.parametrize("damaged", [b"", b"0000", b"0000000000000099 00000000\n", b"x" * 26])
def test_an_acknowledgement_that_can_not_be_read_means_nothing_was_delivered(tmp_path: Path, damaged: bytes) -> None:
    path = tmp_path / "a.spool"
    write_ack(path, 4711)
    assert read_ack(path) == 4711
    path.with_suffix(".ack").write_bytes(damaged)
    assert read_ack(path) == 0


def test_an_emptied_spool_is_read_from_its_beginning(tmp_path: Path) -> None:
    writer = SpoolWriter.create(tmp_path, max_bytes=1000)
    writer.append([encode_line(b"first")])
    write_ack(writer.path, writer.end)
    writer.restart()
    writer.append([encode_line(b"second")])
    assert read_ack(writer.path) == 0
    assert read_all(writer.path) == ([b"second"], [])
    writer.close()
    remove_spool(writer.path)
    assert list(tmp_path.iterdir()) == []


def test_an_append_in_the_middle_of_an_append_leaves_the_end_between_two_lines(tmp_path: Path) -> None:
    writer = SpoolWriter.create(tmp_path, max_bytes=10_000)
    write, seen = os.write, list[tuple[list[bytes], list[bytes]]]()

    def interrupted(descriptor: int, data: bytes) -> int:
        written = write(descriptor, data)
        if not seen:
            # What a signal's handler does that comes right after the write.
            seen.append(([], []))
            writer.append([encode_line(b"short")])
            seen.append(_lines_before(writer))
        return written

    with mock.patch("os.write", interrupted):
        writer.append([encode_line(b"a line of some length")])
    assert seen[1] == _lines_before(writer) == ([b"a line of some length", b"short"], [])
    assert writer.end == writer.path.stat().st_size
    writer.close()


def _lines_before(writer: SpoolWriter) -> tuple[list[bytes], list[bytes]]:
    reader = SpoolReader(writer.path)
    batch = reader.read(0, writer.end, max_items=10, max_bytes=1000)
    reader.close()
    return list(batch.items), list(batch.torn)


NEAR_LINES = st.one_of(
    st.binary(max_size=40),
    st.binary(max_size=40).map(encode_line),
    st.binary(max_size=40).map(lambda item: encode_line(item)[:-1]),
    st.binary(max_size=40).map(lambda item: encode_line(item).upper()),
    st.sampled_from([b"\n", b"\n\n", b"00000000 \n", b"00000000 " + b"[" * 5000 + b"\n", b"\x00" * 4096]),
)


@given(st.lists(NEAR_LINES, max_size=12), st.integers(1, 4), st.integers(1, 200))
def test_a_file_of_anything_is_read_to_its_end_and_no_byte_is_left_out(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], max_items: int, max_bytes: int
) -> None:
    path = tmp_path_factory.mktemp("spool") / "x.spool"
    path.write_bytes(b"".join(parts))
    reader = SpoolReader(path)
    place, read = 0, 0
    while place < reader.size():
        batch = reader.read(place, reader.size(), max_items=max_items, max_bytes=max_bytes)
        assert batch.end > place
        assert len(batch.items) <= max_items
        read += sum(len(encode_line(item)) for item in batch.items) + sum(map(len, batch.torn))
        place = batch.end
    reader.close()
    assert read == path.stat().st_size
