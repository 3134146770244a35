## Every page, around the content of its own template. `title` is plain text.
<%!
    from imagegen.web.formatting import iso, printable
    from imagegen.web.rendering import ICON_PATH, STYLE
%>\
<% heading = printable(title) %>\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<%block name="head"/>\
<title>imagegen: ${heading}</title>
<link rel="icon" href="${ICON_PATH}" type="image/svg+xml">
<style>${STYLE | n}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header>
<p class="mark"><%block name="mark"/></p>
<h1>${heading[:1].upper()}${heading[1:]}</h1>
<%block name="problems"/>
</header>
<main id="main" tabindex="-1">
${self.body()}
</main>
<footer><p>For machines: <a href="/metrics">/metrics</a> <a href="/healthz">/healthz</a>
<a href="/readyz">/readyz</a> Runbook: deploy/RUNBOOK.md</p></footer>
</body>
</html>
\
<%def name="moment(epoch, shown)">\
<time datetime="${iso(epoch)}" title="${iso(epoch)}">${shown}</time>\
</%def>
