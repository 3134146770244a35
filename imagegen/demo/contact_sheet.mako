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
% for card in cards:
<li>\
% if card.image_url:
<img class="tile" src="${card.image_url | n}" alt="${card.alt}">
% else:
<span class="tile">${card.gap}</span>
% endif
<p class="who"><span>#${card.token_id} · ${card.author}</span><span>${card.seconds} s</span></p>
<p class="prompt" dir="auto">${card.prompt}</p>\
% if card.remark:
<small class="odd">${card.remark}</small>\
% endif
</li>
% endfor
</ul></main>
</html>
