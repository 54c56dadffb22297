// Shortcuts, marks for a comparison. Every page works without it.
(() => {
  "use strict";
  const OFF = "runvis.keys.off";
  const MARKS = "runvis.marks";
  const read = (store, key, otherwise) => {
    try {
      return JSON.parse(store.getItem(key)) ?? otherwise;
    } catch {
      return otherwise;
    }
  };
  const write = (store, key, value) => {
    try {
      store.setItem(key, JSON.stringify(value));
    } catch {
      // A browser that keeps nothing: the page goes on without.
    }
  };
  const said = document.querySelector(".said");
  const help = document.querySelector("dialog");
  // Of each row the first link: it leads to what the row is about.
  const rows = () =>
    [...document.querySelectorAll("tr[data-run], tr[data-row], .results li")]
      .map((row) => row.querySelector("th a.go, a.go"))
      .filter(Boolean);
  const say = (text) => {
    said.textContent = text;
  };

  const step = (by) => {
    const all = rows();
    if (!all.length) return;
    const at = all.findIndex((link) => link.closest("tr, li")?.contains(document.activeElement));
    const next = at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, at + by));
    all[next].focus();
    all[next].scrollIntoView({ block: "nearest" });
  };

  const showMarks = () => {
    const marks = read(sessionStorage, MARKS, []);
    for (const row of document.querySelectorAll("tr[data-run]")) {
      row.classList.toggle("marked", marks.includes(row.dataset.run));
    }
  };

  const mark = () => {
    const here = document.activeElement?.closest("[data-run]") ?? document.querySelector("main[data-run]");
    if (!here) {
      say("Go to a run with j or k, then press c to mark it for a comparison.");
      return;
    }
    const run = here.dataset.run;
    const marks = read(sessionStorage, MARKS, []).filter((known) => known !== run);
    marks.push(run);
    if (marks.length > 1) {
      write(sessionStorage, MARKS, []);
      const [first, second] = marks.slice(-2);
      location.href = `/compare?left=${encodeURIComponent(first)}&right=${encodeURIComponent(second)}`;
      return;
    }
    write(sessionStorage, MARKS, marks);
    showMarks();
    say("Marked. Press c at another run to compare the two.");
  };

  const asOf = () => {
    const control = document.querySelector(".asof");
    if (!control) return;
    control.open = true;
    control.querySelector("input").focus();
  };

  const KEYS = {
    j: () => step(1),
    k: () => step(-1),
    c: mark,
    t: asOf,
    "/": () => document.querySelector("#q")?.focus(),
    "?": () => (help.open ? help.close() : help.showModal()),
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (event.target.closest("input:not([type=checkbox]), select, textarea, [contenteditable]")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (event.key !== "?" && read(localStorage, OFF, false)) return;
    const act = KEYS[event.key];
    if (!act || (help.open && event.key !== "?")) return;
    event.preventDefault();
    act();
  });

  // Cells of a grid: one place in the order of tabs, arrows within.
  for (const grid of document.querySelectorAll("table.grid")) {
    const cells = [...grid.querySelectorAll("tbody a")];
    if (!cells.length) continue;
    const place = (link) => {
      for (const cell of cells) cell.tabIndex = cell === link ? 0 : -1;
    };
    place(cells[cells.length - 1]);
    grid.addEventListener("keydown", (event) => {
      const cell = event.target.closest("td");
      if (!cell) return;
      const row = cell.parentElement;
      const beside = {
        ArrowLeft: () => cell.previousElementSibling,
        ArrowRight: () => cell.nextElementSibling,
        ArrowUp: () => row.previousElementSibling?.cells[cell.cellIndex],
        ArrowDown: () => row.nextElementSibling?.cells[cell.cellIndex],
      }[event.key];
      const link = beside?.()?.querySelector("a");
      if (!link) return;
      event.preventDefault();
      place(link);
      link.focus();
    });
    grid.parentElement.scrollLeft = grid.parentElement.scrollWidth;
  }

  const off = help.querySelector("input");
  off.checked = !read(localStorage, OFF, false);
  off.addEventListener("change", () => write(localStorage, OFF, !off.checked));
  help.querySelector("button").addEventListener("click", () => help.close());
  for (const button of document.querySelectorAll("[data-help]")) {
    button.hidden = false;
    button.addEventListener("click", () => help.showModal());
  }
  showMarks();
})();
