// Charts as wide as the page and in its colours, tables that sort and can be copied.
const DARK = matchMedia("(prefers-color-scheme: dark)");
const LIGHTER = {  // of colours that a dark page would swallow
  "#000000": "#f2f2f2", "#333333": "#cccccc", "#0072B2": "#4aa8e0", "#332288": "#9d8df0",
  "#661100": "#d9896a", "#117733": "#5fbf77", "#882255": "#d778a8", "#AA4499": "#d68bc9",
};
const LEGEND = 150, AXIS = 72, NARROW = 700, HIGHEST = 420;

function panelsOf(spec) {
  const field = spec.facet.column?.field ?? spec.facet.field;
  const values = JSON.stringify(spec).match(/"values": ?\[/) ? collect(spec) : [];
  return Math.max(1, new Set(values.map(row => row[field]).filter(v => v !== undefined)).size);
}

function collect(part) {
  if (Array.isArray(part)) return part.flatMap(collect);
  if (part === null || typeof part !== "object") return [];
  if (Array.isArray(part.data?.values)) return part.data.values;
  return Object.entries(part).filter(([key]) => key !== "encoding").flatMap(([, v]) => collect(v));
}

// A new width, and the height that keeps the chart's shape; that of bars follows from their number.
function resized(unit, width) {
  if (typeof unit.width !== "number") return;
  const shape = unit.height / unit.width, first = unit.layer?.[0] ?? unit;
  unit.width = Math.max(120, Math.floor(width));
  if (first.encoding?.y?.type !== "nominal")
    unit.height = Math.floor(Math.min(unit.width * shape, Math.max(unit.height, HIGHEST)));
}

function fitted(original, room) {
  const spec = structuredClone(original), narrow = room < NARROW;
  if (narrow) {
    const layout = {bottom: {direction: "vertical", anchor: "start"}};
    spec.config.legend = {...spec.config.legend, orient: "bottom", columns: 2, layout};
  }
  fill(spec, room - (narrow ? 0 : LEGEND), narrow);
  return spec;
}

// Give a chart, and every chart in it, its share of `left` pixels; panels that do not fit go below.
function fill(part, left, narrow) {
  if (part.facet?.row) {
    const panels = part.facet.column ? panelsOf(part) : 1;
    resized(part.spec, Math.min(left / panels - AXIS / 2, 420));
  } else if (part.facet) {
    const panels = panelsOf(part), most = Math.max(1, Math.min(panels, Math.floor(left / 230)));
    if (part.facet.column && most < panels) part.facet = part.facet.column;
    if (!part.facet.column) part.columns = most;
    resized(part.spec, Math.min(left / most - AXIS, 760));
  } else if (part.hconcat) {
    if (narrow) { part.vconcat = part.hconcat; delete part.hconcat; }
    for (const inner of part.vconcat ?? part.hconcat)
      fill(inner, narrow ? left : left / part.hconcat.length, narrow);
  } else if (part.vconcat) {
    // A row of fewer charts than the others has charts of the same size.
    const most = Math.max(...part.vconcat.map(inner => inner.hconcat?.length ?? 1));
    for (const inner of part.vconcat)
      fill(inner, narrow || !inner.hconcat ? left : left * inner.hconcat.length / most, narrow);
  } else if (part.concat) {
    part.columns = Math.max(1, Math.min(part.columns ?? 3, Math.floor(left / 230)));
    for (const inner of part.concat) fill(inner, left / part.columns, narrow);
  } else resized(part, left - AXIS);
}

function coloured(spec) {
  if (!DARK.matches) return spec;
  const ink = "#d6d6d6", line = "#3a3f47";
  const text = JSON.stringify(spec).replace(/#[0-9A-Fa-f]{6}/g, hex => LIGHTER[hex] ?? hex);
  const dark = JSON.parse(text), config = dark.config;
  for (const part of ["axis", "legend", "header", "title"])
    config[part] = {...config[part], labelColor: ink, titleColor: ink, color: ink};
  config.axis = {...config.axis, gridColor: line, domainColor: line, tickColor: line};
  config.text = {...config.text, color: ink};
  return dark;
}

function draw() {
  for (const [name, spec] of Object.entries(charts)) {
    const place = document.getElementById(name);
    const shown = coloured(fitted(spec, place.clientWidth));
    shown.background = "transparent";
    vegaEmbed(place, shown, {
      renderer: "svg",
      actions: {source: false, compiled: false, editor: false},
      patch: clickable,
    }).then(({view}) => {
      place.querySelector("summary")?.setAttribute("aria-label", "Save this chart");
      link(name, view);
    });
  }
}

let waiting, lastWidth = document.body.clientWidth;
addEventListener("resize", () => {
  if (document.body.clientWidth === lastWidth) return;  // a phone hides its address bar
  lastWidth = document.body.clientWidth;
  clearTimeout(waiting);
  waiting = setTimeout(draw, 200);
});
DARK.addEventListener("change", draw);

// Tables ------------------------------------------------------------------------------------

const rowsOf = table => [...table.rows].map(row => [...row.cells].map(c => c.textContent.trim()));

function csv(rows) {
  const quoted = cell => /[",\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
  return rows.map(row => row.map(quoted).join(",")).join("\n") + "\n";
}

function latex(rows) {
  const escaped = cell => cell.replace(/[\\{}]/g, "\\$&").replace(/[&%$#_]/g, "\\$&")
    .replaceAll("±", "$\\pm$").replaceAll("²", "$^2$");
  const lines = rows.map(row => row.map(escaped).join(" & ") + " \\\\");
  const columns = "l" + "r".repeat(rows[0].length - 1);
  return [`\\begin{tabular}{${columns}}`, "\\toprule", lines[0], "\\midrule", ...lines.slice(1),
          "\\bottomrule", "\\end{tabular}"].join("\n") + "\n";
}

async function copy(text, button) {
  const label = button.textContent;
  try { await navigator.clipboard.writeText(text); }
  catch {  // a page that was opened from a file
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    button.focus();
  }
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = label; }, 1500);
}

function sort(table, column, heading) {
  const rising = heading.getAttribute("aria-sort") !== "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", rising ? "ascending" : "descending");
  const value = row => row.cells[column].textContent.trim();
  const compare = (a, b) => {
    const x = parseFloat(value(a)), y = parseFloat(value(b));
    if (Number.isNaN(x) && Number.isNaN(y)) return value(a).localeCompare(value(b));
    if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
    return x - y;
  };
  const body = table.tBodies[0], sorted = [...body.rows].sort(compare);
  body.append(...(rising ? sorted : sorted.reverse()));
}

for (const table of document.querySelectorAll("table.results")) {
  for (const [column, heading] of [...table.tHead.rows[0].cells].entries())
    heading.querySelector("button").addEventListener("click", () => sort(table, column, heading));
  const tools = table.closest("figure").querySelectorAll(".tools button");
  tools[0].addEventListener("click", () => copy(csv(rowsOf(table)), tools[0]));
  tools[1].addEventListener("click", () => copy(latex(rowsOf(table)), tools[1]));
}
