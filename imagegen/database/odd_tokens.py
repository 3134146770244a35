"""Tokens that imagegen cannot work on because of odd values in their rows, counted and named."""

from dataclasses import dataclass

from imagegen.text import plural

# The kind of tokens whose claim the database refuses, or whose author is missing; `generations` has
# the reason. All other kinds show in the tokens' own rows.
SET_ASIDE = "set_aside"
# The reason and the fix, by kind.
REASONS = {
    "no_status": (
        "status is NULL",
        "UPDATE tokens_s0 SET status = 'detected' WHERE token_id = …; or another status",
    ),
    "other_case": (
        "status differs in case from what imagegen uses",
        "write each status of tokens_s0 in one case",
    ),
    "no_number": (
        "token_id is NULL or no whole number of 64 bits",
        "give it one, or change its status",
    ),
    "not_before": (
        "generate_after is more than a day ahead",
        "UPDATE tokens_s0 SET generate_after = NULL WHERE token_id = …; or wait until then",
    ),
}
KINDS = (*REASONS, SET_ASIDE)
UNBLOCK = (
    "correct the row, its author, or the trigger or CHECK that refuses it; imagegen tries again"
)


@dataclass(frozen=True)
class OddTokens:
    """Tokens of one kind that imagegen cannot work on, for one reason."""

    kind: str
    reason: str
    count: int  # not of more than 1000
    token_ids: list[str]  # some of them, as text; "NULL" where it has none

    @property
    def fix(self) -> str:
        return REASONS[self.kind][1] if self.kind in REASONS else UNBLOCK

    def __str__(self) -> str:
        more = ", …" if self.count > len(self.token_ids) else ""
        is_left = "is" if self.count == 1 else "are"
        return (
            f"{plural(self.count, 'token')} {is_left} left alone (token_id"
            f" {', '.join(self.token_ids)}{more}): {self.reason}"
        )
