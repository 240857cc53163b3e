// The tree on the left: variables with their beliefs as bars, factors between them in the colours of their potentials.

import { isPlane, layout, variablesAt } from "./layout.js";
import { childrenOf, parentOf, stateName } from "./model.js";
import { likeliest, probabilities } from "./passes.js";
import { bars, focusOn, lengthOf, mixed, roving, short, svg } from "./svg.js";

const BARS = 9; // a box that is narrower shows the mixed colours of its states,
const PIXELS = 24; // and so does a cell of a plane
const NODE = "[role=treeitem]";

/** Draws into a container; `choose(v, unfold)` and `point(v or null)` tell what the reader chooses and points at. */
export function treeView(model, container, { choose, point }) {
  let drawn = new Map(); // what stands for each variable that is shown
  let factors = [];
  let place = { rows: [] };
  let painted = null;
  const view = { place: () => place, draw, paint };

  roving(container, NODE, (element, key) => {
    const v = neighbour(Number(element.dataset.v), key);
    if (v !== null && !drawn.has(v)) {
      choose(v, true);
      focusOn(container, NODE, drawn.get(v).group);
      return null;
    }
    return drawn.get(v)?.group;
  });

  function neighbour(v, key) {
    if (key === "ArrowDown") return parentOf(model, v) < 0 ? null : parentOf(model, v);
    if (key === "ArrowUp") return childrenOf(model, v)[0] ?? null;
    const level = variablesAt(model, model.level[v]);
    const step = { ArrowLeft: -1, ArrowRight: 1 }[key];
    return step === undefined ? null : (level[level.indexOf(v) + step] ?? null);
  }

  /** Lays everything out anew, for a width and around the variable in focus. */
  function draw(focus, width) {
    place = layout(model, focus, width);
    const held = container.contains(document.activeElement) ? document.activeElement.dataset.v : null;
    const at = new Map(place.rows.flatMap((row) => (row.cells ?? []).map((cell) => [cell.v, { ...cell, row }])));
    const picture = svg("svg", {
      width,
      height: place.height,
      viewBox: `0 0 ${width} ${place.height}`,
      role: "tree",
      "aria-label": "The tree. Arrows move between variables: down to the parent, up to the first child.",
    });
    const edges = svg("g", { "aria-hidden": true }),
      marks = svg("g", { "aria-hidden": true });
    factors = [];
    model.factors.forEach((factor, f) => {
      const drawnFactor = drawFactor(factor, at);
      if (drawnFactor) {
        factors[f] = drawnFactor;
        edges.append(drawnFactor.group);
      }
    });
    const nodes = svg("g", { role: "none" });
    drawn = new Map();
    for (const [v, cell] of at) {
      const node = drawNode(v, cell);
      drawn.set(v, node);
      nodes.append(node.group);
    }
    for (const row of place.rows) marks.append(...rowMarks(row, width));
    picture.append(edges, nodes, marks);
    container.replaceChildren(picture);
    (drawn.get(focus) ?? drawn.values().next().value).group.setAttribute("tabindex", "0");
    if (held !== null && drawn.has(Number(held))) focusOn(container, NODE, drawn.get(Number(held)).group);
    if (painted) paint(painted);
  }

  function drawNode(v, cell) {
    const { x, y, wide, high, row } = cell;
    const box = {
      x: x - wide / 2,
      y: y - high / 2,
      width: wide,
      height: high,
      rx: wide > 20 && !isPlane(model, row.level) ? 4 : wide > BARS ? 1 : 0,
    };
    const fill = svg("path", { class: "bars" });
    const flip = svg("path", { class: "flip", d: `M${x + wide / 2} ${y - high / 2}v7l-7-7z` });
    const frame = svg("rect", { class: "frame", ...box });
    const back = svg("rect", { class: "back", ...box });
    const group = svg(
      "g",
      {
        role: "treeitem",
        tabindex: -1,
        "data-v": v,
        "aria-level": model.level[v] + 1,
        click: () => choose(v, wide < BARS),
        focus: () => point(v),
        blur: () => point(null),
        mouseenter: () => point(v),
        mouseleave: () => point(null),
      },
      back,
      fill,
      flip,
      frame,
    );
    const fits = ({ v: w, room }) => room >= lengthOf(short(model.names[w])) + 4;
    if (row.folds.length ? fits(cell) : row.cells.every(fits)) {
      group.append(svg("text", { x, y: y + high / 2 + 13, class: "name" }, short(model.names[v])));
    }
    return { group, back, fill, cell, bars: wide >= (isPlane(model, row.level) ? PIXELS : BARS) };
  }

  /** A factor over variables that are shown: lines, a mark in its colour, and place for its message. */
  function drawFactor({ parent, scope, potential }, at) {
    const children = scope.filter((v) => v !== parent && at.has(v));
    const from = at.get(parent);
    if (!from || !children.length || isPlane(model, from.row.level + 1)) return null;
    const ends = children.map((v) => at.get(v));
    const x = (from.x + ends.reduce((sum, end) => sum + end.x, 0) / ends.length) / 2;
    const y = (from.y + ends[0].y) / 2;
    const lines = [from, ...ends].map((end) => `M${x} ${y}L${end.x} ${end.y}`).join("");
    const group = svg("g", { class: "factor", style: `--own:${potential.color}` });
    const mark =
      potential.kind === "edge"
        ? svg("rect", { x: x - 3, y: y - 3, width: 6, height: 6 })
        : svg("path", { d: `M${x} ${y - 5}l5 5l-5 5l-5-5z` });
    const fill = svg("path", { class: "bars" }),
      back = svg("rect", { class: "message", x: x - 11, y: y - 9, width: 22, height: 18, rx: 3 });
    group.append(svg("path", { class: "line", d: lines }), mark, back, fill);
    return { group, fill, x, y };
  }

  function rowMarks(row, width) {
    if (row.folded) {
      const words = `${row.folded} more ${row.folded === 1 ? "level" : "levels"}`;
      return [fold(words, width / 2, row.y + 4, model.levels[row.middle])];
    }
    const count = model.levels[row.level + 1] - model.levels[row.level];
    const shape = model.grid?.[row.level] ?? [];
    const words = isPlane(model, row.level) ? shape.join("×") : `${count}`;
    const labels = [
      svg("text", { x: 2, y: row.y - 2, class: "level" }, `level ${row.level}`),
      svg(
        "text",
        { x: 2, y: row.y + 12, class: "small" },
        row.level === model.depth && count > 1 ? `${words} leaves` : words,
      ),
    ];
    const folds = (row.folds ?? []).map(({ text, x, v }) => fold(text, x, row.y + 4, v));
    return [...labels, ...folds];
  }

  function fold(text, x, y, v) {
    return svg("text", { x, y, class: "fold", click: () => choose(v, true) }, text);
  }

  /**
   * Shows messages: `message(v)` and `sent(f)` are `{ log, way }` of a variable and of a factor; `lit` is lit up, `kin`
   * is above and below it.
   */
  function paint(now) {
    painted = now;
    const { message, sent, lit, kin, chosen, flipped } = now;
    container.classList.toggle("some-lit", lit !== null);
    for (const [v, { group, back, fill, cell, bars: asBars }] of drawn) {
      const { log, way } = message(v);
      group.setAttribute(
        "class",
        [
          "node",
          way,
          asBars ? "" : "pixel",
          childrenOf(model, v).length ? "inner" : "leaf",
          lit?.variables.has(v) ? "lit" : "",
          kin?.has(v) ? "kin" : "",
          v === chosen ? "chosen" : "",
          flipped.has(v) ? "flipped" : "",
        ].join(" "),
      );
      group.setAttribute("aria-label", described(v, log, way, flipped.has(v)));
      group.setAttribute("aria-selected", String(v === chosen));
      const p = log && probabilities(log);
      if (asBars) {
        back.style.fill = "";
        fill.setAttribute(
          "d",
          p ? bars(p, cell.x - cell.wide / 2 + 1.5, cell.y - cell.high / 2 + 1.5, cell.wide - 3, cell.high - 3) : "",
        );
      } else back.style.fill = p ? mixed(p) : "";
    }
    factors.forEach(({ group, fill, x, y }, f) => {
      const log = sent(f);
      group.setAttribute("class", ["factor", lit?.factors.has(f) ? "lit" : "", log ? `says ${log.way}` : ""].join(" "));
      fill.setAttribute("d", log ? bars(probabilities(log.log), x - 9.5, y - 7.5, 19, 15) : "");
    });
  }

  function described(v, log, way, flipped) {
    const what = childrenOf(model, v).length ? "" : ", a leaf";
    if (!log) return `${model.names[v]}${what}, nothing computed yet`;
    const s = likeliest(log);
    const kind = { up: "message upwards", down: "belief", seen: "evidence" }[way];
    const share = Math.round(100 * probabilities(log)[s]);
    return `${model.names[v]}${what}, ${kind}: ${stateName(model, v, s)} ${share}%${flipped ? ", flipped" : ""}`;
  }

  return view;
}
