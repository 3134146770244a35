## A sentence in place of an image.
<%inherit file="layout.mako"/>
<%!
    from imagegen.web.formatting import printable
%>

<%block name="mark"><a href="${home}">imagegen</a></%block>

<p class="empty">${printable(message)}</p>
