"""The look of a report; part of the file, since a report has to be readable without a network."""

CSS = """
:root { --ink:#111827; --muted:#6b7280; --line:#e5e7eb; --soft:#f8fafc; --accent:#2563eb;
        --good:#15803d; --bad:#b91c1c; }
* { box-sizing:border-box; }
body { margin:0; background:#eef1f5; color:var(--ink); line-height:1.55;
       font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif; }
main { max-width:1120px; margin:32px auto; background:#fff; border-radius:14px; overflow:hidden;
       box-shadow:0 1px 3px rgba(15,23,42,.10),0 12px 40px rgba(15,23,42,.07); }
header { padding:38px 48px 30px; color:#fff; background:linear-gradient(120deg,#0f172a,#1e3a8a); }
header h1 { margin:0 0 6px; font-size:30px; letter-spacing:-.02em; line-height:1.2; }
header p { margin:0; color:#cbd5e1; max-width:75ch; }
section { padding:30px 48px 6px; }
section:last-of-type { padding-bottom:38px; }
h2 { margin:0 0 4px; font-size:20px; letter-spacing:-.01em; }
h3 { margin:22px 0 6px; font-size:14px; color:var(--muted); font-weight:600; }
p { margin:4px 0 14px; max-width:85ch; }
.muted { color:var(--muted); }
.cards { display:grid; grid-template-columns:repeat(auto-fit,minmax(165px,1fr)); gap:1px;
         background:var(--line); border-bottom:1px solid var(--line); }
.card { background:#fff; padding:20px 24px 18px; }
.card b { display:block; font-size:27px; letter-spacing:-.02em; line-height:1.25;
          font-variant-numeric:tabular-nums; white-space:nowrap; }
.card span { display:block; font-size:13px; color:var(--muted); }
.card .label { color:var(--ink); font-weight:600; }
table { border-collapse:collapse; width:100%; margin:8px 0 18px; font-size:14px;
        font-variant-numeric:tabular-nums; }
th { text-align:left; font-weight:600; color:var(--muted); border-bottom:2px solid var(--line);
     padding:7px 12px 7px 0; white-space:nowrap; }
td { border-bottom:1px solid var(--line); padding:7px 12px 7px 0; vertical-align:middle; }
tr.total td { font-weight:700; border-bottom:none; border-top:2px solid var(--line); }
.number { text-align:right; padding-right:20px; }
.columns { display:grid; grid-template-columns:1fr 1fr; gap:8px 36px; align-items:start; }
.thirds { display:grid; grid-template-columns:1fr 1.35fr .8fr; gap:8px 32px; align-items:start; }
.swatch { display:inline-block; width:13px; height:13px; border-radius:3px; margin-right:8px;
          vertical-align:-1px; border:1px solid rgba(0,0,0,.25); }
.legend { display:flex; flex-wrap:wrap; gap:6px 18px; margin:6px 0 14px; font-size:13.5px; }
.bar { position:relative; height:16px; background:#eef2f7; border-radius:4px; min-width:220px; }
.bar i { position:absolute; left:0; top:0; bottom:0; border-radius:4px; background:var(--accent); }
.bar u { position:absolute; top:-2px; bottom:-2px; width:3px; border-radius:2px;
         background:#f59e0b; }
.ok { color:var(--good); font-weight:600; } .bad { color:var(--bad); font-weight:600; }
.images { display:grid; gap:8px; margin:8px 0 18px; }
.images .head { font-size:13px; font-weight:600; color:var(--muted); }
.images img { width:100%; display:block; border-radius:6px; image-rendering:pixelated; }
.plot { width:100%; height:auto; display:block; }
pre { background:#0f172a; color:#e2e8f0; padding:12px 16px; border-radius:8px; overflow-x:auto;
      margin:6px 0 14px; font:13px/1.6 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;
      white-space:pre-wrap; overflow-wrap:anywhere; }
ol.steps { list-style:none; padding:0; margin:14px 0 6px; counter-reset:step; }
ol.steps > li { counter-increment:step; position:relative; padding:2px 0 0 44px; min-height:28px;
                margin-bottom:10px; }
ol.steps > li::before { content:counter(step); position:absolute; left:0; top:0; width:28px;
      height:28px; border-radius:50%; background:#dbeafe; color:#1e3a8a; font-weight:700;
      font-size:14px; display:grid; place-items:center; }
ol.steps .time { float:right; color:var(--muted); font-size:13px; }
footer { padding:16px 48px 22px; color:var(--muted); font-size:13px;
         border-top:1px solid var(--line); }
@media (max-width:800px) { .columns,.thirds { grid-template-columns:1fr; }
  header,section,footer { padding-left:22px; padding-right:22px; } .bar { min-width:90px; } }
@media print { body { background:#fff; } main { box-shadow:none; margin:0; max-width:none; } }
"""
