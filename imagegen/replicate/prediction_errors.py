"""The kind of a failed prediction: a pure function of the text of its error.

Such an error is one line of text from Replicate or from the model: any exception of its code, or
the answer of the provider behind it.
"""

import re

from imagegen.failures import Kind
from imagegen.replicate import named_inputs
from imagegen.replicate.content_policy import is_refused_content, without_prompt

# An error of the account's webhook.
ACCOUNT = re.compile(r"\bE4875\b")
# Replicate's own codes: E001 and E002 are about its account at a provider, E003 and E004 mean busy.
BUSY_CODE = re.compile(r"\bE00[1-4]\b")
STUBBORN_CODE = re.compile(r"\b(?:E9828|E1001)\b")
CODE = re.compile(r"\bE\d{3,4}\b|\(code:\s*\w+\)")
# The model or the provider behind it is overloaded or does not answer. A status such as 503 counts
# only with a word such as "status" before it, because a number alone may be anything.
BUSY = re.compile(
    r"\boverload|ModelRateLimitError|\btoo many requests\b|\brate.?limit|\bthrottl|\bquota\b"
    r"|\bhigh (?:demand|load|traffic)\b|\bcapacity\b|resource.?exhausted|\bbusy\b"
    r"|\bqueue\b.{0,20}\b(?:limit|full)\b|\blimit reached\b|\btry again later\b"
    r"|\A\s*<(?:!doctype|html|head)|\bbad gateway\b|\bgateway time.?out\b|\bunavailable\b"
    r"|\bunreachable\b|\btim(?:ed|ing) out\b|\btime.?out\b|\bTimeout(?:Error|Exception)?\b"
    r"|[a-z]Timeout\b|\bdeadline.?exceeded\b|\b(?:Connection|Connect|Read|RemoteProtocol)Error\b"
    r"|\bconnection (?:was |has been )?(?:refused|reset|error|aborted|closed|broken)\b"
    # The key or the credit of Replicate's own account at a provider, as in E001 and E002.
    r"|\bapi.?key\b|\bbilling\b|\binsufficient (?:credit|balance|funds|quota)"
    r"|\bmax retries exceeded\b|\bname resolution\b|\bserver disconnected\b"
    r"|(?<![a-z])(?:http|status|code|error)\b[\s:=(]{0,3}(?:code\b[\s:=]{0,3})?"
    r"(?:429|50[234]|52\d)\b"
    r"|\b(?:429|50[234]|52\d) (?:client|server) error\b",
    re.IGNORECASE,
)
TRANSIENT = re.compile(
    r"unknown reason|internal (?:server )?error|uploa?d(?:ing)? output|interrupted|already exists",
    re.IGNORECASE,
)
OUT_OF_MEMORY = re.compile(r"out of memory|exitcode -9", re.IGNORECASE)
# The model's code failed, or its output does not have the promised form.
CRASH = re.compile(
    r"\b(?!ModelError)[A-Z]\w*(?:Error|Exception)\b|\bTraceback\b|\bexitcode\b|(?i:\bvalidation\b"
    r"|\bis required\b|\bmust be\b|\binvalid\b|\bno images?\b|\bsegmentation fault\b|\bcuda\b)"
)


def meaning(
    error: str, *, prompt: str | None = None, policy_pattern: re.Pattern[str] | None = None
) -> Kind:
    """Return why a prediction failed.

    Refused content and a prompt that is named as wrong are certainly the token's own. Messages
    about content may say "try again" as well, so they are looked for first.
    """
    if is_refused_content(error, prompt=prompt, pattern=policy_pattern):
        return Kind.CONTENT_POLICY
    error = without_prompt(error, prompt)
    if ACCOUNT.search(error):
        return Kind.MISCONFIGURED
    if BUSY_CODE.search(error):
        return Kind.OVERLOADED
    if STUBBORN_CODE.search(error):
        return Kind.STUBBORN
    if CODE.search(error):
        return Kind.TRANSIENT
    if OUT_OF_MEMORY.search(error):  # before BUSY: its text may name the GPU's capacity
        return Kind.STUBBORN
    if BUSY.search(error):
        return Kind.OVERLOADED
    if TRANSIENT.search(error):
        return Kind.TRANSIENT
    if named_inputs.is_wrong_prompt(error):
        return Kind.PERMANENT
    if named_inputs.wrong_setting(error):
        return Kind.MISCONFIGURED
    return Kind.STUBBORN if CRASH.search(error) else Kind.UNKNOWN
