## The status page: `page` is a StatusPage.
<%inherit file="layout.mako"/>
<%!
    from imagegen.web.charts import images_chart, seconds_chart
    from imagegen.web.formatting import (
        ago, clock, count, duration, images_and_failures, printable, why_closed, why_failed,
    )
    from imagegen.web.image_sources import HOME, PAUSED, large
    from imagegen.web.rendering import REFRESH_SECONDS
    from imagegen.web.snapshot import (
        BUCKET_SECONDS, BUCKETS, FAILURES, MESSAGE_CHARACTERS, PROMPT_CHARACTERS,
    )
    from imagegen.web.search_input import Search
    from imagegen.web.status_page import (
        done, kind_path, kind_words, kinds_note, restart_causes, tally, unfetched_long,
        unfetched_note, waiting_long, waiting_note,
    )
    from imagegen.text import plural

    HOURS = BUCKETS * BUCKET_SECONDS // 3600
    LONG_CHARACTERS = 7  # a longer number is too wide on a phone
%>

<%block name="head">
% if page.refreshes:
<meta http-equiv="refresh" content="${REFRESH_SECONDS}">
% endif
</%block>

<%block name="mark">
<span>imagegen</span><span class="fresh">\
% if page.snapshot:
${clock(page.snapshot.now)} UTC · \
% endif
% if page.refreshes:
refreshes every ${REFRESH_SECONDS} s · <a href="${PAUSED}">Pause</a>\
% else:
paused · <a href="${HOME}">Go on</a>\
% endif
</span>\
</%block>

<%block name="problems">
% if page.problems:
<ul class="problems" aria-label="Problems">
% for problem in page.problems:
<li>${problem.text} <small>Runbook: ${problem.section}</small></li>
% endfor
</ul>
% endif
</%block>

% if page.snapshot:
${figures(page.snapshot)}
<%include file="search_form.mako" args="search=Search()"/>
<%self:part id="trends" title="${f'The last {HOURS} hours, UTC'}">
<div class="trends">${trends(page.snapshot)}</div>
</%self:part>
<%self:part id="images" title="${page.wall_title}">${images()}</%self:part>
<%self:part id="failures" title="Failed tokens">${failures(page.snapshot)}</%self:part>
% endif
<%self:part id="workers" title="Workers">${workers()}</%self:part>

<%def name="part(id, title)">
<section id="${id}" aria-labelledby="${id}-title">
<h2 id="${id}-title">${title}</h2>
${caller.body()}
</section>
</%def>

<%def name="figures(now)">
<dl class="figures">
<%self:figure label="Waiting" number="${tally(now.waiting)}">\
% if waiting_long(now):
<span class="odd">${waiting_note(now)}</span> ${runbook("Waiting")}\
% else:
${waiting_note(now)}\
% endif
</%self:figure>
<%self:figure label="At work" number="${tally(now.generating)}">${page.work_note}</%self:figure>
<%self:figure label="Done" number="${done(now)}">\
% if unfetched_long(now):
<span class="odd">${unfetched_note(now)}</span> ${runbook("ImageExpiring")}\
% else:
${unfetched_note(now)}\
% endif
</%self:figure>
<%self:figure label="Failed" number="${tally(now.failed)}" bad="${now.failed > 0}">\
% if now.failed:
<a href="#failures">why</a>\
% endif
</%self:figure>
</dl>
</%def>

<%def name="figure(label, number, bad=False)">
<div><dt>${label}</dt><dd${' class="bad"' if bad else '' | n}>\
% if len(number) > LONG_CHARACTERS:
<span class="long">${number}</span>\
% else:
${number}\
% endif
<small>${caller.body()}</small></dd></div>
</%def>

<%def name="runbook(name)"><br>Runbook: Imagegen<wbr>${name}</%def>

<%def name="trends(now)">
<% total = now.total %>
% if not total.images and not total.failed:
<p class="empty">No image was made in the last ${HOURS} hours.</p>
% else:
<%self:trend title="${f'Images in each {BUCKET_SECONDS // 60} minutes'}"
    summary="${images_and_failures(total.images, total.failed)}"
    chart="${images_chart(now.buckets)}"
    legend="${{'made': 'images', 'bad': 'failed attempts'}}"/>
% if total.p50_seconds is not None and total.p95_seconds is not None:
<%self:trend title="Time to an image"
    summary="${f'median {duration(total.p50_seconds)}, 95 % within {duration(total.p95_seconds)}'}"
    chart="${seconds_chart(now.buckets, total.p95_seconds)}"
    legend="${{'median': 'median', 'range': 'up to the 95th percentile'}}"/>
% endif
% endif
</%def>

<%def name="trend(title, summary, chart, legend)">
<figure class="trend"><figcaption><h3>${title}</h3><p>${summary}</p></figcaption>
<%include file="chart.mako" args="chart=chart"/>
<ul class="legend">
% for kind, meaning in legend.items():
<li><svg class="key" aria-hidden="true"><rect class="${kind}" width="10" height="10"/></svg>${meaning}</li>
% endfor
</ul></figure>
</%def>

<%def name="images()">
<% wall, gone = page.wall, page.gone %>
% if not wall and not gone:
<p class="empty">No image yet. The first one will be here as soon as it is made.</p>
% endif
% if wall:
<ul class="wall">
% for picture, url in wall:
<li><a href="${large(picture.generation_id, page.home)}">\
<img class="tile" src="${printable(url)}" alt="" loading="lazy" decoding="async" width="256" height="256">\
<span class="who">${token(picture)} ${age(picture)}</span> ${prompt(picture)}</a></li>
% endfor
</ul>
% endif
% if gone:
<p class="more">${"1 image is" if len(gone) == 1 else f"{len(gone)} images are"} gone: Replicate
deletes its own after an hour;
% if page.copies:
the page has no copy to show.
% else:
set IMAGEGEN_KEEP_IMAGES to keep a copy of each.
% endif
</p>
<ul class="gone">
% for picture in gone:
<li><a href="${large(picture.generation_id, page.home)}">\
${token(picture)} ${prompt(picture)} ${age(picture)}</a></li>
% endfor
</ul>
% endif
</%def>

<%def name="token(picture)"><span>#${picture.token_id}</span></%def>

<%def name="age(picture)">\
${self.moment(picture.closed_at, ago(picture.age_seconds).removesuffix(" ago"))}\
</%def>

## A prompt has its own direction, to which the word before it, with one of its own, adds nothing.
<%def name="prompt(picture)">\
<span class="prompt" dir="auto">\
% if picture.fallback:
<i dir="ltr">fallback:</i> \
% endif
${printable(picture.prompt, PROMPT_CHARACTERS)}</span>\
</%def>

<%def name="failures(now)">
% if not now.failures:
<p class="empty">No token has failed.</p>
% else:
${kinds(now)}
<ol class="failures">
% for failed in now.failures:
<li><p class="who"><b>\
% if failed.token_id is None:
no token_id\
% else:
<a href="/tokens/${failed.token_id}">#${failed.token_id}</a>\
% endif
</b>
<span>${plural(failed.attempts, "attempt")}</span>
% if failed.closed_at is not None:
${self.moment(failed.closed_at, ago(failed.age_seconds))}\
% endif
</p>
<div><h3>${printable(why_failed(failed.kind, refused=failed.refused))}</h3>
% if failed.message:
<p class="message" dir="auto">${printable(failed.message, MESSAGE_CHARACTERS)}</p>
% endif
</div>
% if failed.prompt and failed.prompt.strip():
<p class="prompt" dir="auto">${printable(failed.prompt, PROMPT_CHARACTERS)}</p>
% else:
<p class="prompt none">no prompt</p>
% endif
</li>
% endfor
</ol>
% endif
% if now.failures and now.failed > len(now.failures):
<p class="more">${tally(now.failed)} failed altogether; the last ${FAILURES} are here:
<a href="${Search(status="failed").path()}">all of them</a>.</p>
% endif
</%def>

<%def name="kinds(now)">
<ul class="kinds">
% for kind in now.failure_kinds:
<li><b>${count(kind.tokens)}</b> \
% if kind_path(kind.kind):
<a href="${kind_path(kind.kind)}">${printable(kind_words(kind.kind))}</a>\
% else:
${printable(kind_words(kind.kind))}\
% endif
</li>
% endfor
</ul>
<p class="more">${kinds_note(now)} Runbook: ImagegenTokensFailed; each kind: “Why a generation failed”.</p>
</%def>

<%def name="workers()">
<table class="workers"><thead><tr><th scope="col">Worker</th><th scope="col">State</th>
<th scope="col" class="number">At work</th><th scope="col" class="number">Restarts</th></tr></thead>
<tbody>
% for worker in page.workers:
<tr><th scope="row">${printable(worker.slot)}</th><td>\
% if worker.closed_by:
<span class="odd">waits: ${printable(", ".join(map(why_closed, worker.closed_by)))}</span>\
% elif worker.alive:
running\
% elif worker.starting:
starting\
% else:
<span class="bad">not running</span>\
% endif
</td>
<td class="number">${"unknown" if worker.busy is None else f"{worker.busy} of {page.slots}"}</td>
<td class="number">${count(sum(worker.restarts.values()))}<small>\
${printable(restart_causes(worker))}</small></td></tr>
% endfor
</tbody></table>
</%def>
