// What the reader does, and what is shown of it. The state is one object; every change of it goes through `change`.

import { blocksOf, titleOf } from "./blocks.js";
import { blockCard, variableCard } from "./card.js";
import { costsView } from "./costs.js";
import { variablesAt } from "./layout.js";
import { childrenOf, parentOf, readModel } from "./model.js";
import { networkView } from "./network.js";
import { noiseView } from "./noise.js";
import { evidence, exampleLeaves } from "./observation.js";
import { passMessages } from "./passes.js";
import { html } from "./svg.js";
import { treeView } from "./tree.js";

const find = (id) => document.getElementById(id);
const facts = JSON.parse(find("facts").textContent);
const { network, example, costs } = facts;
const model = readModel(facts.tree);
const gaussian = example.values !== null;
const blocks = blocksOf(model, network, gaussian);
const blockById = new Map(blocks.map((block) => [block.id, block]));
const END = blocks.length - 1;

const INTRODUCTION = [
  ["h2", "Choose a variable or a block"],
  ["p", "A block of the network lights up the variables that it computes; a variable lights up its blocks."],
  ["p", "Every message is computed here, in the page."],
];
const IMPOSSIBLE = "What is seen now is impossible in this model: no states of the hidden variables explain it.";

const state = {
  focus: deepest(), // the variable around which a large tree is unfolded
  variable: null, // chosen
  block: null,
  pointed: null, // `{ variable }` or `{ block }` under the pointer, or in focus
  step: END, // the number of the last block that has run
  sigma: example.start ?? 0, // the number of the level of noise
  leaves: exampleLeaves(example),
  deleted: null,
};
let messages = null; // all that are passed; `null` if what was seen is impossible

const costsPanel = costs && costsView(costs, find("costs"), { remove });
const noisePanel = gaussian
  ? noiseView(model, example, example.sigmas, find("noise"), { slide: (sigma) => change({ sigma }) })
  : null;
const tree = treeView(model, find("tree"), {
  choose: (variable, unfold) => change({ variable, block: null, focus: unfold ? variable : state.focus }),
  point: (variable) => change({ pointed: variable === null ? null : { variable } }),
});
const net = networkView(network, blocks, gaussian, find("network"), {
  choose: (block) => change({ block: state.block === block ? null : block, variable: null }),
  point: (block) => change({ pointed: block === null ? null : { block } }),
  remove,
  parts: costsPanel?.parts ?? new Set(),
});
const slider = html("input", {
  type: "range",
  id: "step",
  min: 0,
  max: END,
  step: 1,
  input: () => change({ step: Number(slider.value), block: null, variable: null }),
});
const stepSaid = html("output", { for: "step" });
find("steps").append(html("label", { for: "step" }, "Messages, step by step: ", stepSaid), slider);
find("title").textContent = facts.tree.title;

/** In the middle of the deepest level. */
function deepest() {
  const last = variablesAt(model, model.depth);
  return last[Math.floor(last.length / 2)];
}

function unchoose() {
  change({ block: null, variable: null });
}

function remove(part) {
  change({ deleted: state.deleted === part ? null : part });
}

function edit(i, leaf) {
  const leaves = state.leaves.slice();
  leaves[i] = { ...leaves[i], ...leaf };
  change({ leaves, step: END });
}

function change(changes) {
  const before = { ...state };
  Object.assign(state, changes);
  const seen = state.leaves !== before.leaves || state.sigma !== before.sigma;
  if (seen) pass();
  if (state.leaves !== before.leaves) noisePanel?.observe(state.leaves, () => paint(true));
  if (state.focus !== before.focus) draw();
  else paint(seen || Object.keys(changes).some((key) => key !== "pointed"));
}

function pass() {
  messages = passMessages(model, evidence(model, example, state.leaves, example.sigmas[state.sigma]));
}

/** Lays the drawings out anew, for the width that there is and the variable in focus. */
function draw() {
  tree.draw(state.focus, Math.max(300, find("tree").clientWidth));
  net.draw(Math.max(300, find("network").clientWidth), tree.place().rows, model.level[state.focus]);
  paint(true);
}

/** The block whose messages are shown: pointed at, chosen, or the step's. */
function shownBlock() {
  if (state.pointed?.variable !== undefined) return null;
  const id = state.pointed?.block ?? state.block;
  if (id) return blockById.get(id);
  return state.variable === null && state.step < END ? blocks[state.step] : null;
}

function blocksFor(v) {
  return blocks.filter((block) => block.variableSet.has(v));
}

function paint(all) {
  const block = shownBlock();
  const variable = block ? null : (state.pointed?.variable ?? state.variable);
  const lit = litUp(block, variable);
  const ran = Math.max(state.step, block?.at ?? 0);
  const flipped = noisePanel && state.step === END ? noisePanel.flipped(messages) : new Set();
  tree.paint({
    message: (v) => messageOf(v, block, ran),
    sent: (f) => sentBy(f, block),
    lit,
    kin: variable === null ? null : kinOf(variable),
    chosen: state.variable,
    flipped,
  });
  card(flipped, all);
  net.paint({
    lit: lit?.blocks ?? null,
    chosen: state.block,
    ran: state.step,
    deleted: state.deleted,
  });
  if (!all) return;
  slider.value = state.step;
  const said = `${state.step + 1} of ${END + 1}, ${titleOf(blocks[state.step], gaussian)}`;
  stepSaid.textContent = state.step === END ? `all ${END + 1} done` : said;
  slider.setAttribute("aria-valuetext", said);
  noisePanel?.paint(state.sigma, messages);
  costsPanel?.paint(state.deleted, example.sigmas[state.sigma]);
}

/** All variables above and below another one. */
function kinOf(v) {
  const kin = new Set();
  for (let up = parentOf(model, v); up >= 0; up = parentOf(model, up)) kin.add(up);
  const below = childrenOf(model, v);
  for (const child of below) {
    kin.add(child);
    below.push(...childrenOf(model, child));
  }
  return kin;
}

/** What lights up: a block and what it computes; or a variable, the factors around it and its blocks; or nothing. */
function litUp(block, v) {
  if (block) return { variables: block.variableSet, factors: block.factorSet, blocks: new Set([block.id]) };
  if (v === null) return null;
  const factors = new Set([...model.below[v], model.above[v]]);
  return { variables: new Set([v]), factors, blocks: new Set(blocksFor(v).map(({ id }) => id)) };
}

/** What is shown of a variable: its message in a block, or the last one that the steps so far have computed. */
function messageOf(v, block, ran) {
  if (!messages) return { log: null, way: "" };
  const message = {
    channel: { log: messages.e[v], way: "seen" },
    h: { log: messages.h[v], way: "up" },
    b: { log: messages.b[v], way: "down" },
  };
  if (block && block.kind in message && block.variableSet.has(v)) return message[block.kind];
  const last = blocksFor(v).findLast(({ kind, at }) => at <= ran && kind in message);
  return last ? message[last.kind] : { log: null, way: "" };
}

function sentBy(f, block) {
  if (!messages || !block?.factorSet.has(f)) return null;
  return block.kind === "q" ? { log: messages.q[f], way: "up" } : { log: messages.u[f], way: "down" };
}

/**
 * The card of what is pointed at or chosen, or of the step's block. What is only pointed at never takes the place of a
 * form that the reader is filling in; and the control that had the focus has it again.
 */
function card(flipped, all) {
  const panel = find("card");
  const block = shownBlock();
  const v = block ? null : (state.pointed?.variable ?? state.variable);
  const shown = String(block?.id ?? v);
  if (!all && (shown === panel.dataset.shown || panel.contains(document.activeElement))) return;
  const held = document.activeElement?.dataset.key;
  const seen = { messages, example, leaves: state.leaves, sigma: example.sigmas[state.sigma], flipped: flipped.has(v) };
  const go = { edit, choose: (id) => change({ block: id, variable: null }) };
  let content = INTRODUCTION.map(([tag, text]) => html(tag, {}, text));
  if (block) content = blockCard(model, network, block, gaussian);
  else if (v !== null) content = variableCard(model, v, { blocks: blocksFor(v), gaussian, ...seen, ...go });
  const impossible = messages ? null : html("p", { class: "impossible", role: "alert" }, IMPOSSIBLE);
  const open = state.block !== null || state.variable !== null;
  const close = html("button", { type: "button", class: "link close", click: unchoose }, "close");
  panel.replaceChildren(...[open ? close : null, impossible, ...content].filter(Boolean));
  panel.dataset.shown = shown;
  panel.classList.toggle("open", open);
  if (held) panel.querySelector(`[data-key="${CSS.escape(held)}"]`)?.focus();
}

pass();
noisePanel?.observe(state.leaves, () => paint(true));
draw();
let width = window.innerWidth;
window.addEventListener("resize", () => {
  if (window.innerWidth !== width) draw();
  width = window.innerWidth;
});
document.addEventListener("keydown", ({ key }) => {
  if (key === "Escape") unchoose();
});
// A page around this one, such as a site with a switch of its own, may say whether it is light or dark.
window.addEventListener("message", ({ data }) => {
  if (data?.scheme === "light" || data?.scheme === "dark") document.documentElement.dataset.scheme = data.scheme;
});

/** For the console, and for tests: the model and the messages that are shown. */
globalThis.explorer = { model, state, change, messages: () => messages };
