"""What the exporter process answers: the status page, /metrics, /healthz and /readyz."""

from imagegen.web.document import STYLE, STYLE_HASH
from imagegen.web.exporter import listen, serve
from imagegen.web.formatting import text

__all__ = ["STYLE", "STYLE_HASH", "listen", "serve", "text"]
