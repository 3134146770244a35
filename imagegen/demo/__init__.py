"""`imagegen demo`: the real program on a real PostgreSQL, with the sandbox as Replicate."""

from imagegen.demo.contact_sheet import contact_sheet, remark
from imagegen.demo.demo import Demo, DemoError, Progress, Result, fetch_image
from imagegen.demo.postgres_programs import EmbeddedPostgresError
from imagegen.demo.supervise_process import LIVE_SETTINGS, live_settings
from imagegen.demo.tokens import DEMO_TOKENS

__all__ = [
    "DEMO_TOKENS",
    "LIVE_SETTINGS",
    "Demo",
    "DemoError",
    "EmbeddedPostgresError",
    "Progress",
    "Result",
    "contact_sheet",
    "fetch_image",
    "live_settings",
    "remark",
]
