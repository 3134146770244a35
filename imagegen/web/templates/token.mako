## A token's own page, from its TokenPage.
<%inherit file="layout.mako"/>
<%!
    from imagegen.database.acts import moment
    from imagegen.operator.token_facts import title as title_of
    from imagegen.web.formatting import count, printable
    from imagegen.web.image_sources import HOME
    from imagegen.web.search_input import MOST_CHARACTERS, Search
    from imagegen.web.token_page import FACT_CHARACTERS, words
%>
<%
    history = page.story.history
    generations = page.generations
    newest = next((image for _, _, image in generations if image), None)
    prompt = history.token.author_prompt if history.token else None
%>

<%block name="mark"><a href="${HOME}">imagegen</a><a href="/tokens">Find other tokens</a></%block>

<figure class="large ${"token" if newest else "bare"}">
% if newest:
${self.picture(newest)}
% endif
<figcaption>
% if prompt and prompt.strip():
<p class="prompt" dir="auto">${printable(prompt, FACT_CHARACTERS)}</p>
% endif
<dl class="facts">
% for name, value in page.facts.items():
% if name != "prompt" and value is not None:
${self.fact(name, value)}
% endif
% endfor
${self.fact("cost", page.cost)}
</dl></figcaption></figure>

<section id="commands" aria-labelledby="commands-title">
<h2 id="commands-title">What can be done</h2>
<ul class="commands">
% for command in page.story.commands:
<li><code>${printable(command.text)}</code> <span>${printable(command.effect)}</span></li>
% endfor
% if page.story.why_no_retry:
<li><span>No retry: ${printable(page.story.why_no_retry)}.</span></li>
% elif not page.story.commands:
<li><span>Nothing: the token is not in tokens_s0 any more.</span></li>
% endif
</ul></section>

<section id="generations" aria-labelledby="generations-title">
<h2 id="generations-title">Generations</h2>
% if not generations:
<p class="empty">Nothing has been sent for this token.</p>
% endif
% if history.is_truncated:
<p class="more">Only the newest ${count(len(generations))} are here.</p>
% endif
<ol class="generations">
% for generation, facts, image in generations:
<li><h3>${printable(title_of(generation))}</h3>
% if words(generation):
<p class="${"bad" if generation.state == "failed" else "odd"}">${printable(words(generation))}</p>
% endif
% if image and image is not newest:
<div class="small">${self.picture(image)}</div>
% endif
<dl class="facts">
% for name, value in facts.items():
% if value is not None:
${self.fact(name, value)}
% endif
% endfor
</dl></li>
% endfor
</ol></section>

% if history.acts:
<section id="operators" aria-labelledby="operators-title">
<h2 id="operators-title">Operators</h2>
<ul class="commands">
% for act in history.acts:
<li><span>${moment(act.at)}, ${printable(act.who)}</span> <span>${printable(act.what)}</span></li>
% endfor
</ul></section>
% endif

<%def name="picture(image)">
% if image.url:
<a href="${printable(image.url)}"><img src="${printable(image.url)}" alt="The image of this token"></a>
% else:
<p class="lost">${printable(image.note)}</p>
% endif
</%def>

<%def name="fact(name, value)">
<div><dt>${name[:1].upper()}${name[1:]}</dt><dd dir="auto">\
% if name == "author" and 0 < len(value) <= MOST_CHARACTERS and value.isprintable():
<a href="${Search(author=value).path()}">${printable(value)}</a>\
% else:
${printable(value, FACT_CHARACTERS)}\
% endif
</dd></div>
</%def>
