"""The proxy by which this host reaches Replicate: HTTPS_PROXY and NO_PROXY."""

from urllib.request import getproxies, proxy_bypass

import httpcore
import httpx

from imagegen.errors import CannotStartError


def https_proxy() -> httpx.Proxy | None:
    """Return the proxy that HTTPS_PROXY or https_proxy names. Raises CannotStartError."""
    if not (address := getproxies().get("https")):
        return None
    try:
        proxy = httpx.Proxy(address if "://" in address else f"http://{address}")
    except (httpx.InvalidURL, ValueError):
        proxy = None
    # The address may have a password in it, and is not repeated.
    if proxy is None or proxy.url.scheme not in {"http", "https"} or not proxy.url.host:
        said = "HTTPS_PROXY names no proxy that imagegen can use"
        raise CannotStartError(said, "write it as http://host:port, or unset it")
    return proxy


def is_proxied(url: httpx.URL) -> bool:
    """Return whether requests for this URL go through the proxy, if there is one."""
    return url.scheme == "https" and not proxy_bypass(url.host)


class ByHost(httpx.BaseTransport):
    """Sends a request through the proxy or directly, by the host of its URL."""

    def __init__(self, direct: httpx.BaseTransport, proxied: httpx.BaseTransport) -> None:
        self._direct = direct
        self._proxied = proxied

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        transport = self._proxied if is_proxied(request.url) else self._direct
        return transport.handle_request(request)

    def close(self) -> None:
        self._direct.close()
        self._proxied.close()


class ProxyPool(httpcore.HTTPProxy):
    """Retries to connect as often as other pools; httpcore's own does not."""

    def create_connection(self, origin: httpcore.Origin) -> httpcore.ConnectionInterface:
        connection = super().create_connection(origin)
        connection._connection._retries = self._retries  # type: ignore[attr-defined]
        return connection
