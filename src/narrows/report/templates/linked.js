// Linked charts: a model that is picked in a chart, in the bar, or by the arrow keys of a chart is
// highlighted in every chart and table of the page.
const isLinked = spec => (spec.params ?? []).some(param => param.name === "picked_method");
const linkedNames = Object.keys(charts).filter(name => isLinked(charts[name]));
const betasOf = new Map();  // by method
for (const row of linkedNames.flatMap(name => collect(charts[name])))
  if (typeof row.method === "string" && typeof row.beta === "number")
    betasOf.set(row.method, (betasOf.get(row.method) ?? new Set()).add(row.beta));
for (const [method, betas] of betasOf) betasOf.set(method, [...betas].sort((a, b) => a - b));

const bar = document.getElementById("pick");
const [methodChoice, betaChoice] = bar.querySelectorAll("select");
const resultTables = [...document.querySelectorAll("table.results")].filter(table =>
  namesOf(table).includes("method") && namesOf(table).includes("beta"));
const picked = {method: null, beta: null}, views = new Map();

function namesOf(table) { return [...table.tHead.rows[0].cells].map(cell => cell.textContent.trim()); }

function offer(select, values, chosen) {
  select.replaceChildren(new Option("all", ""), ...values.map(value => new Option(value, value)));
  select.value = chosen ?? "";
}

function pick(method, beta) {
  if (method !== null && !betasOf.get(method).includes(beta)) beta = null;
  Object.assign(picked, {method, beta});
  for (const view of views.values()) highlight(view);
  const all = [...new Set([...betasOf.values()].flat())].sort((a, b) => a - b);
  offer(methodChoice, [...betasOf.keys()], method);
  offer(betaChoice, method === null ? all : betasOf.get(method), beta);
  const nothing = method === null && beta === null;
  bar.querySelector("button").disabled = nothing;
  for (const table of resultTables)
    for (const row of table.tBodies[0].rows)
      row.classList.toggle("picked", !nothing && matches(row, namesOf(table)));
  bar.querySelector("output").textContent = nothing
    ? "Or click on a point, or focus a chart and press the arrow keys." : described();
}

function matches(row, names) {
  const [method, beta] = ["method", "beta"].map(name => row.cells[names.indexOf(name)].textContent.trim());
  return (picked.method ?? method) === method
    && (picked.beta === null || Math.abs(beta - picked.beta) <= 1e-5 * Math.abs(picked.beta));
}

// The columns of the page's first table, of the picked model's row in its last.
function described() {
  if (resultTables.length < 2 || picked.method === null || picked.beta === null) return "";
  const last = resultTables.at(-1), names = namesOf(last);
  const row = [...last.tBodies[0].rows].find(each => matches(each, names));
  return namesOf(resultTables[0]).slice(3).filter(name => row && names.includes(name))
    .map(name => `${name}: ${row.cells[names.indexOf(name)].textContent.trim()}`).join(" · ");
}

function highlight(view) {
  view.signal("picked_method", picked.method).signal("picked_beta", picked.beta).runAsync();
}

function clicked(event, item) {
  const role = item?.mark?.role ?? "", type = item?.mark?.marktype, row = item?.datum ?? {};
  if (role.startsWith("legend")) {
    if (betasOf.has(row.value)) toggle(row.value, null);
  } else if (type === "group" || !betasOf.has(row.method)) pick(null, null);
  else toggle(row.method, ["line", "area"].includes(type) ? null : row.beta ?? null);
}

function toggle(method, beta) {
  const again = picked.method === method && picked.beta === beta;
  pick(again ? null : method, again ? null : beta);
}

function step(values, current, by) {
  return values[(values.indexOf(current) + by + values.length + (current === null && by < 0)) % values.length];
}

function pressed(event) {
  if (event.target !== event.currentTarget) return;  // the controls below a chart have keys of their own
  const by = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1}[event.key];
  if (event.key === "Escape") pick(null, null);
  else if (["ArrowUp", "ArrowDown"].includes(event.key))
    pick(step([...betasOf.keys()], picked.method, by), null);
  else if (by) {
    const swept = [...betasOf.keys()].find(name => betasOf.get(name).length > 1);
    const method = picked.method ?? swept ?? [...betasOf.keys()][0];
    pick(method, step(betasOf.get(method), picked.beta, by));
  } else return;
  event.preventDefault();
}

// Called for every view that is drawn, again after a change of the window's size.
function link(name, view) {
  if (!linkedNames.includes(name)) return;
  views.set(name, view);
  view.addEventListener("click", clicked);
  highlight(view);
}

// Legends of Vega-Lite take no clicks unless the compiled chart says so.
function clickable(part) {
  for (const legend of part.legends ?? [])
    for (const entry of ["symbols", "labels"])
      legend.encode = {...legend.encode, [entry]: {
        ...legend.encode?.[entry], interactive: true,
        update: {...legend.encode?.[entry]?.update, cursor: {value: "pointer"}}}};
  for (const inner of part.marks ?? []) clickable(inner);
  return part;
}

if (betasOf.size) {
  document.getElementById(linkedNames[0]).before(bar);
  bar.hidden = false;
  pick(null, null);
  methodChoice.addEventListener("change", () => pick(methodChoice.value || null, picked.beta));
  betaChoice.addEventListener("change", () =>
    pick(picked.method, betaChoice.value === "" ? null : Number(betaChoice.value)));
  bar.querySelector("button").addEventListener("click", () => pick(null, null));
  for (const name of linkedNames) {
    const place = document.getElementById(name);
    place.tabIndex = 0;
    place.addEventListener("keydown", pressed);
  }
}
