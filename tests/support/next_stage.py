"""A next stage as there is one: it takes the ten oldest tokens, and tries again for ever."""

import hashlib
from dataclasses import dataclass, field

import httpx

from tests.support.processes import Site

AT_ONCE = 10
OLDEST = """SELECT token_id, image_url FROM tokens_s0 WHERE status = 'uploading'
            ORDER BY created_at, token_id LIMIT %s"""


@dataclass
class NextStage:
    """Fetches images. A token whose image it cannot fetch stays `uploading`, before all later ones:
    ten of these block the rest."""

    site: Site
    fetched: dict[int, str] = field(default_factory=dict)  # the SHA-256 in hex digits by token
    failures: list[str] = field(default_factory=list)

    def work(self, rounds: int) -> None:
        """Take ten tokens in each round, for `rounds` rounds or until none is left."""
        with httpx.Client(trust_env=False) as client:
            for _ in range(rounds):
                tokens = self.site.query(OLDEST, AT_ONCE)
                for token_id, url in tokens:
                    self._fetch(client, token_id, url)
                if not tokens:
                    return

    def _fetch(self, client: httpx.Client, token_id: int, url: str) -> None:
        try:
            image = client.get(url).raise_for_status().content
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            self.failures.append(f"token {token_id}: {error}")
            return
        self.fetched[token_id] = hashlib.sha256(image).hexdigest()
        self.site.query("UPDATE tokens_s0 SET status = 'ready' WHERE token_id = %s", token_id)
