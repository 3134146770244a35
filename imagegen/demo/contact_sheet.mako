<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src '${style_hash}'">
<title>imagegen: contact sheet</title>
<style>${style | n}</style>
<header><h1>Contact sheet</h1><p>${len(cards)} tokens, ${images} images, ${len(cards) - images} without</p></header>
<main><ul class="wall sheet">
% for result, image_url, gap in cards:
<li>\
% if image_url:
<img class="tile" src="${image_url | n}" alt="${text(result.token.prompt, prompt_characters) | n}">
% else:
<span class="tile">${gap}</span>
% endif
<p class="who"><span>#${result.token_id} · ${result.token.author}</span><span>${"%.1f" % result.seconds} s</span></p>
<p class="prompt" dir="auto">${beginning(result.token.prompt)}</p>\
% if remark(result):
<small class="odd">${remark(result)}</small>\
% endif
</li>
% endfor
</ul></main>
</html>
