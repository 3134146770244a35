"""`imagegen demo`: a real PostgreSQL, the real main job, the sandbox, and some mints."""

from imagegen.demo.contact_sheet import contact_sheet, story
from imagegen.demo.demo import Demo, DemoError, Ending, Progress, fetch_image
from imagegen.demo.postgres_programs import EmbeddedPostgresError
from imagegen.demo.supervise_process import LIVE_SETTINGS, live_settings
from imagegen.demo.tokens import CAST

__all__ = [
    "CAST",
    "LIVE_SETTINGS",
    "Demo",
    "DemoError",
    "EmbeddedPostgresError",
    "Ending",
    "Progress",
    "contact_sheet",
    "fetch_image",
    "live_settings",
    "story",
]
