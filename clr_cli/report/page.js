// The page is whole without this. It adds: arms shown and hidden, numbers under the pointer,
// figures to zoom, tables to copy. Text is set as text; nothing is fetched.
"use strict";
(() => {
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
  const SVG = $$("svg")[0]?.namespaceURI;
  const { figures, paired, reload } = JSON.parse(document.getElementById("numbers").textContent);
  const make = (tag, attributes = {}, text = "") => {
    const made = tag === "line" || tag === "rect" || tag === "g" || tag === "text"
      ? document.createElementNS(SVG, tag) : document.createElement(tag);
    for (const key in attributes) made.setAttribute(key, attributes[key]);
    made.textContent = text;
    return made;
  };
  const button = (text, title, act) => {
    const made = make("button", { type: "button", title }, text);
    made.onclick = act;
    return made;
  };

  // --- a page of runs that go on reads itself again, but not from under a hand ---
  const again = () => {
    if (document.querySelector(".moved, .tip:not([hidden])")) setTimeout(again, 1000);
    else location.reload();
  };
  if (reload) setTimeout(again, 1000 * reload);

  // --- headings that open; what is printed is open ---
  const sections = $$("details");
  for (const section of sections) section.open = section.hasAttribute("data-open");
  let before = [];
  addEventListener("beforeprint", () => {
    before = sections.filter((each) => !each.open);
    for (const each of before) each.open = true;
  });
  addEventListener("afterprint", () => { for (const each of before) each.open = false; });
  const reveal = () => {
    const section = document.getElementById(location.hash.slice(1))?.closest("details");
    if (section) { section.open = true; section.scrollIntoView(); }
  };

  // --- arms: one legend for figures and tables, kept in the address ---
  const keys = $$("[data-key]");
  const hidden = new Set();
  const show = () => {
    for (const each of $$("[data-arm]")) each.toggleAttribute("data-off", hidden.has(each.dataset.arm));
    for (const key of keys) key.setAttribute("aria-pressed", !hidden.has(key.dataset.key));
  };
  const fromAddress = () => {
    if (!location.hash.startsWith("#without=")) return reveal();
    let arms = [];
    try { arms = location.hash.slice(9).split(",").map(decodeURIComponent); } catch { /* not ours */ }
    hidden.clear();
    for (const arm of arms) hidden.add(arm);
    show();
  };
  for (const key of keys) key.onclick = () => {
    const arm = key.dataset.key;
    hidden.delete(arm) || hidden.add(arm);
    const names = [...hidden].map(encodeURIComponent).join(",");
    history.replaceState(null, "", names ? `#without=${names}` : location.pathname);
    show();
  };
  for (const legend of $$(".legend")) legend.hidden = keys.length < 2;
  addEventListener("hashchange", fromAddress);
  fromAddress();

  // --- runs: the marks of one light up together ---
  const runs = $$("svg [data-seeds]").flatMap((group) => {
    const seeds = group.dataset.seeds.split(" "), uses = $$("use", group);
    const marks = uses.length ? uses : $$("path[class]", group);
    return marks.map((mark, k) => ({ mark, arm: group.dataset.arm, seed: seeds[k] ?? seeds[0] }));
  });
  const rows = $$("tr[data-seed]");
  let lit = [];
  const light = (arm, seed) => {
    for (const each of lit) each.classList.remove("lit");
    lit = seed === undefined ? [] : runs
      .filter((run) => run.seed === seed && (paired || run.arm === arm)).map((run) => run.mark);
    if (seed !== undefined) lit.push(...rows.filter((row) => row.dataset.seed === seed));
    for (const each of lit) each.classList.add("lit");
  };

  // --- figures ---
  const value = (raw, percent) =>
    percent ? `${+(100 * raw).toPrecision(4)} %` : String(+raw.toPrecision(6));
  const clamp = (x, low, high) => Math.min(Math.max(x, low), high);
  const to = (log, x) => (log ? Math.log10(Math.max(x, 1e-12)) : x);
  const back = (log, x) => (log ? 10 ** x : x);
  const share = ([low, high, log], x) => (to(log, x) - to(log, low)) / (to(log, high) - to(log, low));
  const at = ([low, high, log], s) => back(log, to(log, low) + s * (to(log, high) - to(log, low)));

  function ticks([low, high, log]) {
    const [a, b] = low < high ? [low, high] : [high, low], made = [];
    if (log && b / a > 3) {
      for (let k = Math.floor(Math.log10(a)); k <= Math.log10(b); k++)
        for (const m of b / a > 200 ? [1] : [1, 2, 5]) made.push(m * 10 ** k);
    } else {
      const rough = (b - a) / 5, ten = 10 ** Math.floor(Math.log10(rough));
      const step = ten * [1, 2, 5, 10].find((m) => m * ten >= rough);
      for (let k = Math.ceil(a / step); k * step <= b; k++) made.push(k * step);
    }
    return made.filter((x) => a <= x && x <= b);
  }

  class Axes {
    constructor(svg, told) {
      Object.assign(this, { svg, percent: told.percent, name: told.name, box: told.box, curves: told.curves });
      this.group = svg.querySelector(`[id$="-${told.id}"]`);
      this.from = { x: told.x, y: told.y };
      this.view = { ...this.from };
      const inAxis = (each) => each.closest("[id*=tick_]");
      this.paths = $$("path[clip-path]", this.group).filter((each) => !inAxis(each))
        .map((path) => ({ path, d: path.getAttribute("d"), points: this.points(path) }));
      this.uses = $$("[data-arm] use", this.group)
        .map((use) => ({ use, x: +use.getAttribute("x"), y: +use.getAttribute("y") }));
      this.marks = make("g", { class: "over" });
      this.ticks = make("g", { class: "ticks" });
      this.group.prepend(this.ticks); // grid lines lie below the curves
      this.group.append(this.marks);
    }
    points(path) { // what report/figures/svg.py writes: M x y l dx dy dx dy ... z
      const d = path.getAttribute("d") || "", read = [];
      for (const part of d.split("M").slice(1)) {
        let x = 0, y = 0;
        const numbers = (part.match(/-?(\d+\.?\d*|\.\d+)/g) || []).map(Number), line = [];
        for (let k = 0; k + 1 < numbers.length; k += 2) line.push([x += numbers[k], y += numbers[k + 1]]);
        read.push({ line, end: part.includes("z") ? "Z" : "" });
      }
      return read;
    }
    place(x, y, view = this.view) {
      const [left, top, width, height] = this.box;
      return [left + width * share(view.x, x), top + height * (1 - share(view.y, y))];
    }
    values(px, py, view = this.view) {
      const [left, top, width, height] = this.box;
      return [at(view.x, (px - left) / width), at(view.y, 1 - (py - top) / height)];
    }
    holds([px, py]) {
      const [left, top, width, height] = this.box;
      return px >= left - 4 && px <= left + width + 4 && py >= top - 4 && py <= top + height + 4;
    }
    look(view) { // move every mark from where matplotlib drew it to where the view has it
      this.view = view;
      const moved = ([x, y]) => this.place(...this.values(x, y, this.from), view)
        .map((each) => clamp(each, -2e3, 4e3).toFixed(1)).join(" ");
      for (const { path, points } of this.paths)
        path.setAttribute("d", points.map(({ line, end }) => `M${line.map(moved).join("L")}${end}`).join(""));
      for (const { use, x, y } of this.uses) {
        const [px, py] = moved([x, y]).split(" ");
        use.setAttribute("x", px);
        use.setAttribute("y", py);
        use.classList.toggle("outside", !this.holds([+px, +py]));
      }
      const own = view.x === this.from.x && view.y === this.from.y;
      this.group.classList.toggle("moved", !own);
      this.ticks.replaceChildren();
      if (own) return;
      const [left, top, width, height] = this.box;
      for (const x of ticks(view.x)) {
        const [px] = this.place(x, view.y[0]);
        this.ticks.append(make("line", { x1: px, x2: px, y1: top, y2: top + height }),
          make("text", { x: px, y: top + height + 13, "text-anchor": "middle" }, value(x)));
      }
      for (const y of ticks(view.y)) {
        const [, py] = this.place(view.x[0], y);
        this.ticks.append(make("line", { x1: left, x2: left + width, y1: py, y2: py }),
          make("text", { x: left - 6, y: py + 3.5, "text-anchor": "end" }, value(y, this.percent)));
      }
    }
  }

  for (const id in figures) {
    const figure = document.getElementById(id), svg = figure.querySelector("svg");
    const axes = figures[id].axes.map((told) => new Axes(svg, told));
    const tip = make("div", { class: "tip", role: "status" });
    tip.hidden = true;
    figure.append(tip);
    const here = (event) => {
      const p = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      return [p.x, p.y];
    };
    const screen = (px, py) => {
      const p = new DOMPoint(px, py).matrixTransform(svg.getScreenCTM()), box = figure.getBoundingClientRect();
      return [p.x - box.left, p.y - box.top];
    };
    const clear = () => {
      tip.hidden = true;
      for (const each of axes) each.marks.replaceChildren();
      light();
    };
    const put = (px, py) => { // beside the pointer, within the page
      tip.hidden = false;
      const [x, y] = screen(px, py);
      const wide = Math.min(figure.clientWidth, document.documentElement.clientWidth - 16);
      tip.style.left = `${clamp(x + 14, 0, Math.max(0, wide - tip.offsetWidth))}px`;
      tip.style.top = `${Math.max(0, y - tip.offsetHeight - 10)}px`;
    };
    const nearest = ([px, py]) => {
      let best = null, least = 9;
      for (const { mark, arm, seed } of runs) {
        if (mark.ownerSVGElement !== svg || hidden.has(arm)) continue;
        let far;
        if (mark.tagName === "use") far = Math.hypot(mark.getAttribute("x") - px, mark.getAttribute("y") - py);
        else {
          const ax = axes.find((each) => each.group.contains(mark) && each.holds([px, py]));
          const own = ax?.paths.find((each) => each.path === mark);
          if (!own) continue;
          const height = along(ax, own.points, px);
          far = height === null ? Infinity : Math.abs(height - py);
        }
        if (far < least) [least, best] = [far, { arm, seed }];
      }
      return best;
    };
    const along = (ax, points, px) => { // the height of a run's line at a place of the view
      for (const { line } of points)
        for (let k = 1; k < line.length; k++) {
          const [a, b] = [line[k - 1], line[k]].map(([x, y]) => ax.place(...ax.values(x, y, ax.from)));
          if (a[0] <= px && px <= b[0]) return a[1] + (b[1] - a[1]) * ((px - a[0]) / (b[0] - a[0] || 1));
        }
      return null;
    };
    const told = (ax, x, run, py) => {
      const near = (places) => places.reduce((a, b, k) => (Math.abs(b - x) < Math.abs(places[a] - x) ? k : a), 0);
      const arms = Object.entries(ax.curves).filter(([arm]) => !hidden.has(arm));
      if (!arms.length) return;
      const all = arms.flatMap(([, [places]]) => places);
      x = all[near(all)];
      tip.replaceChildren(make("b", {}, `${ax.name} ${value(x)}`));
      const [px] = ax.place(x, ax.view.y[0]), [, top, , height] = ax.box;
      ax.marks.replaceChildren(make("line", { x1: px, x2: px, y1: top, y2: top + height }));
      const lines = arms.map(([arm, [places, ...columns]]) => {
        const after = places.findIndex((place) => place >= x), before = places[after] === x ? after : after - 1;
        const part = before === after ? 0 : (x - places[before]) / (places[after] - places[before]);
        const at = (of) => { // arms are measured at different places: the line between two
          const [a, b] = [of?.[before], of?.[after]];
          return a == null || b == null ? null : a + part * (b - a);
        };
        const [mean, low, high] = columns.map(at);
        return { arm, mean: mean ?? null, low, high };
      }).filter(({ mean }) => mean !== null);
      for (const { arm, mean, low, high } of lines.sort((a, b) => b.mean - a.mean)) {
        const row = make("div"), key = keys.find((each) => each.dataset.key === arm);
        const dot = key?.querySelector(".dot").cloneNode();
        if (dot) row.append(dot);
        const range = low == null ? "" : ` [${value(low, ax.percent)}, ${value(high, ax.percent)}]`;
        row.append(`${arm} `, make("b", {}, value(mean, ax.percent)), range);
        tip.append(row);
      }
      if (run) tip.append(make("div", { class: "run" }, `nearest: ${run.arm}, ${figures[id].one} ${run.seed}`));
      put(px, py);
      return x;
    };
    const point = (spot) => {
      const run = nearest(spot), ax = axes.find((each) => each.holds(spot));
      light(run?.arm, run?.seed);
      if (ax) return void told(ax, ax.values(...spot)[0], run, spot[1]);
      if (!run) return void (tip.hidden = true);
      tip.replaceChildren(make("div", {}, `${run.arm}, ${figures[id].one} ${run.seed}`));
      put(...spot);
    };
    // zoom: drag a rectangle; a double click or Escape shows all again
    let start = null, frame = null;
    const tools = make("div", { class: "tools" });
    const whole = button("show all", "Show the whole figure again", () => {
      for (const each of axes) each.look({ ...each.from });
      whole.hidden = true;
    });
    whole.hidden = true;
    if (axes.length) {
      for (const ax of axes.slice(0, 1)) {
        const values = Object.values(ax.curves).flatMap(([, mean]) => mean).filter((each) => each !== null);
        if (values.every((each) => each > 0)) tools.append(button("log / linear", "Change the vertical axis", () => {
          const [low, high, log] = ax.view.y, least = Math.min(...values);
          const y = [low > 0 ? low : least / 1.5, high, !log];
          for (const each of axes) if (String(each.from.y) === String(ax.from.y)) each.look({ ...each.view, y });
          whole.hidden = false;
        }));
      }
      tools.append(whole);
      figure.prepend(tools);
      svg.setAttribute("tabindex", "0");
    }
    svg.onpointerdown = (event) => {
      if (event.pointerType !== "mouse" || event.button) return;
      const spot = here(event), ax = axes.find((each) => each.holds(spot));
      if (ax) { start = { spot, ax }; svg.setPointerCapture(event.pointerId); event.preventDefault(); }
    };
    svg.onpointermove = (event) => {
      const spot = here(event);
      if (!start) return point(spot);
      clear();
      const [[x0, y0], [x1, y1]] = [start.spot, spot];
      frame = { x: Math.min(x0, x1), y: Math.min(y0, y1), width: Math.abs(x1 - x0), height: Math.abs(y1 - y0) };
      start.ax.marks.replaceChildren(make("rect", frame));
    };
    svg.onpointerup = () => {
      if (start && frame && frame.width > 6 && frame.height > 6) {
        const { ax } = start, [x0, y1] = ax.values(frame.x, frame.y);
        const [x1, y0] = ax.values(frame.x + frame.width, frame.y + frame.height);
        const view = { x: [x0, x1, ax.view.x[2]], y: [y0, y1, ax.view.y[2]] };
        const goes = (each, side) => String(each.from[side]) === String(ax.from[side]) ? view[side] : each.view[side];
        for (const each of axes) each.look({ x: goes(each, "x"), y: goes(each, "y") }); // equal axes stay equal
        whole.hidden = false;
      }
      start = frame = null;
      clear();
    };
    svg.onpointerleave = () => { if (!start) clear(); };
    svg.ondblclick = () => whole.onclick();
    let place = null;
    svg.onblur = clear;
    svg.onkeydown = (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key], [ax] = axes;
      if (event.key === "Escape") { clear(); if (!whole.hidden) whole.onclick(); }
      if (!step || !ax) return;
      event.preventDefault();
      const shown = Object.entries(ax.curves).filter(([arm]) => !hidden.has(arm));
      const places = [...new Set(shown.flatMap(([, [x]]) => x))].sort((a, b) => a - b);
      const last = places.length - 1;
      place = place === null ? (step > 0 ? 0 : last) : clamp(place + step, 0, last);
      if (last >= 0) told(ax, places[place], null, ax.box[1] + 30);
    };
  }

  // --- tables ---
  const cells = (table) => $$("tr", table)
    .filter((row) => !row.hasAttribute("data-off"))
    .map((row) => [...row.cells].filter((cell) => !cell.hasAttribute("data-off"))
      .flatMap((cell) => [cell.textContent.trim().replace(/\s+/g, " "), ...Array(cell.colSpan - 1).fill("")]));
  const tex = (text) => text.replace(/\\/g, "\\textbackslash ").replace(/[&%$#_{}]/g, "\\$&")
    .replace(/±/g, "$\\pm$").replace(/−/g, "$-$").replace(/×/g, "$\\times$").replace(/∞/g, "$\\infty$")
    .replace(/[~^]/g, "\\$&{}");
  const FORMS = {
    Markdown: ([head, ...rest]) => [head, head.map((_, k) => (k ? "--:" : ":--")), ...rest]
      .map((row) => `| ${row.map((cell) => cell.replace(/\|/g, "\\|")).join(" | ")} |`).join("\n"),
    LaTeX: ([head, ...rest]) => [`\\begin{tabular}{l${"r".repeat(head.length - 1)}}`, "\\hline",
      ...[head, ...rest].map((row, k) => `${row.map(tex).join(" & ")} \\\\${k ? "" : " \\hline"}`),
      "\\hline", "\\end{tabular}"].join("\n"),
    TSV: (all) => all.map((row) => row.join("\t")).join("\n"),
  };
  const copy = (text) => { // the clipboard's newer interface is not there in a file from a disk
    const area = make("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  };
  for (const table of $$(".wide > table")) {
    const bar = make("div", { class: "copy" }, "copy as ");
    for (const form in FORMS) {
      const key = button(form, `Copy this table as ${form}`, () => {
        copy(FORMS[form](cells(table)));
        key.textContent = "copied";
        setTimeout(() => { key.textContent = form; }, 1200);
      });
      bar.append(key, " ");
    }
    table.parentElement.after(bar);
  }
})();
