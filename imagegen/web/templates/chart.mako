## A chart as SVG: across in percent, so that it fits every screen with its text unscaled. The scale
## is next to the bars, and its lines are behind them. Pointing above or below a bar shows its numbers.
<%page args="chart"/>
<%!
    from imagegen.web.charts import HEIGHT, percent, pixels
%>
<div class="chart" role="img" aria-label="${chart.description}">
<svg class="scale" width="${chart.scale_characters}ch" height="${HEIGHT}">
% for mark, y in chart.labels:
<text class="${mark.kind}" x="100%" y="${pixels(y)}">${mark.label}</text>
% endfor
</svg>
<svg class="bars" height="${HEIGHT}">
% for mark in chart.scale:
${line("grid", mark.y)}
% endfor
% for column in chart.columns:
<g><title>${column.title}</title>
<rect class="ground" x="${percent(column.left)}" width="${percent(column.width)}" y="0" height="${HEIGHT}"/>
% for bar in column.bars:
<rect class="${bar.kind}" x="${percent(column.bar_left)}" width="${percent(column.bar_width)}" y="${pixels(bar.top)}" height="${pixels(bar.height)}"/>
% endfor
</g>
% endfor
${line("axis", chart.axis)}
% for left, hour in chart.hours:
<text class="hour" x="${percent(left)}" y="${HEIGHT - 4}">${hour}</text>
% endfor
</svg>
</div>

<%def name="line(kind, y)">
<line class="${kind}" x1="0" x2="100%" y1="${pixels(y)}" y2="${pixels(y)}"/>
</%def>
