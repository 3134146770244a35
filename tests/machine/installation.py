"""imagegen, installed on a machine with the commands of deploy/README.md."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from tests.machine import guide
from tests.machine.debian import Debian
from tests.support.judge import judge
from tests.support.processes import Site, wait_for
from tests.support.sandbox import DEFAULT_TOKEN, Sandbox

TOP = Path(__file__).parents[2]
CHECKOUT = ("imagegen", "db", "deploy", "pyproject.toml", "setup.cfg", "README.md")
USER = "admin"  # may use sudo
PASSWORD = "secret"
DATABASE_URL = f"postgresql://imagegen:{PASSWORD}@localhost:5432/imagegen"
EDITOR = "/usr/local/bin/fill-in"
# What sudoedit starts in place of an editor. Requests that were cut off settle within seconds.
FILL_IN = """#!/bin/sh
exec sed -i -e 's|^DATABASE_URL=.*|DATABASE_URL={database_url}|' \\
  -e 's|^REPLICATE_API_TOKEN=.*|REPLICATE_API_TOKEN={token}|' \\
  -e 's|^#REPLICATE_BASE_URL=.*|REPLICATE_BASE_URL={provider_url}|' \\
  -e 's|^#IMAGEGEN_KEEP_IMAGES=.*|IMAGEGEN_KEEP_IMAGES=/var/lib/imagegen|' \\
  -e '$aIMAGEGEN_TEST_SETTLE_SECONDS=3' "$@"
"""


class Installation:
    """A machine with imagegen, its database, and the sandbox that it takes for Replicate."""

    def __init__(self, debian: Debian, sandbox: Sandbox, folder: Path) -> None:
        self.debian = debian
        self.sandbox = sandbox
        self.site = Site(DATABASE_URL, sandbox.url, folder)
        self.minted = 0

    def install(self) -> None:
        """As deploy/README.md says, by a user who may use sudo."""
        self.debian.shell(f"useradd --create-home {USER}")
        sudoers = self.debian.root / f"etc/sudoers.d/{USER}"
        sudoers.write_text(f"{USER} ALL=(ALL) NOPASSWD: ALL\n")
        editor = self.debian.root / EDITOR.removeprefix("/")
        editor.write_text(
            FILL_IN.format(
                database_url=DATABASE_URL, token=DEFAULT_TOKEN, provider_url=self.sandbox.url
            )
        )
        editor.chmod(0o755)
        self.check_out("imagegen")
        for line in (*guide.INSTALL, *guide.PROMETHEUS):
            self.as_user("imagegen", line)

    def check_out(self, name: str) -> Path:
        """Put a checkout into the user's home, and return its folder as this host sees it."""
        folder = self.debian.root / "home" / USER / name
        for part in CHECKOUT:
            copy(TOP / part, folder / part)
        self.debian.shell(f"chown -R {USER}: /home/{USER}/{name}")
        return folder

    def as_user(self, checkout: str, line: str) -> str:
        """Run a line of shell in the top folder of a checkout. It must succeed."""
        home = f"/home/{USER}"
        return self.debian.run(
            "runuser", "-u", USER, "--", "env", f"HOME={home}", f"EDITOR={EDITOR}",
            "sh", "-c", f"cd {home}/{checkout} && {line}",
            answers=f"{PASSWORD}\n{PASSWORD}\n",
        )  # fmt: skip

    def unit(self, name: str) -> str:
        """Return a property of the unit."""
        return self.debian.run("systemctl", "show", "--value", "-p", name, "imagegen").strip()

    def main_pid(self) -> int:
        return int(self.unit("MainPID"))

    def journal(self, *options: str) -> str:
        """Return what the service itself has logged; without systemd's words about it."""
        command = ["journalctl", "--quiet", *options, "_SYSTEMD_UNIT=imagegen.service"]
        return self.debian.attempt(*command).stdout  # it fails where it finds nothing

    def signal(self, number: str) -> None:
        """Send a signal to the supervisor alone."""
        self.debian.run("systemctl", "kill", "--kill-whom=main", f"--signal={number}", "imagegen")

    def wait_for_restart(self, former_pid: int, seconds: float) -> float:
        """Wait until systemd has another supervisor, and its workers work. Return when systemd
        started it, on the host's monotonic clock.
        """

        def is_back() -> bool:
            return self.unit("ActiveState") == "active" and self.main_pid() not in {0, former_pid}

        wait_for("another supervisor", is_back, seconds)
        return int(self.unit("ExecMainStartTimestampMonotonic")) / 1e6

    def mint(self, tokens: int) -> list[int]:
        """So many more, each with a prompt that no other token has. Return their ids."""
        first = self.minted + 1
        ids = range(first, first + tokens)
        self.minted += tokens
        self.site.mint(*(f"picture number {n} of the machine" for n in ids), first_token_id=first)
        return list(ids)

    def mint_into_flight(self, tokens: int, seconds: float) -> list[int]:
        """Mint tokens, and wait until Replicate works on each, for `seconds`."""
        self.sandbox.latency_seconds = seconds
        before = len(self.sandbox.predictions)
        ids = self.mint(tokens)
        wait_for("predictions", lambda: len(self.sandbox.predictions) == before + tokens)
        self.sandbox.latency_seconds = 0.2
        return ids

    def images(self, ids: Iterable[int]) -> int:
        """Wait until all tokens have ended. Return how many of these have an image.

        None was paid for twice, and the tables agree with what the sandbox was asked for.
        """
        self.site.wait_until_reachable()
        self.site.wait_until_done()
        journal = self.debian.shell("journalctl --quiet --output=cat --unit='imagegen*'")
        (self.site.folder / "log-journal").write_text(journal)
        judge(self.site, self.sandbox)
        found = self.site.query(
            """SELECT count(*) FROM tokens_s0
               WHERE token_id = ANY(%s) AND status = 'uploading' AND image_url IS NOT NULL""",
            list(ids),
        )
        return int(found[0][0])


def copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
