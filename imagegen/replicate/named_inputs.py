"""Finds the model's input that an error names as wrong: the prompt, or a setting.

Only the prompt is the token's own. Every other input is a setting, the same for all tokens.
"""

import re

# Replicate, HTTP 422: "- input.width: Must be …" and "- input: prompt is required", a line each.
LINE = re.compile(r"^[ \t]*- input(?:\.(?P<name>\w+)[\w.\[\]]*)?: *(?P<text>.*)$", re.MULTILINE)
IN_TEXT = re.compile(
    r"(?:additional property )?[\"'`]?(\w+)[\"'`]? is (?:required|not allowed)", re.IGNORECASE
)
# A model's own server (cog): {"loc": ["body", "input", "width"], "msg": …}.
LOCATION = re.compile(r'"loc": \["body", "input", "(\w+)"')
PROMPT_NAME = re.compile(r"(?:text_|input_|positive_)?prompts?(?:_text)?", re.IGNORECASE)

# The prompt in a sentence. Inputs such as negative_prompt and prompt_strength are settings.
PROMPT = (
    r"(?<!negative )\b(?:prompts?|input text|text input)\b(?!_)"
    r"(?! (?:strength|upsampl|enhanc|optimi|expansion|extend|magic|encoder|template|cache"
    r"|guidance))"
)
# Words that call a prompt wrong. The token fails for them at once, so they must be close to the
# prompt's name.
LENGTH = (
    r"\btoo (?:long|short|many|large|big)\b|\bexceed|\b(?:longer|shorter|more|fewer) than\b"
    r"|\bmax(?:imum)? (?:\w+ ){0,2}(?:length|size|characters|tokens)\b|\bat (?:most|least) \d"
    r"|\b(?:must|should|can ?not|can't|may not|has to|needs to) (?:not )?(?:be (?:empty|blank|non"
    r"|in|at|less|shorter|longer|under|between|null|none)|contain|have|exceed)"
)
STATE = r"(?:missing|required|empty|blank|invalid|malformed|not valid|(?:un|not )supported)"
WRONG_PROMPT = re.compile(
    rf"{PROMPT}.{{0,60}}?(?:{LENGTH})|{PROMPT}[\"'`]?:? (?:\w+ )?(?:is |was |are )?{STATE}\b"
    rf"|\b{STATE} (?:\w+ )?{PROMPT}|\bmax(?:imum)? {PROMPT} length\b|\btoo long (?:a )?{PROMPT}",
    re.IGNORECASE,
)
# A setting's name: a word that models use for one, or several with underscores between them.
NAME = (
    r"[\"'`]?(?:\binput\.)?\b(?P<{0}>[a-z][a-z0-9]*(?:_[a-z0-9]+)+|width|height|size|resolution|seed"
    r"|steps|scheduler|sampler|guidance|strength|scale|style|quality|format|megapixels|background"
    r"|moderation|mode|image size|aspect ratio|output (?:format|quality)|negative prompt"
    r"|number of (?:images|outputs|inference steps|steps)|n)\b[\"'`]?"
)
WRONG_SETTING = re.compile(
    NAME.format("before")
    + r"(?: (?:value|parameter|input|argument|option))?:?,? (?:[^.\s]{1,40} ){0,2}?"
    r"(?:(?:must|should|has to|have to|needs to) (?:not )?(?:be|have|match|contain)\b|can ?not be\b"
    r"|(?:is|are) (?:not|invalid|unsupported|required|too|only|out)\b|not (?:in|supported|valid)\b"
    r"|exceeds\b|ensure this value\b|field required\b)"
    r"|\b(?:invalid|unsupported|unknown|illegal|missing|unrecogni[sz]ed)"
    r"(?: (?:value|values|input|parameter|argument|option|choice|required))*(?: for| of)?:? "
    + NAME.format("after"),
    re.IGNORECASE,
)
# Errors in which a name is one of the model's own variables, or a field of its output.
OF_THE_MODEL = re.compile(
    r"\b(?:Type|Key|Attribute|Index|Name|Import|Runtime|UnboundLocal)Error\b"
    r"|\bfor \w*(?:Output|Response|Result|Prediction)\w*\b"
)


def in_rejection(detail: str) -> frozenset[str]:
    """Return the names of the refused inputs; an empty name if a line of the detail has none."""
    found = set(LOCATION.findall(detail))
    for line in LINE.finditer(detail):
        in_text = IN_TEXT.match(line["text"])
        found.add(line["name"] or (in_text[1] if in_text else ""))
    return frozenset(found)


def is_prompt(name: str) -> bool:
    """Return whether an input of this name holds the prompt."""
    return PROMPT_NAME.fullmatch(name) is not None


def is_wrong_prompt(error: str) -> bool:
    """Return whether an error says that the prompt itself is wrong: too long, empty …"""
    if OF_THE_MODEL.search(error):
        return False
    sentences = re.split(r"[.!?;](?:\s|$)", " ".join(error.split()))
    return any(map(WRONG_PROMPT.search, sentences))


def wrong_setting(error: str) -> str | None:
    """Return the name of the setting that an error says is wrong, if it names one."""
    if OF_THE_MODEL.search(error):
        return None
    for found in WRONG_SETTING.finditer(" ".join(error.split())):
        name: str = found["before"] or found["after"]
        if not is_prompt(name):
            return name
    return None
