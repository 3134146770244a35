## The search for tokens, filled in with what was searched for.
<%page args="search"/>
<%!
    from imagegen.database import STATUSES
    from imagegen.web.formatting import printable
    from imagegen.web.search_input import FAILURES, MOST_CHARACTERS
    from imagegen.web.status_page import kind_words
%>
<%
    others = [search.status] if search.status and search.status not in STATUSES else []
    token = "" if search.token is None else search.token
%>
<form class="search" action="/tokens" method="get" role="search">
<p><label for="token">Token</label>
<input id="token" name="token" value="${token}" inputmode="numeric" maxlength="20" autocomplete="off" placeholder="42"></p>
<p><label for="author">Author</label>
<input id="author" name="author" value="${printable(search.author or "")}" maxlength="${MOST_CHARACTERS}" autocomplete="off" spellcheck="false" placeholder="0x…"></p>
<p><label for="status">Status</label>
<select id="status" name="status"><option value="">any</option>
% for status in (*STATUSES, *others):
${option(status, search.status, status)}
% endfor
</select></p>
<p><label for="failure">Why it failed</label>
<select id="failure" name="failure"><option value="">any reason</option>
% for failure in FAILURES:
${option(failure, search.failure, kind_words(failure if failure != "unrecorded" else None))}
% endfor
</select></p>
<p><button>Find</button></p>
</form>
<%def name="option(value, chosen, text)">\
<option value="${printable(value)}"${" selected" if value == chosen else ""}>${printable(text)}</option>\
</%def>
