"""What the exporter process answers: the status page, /metrics, /healthz and /readyz."""

from imagegen.web.exporter import listen, serve
from imagegen.web.formatting import text
from imagegen.web.rendering import STYLE, STYLE_HASH, load_templates

__all__ = ["STYLE", "STYLE_HASH", "listen", "load_templates", "serve", "text"]
