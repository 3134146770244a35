"""Images that a model held back as unsafe: its log says so, and the output may have a black one."""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from imagegen.replicate.content_policy import is_refused_in_log

# The end of a log says what became of the images.
LOG_CHARACTERS = 100_000
# diffusers: "Potential NSFW content was detected in one or more images. A black image will be
# returned instead."; SDXL and flux: "NSFW content detected in image 0", and leave that image out.
HELD_BACK = re.compile(
    r"\b(nsfw|unsafe|sensitive) (content|concepts?|images?) ((was|were|has been) )?detected\b"
    r"|\bnsfw detected\b"
    r"|\b(black|blank|blurred) images? ((will be|was|were|is) )?returned\b"
    r"|\b(returning|replac(ed|ing)) ((it|image|by|with|a) ){0,3}(black|blank|blurred) image"
    r"|\bblacked out\b|\bimages? (is|are|was|were) (nsfw|unsafe)\b"
    r"|\bimages? .{0,20}\b(flagged as|contain(ed|s)) (potentially )?(nsfw|unsafe)\b"
    r"|\bimages? (was|were) (blocked|filtered|held back)\b.{0,30}\bsafety\b",
    re.IGNORECASE,
)
# A line without any of these says nothing of images held back, and is not read further.
HINT = re.compile(r"nsfw|safe|sensitive|moderat|flag|block|filter|prohibit", re.IGNORECASE)
IN_IMAGE = re.compile(r"\bimages? #?(\d{1,4})\b", re.IGNORECASE)
# A flag for each image: "nsfw_content_detected: [False, True]". Settings are logged as well:
# "nsfw: true", "allow_nsfw: true" and "nsfw_filter: true" say nothing of an image.
FLAGS = re.compile(
    r"(?<![a-z_])((has|is)_nsfw\w{0,20}|nsfw([_ ](content|concepts?))?[_ ]detected)"
    r"[\"']? ?[:=] ?\[?(?P<values>(?: ?(?:true|false)\b,?)+)",
    re.IGNORECASE,
)
# "No NSFW content detected", "NSFW content detected: none", "NSFW content detected, retrying".
DENIED_BEFORE = re.compile(
    r"\b(no|not|non|none|never|without|if|whether|when|any)\b[\w\s-]{0,20}$"
    r"|(?<!image )\b(0|zero) $",
    re.IGNORECASE,
)
# Each run of characters has one place in it: with three in a row, a line of spaces takes minutes.
DENIED_AFTER = re.compile(
    r"( in)?[\s:=?\[(]{0,20}(no\b|none\b|n/a|0(?![\d.])|\])|\s{0,20}(instead )?(if|when)\b",
    re.IGNORECASE,
)
DENIED_BY = re.compile(r"\bdisabled\b|\bretrying\b|\bregenerating\b", re.IGNORECASE)
A_PROMPT = re.compile(r"[\w ]{0,20}prompt ?[:=]", re.IGNORECASE)
# flux, which leaves out the others.
SAFE_IMAGES = re.compile(r"Total safe images: (\d{1,4}) out of \d")
NUMBERED_FILE = re.compile(r"(?:out|output|image|img)?[-_]?(\d{1,4})\.\w+")


def without_held_back(
    images: list[str], logs: str, *, prompt: str | None, expected: int
) -> list[str]:
    """Return the images that the model did not hold back, by its log; in doubt none.

    `expected` is the least number of images that the prediction made, with those held back.
    """
    flagged = list(_flagged(logs, prompt))
    safe = SAFE_IMAGES.search(logs)
    is_rest_left_out = len(images) < expected or (safe and len(images) <= int(safe[1]))
    if not flagged or is_rest_left_out:
        return images
    numbers = {number for number in flagged if number is not None}
    if not numbers:
        return []
    return [url for place, url in enumerate(images) if _number(url, place) not in numbers]


def is_held_back(logs: str, prompt: str | None) -> bool:
    """Return whether a log says that an image was held back."""
    return any(True for _ in _flagged(logs, prompt))


def _flagged(logs: str, prompt: str | None) -> Iterator[int | None]:
    """Yield the number, from 0, of each image that a log says was held back; None if the log does
    not say which one. Lines that repeat `prompt` do not count."""
    prompt_says = bool(prompt) and any(True for _ in _flagged_in_line(prompt or ""))
    for line in logs[-LOG_CHARACTERS:].splitlines():
        is_prompt = A_PROMPT.match(line) or (prompt_says and (prompt or "") in line)
        if not is_prompt:
            yield from _flagged_in_line(line)


def _flagged_in_line(line: str) -> Iterator[int | None]:
    if flags := FLAGS.search(line):
        values = re.findall(r"true|false", flags["values"], re.IGNORECASE)
        yield from (place for place, value in enumerate(values) if value.lower() == "true")
    elif _is_said(line):
        number = IN_IMAGE.search(line)
        yield int(number[1]) if number else None


def _is_said(line: str) -> bool:
    if found := HELD_BACK.search(line):
        return not _is_denied(line, found)
    return bool(HINT.search(line)) and not DENIED_BY.search(line) and is_refused_in_log(line)


def _is_denied(line: str, found: re.Match[str]) -> bool:
    before, after = line[: found.start()], line[found.end() :]
    return bool(DENIED_BEFORE.search(before) or DENIED_AFTER.match(after) or DENIED_BY.search(line))


def _number(url: str, place: int) -> int:
    """Return the number of an image: that of its file (out-1.png), else its place."""
    is_file = not url.startswith("data:")  # which urlsplit would keep in its cache
    file = is_file and NUMBERED_FILE.fullmatch(urlsplit(url).path.rpartition("/")[2])
    return int(file[1]) if file else place
