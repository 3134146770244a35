"""The values and texts of a token's own page, for its template."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from imagegen.config import url_below
from imagegen.database import Connection, Tables, one_round
from imagegen.operator import holds, retry, token_commands, token_facts, tokens
from imagegen.operator.token_commands import Command
from imagegen.operator.tokens import Generation, TokenHistory
from imagegen.text import plural
from imagegen.web.formatting import duration, why_closed, why_failed
from imagegen.web.image_sources import origin, source
from imagegen.web.snapshot import SQL, STATEMENT_TIMEOUT_MILLISECONDS, Picture

S3 = "s3://"
# A prompt that is too long to be sent may have any length.
FACT_CHARACTERS = 5000


@dataclass(frozen=True)
class TokenStory:
    """All that is known of a token, and the commands that can change it."""

    token_id: int
    now: float  # Unix time, by the database's clock
    history: TokenHistory
    commands: list[Command]
    why_no_retry: str | None


@dataclass(frozen=True)
class Image:
    """The image of a generation: its URL if the page can show it, else why it cannot."""

    url: str | None
    note: str | None


@dataclass(frozen=True)
class TokenPage:
    """All that a token's page shows."""

    story: TokenStory
    copies: bool  # kept copies of images are served
    base: str | None  # the beginning of the URLs of copies

    @property
    def token_id(self) -> int:
        return self.story.token_id

    @property
    def title(self) -> str:
        token = self.story.history.token
        state = token.state or "without a status" if token else "not in tokens_s0 any more"
        return f"token {self.token_id}: {state}"

    @property
    def facts(self) -> token_facts.Facts:
        token = self.story.history.token
        if token is None:
            return {}
        age = None if token.age_seconds is None else duration(token.age_seconds)
        return token_facts.of_token(token, age)

    @property
    def generations(self) -> list[tuple[Generation, token_facts.Facts, Image | None]]:
        """The generations, the newest first, each with its facts and its image."""
        newest_first = reversed(self.story.history.generations)
        return [(each, token_facts.of_generation(each), self.image(each)) for each in newest_first]

    @property
    def cost(self) -> str:
        """The known cost of the shown generations, and the number of their predictions."""
        generations = self.story.history.generations
        predictions = sum(each.prediction_id is not None for each in generations)
        costs = [Decimal(each.cost) for each in generations if each.cost is not None]
        dollars = f"{sum(costs, Decimal(0)):f} USD for " if costs else ""
        return dollars + plural(predictions, "prediction")

    def image(self, generation: Generation) -> Image | None:
        """Return the image that a generation made; None if it made none."""
        if generation.state != "succeeded" or generation.image_url is None:
            return None
        path = generation.image_path
        url = source(self._picture(generation), copies=self.copies)
        if url is None and path and self.base and origin(below := url_below(self.base, path)):
            url = below
        if path and path.startswith(S3):
            note = f"A copy is kept in S3, as {path}: the page does not read it there."
            return Image(url, None if url else note)
        lost = "Replicate deletes its own after an hour; the page has no copy to show."
        return Image(url, None if url else f"This image is gone: {lost}")

    @property
    def images(self) -> list[str]:
        """The URLs of all images that are shown."""
        return [image.url for _, _, image in self.generations if image and image.url]

    def _picture(self, generation: Generation) -> Picture:
        closed_at = _epoch(generation.closed_at)
        return Picture(
            generation_id=generation.id,
            token_id=self.token_id,
            prompt=generation.prompt or "",
            fallback=generation.fallback,
            url=generation.image_url or "",
            path=generation.image_path,
            handed_on_url=generation.handed_on_url,
            closed_at=closed_at,
            age_seconds=self.story.now - closed_at,
        )


def words(generation: Generation) -> str | None:
    """Return in words why a generation brought no image; None if it did, or is at work."""
    if generation.state not in {"failed", "refused"} or generation.error_kind is None:
        return None
    if generation.state == "failed":
        return why_failed(generation.error_kind, refused=False)
    return why_closed(generation.error_kind)


def read_story(
    connection: Connection, tables: Tables, token_id: int, base: str | None
) -> TokenStory | None:
    """Return what is known of a token; None if nothing is. Raises one of NO_ANSWER."""
    with one_round(connection, STATEMENT_TIMEOUT_MILLISECONDS):
        history_of = tokens.ask_history(connection, tables, token_id)
        seen = retry.ask_snapshots(connection, tables, [token_id], base)
        states = holds.ask_states(connection, tables, [token_id])
        clock = connection.execute(SQL["now"])
    history, snapshot = history_of(), seen.fetchone()
    if history.token is None and not history.generations:
        return None
    ((now,),) = clock
    return TokenStory(
        token_id,
        now,
        history,
        token_commands.commands(snapshot, states.fetchone()) if snapshot else [],
        token_commands.why_no_retry(snapshot) if snapshot else None,
    )


def _epoch(iso: str | None) -> float:
    """Return Unix time; 0 if the text is not a time."""
    try:
        return datetime.fromisoformat(iso or "").timestamp()
    except ValueError:
        return 0.0
