"""The status page on a small phone, in a real browser."""

import shutil
import subprocess
from html import escape
from pathlib import Path

import pytest

from imagegen.page.data import Bucket
from imagegen.page.places import Place
from tests.unit.page_values import FIRST, buckets, failure, snapshot, view, whole_page

BROWSER = shutil.which("chromium")
PHONE_PIXELS = 320
# A frame, because a browser's window is never so narrow; its page measures itself.
MEASURED = """<title></title><iframe width="{width}" height="800" srcdoc="{page}"
onload="document.title = contentDocument.documentElement.scrollWidth"></iframe>"""


def width_of(page: str, folder: Path) -> int:
    """How many pixels the page takes from left to right on the phone."""
    file = folder / "page.html"
    file.write_text(MEASURED.format(width=PHONE_PIXELS, page=escape(page)), encoding="utf-8")
    browser = [str(BROWSER), "--headless", "--no-sandbox", "--hide-scrollbars", "--dump-dom"]
    profile = f"--user-data-dir={folder / 'profile'}"
    done = subprocess.run(
        [*browser, profile, file.as_uri()], capture_output=True, text=True, check=True, timeout=60
    )
    return int(done.stdout.partition("<title>")[2].partition("</title>")[0])


@pytest.mark.skipif(BROWSER is None, reason="needs chromium, from Debian's package")
def test_on_a_small_phone_the_page_does_not_scroll_sideways(tmp_path: Path) -> None:
    busy = Place("worker-63", True, ("throttled",), busy=64, restarts={"SIGKILL": 12, "hung": 1})
    gone = Place("worker-2", False, busy=None)
    bucket = Bucket(FIRST, images=31, failed=6, p50_seconds=2.0, p95_seconds=3.0)
    now = snapshot(total=bucket, buckets=buckets(b3=bucket), failed=1, failures=[failure()])

    assert width_of(whole_page(view(now, places=[busy, gone], slots=64)), tmp_path) == PHONE_PIXELS
