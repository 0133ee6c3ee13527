/* Charts, each drawn from the table that stands behind it: <figure data-chart="…" …><table>…. */
"use strict";

/* The cells of a table's body: numbers where they are numbers. */
function rowsOf(table) {
  return [...table.tBodies[0].rows].map((row) =>
    [...row.cells].map((cell) => {
      const text = cell.dataset.value ?? cell.textContent.trim();
      return text !== "" && !Number.isNaN(Number(text)) ? Number(text) : text;
    }));
}

const accent = "var(--accent)", soft = "var(--soft)", line = "var(--line)";

const CHARTS = {
  /* Name, value, low, high. */
  intervals: (rows, width, figure) => ({
    width, height: 34 * rows.length + 40, marginLeft: Math.min(180, width / 3), x: { grid: true, label: null, nice: true }, y: { label: null, domain: rows.map((row) => row[0]) },
    marks: [
      ...("zero" in figure.dataset ? [Plot.ruleX([0], { stroke: soft })] : []),
      Plot.ruleY(rows.filter((row) => row[2] !== ""), { y: (row) => row[0], x1: (row) => row[2], x2: (row) => row[3], stroke: accent, strokeWidth: 3, strokeOpacity: 0.45 }),
      Plot.dot(rows, { y: (row) => row[0], x: (row) => row[1], fill: accent, r: 5 }),
    ],
  }),
  /* Claimed probability, share that is right, count. */
  reliability: (rows, width) => ({
    width: Math.min(width, 420), height: Math.min(width, 400), x: { domain: [0, 1], label: "the judge’s probability of a pass →" }, y: { domain: [0, 1], grid: true, label: "↑ share that people pass" }, r: { range: [3, 12] },
    marks: [
      Plot.line([[0, 0], [1, 1]], { stroke: soft, strokeDasharray: "4 4" }),
      Plot.dot(rows, { x: (row) => row[0], y: (row) => row[1], r: (row) => row[2], fill: accent, fillOpacity: 0.7 }),
    ],
  }),
  /* Threshold, and three shares, each with low and high; their names are those of the columns. */
  curve: (rows, width, figure) => {
    const names = [...figure.querySelectorAll("thead th[data-line]")].map((cell) => cell.textContent), strokes = [accent, "var(--open)", "var(--fail)"];
    const marks = names.flatMap((name, place) => {
      const at = 1 + 3 * place, known = rows.filter((row) => row[at] !== "");
      return [
        Plot.areaY(known.filter((row) => row[at + 1] !== ""), { x: (row) => row[0], y1: (row) => row[at + 1], y2: (row) => row[at + 2], fill: strokes[place], fillOpacity: 0.12 }),
        Plot.line(known, { x: (row) => row[0], y: (row) => row[at], stroke: strokes[place], strokeWidth: 2, strokeDasharray: ["", "6 3", "2 3"][place], marker: "dot" }),
        Plot.text(known.slice(-1), { x: (row) => row[0], y: (row) => row[at], text: () => name, fill: strokes[place], textAnchor: "start", dx: 8 }),
      ];
    });
    if (figure.dataset.chosen) marks.push(Plot.ruleX([Number(figure.dataset.chosen)], { stroke: soft, strokeDasharray: "4 4" }));
    return { width, height: 260, marginRight: 80, x: { label: "threshold →" }, y: { domain: [0, 1], grid: true, label: null }, marks };
  },
  /* Time, mean, low, high. */
  hours: (rows, width) => {
    const points = rows.map(([at, ...rest]) => [new Date(at), ...rest]), bounded = points.filter((row) => row[2] !== "");
    return {
      width, height: 240, x: { type: "utc", label: null }, y: { domain: [0, 1], grid: true, label: null },
      marks: [
        Plot.areaY(bounded, { x: (row) => row[0], y1: (row) => row[2], y2: (row) => row[3], fill: accent, fillOpacity: 0.15 }),
        Plot.ruleX(bounded, { x: (row) => row[0], y1: (row) => row[2], y2: (row) => row[3], stroke: accent, strokeOpacity: 0.45, strokeWidth: 3 }),
        Plot.line(points, { x: (row) => row[0], y: (row) => row[1], stroke: accent, strokeWidth: 2 }),
        Plot.dot(points, { x: (row) => row[0], y: (row) => row[1], fill: accent, r: 4 }),
      ],
    };
  },
  /* Name, count. */
  bars: (rows, width) => ({
    width: Math.min(width, 480), height: 200, x: { label: null, domain: rows.map((row) => row[0]) }, y: { grid: true, label: null },
    marks: [Plot.barY(rows, { x: (row) => row[0], y: (row) => row[1], fill: accent, inset: 1 }), Plot.ruleY([0], { stroke: line })],
  }),
};

function draw(figure) {
  const table = figure.querySelector("table");
  if (!table?.tBodies[0]?.rows.length) return;
  const chart = Plot.plot({ ...CHARTS[figure.dataset.chart](rowsOf(table), figure.clientWidth || 600, figure), style: { background: "none", fontSize: "12px" } });
  chart.querySelectorAll("style").forEach((style) => style.remove()); // the page allows none but its own
  chart.setAttribute("aria-hidden", "true");
  figure.querySelector("svg")?.remove();
  figure.prepend(chart);
}

const drawAll = () => document.querySelectorAll("figure[data-chart]").forEach(draw);
document.addEventListener("DOMContentLoaded", drawAll);
document.addEventListener("htmx:after:settle", drawAll);
let resizing;
addEventListener("resize", () => { clearTimeout(resizing); resizing = setTimeout(drawAll, 150); });
