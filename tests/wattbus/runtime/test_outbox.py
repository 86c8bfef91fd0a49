"""The outbox: a bounded ring in memory and files that survives its process and bad disks."""

from __future__ import annotations

import asyncio
import logging
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wattbus.runtime.outbox import SEGMENT_BYTES, WRITE_S, Outbox
from wattbus.service.disk import on_disk, submit
from wattbus.testing.clock import VirtualClock

PAYLOAD = b'{"values":{"a":1}}'


def filled(outbox: Outbox, number: int, payload: bytes = PAYLOAD) -> Outbox:
    for _ in range(number):
        outbox.put(outbox.last_sequence + 1, payload)
    return outbox


def files(folder: Path) -> list[str]:
    """What lies there beside the lock and the list of numbers."""
    return sorted(path.name for path in folder.glob("*.readings"))


def big(size: int) -> bytes:
    return b'{"text":"' + b"x" * (size - 11) + b'"}'


def test_what_was_put_is_there_until_it_is_released() -> None:
    outbox = filled(Outbox("a"), 5)
    assert outbox.get("a", 3) == PAYLOAD
    assert outbox.release("a", [(2, 4)]) == 3
    assert outbox.get("a", 3) is None
    assert outbox.pending("a").ranges() == [(1, 1), (5, 5)]
    assert outbox.size == 2 * len(PAYLOAD)
    assert outbox.release("a", [(2, 4), (5, 1), (9, 9)]) == 0
    assert outbox.release("somebody else's", [(1, 9)]) == 0
    assert len(outbox) == 2


def test_numbers_have_no_holes() -> None:
    with pytest.raises(ValueError, match="the next number is 3, not 4"):
        filled(Outbox("a"), 2).put(4, PAYLOAD)


def test_the_next_process_takes_over_what_was_flushed(tmp_path: Path) -> None:
    filled(Outbox("a", tmp_path), 3).flush()
    second = filled(Outbox("b", tmp_path), 2)
    assert second.sessions == ["a", "b"]
    assert second.pending("a").ranges() == [(1, 3)]
    assert [second.get("a", n) for n in (1, 3, 4)] == [PAYLOAD, PAYLOAD, None]
    second.flush()
    second.close()
    third = Outbox("c", tmp_path)
    assert third.sessions == ["a", "b", "c"]
    third.release("a", [(1, 3)])
    assert third.sessions == ["b", "c"]
    assert files(tmp_path) == ["0000000002-b.readings"]
    third.release("b", [(1, 2)])
    assert files(tmp_path) == []
    assert (len(third), third.size) == (0, 0)


def test_only_what_waits_for_long_is_written(tmp_path: Path) -> None:
    clock = VirtualClock()
    outbox = filled(Outbox("a", tmp_path, clock=clock), 3)
    outbox.tick()
    assert files(tmp_path) == []
    clock.forward(WRITE_S)
    filled(outbox, 2)
    outbox.release("a", [(1, 1)])
    outbox.tick()
    shutil.copytree(tmp_path, tmp_path / "copy")
    assert Outbox("b", tmp_path / "copy").pending("a").ranges() == [(2, 3)]  # not 4 and 5: they die with their process
    assert [outbox.get("a", n) for n in range(1, 6)] == [None, PAYLOAD, PAYLOAD, PAYLOAD, PAYLOAD]


def test_a_line_that_was_cut_with_its_process_is_ignored(tmp_path: Path) -> None:
    filled(Outbox("a", tmp_path), 3).flush()
    [path] = tmp_path.glob("*.readings")
    whole = path.read_bytes().removesuffix(b"end 3\n")
    for content, numbers in [
        (whole[:-1], [(1, 2)]),
        (whole[:-5] + b"\n", [(1, 2)]),
        (whole + b"nonsense\n", [(1, 3)]),
        (whole + b"9" * 5000 + b" 00000000 {}\n", [(1, 3)]),
        (b"".join(b"%d %b\n" % (number, PAYLOAD) for number in (1, 2)), [(1, 2)]),  # the first version
        (b"nonsense\n" + whole, []),
        (whole.replace(b"values", b"valves"), []),
        (b"", []),
    ]:
        (tmp_path / "copy").mkdir()
        (tmp_path / "copy" / path.name).write_bytes(content)
        assert Outbox("b", tmp_path / "copy").pending("a").ranges() == numbers
        shutil.rmtree(tmp_path / "copy")


def test_new_entries_never_stick_to_a_torn_line(tmp_path: Path) -> None:
    filled(Outbox("a", tmp_path), 2).flush()
    [path] = tmp_path.glob("*.readings")
    with path.open("ab") as file:
        file.write(b'3 {"torn":')
    filled(Outbox("b", tmp_path), 1).flush()
    third = Outbox("c", tmp_path)
    assert (third.pending("a").ranges(), third.pending("b").ranges()) == ([(1, 2)], [(1, 1)])


def test_memory_stays_bounded_and_the_rest_goes_to_files_of_a_megabyte(tmp_path: Path) -> None:
    outbox = Outbox("a", tmp_path, memory_bytes=100_000)
    payload = big(10_000)
    for _ in range(400):
        filled(outbox, 1, payload)
        assert outbox._memory_bytes <= 100_000
    sizes = [path.stat().st_size for path in sorted(tmp_path.glob("*.readings"))]
    assert len(sizes) >= 3
    assert max(sizes) <= SEGMENT_BYTES + 11_000
    assert len(outbox) == 400
    assert all(outbox.get("a", number) == payload for number in range(1, 401))


def test_at_the_bound_the_oldest_go_first_and_are_named(tmp_path: Path) -> None:
    before = filled(Outbox("a", tmp_path), 30, big(20_000))
    before.flush()
    before.close()
    outbox = Outbox("b", tmp_path, max_bytes=1_000_000, memory_bytes=100_000)
    filled(outbox, 100, big(20_000))
    assert outbox.size <= 1_000_000 + SEGMENT_BYTES
    assert outbox.dropped["a"] == [(1, 30)]
    [(first, last)] = outbox.dropped["b"]
    assert first == 1
    assert outbox.pending("b").ranges() == [(last + 1, 100)]
    assert outbox.overflowed == 30 + last
    assert last <= 52, "the oldest entries go, not all that lie in a file with them"
    outbox.reported("a", [(1, 30)])
    outbox.reported("nobody", [(1, 30)])
    assert outbox.dropped == {"b": [(1, last)]}


def test_without_a_folder_memory_is_the_bound() -> None:
    outbox = filled(Outbox("a", max_bytes=10_000_000, memory_bytes=100_000), 20, big(10_000))
    assert outbox.size <= 100_000
    assert outbox.dropped == {"a": [(1, 10)]}
    assert outbox.pending("a").ranges() == [(11, 20)]


def test_an_entry_larger_than_everything_is_given_up_at_once(tmp_path: Path) -> None:
    outbox = Outbox("a", tmp_path, max_bytes=100_000, memory_bytes=10_000)
    filled(outbox, 1, big(200_000))
    assert outbox.dropped == {"a": [(1, 1)]}
    assert filled(outbox, 1).get("a", 2) == PAYLOAD


def test_a_file_in_the_place_of_the_folder_leaves_memory_working(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = tmp_path / "outbox"
    place.write_text("in the way")
    outbox = filled(Outbox("a", place, memory_bytes=50_000), 10, big(10_000))
    outbox.flush()
    assert outbox.pending("a").ranges() == [(6, 10)]
    assert [outbox.get("a", number) for number in (5, 10)] == [None, big(10_000)]
    assert "readings wait in memory only" in caplog.text


def on_a_full_disk(folder: Path, clock: VirtualClock, **options: int) -> Outbox:
    """An outbox whose next file is on a device that is always full."""
    outbox = Outbox("a", folder, clock=clock, **options)
    (folder / "0000000001-a.readings").symlink_to("/dev/full")
    return outbox


def test_a_full_disk_leaves_memory_working(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = VirtualClock()
    outbox = on_a_full_disk(tmp_path, clock, memory_bytes=50_000)
    filled(outbox, 10, big(10_000))
    assert outbox.pending("a").ranges() == [(6, 10)]
    assert outbox.dropped == {"a": [(1, 5)]}
    assert sum("No space left" in record.message for record in caplog.records) == 1
    clock.forward(60)
    (tmp_path / "0000000001-a.readings").unlink(missing_ok=True)
    outbox.tick()
    filled(outbox, 20, big(10_000))
    assert outbox.pending("a").ranges() == [(6, 30)]
    assert "can write to its files again" in caplog.text
    assert all(outbox.get("a", number) == big(10_000) for number in range(6, 31))


def test_a_bad_disk_is_not_tried_at_every_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = VirtualClock()
    outbox = on_a_full_disk(tmp_path, clock, memory_bytes=50_000)
    tried: list[Path] = []
    really_open = Path.open

    def counted(self: Path, *arguments: str) -> object:
        tried.append(self)
        return really_open(self, *arguments)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", counted)
    for _ in range(300):
        (tmp_path / f"{outbox._segment_index + 1:010d}-a.readings").unlink(missing_ok=True)
        (tmp_path / f"{outbox._segment_index + 1:010d}-a.readings").symlink_to("/dev/full")
        filled(outbox, 1, big(10_000))
        clock.forward(0.1)
    assert 1 <= len(tried) <= 4  # 30 s


def test_a_disk_that_fails_later_costs_only_what_memory_cannot_hold(tmp_path: Path) -> None:
    clock = VirtualClock()
    outbox = Outbox("a", tmp_path, clock=clock, memory_bytes=50_000)
    filled(outbox, 302, big(10_000))
    in_files = outbox.pending("a").copy()
    in_files.remove(min(outbox._memory), 302)
    for index in range(1, 20):
        path = tmp_path / f"{index:010d}-a.readings"
        if not path.exists():
            path.symlink_to("/dev/full")
    last = tmp_path / sorted(path.name for path in tmp_path.glob("*.readings") if not path.is_symlink())[-1]
    last.rename(tmp_path / "moved")
    last.symlink_to("/dev/full")
    filled(outbox, 100, big(10_000))
    assert outbox._memory_bytes <= 50_000
    assert outbox.pending("a").within(1, 302)[0] == (1, in_files.last)  # they are safe where they lie
    [(first, last_dropped)] = outbox.dropped["a"]
    assert (first, last_dropped + 1) == ((in_files.last or 0) + 1, min(outbox._memory))


def test_a_folder_that_vanishes_and_cannot_be_made_again_raises_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = VirtualClock()
    folder = tmp_path / "outbox"
    filled(Outbox("a", folder, clock=clock), 5).flush()
    outbox = filled(Outbox("b", folder, clock=clock), 5)
    clock.forward(WRITE_S)
    outbox.tick()
    shutil.rmtree(folder)
    folder.write_text("in the way")
    assert outbox.release("a", [(1, 5)]) == 5
    assert outbox.release("b", [(1, 4)]) == 4
    assert outbox.get("b", 5) is None
    filled(outbox, 3)
    clock.forward(WRITE_S)
    outbox.tick()
    outbox.flush()
    assert [outbox.get("b", number) for number in (6, 8)] == [PAYLOAD, PAYLOAD]


def test_what_cannot_be_read_is_left_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "0000000007-a.readings").mkdir()
    (tmp_path / "notes.readings").write_text("not ours\n")
    outbox = filled(Outbox("b", tmp_path), 1)
    outbox.flush()
    assert files(tmp_path) == [
        "0000000007-a.readings",
        "0000000008-b.readings",
        "notes.readings",
    ]


Step = tuple[str, int, int]
STEPS = st.lists(
    st.tuples(st.sampled_from(["put", "release", "old", "flush", "restart"]), st.integers(0, 30), st.integers(1, 30)),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_nothing_is_lost_by_any_order_of_steps(steps: list[Step], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("outbox")
    clock = VirtualClock()
    outbox = Outbox("s0", folder, memory_bytes=500, clock=clock)
    waiting: dict[tuple[str, int], bytes] = {}
    for number, (step, first, count) in enumerate(steps):
        match step:
            case "put":
                for _ in range(count):
                    payload = b'{"n":%d}' % len(waiting)
                    waiting[outbox.session, outbox.last_sequence + 1] = payload
                    filled(outbox, 1, payload)
            case "release":
                for session in list(outbox.sessions):
                    outbox.release(session, [(first, first + count)])
                waiting = {k: v for k, v in waiting.items() if not first <= k[1] <= first + count}
            case "old":
                clock.forward(count)
                outbox.tick()
            case "flush":
                outbox.flush()
            case "restart":
                # Numbers that were released may come again: a file goes when all in it are released.
                for session in list(outbox.sessions):
                    outbox.release(session, [(1, 2000)] if not first else [])
                waiting = waiting if first else {}
                outbox.flush()
                outbox.close()
                outbox = Outbox(f"s{number + 1}", folder, memory_bytes=500, clock=clock)
                for session in outbox.sessions:
                    for sequence in outbox.pending(session):
                        waiting.setdefault((session, sequence), outbox.get(session, sequence) or b"")
        held = {(s, n): outbox.get(s, n) for s in outbox.sessions for n in outbox.pending(s)}
        assert held == waiting
        assert len(outbox) == len(waiting)
    assert outbox.dropped == {}


def test_disk_errors_are_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = VirtualClock()
    outbox = on_a_full_disk(tmp_path, clock)
    filled(outbox, 1)
    with caplog.at_level(logging.ERROR):
        for index in range(2, 8):
            clock.forward(30)
            outbox.tick()
            path = tmp_path / f"{index:010d}-a.readings"
            path.symlink_to("/dev/full")
    assert len(caplog.records) == 1


# -- what was there and is not ----------------------------------------------------------------------------------------


def left_by(folder: Path, session: str, number: int) -> Path:
    """The one file of a process that ended with entries in its outbox."""
    outbox = filled(Outbox(session, folder, owner="meter"), number)
    outbox.flush()
    outbox.close()
    [path] = folder.glob(f"*-{session}.readings")
    return path


def test_what_a_torn_file_has_lost_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = left_by(tmp_path, "a", 10)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], b"\0" * 30 + b"\n", *lines[4:8]]) + lines[8][:9])
    outbox = Outbox("b", tmp_path, owner="meter")
    assert outbox.pending("a").ranges() == [(1, 2), (4, 7)]
    assert outbox.dropped == {"a": [(3, 3), (8, 10)]}
    assert "4 readings of session a that waited here are lost" in caplog.text
    outbox.reported("a", [(3, 3), (8, 10)])
    outbox.flush()
    outbox.close()
    assert Outbox("c", tmp_path, owner="meter").dropped == {}


def test_a_file_that_vanished_or_is_of_somebody_else_is_named_too(tmp_path: Path) -> None:
    path = left_by(tmp_path, "a", 5)
    path.write_bytes(path.read_bytes().replace(b" meter ", b" boiler "))
    (tmp_path / "0000000009-.readings").write_bytes(path.read_bytes())
    (tmp_path / "\u00b2-abc.readings").write_bytes(b"1 {}\n")
    (tmp_path / "0000000009-f.readings").write_bytes(bytes(range(256)) * 100)
    outbox = Outbox("b", tmp_path, owner="meter")
    assert (outbox.sessions, outbox.dropped) == (["b"], {"a": [(1, 5)]})
    assert path.exists(), "what is not ours is left alone"


def test_a_copy_of_a_file_is_not_sent_twice(tmp_path: Path) -> None:
    path = left_by(tmp_path, "a", 5)
    (tmp_path / "0000000007-a.readings").write_bytes(path.read_bytes())
    (tmp_path / "0000000008-b.readings").write_bytes(path.read_bytes())
    outbox = Outbox("c", tmp_path, owner="meter")
    assert len(outbox) == 5
    outbox.release("a", [(1, 5)])
    assert len(outbox) == 0
    assert outbox.dropped == {}


def test_a_reading_of_the_first_version_must_say_itself_which_one_it_is(tmp_path: Path) -> None:
    lines = [b'%d {"session":"a","sequence":%d,"values":{}}\n' % pair for pair in ((1, 1), (2, 3), (3, 3))]
    (tmp_path / "0000000001-a.readings").write_bytes(b"".join(lines))
    (tmp_path / "0000000002-b.readings").write_bytes(b"".join(lines))
    outbox = Outbox("c", tmp_path)
    assert outbox.pending("a").ranges() == [(1, 1), (3, 3)]
    assert outbox.sessions == ["a", "c"]


def test_a_killed_process_loses_what_was_not_written_and_its_successor_says_so(tmp_path: Path) -> None:
    clock = VirtualClock()
    outbox = filled(Outbox("a", tmp_path, clock=clock), 3)
    clock.forward(WRITE_S)
    filled(outbox, 4)
    outbox.tick()  # 1 to 3 are written, and that 1 to 7 wait
    outbox.release("a", [(2, 2)])
    filled(outbox, 2)
    outbox.close()  # killed
    after = Outbox("b", tmp_path)
    assert after.pending("a").ranges() == [(1, 3)]
    assert after.dropped == {"a": [(4, 7)]}


def test_two_processes_do_not_share_a_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = VirtualClock()
    left_by(tmp_path, "a", 5)
    first = Outbox("b", tmp_path, owner="meter")
    second = filled(Outbox("c", tmp_path, owner="meter", clock=clock), 3)
    assert "is used by another process" in second.fault
    assert (len(first), second.sessions) == (5, ["c"])
    clock.forward(60)
    second.tick()
    assert len(files(tmp_path)) == 1
    first.release("a", [(1, 5)])
    first.close()
    clock.forward(60)
    second.tick()
    second.take_over()
    assert not second.fault
    assert len(files(tmp_path)) == 1
    assert second.flush()
    assert caplog.text.count("is used by another process") == 1


def test_a_flush_that_cannot_save_says_which_numbers_are_in_memory(tmp_path: Path) -> None:
    clock = VirtualClock()
    outbox = on_a_full_disk(tmp_path, clock)
    filled(outbox, 5)
    outbox.release("a", [(2, 3)])
    assert not outbox.flush()
    assert outbox.in_memory == [(1, 1), (4, 5)]
    assert "No space left" in outbox.fault


@pytest.mark.parametrize("maximum", [65536, 2**18])
def test_at_any_bound_only_the_oldest_entries_go(tmp_path: Path, maximum: int) -> None:
    clock = VirtualClock()
    outbox = Outbox("a", tmp_path, max_bytes=maximum, clock=clock)
    payload = big(120)
    room = maximum // 140
    held = []
    for number in range(3 * room):
        clock.forward(0.1)
        filled(outbox, 1, payload)
        outbox.tick()
        if number > 2 * room:
            held.append(len(outbox))
    assert min(held) >= 0.85 * room
    assert len(outbox.dropped["a"]) == 1
    on_disk = sum(path.stat().st_size for path in tmp_path.glob("*.readings"))
    assert on_disk <= 1.2 * maximum


async def test_beside_the_loop_nothing_is_lost_and_the_order_holds(tmp_path: Path) -> None:
    clock = VirtualClock()
    outbox = Outbox("a", tmp_path, memory_bytes=50_000, on_disk=submit, clock=clock)
    for _ in range(200):
        filled(outbox, 1, big(5_000))
        clock.forward(0.5)
        outbox.tick()
        await asyncio.sleep(0)
    outbox.release("a", [(1, 100)])
    assert outbox.flush()
    outbox.close()
    await on_disk(lambda: None)
    after = Outbox("b", tmp_path)
    assert after.pending("a").ranges()[-1][1] == 200
    assert not after.pending("a").gaps(101, 200), "what was confirmed may lie there still, and is sent once more"
    assert after.dropped == {}
    assert after.get("a", 150) == big(5_000)
