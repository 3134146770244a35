## One image large, from its Details.
<%inherit file="layout.mako"/>
<%!
    from imagegen.web.formatting import ago, clock, duration, printable
    from imagegen.web.image_sources import large, source
%>

<%block name="mark"><a href="${home}">imagegen</a></%block>

<% picture, url = details.picture, source(details.picture, copies=copies) %>
<nav class="around" aria-label="Images">
${link(details.newer, "next", "← Newer")}
<a href="${home}">All images</a>
${link(details.older, "prev", "Older →")}
</nav>
<figure class="large">
% if url:
<a href="${printable(url)}"><img src="${printable(url)}" alt="The image of this prompt"></a>
% else:
<p class="lost">This image is gone: Replicate deletes its own after an hour; the page has no copy to show.</p>
% endif
<figcaption><p class="prompt" dir="auto">${printable(picture.prompt)}</p>
<dl class="facts">
<div><dt>Token</dt><dd><a href="/tokens/${picture.token_id}">#${picture.token_id}</a></dd></div>
<% made = f"{ago(picture.age_seconds)}, {clock(picture.closed_at)} UTC" %>
<div><dt>Made</dt><dd>${self.moment(picture.closed_at, made)}</dd></div>
<div><dt>Took</dt><dd>${duration(details.seconds)}</dd></div>
<div><dt>Attempt</dt><dd>${details.attempt}</dd></div>
<div><dt>Prompt</dt><dd>\
${"the fallback: the author's own was refused" if picture.fallback else "the author's"}</dd></div>
<div><dt>Model</dt><dd>${printable(details.model)}</dd></div>
<div><dt>Seed</dt><dd>${details.seed}</dd></div>
<div><dt>Prediction</dt><dd>${printable(details.prediction_id or "unknown")}</dd></div>
<div><dt>Generation</dt><dd>${picture.generation_id}</dd></div>
</dl></figcaption></figure>

<%def name="link(generation_id, rel, label)">
% if generation_id is None:
<span class="none">${label}</span>
% else:
<a rel="${rel}" href="${large(generation_id, home)}">${label}</a>
% endif
</%def>
