"""A name server for the programs of a test, which may keep silent."""

from tests.support.processes import Site

# Python imports it at the start of every program.
PATCH = """
import ipaddress, pathlib, socket, time
silent = pathlib.Path(__file__).with_name("silent")
ask = socket.getaddrinfo

def getaddrinfo(host, *arguments, **options):
    try:
        ipaddress.ip_address(host)
    except ValueError:
        while silent.exists():
            time.sleep(0.1)
    return ask(host, *arguments, **options)

socket.getaddrinfo = getaddrinfo
"""


class NameServer:
    """Answers every program that a site starts from now on, which finds all servers by name."""

    def __init__(self, site: Site) -> None:
        folder = site.folder / "name-server"
        folder.mkdir(parents=True)
        (folder / "sitecustomize.py").write_text(PATCH)
        self._silent = folder / "silent"
        site.settings["PYTHONPATH"] = str(folder)
        site.database_url = site.database_url.replace("127.0.0.1", "localhost")
        site.provider_url = site.provider_url.replace("127.0.0.1", "localhost")

    def keep_silent(self) -> None:
        self._silent.touch()

    def answer(self) -> None:
        self._silent.unlink()
