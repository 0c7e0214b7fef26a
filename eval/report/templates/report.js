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

// Charts that share a place: the chosen one is shown.  Without this script all of them are.
for (const choice of document.querySelectorAll(".choice")) {
  const select = choice.querySelector("select");
  if (!select) continue;
  const charts = Array.from(choice.querySelectorAll(".chart"));
  const show = () => {
    charts.forEach((chart, index) => { chart.hidden = index !== select.selectedIndex; });
    cue();
  };
  select.addEventListener("change", show);
  charts.forEach((chart, index) => { chart.hidden = index !== select.selectedIndex; });
}

// Lines: what is pointed at or tapped is read below; a line that is chosen in the legend stands out.
for (const chart of document.querySelectorAll(".chart")) {
  const readout = chart.querySelector(".readout");
  for (const stop of chart.querySelectorAll("rect[data-text]")) {
    for (const event of ["pointerenter", "click"]) {
      stop.addEventListener(event, () => { readout.textContent = stop.dataset.text; });
    }
  }
  const lines = Array.from(chart.querySelectorAll("g.line"));
  const buttons = Array.from(chart.querySelectorAll(".legend button"));
  buttons.forEach((button, index) => {
    button.addEventListener("click", () => {
      const chosen = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(chosen));
      lines[index].classList.toggle("chosen", chosen);
      const any = buttons.some((other) => other.getAttribute("aria-pressed") === "true");
      chart.classList.toggle("following", any);
    });
  });
}

// Wide tables fade out where there is more to scroll to, and say so.
const wide = Array.from(document.querySelectorAll(".scroll"));

function cue() {
  for (const box of wide) {
    const more = box.scrollWidth - box.clientWidth;
    box.classList.toggle("wide", more > 1);
    box.classList.toggle("more", more - box.scrollLeft > 1);
    if (more > 1) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}

for (const box of wide) box.addEventListener("scroll", cue, { passive: true });
for (const details of document.querySelectorAll("details")) details.addEventListener("toggle", cue);
window.addEventListener("resize", cue);
cue();
