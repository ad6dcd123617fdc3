"""The look of a report; part of the file, since a report has to be readable without a network."""

CSS = """
:root { color-scheme:light dark; --ink:#111827; --muted:#5b6472; --line:#e5e7eb; --soft:#f4f6f9;
        --paper:#fff; --ground:#eef1f5; --accent:#2563eb; --good:#15803d; --bad:#b91c1c;
        --code:#0f172a; --on-code:#e2e8f0; --c0:#2563eb; --c1:#c2410c; --c2:#15803d; --c3:#7c3aed;
        --c4:#be185d; --c5:#0e7490; --c6:#a16207; --c7:#4d7c0f; --c8:#6b21a8; --c9:#9f1239; }
@media (prefers-color-scheme:dark) { :root { --ink:#e5e9f0; --muted:#9aa5b5; --line:#2b3442;
        --soft:#1c2430; --paper:#151b24; --ground:#0d1117; --accent:#60a5fa; --good:#4ade80;
        --bad:#f87171; --code:#0b0f16; --on-code:#d5dbe5; --c0:#60a5fa; --c1:#fb923c; --c2:#4ade80;
        --c3:#a78bfa; --c4:#f472b6; --c5:#22d3ee; --c6:#facc15; --c7:#a3e635; --c8:#c084fc;
        --c9:#fb7185; } }
* { box-sizing:border-box; }
html { scroll-behavior:smooth; }
body { margin:0; background:var(--ground); color:var(--ink);
       font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif; }
.skip { position:absolute; left:-9999px; } .skip:focus { left:8px; top:8px; color:#fff; }
.page { max-width:1120px; margin:32px auto; }
.page.listed { max-width:1340px; display:grid; grid-template-columns:200px minmax(0,1fr);
       gap:28px; padding:0 20px; }
nav { position:sticky; top:20px; align-self:start; font-size:13.5px; max-height:95vh;
      overflow-y:auto; }
nav b { display:block; margin:0 0 6px 12px; color:var(--muted); font-weight:600; }
nav ol { list-style:none; margin:0; padding:0; border-left:2px solid var(--line); }
nav a { display:block; padding:4px 10px; margin-left:-2px; color:var(--muted);
        border-left:2px solid transparent; text-decoration:none; overflow-wrap:anywhere; }
nav a:hover,nav a:focus { color:var(--ink); border-color:var(--accent); }
main { background:var(--paper); border-radius:14px; overflow:hidden; min-width:0;
       box-shadow:0 1px 3px rgba(15,23,42,.10),0 12px 40px rgba(15,23,42,.07); }
header { padding:38px 48px 30px; color:#fff; background:linear-gradient(120deg,#0f172a,#1e3a8a); }
header h1 { margin:0 0 6px; font-size:30px; letter-spacing:-.02em; line-height:1.2;
            overflow-wrap:anywhere; }
header p { margin:0; color:#cbd5e1; max-width:75ch; overflow-wrap:anywhere; }
section { padding:30px 48px 6px; scroll-margin-top:10px; }
section:last-of-type { padding-bottom:38px; }
h2 { margin:0 0 4px; font-size:20px; letter-spacing:-.01em; }
h3 { margin:22px 0 6px; font-size:14px; color:var(--muted); font-weight:600; }
p { margin:4px 0 14px; max-width:85ch; overflow-wrap:anywhere; }
.muted { color:var(--muted); }
.banner { margin:24px 48px 0; padding:12px 18px; border-radius:8px; background:var(--soft);
          border-left:5px solid var(--bad); overflow-wrap:anywhere; white-space:pre-wrap; }
.banner.mild { border-color:#f59e0b; }
.cards { display:grid; grid-template-columns:repeat(auto-fit,minmax(165px,1fr)); gap:1px;
         background:var(--line); border-bottom:1px solid var(--line); }
.card { background:var(--paper); padding:20px 24px 18px; min-width:0; }
.card b { display:block; font-size:27px; letter-spacing:-.02em; line-height:1.25;
          font-variant-numeric:tabular-nums; overflow-wrap:anywhere; }
.card span { display:block; font-size:13px; color:var(--muted); overflow-wrap:anywhere; }
.card .label { color:var(--ink); font-weight:600; }
.scroll { overflow-x:auto; margin:8px 0 18px; }
table { border-collapse:collapse; width:100%; font-size:14px; font-variant-numeric:tabular-nums; }
th { text-align:left; font-weight:600; color:var(--muted); border-bottom:2px solid var(--line);
     padding:7px 12px 7px 0; white-space:nowrap; }
td { border-bottom:1px solid var(--line); padding:7px 12px 7px 0; vertical-align:middle;
     overflow-wrap:break-word; min-width:60px; }
td:first-child { min-width:84px; } .facts td:last-child { overflow-wrap:anywhere; }
tr.total td { font-weight:700; border-bottom:none; border-top:2px solid var(--line); }
td:first-child { overflow-wrap:break-word; min-width:84px; }
td.number { white-space:nowrap; overflow-wrap:normal; }
.number { text-align:right; padding-right:20px; }
.columns { display:grid; grid-template-columns:repeat(2,minmax(0,1fr)); gap:8px 36px;
           align-items:start; }
.thirds { display:grid; grid-template-columns:1fr 1.35fr .8fr; gap:8px 32px; align-items:start; }
.swatch { display:inline-block; width:13px; height:13px; border-radius:3px; margin-right:8px;
          vertical-align:-1px; border:1px solid rgba(0,0,0,.25); }
.legend { display:flex; flex-wrap:wrap; gap:4px 18px; margin:6px 0 10px; font-size:13px; }
.legend .key { display:inline-block; width:18px; height:0; border-top:3px solid; margin-right:7px;
               vertical-align:4px; }
.bar { position:relative; height:16px; background:var(--soft); border-radius:4px;
       min-width:90px; }
.bar i { position:absolute; left:0; top:0; bottom:0; border-radius:4px; background:var(--accent); }
.bar u { position:absolute; top:-2px; bottom:-2px; width:3px; border-radius:2px;
         background:#f59e0b; }
.ok { color:var(--good); font-weight:600; } .bad { color:var(--bad); font-weight:600; }
.images { display:grid; gap:8px; margin:8px 0 18px; }
.images .head { font-size:13px; font-weight:600; color:var(--muted); }
.images img { width:100%; display:block; border-radius:6px; image-rendering:pixelated; }
.plot,.sheet { max-width:100%; height:auto; display:block; border-radius:6px; }
.plot { width:100%; background:#fff; }
figure { margin:10px 0 18px; min-width:0; } figcaption { font-size:13px; color:var(--muted); }
svg.chart { width:100%; height:auto; display:block; overflow:visible; }
svg.chart text { fill:var(--muted); font-size:12px; }
svg.chart .grid { stroke:var(--line); stroke-width:1; } svg.chart path { fill:none; }
.matrix { width:auto; } .matrix td { text-align:center; min-width:38px; padding:5px 6px;
  border:1px solid var(--paper); font-size:12.5px;
  background:color-mix(in srgb,var(--accent) calc(var(--share,0)*100%),var(--soft)); }
.matrix td.strong { color:var(--paper); } .matrix th { border:none; padding:5px 10px 5px 0; }
.matrix .top th { writing-mode:vertical-rl; transform:rotate(180deg); padding:8px 5px; }
pre { background:var(--code); color:var(--on-code); padding:12px 16px; border-radius:8px;
      margin:6px 0 14px; font:13px/1.6 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;
      white-space:pre-wrap; overflow-wrap:anywhere; }
details { margin:6px 0 14px; } details pre { max-height:70vh; overflow-y:auto; }
summary { cursor:pointer; color:var(--accent); }
ul.list { margin:6px 0 14px; padding-left:20px; } ul.list li { overflow-wrap:anywhere; }
ol.steps { list-style:none; padding:0; margin:14px 0 6px; counter-reset:step; }
ol.steps > li { counter-increment:step; position:relative; padding:2px 0 0 44px; min-height:28px;
                margin-bottom:10px; }
ol.steps > li::before { content:counter(step); position:absolute; left:0; top:0; width:28px;
      height:28px; border-radius:50%; background:#dbeafe; color:#1e3a8a; font-weight:700;
      font-size:14px; display:grid; place-items:center; }
ol.steps .time { float:right; color:var(--muted); font-size:13px; }
footer { padding:16px 48px 22px; color:var(--muted); font-size:13px; overflow-wrap:anywhere;
         border-top:1px solid var(--line); }
@media (max-width:1000px) { .page.listed { display:block; padding:0; } nav { position:static;
    max-height:none; margin:14px 14px 18px; } nav ol { display:flex; flex-wrap:wrap; border:none; }
    nav b { margin-left:10px; } nav a { border:none; padding:3px 10px; } }
@media (max-width:800px) { .columns,.thirds { grid-template-columns:minmax(0,1fr); }
  header,section,footer { padding-left:22px; padding-right:22px; } .banner { margin:18px 22px 0; }
  .page { margin:0 auto; } main { border-radius:0; } .cards { grid-template-columns:1fr 1fr; }
  .card { padding:14px 16px; } .card b { font-size:21px; } header h1 { font-size:23px; } }
@media print { body { background:#fff; } nav { display:none; } .page.listed { display:block; }
  main { box-shadow:none; margin:0; max-width:none; } }
"""
