// Makes the drawings of a gradtx report explorable. All that it needs is in the page.
"use strict";
(() => {
  const root = document.documentElement;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const DASHES = [[], [7, 3], [2, 3], [9, 3, 2, 3]];
  const FAINT = "59"; // the opacity of a line behind others, of ff
  const FEW = 12; // points of a line that are marked, and not smoothed
  const STYLES = ["solid", "dashed", "dotted", "dashed"];
  const shared = { smoothing: 0, hidden: new Set(), x: new Map() }; // x: axis -> its part that is shown
  const panels = [];

  // The theme is set before anything is shown. A page from the disk may have no storage.
  const stored = (value) => {
    try {
      if (value === undefined) return localStorage.getItem("gradtx-theme") || "auto";
      localStorage.setItem("gradtx-theme", value);
    } catch {}
    return value || "auto";
  };
  const setTheme = (name) => {
    if (name === "auto") delete root.dataset.theme;
    else root.dataset.theme = name;
  };
  root.classList.add("js");
  setTheme(stored());

  const color = (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim();
  const number = (x) => {
    if (x === null || x === undefined || Number.isNaN(x)) return "–";
    const size = Math.abs(x);
    if (x === 0 || (size >= 1e-3 && size < 1e6)) return String(Number(x.toPrecision(5)));
    return x.toExponential(3).replace(/\.?0+e/, "e").replace("e+", "e");
  };

  // The mean of the values so far, by weights that decay; unbiased from the first on.
  const smooth = (values, decay) => {
    let sum = 0;
    let weight = 0;
    return values.map((value) => {
      sum = decay * sum + (1 - decay) * value;
      weight = decay * weight + (1 - decay);
      return sum / weight;
    });
  };

  class Panel {
    constructor(figure) {
      this.figure = figure;
      this.data = JSON.parse(figure.querySelector("script").textContent);
      this.log = { x: false, y: false };
      this.off = new Set(); // lines that a click in the legend has hidden
      this.y = null; // the heights that are shown, where they are chosen
      this.plot = null;
      this.makeTools();
    }

    makeTools() {
      const tools = document.createElement("span");
      tools.className = "tools";
      const add = (text, label, act) => {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = text;
        button.title = label;
        button.setAttribute("aria-label", `${label}: ${this.data.title}`);
        button.addEventListener("click", () => act(button));
        tools.append(button);
        return button;
      };
      const flip = (axis) => () => this.setLog(axis, !this.log[axis]);
      this.buttons = {
        y: add("log y", "logarithmic heights", flip("y")),
        x: add("log x", "logarithmic horizontal axis", flip("x")),
      };
      add("+", "zoom in", () => this.scaleX(0.5, 0.5));
      add("−", "zoom out", () => this.scaleX(2, 0.5));
      add("all", "show all", () => this.reset());
      this.figure.querySelector("figcaption").append(tools);
    }

    setLog(axis, on) {
      this.log[axis] = on;
      this.buttons[axis].setAttribute("aria-pressed", on);
      this.y = null;
      if (this.plot) this.build();
    }

    reset() {
      this.y = null;
      this.setX(null);
    }

    // Panels over the same axis show the same part of it.
    setX(range) {
      shared.x.set(this.data.axis, range);
      for (const panel of panels.filter((each) => each.plot && each.data.axis === this.data.axis))
        if (range) panel.apply();
        else panel.build();
    }

    // [series of uPlot, x, y] for each line that is shown
    lines() {
      const found = [];
      for (const line of this.data.lines) {
        if (shared.hidden.has(line.run)) continue;
        const base = {
          label: line.label,
          stroke: color(`line-${line.color % 5}`),
          dash: DASHES[Math.floor(line.color / 5) % 4],
          width: 1.75,
          style: STYLES[Math.floor(line.color / 5) % 4],
          value: (_, value) => number(value),
          show: !this.off.has(line.label),
          points: { show: line.x.length <= FEW, size: 7 },
        };
        const behind = { ...base, stroke: base.stroke + FAINT, auto: !line.faint, width: 1 };
        const smoothed = shared.smoothing > 0 && line.x.length > FEW;
        if (!smoothed) found.push([line.faint ? behind : base, line.x, line.y]);
        else {
          const [x, y] = line.mean || [line.x, line.y];
          found.push([{ ...behind, class: "behind" }, line.x, line.y]);
          found.push([base, x, smooth(y, shared.smoothing)]);
        }
      }
      if (found.every(([series]) => series.auto === false)) found.forEach(([s]) => (s.auto = true));
      return found;
    }

    build() {
      const lines = this.lines();
      const positive = (values, on) => (on ? values.map((v) => (v > 0 ? v : null)) : values);
      const tables = lines.map(([, x, y]) => {
        const kept = this.log.x ? x.map((v) => v > 0) : null;
        const only = (values) => (kept ? values.filter((_, i) => kept[i]) : values);
        return [only(x), positive(only(y), this.log.y)];
      });
      this.plot?.destroy();
      this.plot = null;
      this.figure.classList.add("live");
      if (!tables.length) return;
      const data = uPlot.join(tables);
      this.plot = new uPlot(this.options(lines.map(([series]) => series)), data, this.figure);
      this.listen(this.plot.over);
      this.apply();
    }

    options(series) {
      const font = "11px system-ui, sans-serif";
      const axis = { stroke: color("muted"), font, labelFont: font };
      axis.grid = axis.ticks = { stroke: color("rule"), width: 1 };
      axis.values = (_, splits) => splits.map(number);
      const marks = (log) => (log ? { splits: (u, i, low, high) => logMarks(low, high), filter: (u, v) => v } : {});
      const spread = (u, low, high) => {
        if (low === null) return [1, 10];
        return low < high ? [low, high] : [low - (Math.abs(low) || 1) * 0.1, high + (Math.abs(high) || 1) * 0.1];
      };
      const room = (u, low, high) => (low === null ? [1, 10] : [low / 1.25, high * 1.25]);
      const y = this.log.y ? { distr: 3, range: room } : { range: (u, low, high) => around(u, low, high) };
      return {
        width: this.figure.clientWidth,
        height: 250,
        scales: { x: { time: false, distr: this.log.x ? 3 : 1, range: spread }, y },
        axes: [
          { ...axis, label: this.data.axis, labelSize: 16, labelGap: 0, size: 32, ...marks(this.log.x) },
          { ...axis, size: 58, ...marks(this.log.y) },
        ],
        series: [{ label: this.data.axis, value: (_, value) => number(value) }, ...series],
        cursor: {
          drag: { x: true, y: true, uni: 30, setScale: false },
          focus: { prox: series.length > 2 ? 20 : -1 },
          sync: { key: this.data.axis, scales: ["x", null] },
          dataIdx: nearest,
          bind: { dblclick: () => null },
        },
        focus: { alpha: 0.25 },
        legend: { markers: { width: 3, dash: (u, i) => u.series[i].style || "solid" } },
        hooks: {
          setSelect: [(u) => this.select(u)],
          setSeries: [(u, i, change) => this.toggle(u, i, change)],
        },
      };
    }

    select(u) {
      const { left, top, width, height } = u.select;
      // The select of another panel comes here too.
      if (shared.pressed !== this || (width < 4 && height < 4)) return;
      const at = (pos, scale) => u.posToVal(pos, scale);
      const part = (size, most) => size > 0 && size < most - 2;
      if (part(height, u.over.clientHeight)) this.y = [at(top + height, "y"), at(top, "y")];
      const x = part(width, u.over.clientWidth) ? [at(left, "x"), at(left + width, "x")] : shared.x.get(this.data.axis);
      this.setX(x || null);
    }

    apply() {
      const x = shared.x.get(this.data.axis);
      if (x && !(this.log.x && x[0] <= 0)) this.plot.setScale("x", { min: x[0], max: x[1] });
      this.plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
      if (this.y) this.plot.setScale("y", { min: this.y[0], max: this.y[1] });
    }

    toggle(u, i, change) {
      if (change.show === undefined || !u.series[i]) return;
      const label = u.series[i].label;
      if (change.show) this.off.delete(label);
      else this.off.add(label);
      if (shared.smoothing > 0) setTimeout(() => this.build());
    }

    // The horizontal axis by a factor, about the share of it at which it stays.
    scaleX(factor, share, shift = 0) {
      if (!this.plot) return;
      const [to, from] = this.log.x ? [Math.log, Math.exp] : [(v) => v, (v) => v];
      const { min, max } = this.plot.scales.x;
      const width = to(max) - to(min);
      const low = to(min) + width * share * (1 - factor) - width * shift;
      this.setX([from(low), from(low + width * factor)]);
    }

    // Two fingers zoom and move; one finger scrolls the page, and a tap shows values.
    listen(over) {
      over.addEventListener("mousedown", () => (shared.pressed = this));
      over.addEventListener("dblclick", () => this.reset());
      const fingers = new Map();
      const spread = () => {
        const xs = [...fingers.values()];
        return [(xs[0] + xs[1]) / 2, Math.max(Math.abs(xs[0] - xs[1]), 20)];
      };
      over.addEventListener("pointerdown", (e) => {
        if (e.pointerType === "touch") fingers.set(e.pointerId, e.clientX);
      });
      over.addEventListener("pointermove", (e) => {
        if (!fingers.has(e.pointerId)) return;
        if (fingers.size !== 2) return fingers.set(e.pointerId, e.clientX);
        const [center, size] = spread();
        fingers.set(e.pointerId, e.clientX);
        const [now, other] = spread();
        const box = over.getBoundingClientRect();
        this.scaleX(size / other, (center - box.left) / box.width, (now - center) / box.width);
      });
      for (const end of ["pointerup", "pointercancel", "pointerleave"])
        over.addEventListener(end, (e) => fingers.delete(e.pointerId));
    }
  }

  // The marks of a logarithmic axis. uPlot's own never end where an axis does not begin at a round number.
  const logMarks = (low, high) => {
    const decades = Math.log10(high / low);
    const found = [];
    if (decades < 1) {
      const unit = 10 ** Math.floor(Math.log10((high - low) / 4));
      const step = unit * [1, 2, 5, 10].find((factor) => factor * unit * 5 >= high - low);
      for (let k = Math.ceil(low / step); k <= high / step; k++) found.push(Number((k * step).toPrecision(12)));
      return found;
    }
    const stride = Math.ceil(decades / 8);
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += stride)
      for (const factor of decades < 3 ? [1, 2, 5] : [1]) found.push(Number(`${factor}e${power}`));
    return found.filter((v) => v >= low && v <= high);
  };

  // The range of heights: of lines behind the others the outliers may lie outside.
  const around = (u, low, high) => {
    const [first, last] = u.series[0].idxs;
    const ends = [low, high];
    u.series.forEach((series, i) => {
      if (i === 0 || series.auto !== false || !series.show) return;
      const there = u.data[i].slice(first, last + 1).filter((v) => v !== null && v !== undefined);
      there.sort((a, b) => a - b);
      if (there.length) ends.push(there[Math.floor(0.02 * there.length)], there[Math.floor(0.98 * there.length)]);
    });
    const known = ends.filter((v) => v !== null);
    if (!known.length) return [0, 1];
    return uPlot.rangeNum(Math.min(...known), Math.max(...known), 0.1, true);
  };

  // Lines have their points at different places: each shows the one that is nearest.
  const nearest = (u, series, hovered) => {
    const values = u.data[series];
    if (values[hovered] !== null && values[hovered] !== undefined) return hovered;
    for (let d = 1; d < values.length; d++)
      for (const i of [hovered - d, hovered + d])
        if (values[i] !== null && values[i] !== undefined) return i;
    return hovered;
  };

  const redraw = () => panels.forEach((panel) => panel.plot && panel.build());

  // Parallel lines: the one pointed at is told, those outside of a selection fade.
  const exploreParallel = (svg) => {
    const told = svg.closest("figure").querySelector(".told");
    const how = told.textContent;
    const lines = all(".entry", svg);
    const heights = lines.map((line) =>
      line.getAttribute("d").slice(1).split("L").map((point) => Number(point.split(" ")[1])),
    );
    const picked = new Map();
    lines.forEach((line) => {
      const point = (on) => () => {
        line.classList.toggle("on", on);
        svg.classList.toggle("pointing", on);
        told.textContent = on ? line.querySelector("title").textContent : how;
      };
      line.addEventListener("pointerenter", point(true));
      line.addEventListener("pointerleave", point(false));
    });
    const select = () =>
      lines.forEach((line, i) => {
        const out = [...picked].some(([axis, [a, b]]) => heights[i][axis] < a || heights[i][axis] > b);
        line.classList.toggle("out", out);
      });
    all(".brush", svg).forEach((box, axis) => {
      let start = null;
      const mark = box.cloneNode();
      mark.setAttribute("class", "picked");
      const at = (e) => ((e.clientY - svg.getBoundingClientRect().top) / svg.clientHeight) * svg.viewBox.baseVal.height;
      const draw = (a, b) => {
        picked.set(axis, [Math.min(a, b), Math.max(a, b)]);
        mark.setAttribute("y", Math.min(a, b));
        mark.setAttribute("height", Math.abs(a - b));
        if (!mark.parentNode) box.before(mark);
        select();
      };
      box.addEventListener("pointerdown", (e) => {
        start = at(e);
        box.setPointerCapture(e.pointerId);
      });
      box.addEventListener("pointermove", (e) => start !== null && draw(start, at(e)));
      box.addEventListener("pointerup", (e) => {
        if (start !== null && Math.abs(at(e) - start) < 4) {
          picked.delete(axis);
          mark.remove();
          select();
        }
        start = null;
      });
    });
  };

  const exploreTree = (svg) => {
    const told = svg.closest("figure").querySelector(".told");
    const how = told.textContent;
    const into = new Map(all(".edge", svg).map((edge) => [edge.dataset.to, edge]));
    const nodes = new Map(all(".node", svg).map((node) => [node.dataset.at, node]));
    for (const [place, node] of nodes) {
      const point = (on) => () => {
        told.textContent = on ? node.querySelector("title").textContent : how;
        svg.classList.toggle("pointing", on);
        for (let at = place; at !== undefined; at = into.get(at)?.dataset.from) {
          nodes.get(at).classList.toggle("on", on);
          into.get(at)?.classList.toggle("on", on);
        }
      };
      node.addEventListener("pointerenter", point(true));
      node.addEventListener("pointerleave", point(false));
    }
  };

  const makeSortable = (table) =>
    all("thead th", table).forEach((head, column) => {
      const sort = () => {
        const up = head.getAttribute("aria-sort") !== "ascending";
        all("thead th", table).forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const key = (row) => row.children[column].textContent;
        const compare = (a, b) => {
          const [x, y] = [a, b].map((text) => Number(text.replaceAll(",", "")));
          if (Number.isNaN(x) !== Number.isNaN(y)) return Number.isNaN(x) ? 1 : -1; // "-" is last
          return (Number.isNaN(x) ? a.localeCompare(b) : x - y) * (up ? 1 : -1);
        };
        const body = table.tBodies[0];
        body.append(...[...body.rows].sort((a, b) => compare(key(a), key(b))));
      };
      head.tabIndex = 0;
      head.addEventListener("click", sort);
      head.addEventListener("keydown", (e) => e.key === "Enter" && sort());
    });

  const start = () => {
    const sized = new ResizeObserver((entries) =>
      entries.forEach(({ target, contentRect }) => {
        const { plot } = panels.find((panel) => panel.figure === target);
        if (plot && contentRect.width !== plot.width) plot.setSize({ width: contentRect.width, height: 250 });
      }),
    );
    // A figure becomes live when it comes into view: a page may have hundreds.
    const seen = new IntersectionObserver(
      (entries) =>
        entries.filter((entry) => entry.isIntersecting).forEach(({ target }) => {
          seen.unobserve(target);
          panels.find((panel) => panel.figure === target).build();
          sized.observe(target);
        }),
      { rootMargin: "200px" },
    );
    for (const figure of all("figure.plot")) {
      if (!figure.querySelector("script")) continue;
      panels.push(new Panel(figure));
      seen.observe(figure);
    }
    all("svg.parallel").forEach(exploreParallel);
    all("svg.tree").forEach(exploreTree);
    all("table.sortable").forEach(makeSortable);

    const smoothing = document.getElementById("smoothing");
    smoothing.addEventListener("input", () => {
      shared.smoothing = Number(smoothing.value);
      smoothing.nextElementSibling.textContent = smoothing.value;
      redraw();
    });
    for (const axis of ["x", "y"])
      document.getElementById(`log-${axis}`).addEventListener("change", (e) =>
        panels.forEach((panel) => panel.setLog(axis, e.target.checked)),
      );
    const theme = document.getElementById("theme");
    theme.value = stored();
    theme.addEventListener("change", () => {
      setTheme(stored(theme.value));
      redraw();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
    for (const box of all(".chip input"))
      box.addEventListener("change", () => {
        const run = Number(box.dataset.toggles);
        if (box.checked) shared.hidden.delete(run);
        else shared.hidden.add(run);
        all(`[data-run="${run}"]`).forEach((part) => part.classList.toggle("gone", !box.checked));
        redraw();
      });
  };
  document.addEventListener("DOMContentLoaded", start);
})();
