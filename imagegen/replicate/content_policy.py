"""Whether an error says that a prompt or its image was refused for its content.

Each provider behind Replicate's models has words of its own for it, and changes them, so messages
are not compared with a list. A sentence is a refusal if it has a judgement (flagged, violates …)
and a reason (safety, content policy …). It is none if it denies the judgement, or is about a
setting, the account, the model or a check that failed. A code such as `moderation_blocked` is read
as the words in it.

The words that decide are in the tables below; messages for and against are in
`tests/unit/replicate/data/content-refused.txt` and `content-not-refused.txt`.
"""

import re
from itertools import takewhile

# An error is named at the beginning of its text. An operator's pattern may be slow on long texts.
MOST_CHARACTERS = 5000
CHARACTERS_FOR_PATTERN = 500
# A shorter prompt may be part of the error's own words.
ECHO_CHARACTERS = 20


def _words(table: str) -> re.Pattern[str]:
    """Return a pattern for whole words; a slash or the end of a line is between alternatives."""
    alternatives = [each.strip() for each in re.split(r" / |\n", table)]
    return re.compile(rf"\b(?:{'|'.join(filter(None, alternatives))})\b")


REASON = _words(r"""
    safety / unsafe / nsfw / not safe for work / moderat(?:ed|ion|ors?) / sensitive / inappropriate
    not (?:appropriate|suitable) / responsible ai / guardrails? / guidelines? / community standards
    terms of (?:service|use) / aup / acceptable use / content (?:management|review|rules|risk)
    (?:content|usage|use|our|your|their|property|safety|google|\w+ s) polic(?:y|ies)
    policy violations? / policy reasons? / (?:due to|because of) (?:\w+ )?polic(?:y|ies)
    violat\w+ (?:the |our |a )?polic(?:y|ies) / (?:words?|contents?) (?:that \w+ )?not allowed
    (?:content|safety|prompt) filter(?:s|ed|ing)? / by (?:\w+ )?filters / filters flagged
    filtered words? / block ?list(?:ed)? / content restrictions? / security configurations?
    (?:banned|forbidden|blocked|prohibited|disallowed|restricted) (?:contents?|words?|terms?)
    (?:banned|forbidden|blocked|prohibited|disallowed|restricted) (?:material|concepts?|subjects?)
    risk control / risk not pass / data inspection / green net / (?:text|image) illegal
    illegal (?:contents?|texts?|images?) / sexual(?:ly)? / porn\w* / nud(?:e|ity) / erotic\w*
    (?:explicit|adult|mature|graphic) contents? / child safety / csam / minors / violen(?:t|ce)
    gore / rai / hate(?:ful)? / harmful / harassment / offensive / obscen\w+ / profan\w+ / abusive
    objectionable / self harm / suicid\w+ / extremis[mt]\w* / terroris[mt]\w* / copyright\w*
    trademark\w* / infring\w+ / intellectual property / derivative works? / likeness / celebrit\w+
    real (?:person|people) / public figures? / privacy information
""")
# "failed" is a judgement only with its object: a check, the moderation …
JUDGEMENT = _words(r"""
    block(?:ed|s)? / reject(?:ed|s|ion) / refus(?:ed|es|al) / den(?:ied|ies) / declin(?:ed|es)
    flag(?:ged|s) / filter(?:ed|s) / moderated / censored / prohibited / disallowed / forbidden
    banned / removed / withheld / stopped / caught / restricted / deemed / considered / classified
    identified / (?:may|might|could) (?:be|lead|produce) / detect(?:ed|s) / found / includes?
    trigger(?:ed|s|ing) / violat(?:e|es|ed|ing|ions?) / breach(?:ed|es)? / infring\w+ / conflicts?
    against / contain(?:s|ed|ing)? / mentions? / inclusion / suspect(?:ed)? / related to / because
    due to / interven(?:ed|es) / new sensitive
    (?:not|\w*n t) (?:be )?(?:allow(?:ed)?|permit(?:ted)?|accept(?:ed|able)?|appropriate|suitable)
    (?:not|\w*n t|failed to|fails to|failure to) (?:pass|comply|meet|adhere) / not pass(?:ed)?
    fail(?:ed|s|ure)? (?:the |our |a |of )?(?:\w+ ){0,2}(?:checks?|review|moderation|inspection)
    (?:checks?|checked|review|moderation|inspection|screening|filters?) (?:was |has )?fail(?:ed|s)
""")
# Enough without a judgement or a reason. E005 is Replicate's code for refused content.
CODES = re.compile(
    r"\be005\b|\b(?:request|content) moderated\b|\bcontent (?:policy )?violations?\b"
    r"|\b(?:finish|block(?:ed)?|stop|refusal|rejection|fail(?:ure)?) (?:reason|code)s? "
    r"(?:\w+ ){0,3}?(?:safety|prohibited|block ?list|spii|recitation|content filter|moderat\w+"
    r"|sensitive)\b"
    r"|\bfail(?:ure|ed|s) to pass (?:\w+ ){0,3}(?:risk|safety|moderation|content|compliance)\b"
    r"|\brefus(?:ed|es) to (?:generat|creat|produc|draw|depict|process (?:this|the|your) prompt)"
    r"|^(?:error |code )*(?:content|prompt|image|output) (?:blocked|filtered|flagged|censored)$"
    # A prompt that was refused without a word why.
    r"|\bprompts?(?: (?:was|were|is|are|has|have|been|you|provided|submitted))* "
    r"(?:blocked|flagged|rejected|refused|moderated|censored|banned|declined|disallowed|prohibited"
    r"|not (?:allowed|permitted|accepted)(?! (?:with|when|together)))\b"
    r"|\b(?:flagged|moderated|censored|blocked|rejected) prompts?\b"
    # A model that answers in the first person instead of making an image.
    r"|\bi(?: am| m)? (?:sorry|can ?not|can t|unable to|not able to|won t)\b.{0,60}"
    r"\b(?:generat|creat|produc|mak|depict|draw|fulfil|help|assist)"
    # Chinese providers: sensitive, against the rules, forbidden, moderation not passed.
    r"|敏感|违规|违禁|不合规|审核.{0,4}(?:未|不|失败)"
)
# A code alone, such as IMAGE_SAFETY: a reason and perhaps some of these words.
BARE_CODE_WORDS = 6
BARE_CODE = re.compile(
    rf"(?:(?:{REASON.pattern}|(?:prompts?|inputs?|texts?|images?|videos?|outputs?|contents?"
    r"|requests?|words?|error|exception|code|status|failed|policy|violations?|potential(?:ly)?|possibl[ey]"
    r"|prohibited|detected|preprocessing|generating|internal|gemini|api|finish|reason|is|id|name|type|\d+)\b)"
    r"(?: |$))+"
)
# Words of sentences that are about something else.
OTHERWISE = _words(r"""
    (?:not|never|\w*n t)(?: been| be| yet)* (?:flagged|blocked|rejected|refused|filtered|found)
    (?:not|never|\w*n t)(?: been| be| yet)* (?:moderated|censored|detected|violated?)
    (?:no|without|zero|0) (?:potential(?:ly)? |such |any )?(?:nsfw|unsafe|sensitive|inappropriate)
    (?:no|without|zero|0) violations? / (?<!not )(?<!be )passed (?!to\b)
    (?:no|none|zero|0) (?:of the )?(?:images?|outputs?|prompts?) (?:was |were )?(?:flagged|blocked)
    (?:no|none|zero|0) (?:of the )?(?:images?|outputs?|prompts?) (?:was |were )?filtered

    must (?:not )?(?:be|have|match)(?! (?:appropriate|safe|suitable|compliant)) / should be an?
    (?:valid|allowed|supported|permitted|accepted) (?:values?|options?|types?) / value is not
    (?:invalid|unknown|unexpected|unsupported) (?:value|type|choice|parameter|argument|option)
    (?:invalid|unknown|unexpected|unsupported) (?:keyword|format|json|model) / unrecogni[sz]ed
    (?:parameter|argument|setting|option)s? \w+ / deprecated / (?:is|are) required / category
    not (?:a )?(?:valid|supported) / in your (?:region|country) / dimensions? / width / height
    at (?:least|most) / aspect ratio / resolution / pixels? / too (?:long|short|large|big)
    long(?:er)? than / characters / empty / blank

    tim(?:ed?|ing) ?out / time ?outs? / unavailable / not available / unreachable / overloaded
    connection (?:was |pool )?(?:refused|reset|closed|error|aborted) / too many requests / quota
    rate limit(?:s|ed|ing)? / throttl\w+ / out of memory / cuda / not responding / waiting / queue
    (?:fail(?:ed|ure|s)|could not|cannot|unable|error) (?:to |while )?(?:be )?(?:load|start)\w*
    (?:fail(?:ed|ure|s)|could not|cannot|unable|error) (?:to |while )?(?:be )?initiali[sz]\w+
    (?:fail(?:ed|ure|s)|could not|cannot|unable|error) (?:to |while )?(?:be )?(?:reach|connect)\w*
    (?:fail(?:ed|ure|s)|could not|cannot|unable|error) (?:to |while )?(?:be )?(?:download|fetch)\w*
    (?:fail(?:ed|ure|s)|could not|cannot|unable|error) (?:to )?(?:import|run) / deseriali[sz]\w+
    (?:check|classifi|detect)(?:er|or) (?:has |was |is )?(?:failed|crash\w*|down|broken|returned)
    (?:model|service|api|endpoint|worker|server|filter|system) (?:has |was |is )?(?:failed|crash\w*)
    (?:model|service|api|endpoint|worker|server|filter|system) (?:is )?(?:down|broken|returned)
    crash of / error in / (?:http|status|code|returned|error) 5\d\d / internal server error
    service error / (?:key|type|name|attribute|index|import|os|safetensor|not found) error
    no module / headers? / cors / iam / pickle / certificate / tensors? / device / firewall
    egress / waf / ip (?!infring)\w+ / url / mime / case sensitive / thread safety
    (?:security|network|firewall|retry|cache|bucket|rate|organi[sz]ation s) polic(?:y|ies)

    (?:account|organi[sz]ation|subscription|api key|user) (?:has been|has|was|is) \w+
    (?:model|version) (?:has been|has|was|is) (?:not|disabled|removed|restricted|retired|deleted)
    (?:model|version) (?:has been|has|was|is) (?:blocked|deactivated|suspended|gated)
""")
# Text after these words says what would happen, not what did.
CONDITION = re.compile(r"\b(?:if|unless|whether|in case)\b.*")

# Names of settings: disable_safety_checker is …, `parameter 'moderation'`, nsfw_filter: true.
SETTING = re.compile(
    r"""\b[a-z]+(?:_[a-z0-9]+)+\b["'`]?(?=\s*(?:is|are|was|must|should|can|cannot|has|requires)\b)"""
    r"""|\b[a-z]+(?:_[a-z0-9]+)+["'`]?\s*[=:]\s*["'`]?(?:true|false|none|null|\d)""",
    re.IGNORECASE,
)
ECHO = re.compile(
    r"""(?:\bprompt|\binput_value)["'`]?(?:\s*[=:]\s*|\s+)(["'`])(?:(?!\1\W).)*\1(?!\w)""",
    re.IGNORECASE | re.DOTALL,
)
CAMEL_CASE = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
NO_WORD = re.compile(r"[^\w.!?;\n]+|_|(?<=\w)\.(?=\w)")
SENTENCE = re.compile(r"[.!?;\n]+")


def is_refused_content(
    error: str, *, prompt: str | None = None, pattern: re.Pattern[str] | None = None
) -> bool:
    """Return whether an error refuses the content of a prompt or of an image.

    `prompt` is the one that was sent: if the error repeats it, its words do not count. `pattern` is
    the operator's, for refusals that imagegen does not know.
    """
    text = without_prompt(error[:MOST_CHARACTERS], prompt)
    if pattern and pattern.search(text[:CHARACTERS_FOR_PATTERN]):
        return True
    sentences = _sentences(SETTING.sub(" setting ", text))
    return any(_is_refusal(each) or _is_code(each) for each in sentences)


def is_refused_in_log(line: str) -> bool:
    """Return whether a line of a log refuses content. A code alone does not: it may name a step."""
    return any(map(_is_refusal, _sentences(SETTING.sub(" setting ", line[:MOST_CHARACTERS]))))


def without_prompt(error: str, prompt: str | None) -> str:
    """Return an error without the prompt that it repeats, whole or cut off."""
    error = ECHO.sub("prompt ", error)
    if not prompt or len(prompt) < ECHO_CHARACTERS:
        return error
    beginning = re.compile(re.escape(prompt[:ECHO_CHARACTERS]), re.IGNORECASE)
    while found := beginning.search(error):
        pairs = zip(error[found.end() :], prompt[ECHO_CHARACTERS:], strict=False)
        more = sum(1 for _ in takewhile(lambda pair: pair[0].lower() == pair[1].lower(), pairs))
        error = f"{error[: found.start()]} {error[found.end() + more :]}"
    return error


def _sentences(text: str) -> list[str]:
    """Return the sentences of a text as words in lower case, identifiers as the words in them."""
    spaced = NO_WORD.sub(" ", CAMEL_CASE.sub(" ", text))
    return [" ".join(sentence.lower().split()) for sentence in SENTENCE.split(spaced)]


def _is_refusal(sentence: str) -> bool:
    sentence = CONDITION.sub("", sentence).strip()
    if not sentence or OTHERWISE.search(sentence):
        return False
    if CODES.search(sentence):
        return True
    return bool(REASON.search(sentence) and JUDGEMENT.search(sentence))


def _is_code(sentence: str) -> bool:
    """Return whether a sentence is a reason and nothing else, as a code is."""
    is_short = sentence.count(" ") < BARE_CODE_WORDS
    return is_short and bool(REASON.search(sentence) and BARE_CODE.fullmatch(sentence))
