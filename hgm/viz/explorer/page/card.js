// The card: what, why, shape, formula, weights, receptive field of a block; states, evidence and blocks of a variable.

import { titleOf, wordsOf } from "./blocks.js";
import { childrenOf, parentOf, stateName } from "./model.js";
import { modesOf, noisyValue } from "./observation.js";
import { probabilities } from "./passes.js";
import { html, mixed, svg } from "./svg.js";

const MATRICES = 4; // tables that are shown at most
const SIDE = 16; // states along a side of a table that is shown, at most
const MODES = {
  noisy: "noisy: its value, with noise",
  sharp: "set: the symbol itself",
  blurred: "blurred: the symbol, right in 7 of 10 cases",
  erased: "erased: nothing",
};

export function blockCard(model, network, block, gaussian) {
  const words = wordsOf(block, gaussian);
  return [
    html("h2", {}, titleOf(block, gaussian)),
    html("p", {}, words.what),
    html("p", { class: "why" }, words.why),
    formula(words.formula),
    html(
      "dl",
      {},
      factsOf(network, block).map(([name, value]) => [html("dt", {}, name), html("dd", {}, value)]),
    ),
    matrices(model, network.rows[block.row].stage, block),
  ];
}

function formula(text) {
  const line = html("p", { class: "formula" });
  line.innerHTML = text;
  return line;
}

function factsOf(network, block) {
  const row = network.rows[block.row];
  const [states, ...positions] = block.shape;
  const found = [
    ["shape", block.kind === "mean" ? `${states} values` : `${states} states × ${positions.join("×")} positions`],
  ];
  const runs = row.stage && (block.kind === "q" || (block.kind === "b" && block.row > 0));
  if (runs) {
    found.push([
      "runs as",
      [...new Set(row.stage.ops.map((op) => op.op))].join(", ") + (block.kind === "b" ? ", transposed" : ""),
    ]);
    found.push([
      "parameters",
      `${row.stage.weights.toLocaleString("en")}${block.kind === "b" ? ", those of the layer" : ""}`,
    ]);
    found.push(["multiply-adds", Math.round(row.stage.flops / 2).toLocaleString("en")]);
    found.push(["kernel", [...new Set(row.stage.ops.map((op) => op.kernel))].join(", ")]);
  } else {
    found.push([
      "parameters",
      block.kind === "h" && row.priors ? `${row.priors} prior${row.priors > 1 ? "s" : ""}` : "none",
    ]);
    if (block.kind === "h") found.push(["kernel", row.kernel]);
  }
  const sees = {
    channel: "its own leaf",
    h: row.sees,
    q: row.sees,
    u: `all but ${row.sees}`,
    b: "all leaves",
    mean: "all leaves",
  };
  found.push(["sees", sees[block.kind]]);
  return found;
}

/** The tables that a layer multiplies by: dark is unlikely, bright is likely. */
function matrices(model, stage, block) {
  if (!stage || !(block.kind === "q" || (block.kind === "b" && block.row > 0))) return null;
  const small = stage.potentials
    .map((i) => model.potentials[i])
    .filter(({ axes, shape, places }) => axes === 2 && !places && Math.max(...shape) <= SIDE);
  if (!small.length) return null;
  const shown = small.slice(0, MATRICES).map(matrix);
  const more = stage.potentials.length - shown.length;
  return html(
    "figure",
    {},
    shown,
    html(
      "figcaption",
      {},
      `ψ(s, a): rows are states of the parent, columns of the child${more > 0 ? `; ${more} more tables` : ""}`,
    ),
  );
}

function matrix({ shape: [rows, columns], log, color }) {
  const top = Math.max(...log);
  const cell = Math.min(22, 110 / Math.max(rows, columns));
  const cells = Array.from(log, (x, i) => {
    const p = Math.exp(x - top);
    return svg(
      "rect",
      {
        x: (i % columns) * cell,
        y: Math.floor(i / columns) * cell,
        width: cell - 0.5,
        height: cell - 0.5,
        fill: mixed([1 - p, p]),
      },
      svg("title", {}, `ψ(${Math.floor(i / columns)}, ${i % columns}) = ${Math.exp(x).toPrecision(3)}`),
    );
  });
  return svg(
    "svg",
    {
      width: columns * cell,
      height: rows * cell,
      class: "matrix",
      style: `--own:${color}`,
      role: "img",
      "aria-label": `A table of ${rows} by ${columns}`,
    },
    cells,
  );
}

/** `edit(leaf, change)` changes what was seen of a leaf, `choose(id)` goes to a block. */
export function variableCard(model, v, { blocks, gaussian, messages, example, leaves, sigma, edit, choose, flipped }) {
  const i = model.leaves.indexOf(v);
  const kind = i >= 0 ? "leaf" : parentOf(model, v) < 0 ? "root" : "hidden variable";
  return [
    html("h2", {}, `${model.names[v]}: ${kind}, level ${model.level[v]}`),
    i >= 0 ? evidenceForm(model, v, { example, leaf: leaves[i], i, sigma, edit }) : null,
    messages ? beliefs(model, v, messages) : null,
    flipped
      ? html("p", { class: "why" }, "Flipped: at this noise another state is likeliest than without noise.")
      : null,
    html(
      "p",
      {},
      "Computed by ",
      blocks.map((block, n) => [
        n ? ", " : "",
        html("button", { type: "button", class: "link", click: () => choose(block.id) }, titleOf(block, gaussian)),
      ]),
    ),
  ];
}

function beliefs(model, v, { h, b }) {
  const up = probabilities(h[v]),
    all = probabilities(b[v]);
  const percent = (p) => `${(100 * p).toFixed(1)}%`;
  const rows = Array.from(all, (p, s) =>
    html(
      "tr",
      {},
      html("th", { scope: "row" }, stateName(model, v, s)),
      html("td", { class: "up" }, percent(up[s])),
      html("td", { class: "down" }, percent(p)),
      html("td", { "aria-hidden": true, class: "meter" }, html("span", { style: `width:${100 * p}%` })),
    ),
  );
  return html(
    "div",
    { class: "beliefs" },
    html(
      "table",
      {},
      html(
        "thead",
        {},
        html(
          "tr",
          {},
          ["state", "from below", "posterior", ""].map((text) => html("th", { scope: "col" }, text)),
        ),
      ),
      html("tbody", {}, rows),
    ),
  );
}

function evidenceForm(model, v, { example, leaf, i, sigma, edit }) {
  const symbols = Array.from({ length: model.states[v] }, (_, s) =>
    radio("symbol", stateName(model, v, s), leaf.symbol === s, () => edit(i, { symbol: s })),
  );
  const modes = modesOf(example).map((mode) => radio("mode", MODES[mode], leaf.mode === mode, () => edit(i, { mode })));
  const z = leaf.mode === "noisy" ? ` Seen: z = ${noisyValue(example, i, leaf.symbol, sigma).toFixed(2)}.` : "";
  return html(
    "div",
    { class: "evidence" },
    html("fieldset", {}, html("legend", {}, "Symbol"), html("div", { class: "chips" }, symbols)),
    html("fieldset", {}, html("legend", {}, `What is seen of it.${z}`), modes),
  );
}

function radio(group, text, checked, change) {
  return html(
    "label",
    {},
    html("input", { type: "radio", name: group, "data-key": `${group} ${text}`, checked, change }),
    text,
  );
}
