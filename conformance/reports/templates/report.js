"use strict";
// The page is whole without this: it filters, explains cells, copies commands and opens what a link points into.
(() => {
  const root = document.documentElement;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  root.classList.add("js");
  root.dataset.errors = "0";
  addEventListener("error", () => { root.dataset.errors = String(Number(root.dataset.errors) + 1); });

  const form = document.getElementById("filter");
  const words = form.elements.words;
  const only = form.elements.only;
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());

  // What can be filtered names its op, dtypes and family in data-k; a group of such things is hidden when all of it is.
  const items = all("[data-k]");
  const groups = all("[data-group]");
  // Of several backends the differences are asked for, of one what does not pass.
  const main = document.querySelector("table.beside") || document;
  // What all agree on is folded until somebody asks for it, with the button, the box or a word.
  const agreed = document.querySelector("p.agreed");
  let folded = agreed !== null;
  function filter() {
    const asked = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const differing = only.checked || (folded && !asked.length);
    if (agreed) agreed.hidden = !folded || differing === only.checked;
    for (const item of items) {
      const fits = asked.every((word) => item.dataset.k.includes(word));
      item.hidden = !fits || (differing && "calm" in item.dataset && main.contains(item));
    }
    for (const group of groups) group.hidden = all("[data-k]", group).every((item) => item.hidden);
    const rows = all("tr.op", main);
    const shown = rows.filter((row) => !row.hidden).length;
    form.elements.shown.value = shown < rows.length ? `${shown} of ${rows.length} ops` : `${rows.length} ops`;
    const kept = new URLSearchParams();
    if (words.value) kept.set("filter", words.value);
    if (only.checked) kept.set("only", "1");
    root.dataset.filter = kept.toString();
  }
  words.addEventListener("input", filter);
  only.addEventListener("change", () => { folded = false; filter(); });
  if (agreed) agreed.querySelector("button").addEventListener("click", () => { folded = false; filter(); });
  addEventListener("keydown", (event) => {
    if (event.key === "/" && !/^(INPUT|TEXTAREA)$/.test(document.activeElement.tagName)) {
      event.preventDefault();
      words.focus();
    }
  });

  // A link into the page may carry a filter: #filter=exp, #only=1&filter=float16.
  function follow() {
    const hash = location.hash.slice(1);
    if (/^(filter|only)=/.test(hash)) {
      const asked = new URLSearchParams(hash);
      words.value = asked.get("filter") || "";
      only.checked = asked.has("only");
      filter();
      return;
    }
    const target = hash && document.getElementById(decodeURIComponent(hash));
    if (!target) return;
    if (target.closest("[hidden]")) { words.value = ""; only.checked = folded = false; filter(); }
    for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
    const first = target.querySelector("details.failure");
    if (first) first.open = true;
    target.scrollIntoView();
  }
  addEventListener("hashchange", follow);

  // The matrix: arrows move between cells, and the inspector says what is known of the one chosen.
  function choose(cell) {
    for (const other of all('td.cell[aria-selected="true"]')) other.removeAttribute("aria-selected");
    cell.setAttribute("aria-selected", "true");
    const inspector = cell.closest(".layout").querySelector(".inspector");
    const lines = cell.dataset.told.split("\n").map((line) => {
      const made = document.createElement("p");
      made.textContent = line;
      return made;
    });
    const link = cell.querySelector("a");
    if (link) {
      const made = document.createElement("p");
      const to = made.appendChild(document.createElement("a"));
      to.href = link.getAttribute("href");
      to.textContent = "show what failed";
      lines.push(made);
    }
    inspector.querySelector(".said").replaceChildren(...lines);
    inspector.classList.add("full");
  }
  const steps = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] };
  for (const matrix of all("table.matrix")) {
    const cells = all("td.cell", matrix);
    for (const cell of cells) { cell.dataset.told = cell.title; cell.tabIndex = -1; }
    if (cells.length) cells[0].tabIndex = 0;
    matrix.addEventListener("click", (event) => {
      const cell = event.target.closest("td.cell");
      if (cell && !event.target.closest("a")) cell.focus();
    });
    matrix.addEventListener("focusin", (event) => {
      const cell = event.target.closest("td.cell");
      if (!cell) return;
      for (const other of cells) other.tabIndex = other === cell ? 0 : -1;
      choose(cell);
    });
    matrix.addEventListener("keydown", (event) => {
      const cell = event.target.closest("td.cell");
      const step = steps[event.key];
      if (!cell) return;
      if (event.key === "Enter" && cell.querySelector("a")) cell.querySelector("a").click();
      if (!step) return;
      event.preventDefault();
      const rows = all("tr.op", matrix).filter((row) => !row.hidden);
      let [r, c] = [rows.indexOf(cell.parentElement) + step[0], cell.cellIndex + step[1]];
      while (rows[r] && rows[r].cells[c]) {
        if (rows[r].cells[c].matches("td.cell")) { rows[r].cells[c].focus(); return; }
        r += step[0];
        c += step[1];
      }
    });
  }

  // Rows of a comparison unfold into their dtypes.
  for (const fold of all(".fold")) {
    fold.hidden = false;
    const parts = all("tr.dtype", fold.closest("tbody"));
    const set = (open) => {
      fold.setAttribute("aria-expanded", String(open));
      fold.textContent = open ? "▾" : "▸";
      for (const part of parts) part.style.display = open ? "" : "none";
    };
    set(false);
    fold.closest("th").addEventListener("click", () => set(fold.getAttribute("aria-expanded") !== "true"));
  }

  async function copied(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      const area = document.body.appendChild(document.createElement("textarea"));
      area.value = text;
      area.select();
      const done = document.execCommand("copy");
      area.remove();
      return done;
    }
  }
  for (const button of all("button.copy")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const done = await copied(button.parentElement.querySelector("code").textContent);
      button.textContent = done ? "copied" : "select it";
      setTimeout(() => { button.textContent = "copy"; }, 1500);
    });
  }

  // Paper shows everything.
  let closed = [];
  addEventListener("beforeprint", () => {
    folded = false;
    filter();
    closed = all("details:not([open])");
    for (const one of closed) one.open = true;
  });
  addEventListener("afterprint", () => { for (const one of closed) one.open = false; });

  filter();
  follow();
  root.dataset.ready = "1";
})();
