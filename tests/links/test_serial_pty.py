"""The far end of a serial line that is not there."""

from pathlib import Path

import pytest

from links.serial_pty import PseudoTerminal


async def test_a_link_that_was_left_behind_is_taken_over(tmp_path: Path) -> None:
    link = tmp_path / "board"
    link.symlink_to("/dev/pts/99999")
    async with PseudoTerminal(link) as far:
        assert str(link.readlink()) == far.device
        async with PseudoTerminal(link) as later:
            assert str(link.readlink()) == later.device
            far.close()
            assert link.is_symlink(), "the link is somebody else's by now"
    assert not link.is_symlink()


@pytest.mark.parametrize("kind", ["file", "link to a device"])
async def test_what_is_somebody_elses_is_left_alone(tmp_path: Path, kind: str) -> None:
    link = tmp_path / "board"
    if kind == "file":
        link.write_text("mine")
    else:
        link.symlink_to("/dev/null")
    with pytest.raises(FileExistsError):
        PseudoTerminal(link)
    assert link.exists()


async def test_what_nobody_reads_is_lost_and_counted() -> None:
    async with PseudoTerminal() as far:
        far.write(bytes(100_000))
        assert 50_000 < far.lost_bytes < 100_000
        far.close()
        far.write(b"x")
        assert await far.read() == b""
