## What a search has found, from its Found. `problem`: why nothing can be searched for so.
<%inherit file="layout.mako"/>
<%!
    from imagegen.text import plural
    from imagegen.web.formatting import ago, count, printable, why_failed
    from imagegen.web.image_sources import HOME
    from imagegen.web.search import AUTHORS_LOOKED_AT, SHOWN
    from imagegen.web.snapshot import MESSAGE_CHARACTERS, PROMPT_CHARACTERS
%>

<%block name="mark"><a href="${HOME}">imagegen</a></%block>

<%block name="problems">
% if problem:
<ul class="problems" aria-label="Problems"><li>${printable(problem)}</li></ul>
% endif
</%block>

<%include file="search_form.mako" args="search=found.search"/>
% if not problem:
% if found.tokens:
<ol class="failures found">
% for token in found.tokens:
<li><p class="who">${name(token)}
<span>${printable(token.status or "no status")}${", held" if token.is_held else ""}</span>
% if token.minted_at is not None:
${self.moment(token.minted_at, ago(token.age_seconds))}\
% endif
</p>
<div>
% if token.status == "failed":
<h3 class="bad">${printable(why_failed(token.kind, refused=token.refused))}</h3>
% endif
% if token.message:
<p class="message" dir="auto">${printable(token.message, MESSAGE_CHARACTERS)}</p>
% endif
<p class="message">${plural(token.attempts, "attempt")}, by ${printable(token.author or "an author who is gone")}</p>
</div>
% if token.prompt and token.prompt.strip():
<p class="prompt" dir="auto">${printable(token.prompt, PROMPT_CHARACTERS)}</p>
% else:
<p class="prompt none">no prompt</p>
% endif
</li>
% endfor
</ol>
% else:
<p class="empty">${"No older token fits." if found.search.before is not None else "No token fits."}</p>
% endif
% if not found.knows_author:
<p class="more">No author has this wallet: it was looked for as it is spelt here and in lower case, and
in any case among ${count(AUTHORS_LOOKED_AT)} authors.</p>
% endif
% if found.looked_at is not None:
<p class="more">Only ${count(found.looked_at)} tokens were looked at, the newest first\
${"" if found.search.before is None else ", older than token %d" % found.search.before}.</p>
% endif
% if found.before is not None or found.search.before is not None:
<nav class="around" aria-label="Pages">
% if found.search.before is not None:
<a href="${found.search.path()}">← Newest</a>
% else:
<span></span>
% endif
% if found.before is not None:
<a rel="next" href="${found.search.path(found.before)}">Older →</a>
% endif
</nav>
% endif
% endif

<%def name="name(token)">\
% if token.token_id is None:
<b>no token_id</b>\
% else:
<b><a href="/tokens/${token.token_id}">#${token.token_id}</a></b>\
% endif
</%def>
