// The facts of the page, as it computes with them: variables and factors by their numbers, tables entry by entry.

export function readModel(tree) {
  const potentials = tree.potentials.map(readPotential);
  const above = Array(tree.names.length).fill(-1); // the factor above each variable
  const below = tree.names.map(() => []); // the factors below it
  const factors = tree.scopes.map((scope, f) => {
    const up = tree.up[f];
    for (const v of scope) if (v !== scope[up]) above[v] = f;
    below[scope[up]].push(f);
    return { scope, up, parent: scope[up], potential: potentials[tree.potential[f]] };
  });
  const level = tree.levels.slice(1).flatMap((end, l) => Array(end - tree.levels[l]).fill(l));
  return {
    ...tree,
    potentials,
    factors,
    above,
    below,
    level,
    depth: tree.levels.length - 2,
    leaves: tree.names.map((_, v) => v).filter((v) => childrenOf({ below, factors }, v).length === 0),
  };
}

/** Its entries: `log[i]` stands at the states `states[i * axes ...]`. A dense table has them in order. */
function readPotential({ log, places, ...rest }) {
  const axes = rest.shape.length;
  const numbers = unpacked(log);
  const states = new Int32Array(numbers.length * axes);
  if (places) states.set(places.flat());
  else {
    for (let i = 0; i < numbers.length; i++) {
      for (let axis = axes - 1, left = i; axis >= 0; axis--) {
        states[i * axes + axis] = left % rest.shape[axis];
        left = Math.floor(left / rest.shape[axis]);
      }
    }
  }
  return { ...rest, axes, log: numbers, states };
}

/** Little-endian float64 from base64. */
function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Float64Array.from({ length: bytes.length / 8 }, (_, i) => view.getFloat64(8 * i, true));
}

export function childrenOf(model, v) {
  return model.below[v].flatMap((f) => model.factors[f].scope.filter((child) => child !== v));
}

export function parentOf(model, v) {
  return model.above[v] < 0 ? -1 : model.factors[model.above[v]].parent;
}

export function stateName(model, v, s) {
  return model.label[v] < 0 ? String(s) : model.labels[model.label[v]][s];
}
