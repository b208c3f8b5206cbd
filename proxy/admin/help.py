"""/help and the home page: what the admin interface can do."""

from __future__ import annotations

from collections.abc import Sequence

from proxy.admin.state import HTML, Endpoint, Reply

_HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<title>outrider admin</title>
<style>
body { font-family: sans-serif; margin: 2em; }
td { padding: 4px 12px 4px 0; vertical-align: top; }
button { border: none; background: none; padding: 0; font: inherit; color: #06c; text-decoration: underline; }
</style>
</head>
<body>
<h1>outrider admin</h1>
<table>
"""


def help_text(endpoints: Sequence[Endpoint]) -> str:
    """The list that /help prints and that an unknown path gets."""
    lines = ["admin commands are:\n"]
    for endpoint in sorted(endpoints, key=lambda endpoint: endpoint.path):
        mark = " (POST)" if endpoint.post_only else ""
        lines.append(f"  {endpoint.path}{mark}: {endpoint.summary}\n")
        lines += [f"      {name}: {text}\n" for name, text in endpoint.params]
    return "".join(lines)


def home_page(endpoints: Sequence[Endpoint]) -> Reply:
    """Links to what can be read, buttons for what changes something. No script."""
    import html

    rows = []
    for endpoint in sorted(endpoints, key=lambda endpoint: endpoint.path):
        path = html.escape(endpoint.path)
        if endpoint.post_only:
            action = f'<form method="post" action="{path[1:]}"><button>{path[1:]}</button></form>'
        else:
            action = f'<a href="{path[1:] or "."}">{path[1:] or "/"}</a>'
        rows.append(f"<tr><td>{action}</td><td>{html.escape(endpoint.summary)}</td></tr>\n")
    return Reply(_HEAD + "".join(rows) + "</table>\n</body>\n</html>\n", 200, HTML)
