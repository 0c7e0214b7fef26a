"use strict";

// Sorting: a click on a column's title sorts by it, a second one the other way round.  Cells without a value go last.
function sortBy(table, column, ascending) {
  const rows = Array.from(table.tBodies[0].rows);
  const key = (row) => {
    const cell = row.cells[column];
    return "value" in cell.dataset ? Number(cell.dataset.value) : cell.textContent.trim();
  };
  const missing = (value) => value === "" || value === "–";
  rows.sort((first, second) => {
    const a = key(first), b = key(second);
    if (missing(a) || missing(b)) return missing(a) - missing(b);
    const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
    return ascending ? order : -order;
  });
  table.tBodies[0].append(...rows);
}

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = Array.from(table.tHead.rows[0].cells);
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const ascending = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      sortBy(table, column, ascending);
    });
  });
}

// Figures: text, grid and the lines marked as ink follow the reader's light or dark scheme.
const dark = window.matchMedia("(prefers-color-scheme: dark)");

function schemed(figure) {
  const ink = dark.matches ? "#e8e8e8" : "#1a1a1a";
  const grid = dark.matches ? "#3a3a3a" : "#e2e2e2";
  const { data, layout } = structuredClone(figure);
  for (const trace of data) {
    if (trace.meta && trace.meta.ink) {
      trace.line.color = ink;
      trace.marker.color = ink;
    }
  }
  layout.modebar = { bgcolor: "rgba(0,0,0,0)", color: "#909090", activecolor: ink };
  layout.font = { family: "system-ui, sans-serif", color: ink };
  for (const name of ["xaxis", "yaxis"]) {
    layout[name] = { ...layout[name], gridcolor: grid, linecolor: grid, automargin: true };
  }
  return { data, layout };
}

// No buttons that would send a figure elsewhere.
const OPTIONS = {
  responsive: true,
  displaylogo: false,
  modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
};

function drawAll() {
  for (const source of document.querySelectorAll("script.figure-data")) {
    const { data, layout } = schemed(JSON.parse(source.textContent));
    Plotly.react(source.dataset.for, data, layout, OPTIONS);
  }
}

if (window.Plotly) {
  drawAll();
  dark.addEventListener("change", drawAll);
}
