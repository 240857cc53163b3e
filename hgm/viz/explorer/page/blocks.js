// The blocks of the network, in the order in which they run, and what there is to say about each kind.
//
// A row has four: h and q on the way down the encoder, u and b on the way up the decoder. Before them is the channel,
// after them, where leaves have values, their mean. A step of the slider is a block.

/** `{ id, kind, row, variables, factors, shape }` each; `variables` are those of which the block says something. */
export function blocksOf(model, network, gaussian) {
  const { rows } = network;
  const last = rows.length - 1;
  const of = (kind, row) => {
    const onFactors = kind === "q" || kind === "u";
    const factors = onFactors ? rows[row].stage.factors : [];
    const variables = onFactors ? [...new Set(factors.map((f) => model.factors[f].parent))] : rows[row].nodes;
    return {
      id: `${kind}${row}`,
      kind,
      row,
      factors,
      variables,
      shape: onFactors ? rows[row].stage.shape : rows[row].shape,
    };
  };
  const ends = (kind, shape) => ({ id: kind, kind, row: last, factors: [], variables: model.leaves, shape });
  const blocks = [ends("channel", [rows[last].shape[0], model.leaves.length])];
  for (let row = last; row > 0; row--) blocks.push(of("h", row), of("q", row));
  blocks.push(of("h", 0), of("b", 0));
  for (let row = 1; row <= last; row++) blocks.push(of("u", row), of("b", row));
  if (gaussian) blocks.push(ends("mean", [model.leaves.length]));
  return blocks.map((block, at) => ({
    ...block,
    at,
    factorSet: new Set(block.factors),
    variableSet: new Set(block.variables),
  }));
}

/** Name, what it does, why, and the formula, of each kind of block. */
export const KINDS = {
  channel: {
    name: "Channel",
    what: "The evidence of every leaf: how well each state explains what was seen there.",
    why: "It is the only place where the observation enters, and where the noise level is used.",
    formula: {
      gaussian: "e<sub>v</sub>(a) = −(z<sub>v</sub> − value(a))² / 2σ²",
      symbols: "e<sub>v</sub>(a) = log p(what was seen | x<sub>v</sub> = a)",
    },
  },
  h: {
    name: "Pool",
    what: "The message of every variable upwards: what is known of it, and what all its factors below say, together.",
    why: "Given a variable, what is below its factors is independent. So probabilities multiply, and logs add up.",
    formula: "h<sub>v</sub> = e<sub>v</sub> + Σ<sub>f below v</sub> q<sub>f</sub>",
  },
  q: {
    name: "Layer",
    what: "The message of every factor to its parent: how likely is what was seen below, for each state of the parent.",
    why: "It sums over what the children may be. Where neighbours share one table, this is a convolution.",
    formula: "q<sub>f</sub>(s) = log Σ<sub>a</sub> ψ<sub>f</sub>(s, a) Π<sub>u</sub> exp h<sub>u</sub>(a<sub>u</sub>)",
  },
  u: {
    name: "Up-sample",
    what: "What a variable tells each factor below it: all that is known, without what this factor itself said.",
    why: "The skip q takes the factor's own message out again; otherwise it would count twice.",
    formula: "u<sub>f</sub> = e<sub>v</sub> + r<sub>v</sub> + Σ<sub>f′ ≠ f</sub> q<sub>f′</sub>",
  },
  b: {
    name: "Transposed layer",
    what: "The belief about every variable: its posterior, given everything that was seen anywhere.",
    why: "What comes from above goes through the same table, transposed, and meets what came from below: the skip h.",
    formula:
      "b<sub>v</sub> = r<sub>v</sub> + h<sub>v</sub>, " +
      "r<sub>v</sub>(a) = log Σ<sub>s</sub> ψ<sub>f</sub>(s, a) exp(u<sub>f</sub>(s) + others)",
  },
  mean: {
    name: "Mean",
    what: "The denoised value of every leaf: the mean of its states' values under its posterior.",
    why: "No other function of the observation has a smaller expected squared error.",
    formula: "E[x<sub>v</sub> | z] = Σ<sub>a</sub> value(a) p(x<sub>v</sub> = a | z)",
  },
};

/** Where the root turns the encoder's last message into the first belief, and nothing is left to add. */
const ROOT = {
  name: "Normalise",
  what: "The belief about the root: its posterior. All that was seen has reached it.",
  why: "Nothing is above the root, so what came from below is everything.",
  formula: "b<sub>root</sub> = h<sub>root</sub> − log Z",
};

export function wordsOf(block, gaussian) {
  const words = block.kind === "b" && block.row === 0 ? ROOT : KINDS[block.kind];
  const formula = words.formula.symbols ? words.formula[gaussian ? "gaussian" : "symbols"] : words.formula;
  return { ...words, formula };
}

export function titleOf(block, gaussian) {
  const { name } = wordsOf(block, gaussian);
  return block.kind in { channel: 1, mean: 1 } ? name : `${name} ${block.kind}, level ${block.row}`;
}
