// Shortcuts, marks for a comparison, live pages. Every page works without it.
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
    if (!control) {
      say("This page tells of now alone: no other moment can be chosen here.");
      return;
    }
    control.open = true;
    control.querySelector("input").focus();
  };

  // What was looked for last is typed over.
  const goSearch = () => {
    const field = document.querySelector("#q");
    field?.focus();
    field?.select();
  };

  const KEYS = {
    j: () => step(1),
    k: () => step(-1),
    c: mark,
    t: asOf,
    "/": goSearch,
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

  // Cells of a grid: one place in the order of tabs; arrows, Home and End within.
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
      const left = (one) => one.previousElementSibling;
      const right = (one) => one.nextElementSibling;
      const up = (one) => one.parentElement.previousElementSibling?.cells[one.cellIndex];
      const down = (one) => one.parentElement.nextElementSibling?.cells[one.cellIndex];
      const { cells: row } = cell.parentElement;
      const [first, step] = {
        ArrowLeft: [left(cell), left],
        ArrowRight: [right(cell), right],
        ArrowUp: [up(cell), up],
        ArrowDown: [down(cell), down],
        Home: [row[0], right],
        End: [row[row.length - 1], left],
      }[event.key] ?? [];
      // An empty cell is passed over.
      let beside = first;
      while (beside && !beside.querySelector("a")) beside = step(beside);
      const link = beside?.querySelector("a");
      if (!link) return;
      event.preventDefault();
      place(link);
      link.focus();
    });
  }

  // A live page: the log's stream says when to ask for the same page again. Only what the page says is put in place;
  // where the person is stays as it is.
  const main = document.querySelector("main[data-live]");
  const placeOf = (link) => ({
    id: link.id,
    href: link.getAttribute("href"),
    run: link.closest("[data-run]")?.dataset.run,
  });
  const findAgain = ({ id, href, run }) => {
    const row = run && [...main.querySelectorAll("[data-run]")].find((one) => one.dataset.run === run);
    const same = (link) => link.getAttribute("href") === href;
    const links = [...main.querySelectorAll("a")];
    return (
      (id && document.getElementById(id)) ||
      (row && ([...row.querySelectorAll("a")].find(same) ?? row.querySelector("a"))) ||
      links.find(same)
    );
  };
  const put = (next) => {
    const focused = main.contains(document.activeElement) && document.activeElement !== main;
    const place = focused ? placeOf(document.activeElement) : null;
    const inView = [...main.querySelectorAll("tr[data-run]")].find((row) => row.getBoundingClientRect().top >= 0);
    const anchor = place ?? (scrollY > 0 && inView ? { run: inView.dataset.run } : null);
    const before = anchor && findAgain(anchor)?.getBoundingClientRect().top;
    const opened = new Map([...main.querySelectorAll("details")].map((one, at) => [at, one.open]));
    main.replaceChildren(...next.childNodes);
    [...main.querySelectorAll("details")].forEach((one, at) => {
      one.open = opened.get(at) ?? one.open;
    });
    const again = anchor && findAgain(anchor);
    if (place && again) again.focus({ preventScroll: true });
    if (again && before !== undefined) scrollBy(0, again.getBoundingClientRect().top - before);
    showMarks();
  };

  if (main) {
    const sign = document.querySelector(".live span");
    const LEAST_REST = 250; // ms
    const AGES = 60000; // ms: what is late or silent is so without a new entry, too
    let address = main.dataset.live;
    let stream = null;
    let stale = false;
    let busy = false;
    const end = (why) => {
      stream?.close();
      stream = null;
      sign.textContent = why;
    };
    const ask = async () => {
      // Who types in the page's form or marks text in it is not disturbed; asked again at the next change.
      const typing = main.querySelector("input:focus, select:focus, textarea:focus");
      if (busy || !stale || document.hidden || typing || !getSelection().isCollapsed) return;
      busy = true;
      stale = false;
      const began = performance.now();
      try {
        const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        const next = page.querySelector("main[data-live]");
        if (answer.redirected || (answer.ok && !next)) {
          end("ended, load the page again");
          return;
        }
        if (answer.ok) {
          put(next);
          document.title = page.title;
          address = next.dataset.live;
        } else stale = true;
      } catch {
        stale = true;
      }
      // A page that is slow to make is not asked for without end while the log never rests.
      setTimeout(() => {
        busy = false;
        ask();
      }, Math.max(LEAST_REST, 4 * (performance.now() - began)));
    };
    const change = () => {
      stale = true;
      ask();
    };
    const listen = () => {
      if (document.hidden || stream) return;
      stream = new EventSource(address);
      stream.addEventListener("open", () => {
        sign.textContent = "on";
      });
      stream.addEventListener("entry", change);
      stream.addEventListener("error", () => {
        if (stream?.readyState === EventSource.CLOSED) end("ended, load the page again");
        else sign.textContent = "connection lost, trying again";
      });
    };
    // A browser has few connections to a server: a page that nobody sees gives its own up.
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) end("waiting");
      else {
        listen();
        change();
      }
    });
    document.addEventListener("focusout", () => setTimeout(ask));
    setInterval(change, AGES);
    listen();
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
