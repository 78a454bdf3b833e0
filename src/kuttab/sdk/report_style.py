"""The style sheet and the script of the report page. Both are constant text: nothing of a user's ever gets into them."""

from __future__ import annotations

from kuttab.sdk import plots_style

PAGE = """
:root{color-scheme:light dark;--back:#f6f7f9;--card:#fff;--ink:#1d2430;--dim:#667085;--edge:#e1e4ea;
--good:#1f7a53;--bad:#b8324a;--warn:#96630a}
@media (prefers-color-scheme:dark){:root{--back:#0d0f13;--card:#14171c;--ink:#e8eaee;--dim:#98a2b3;--edge:#2a2f38;
--good:#4cc38a;--bad:#f07489;--warn:#e2ab49}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--ink);font:14px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}
main{max-width:1240px;margin:0 auto;padding:28px 20px 60px}
h1{font-size:24px;margin:0 0 4px;overflow-wrap:anywhere}h2{font-size:16px;margin:34px 0 12px}
.sub{color:var(--dim);margin:0 0 20px}
.chip{display:inline-block;border:1px solid currentColor;border-radius:99px;
padding:0 10px;font-size:12px;font-weight:600;vertical-align:3px;margin-left:8px}
.good{color:var(--good)}.bad{color:var(--bad)}.warn{color:var(--warn)}.dim{color:var(--dim)}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(200px,1fr));gap:14px}
.card{background:var(--card);border:1px solid var(--edge);border-radius:10px;padding:14px 16px;min-width:0}
.card h3{margin:0 0 6px;font-size:12px;font-weight:600;color:var(--dim)}
.big{font-size:26px;font-weight:650;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
.plots{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:14px}
.plots .card{padding:6px;display:flex;align-items:center}.plots .wide{grid-column:1/-1}
@media (max-width:860px){.plots{grid-template-columns:1fr}}
.plots svg{width:100%;height:auto;display:block}
.scroll{overflow:auto;max-height:640px;border:1px solid var(--edge);border-radius:10px;background:var(--card)}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
td,th{padding:5px 12px;text-align:left;white-space:nowrap;border-bottom:1px solid var(--edge)}
td.long{white-space:normal;overflow-wrap:anywhere;min-width:220px;max-width:520px}
.scroll th{position:sticky;top:0;background:var(--card);font-size:12px;color:var(--dim)}
th button{all:unset;cursor:pointer}th button:focus-visible{outline:2px solid currentColor}
th[aria-sort=ascending] button::after{content:" \\2191"}th[aria-sort=descending] button::after{content:" \\2193"}
.card td.dim{white-space:nowrap}@media (min-width:860px){.broad{grid-column:span 2}}
.card table td{padding:3px 14px 3px 0;border:0;white-space:normal;overflow-wrap:anywhere}
pre{margin:8px 0 0;padding:10px;overflow:auto;max-height:300px;background:var(--back);border-radius:8px;
font:12px/1.45 ui-monospace,Menlo,Consolas,monospace}
details{margin-bottom:10px}summary{cursor:pointer}
#tip{position:fixed;z-index:9;pointer-events:none;white-space:pre-line;max-width:340px;padding:8px 11px;border-radius:8px;font-size:12px;
background:var(--ink);color:var(--card);overflow-wrap:anywhere;box-shadow:0 4px 18px rgba(0,0,0,.25)}
@media print{.scroll{max-height:none}}
"""

SCRIPT = """
(function () {
  "use strict";
  var tip = document.getElementById("tip");
  function find(node) {
    while (node && node.nodeType === 1) {
      if (node.dataset && node.dataset.tip) { return node.dataset.tip; }
      var first = node.firstElementChild;
      if (first && first.tagName === "title" && node.tagName !== "svg") {
        node.dataset.tip = first.textContent;
        first.remove();
        return node.dataset.tip;
      }
      node = node.parentNode;
    }
    return "";
  }
  document.addEventListener("mousemove", function (event) {
    var text = find(event.target);
    tip.hidden = !text;
    if (!text) { return; }
    tip.textContent = text;
    var x = event.clientX + 14, y = event.clientY + 14;
    if (x + tip.offsetWidth > innerWidth) { x = event.clientX - tip.offsetWidth - 14; }
    if (y + tip.offsetHeight > innerHeight) { y = event.clientY - tip.offsetHeight - 14; }
    tip.style.left = Math.max(0, x) + "px";
    tip.style.top = Math.max(0, y) + "px";
  });
  document.querySelectorAll("table.sort th button").forEach(function (button) {
    button.addEventListener("click", function () {
      var head = button.parentNode, table = head.closest("table"), body = table.tBodies[0];
      var column = Array.prototype.indexOf.call(head.parentNode.children, head);
      var down = head.getAttribute("aria-sort") === "ascending";
      table.querySelectorAll("th").forEach(function (other) { other.removeAttribute("aria-sort"); });
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      var rows = Array.prototype.slice.call(body.rows).map(function (row) {
        var text = row.cells[column].textContent, number = text === "" ? NaN : Number(text);
        return { row: row, text: text, number: number };
      });
      rows.sort(function (a, b) {
        var order;
        if (isNaN(a.number) !== isNaN(b.number)) { return isNaN(a.number) ? 1 : -1; }
        order = isNaN(a.number) ? a.text.localeCompare(b.text) : a.number - b.number;
        return down ? -order : order;
      });
      rows.forEach(function (item) { body.appendChild(item.row); });
    });
  });
})();
"""


def sheet() -> str:
    """The style sheet of the page and its plots."""
    return PAGE + plots_style.sheet()
