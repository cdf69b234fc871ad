"""The chart of CPU seconds, as SVG. Pure."""

from html import escape

CASES = {"narrow": "1 M external IDs", "wide": "wide rows", "TLS": "over TLS", "gzip": "gzipped input"}
CLIENTS = {
    "floor": "raw floor", "ours": "td-braze-cohort", "go": "Go, net/http", "reqwest": "Rust, reqwest",
    "requests": "Python, requests",
}
WIDTH, LEFT, RIGHT, TOP = 760, 170, 70, 62
BAR, STEP, GAP = 14, 20, 34
# Readable on white and on black; the background is the page's.
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f; }
.title { font-size: 15px; font-weight: 600; } .case { font-weight: 600; } .note { fill: #57606a; font-size: 12px; }
.bar { fill: #8c959f; } .ours { fill: #0969da; } .floor { fill: #bf8700; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; } .note { fill: #9198a1; }
  .bar { fill: #6e7681; } .ours { fill: #58a6ff; } .floor { fill: #d29922; }
}
"""


def svg(figures):
    """Bars of CPU seconds for a million identifiers, one group a case."""
    groups = []
    for case, name in CASES.items():
        bars = [(client, figures.cpu_per_million(case, client)) for client in CLIENTS]
        if bars := [(client, value) for client, value in bars if value]:
            groups.append((name, bars))
    if not groups:
        return None
    longest = max(value for _, bars in groups for _, value in bars)
    scale = (WIDTH - LEFT - RIGHT) / longest
    title = "CPU seconds for a million identifiers, 4 threads"
    parts, y = [], TOP
    for name, bars in groups:
        parts.append(f'<text class="case" x="12" y="{y}">{escape(name)}</text>')
        y += 10
        for client, value in bars:
            kind = client if client in ("ours", "floor") else "bar"
            length = max(value * scale, 1)
            parts.append(f'<text x="{LEFT - 8}" y="{y + 12}" text-anchor="end">{escape(CLIENTS[client])}</text>')
            parts.append(f'<rect class="{kind}" x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR}"/>')
            parts.append(f'<text x="{LEFT + length + 6:.1f}" y="{y + 12}">{value:.3f}</text>')
            y += STEP
        y += GAP - 10
    height = y - GAP + 16
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" aria-label="{escape(title)}">',
        f"<style>{STYLE}</style>",
        f'<text class="title" x="12" y="22">{escape(title)}</text>',
        '<text class="note" x="12" y="40">medians; user and system time of the client alone; less is better</text>',
        *parts,
        "</svg>",
    ]) + "\n"
