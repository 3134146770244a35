"""Where counts are kept: what killed supervisors left goes, what lives stays."""

import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.mmap_dict import MmapedDict, mmap_key

from imagegen.metrics import files
from tests.support.processes import files_end_at

SUPERVISOR = """
import time
from imagegen.metrics import files
with files.shared(workers=2) as folder:
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def supervisor(temporary: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another one, which keeps its counts in the same place."""
    with subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR],
        stdout=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": str(temporary)},
    ) as started:  # fmt: skip
        try:
            yield started
        finally:
            started.kill()


def folder_of(supervisor: "subprocess.Popen[str]") -> Path:
    assert supervisor.stdout is not None
    return Path(supervisor.stdout.readline().strip())


def left_behind(temporary: Path, name: str) -> Path:
    folder = temporary / f"imagegen-metrics-{name}"
    folder.mkdir()
    (folder / "lock").touch()
    (folder / "counter_worker-0.db").write_bytes(b"")
    return folder


def test_the_folder_of_a_running_supervisor_stays(supervisor: "subprocess.Popen[str]") -> None:
    used = folder_of(supervisor)
    files.remove_stale()

    assert used.exists()


def test_the_folder_of_a_killed_supervisor_is_removed(supervisor: "subprocess.Popen[str]") -> None:
    left = folder_of(supervisor)
    supervisor.kill()
    supervisor.wait()
    files.remove_stale()

    assert not left.exists()


def test_a_folder_is_abandoned_though_a_process_has_the_pid_of_its_supervisor(
    temporary: Path,
) -> None:
    left = left_behind(temporary, f"{os.getpid()}-abc")
    files.remove_stale()

    assert not left.exists()


def test_a_folder_stays_as_long_as_anybody_holds_its_lock(temporary: Path) -> None:
    used = left_behind(temporary, "1-of-another-container")
    with (used / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        files.remove_stale()
        assert used.exists()

    files.remove_stale()
    assert not used.exists()


def test_a_folder_that_is_not_ours_stays(temporary: Path) -> None:
    other = temporary / "metrics-of-somebody"
    other.mkdir()
    files.remove_stale()

    assert other.exists()


def test_removing_a_folder_that_is_gone_is_no_error(temporary: Path) -> None:
    files.remove(temporary / "imagegen-metrics-1-gone")


def test_a_scrape_passes_over_what_a_process_has_just_opened_or_taken_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(files.FOLDER_VARIABLE, str(tmp_path))
    counts = MmapedDict(str(tmp_path / "counter_worker-0.db"))  # type: ignore[no-untyped-call]
    counts.write_value(mmap_key("images", "images_total", [], [], "Images."), 7.0, 0.0)  # type: ignore[no-untyped-call]
    counts.close()  # type: ignore[no-untyped-call]
    (tmp_path / "gauge_livesum_worker-0.db").touch()
    (tmp_path / "gauge_livesum_worker-1.db").symlink_to(tmp_path / "gone")

    (metric,) = files.FilesCollector().collect()

    assert [sample.value for sample in metric.samples] == [7.0]


def count_much(file: Path) -> None:
    """More than a file has room for at first."""
    counts = files.BackedDict(str(file))
    try:
        for each in range(2000):
            counts.write_value(mmap_key("images", f"images_{each}", [], [], "Images."), 7.0, 0.0)  # type: ignore[no-untyped-call]
    finally:
        counts.close()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("room", [4096, files.FILE_BYTES])
def test_where_the_disk_is_full_a_count_is_an_error_and_the_kernel_ends_no_process(
    tmp_path: Path, room: int
) -> None:
    with files_end_at(room), pytest.raises(OSError, match="counter_worker-0"):
        count_much(tmp_path / "counter_worker-0.db")


def test_counts_that_outgrow_their_first_room_are_kept(tmp_path: Path) -> None:
    count_much(tmp_path / "counter_worker-0.db")

    kept = MmapedDict.read_all_values_from_file(str(tmp_path / "counter_worker-0.db"))  # type: ignore[no-untyped-call]
    assert [value for _, value, _, _ in kept] == [7.0] * 2000
