// What was seen of each leaf, which the reader changes, and the log evidence that it is.
//
//   noisy     z = value(symbol) + sigma g:  e(a) = -(z - value(a))^2 / (2 sigma^2)
//   sharp     the symbol itself:            e(a) = 0 there, -inf elsewhere
//   blurred   likelier than any other one:  e(a) = log(1 - BLUR) there, log(BLUR / (S - 1)) elsewhere
//   erased    nothing:                      e(a) = 0

export const BLUR = 0.3;

/** The observation that the page shows at first. */
export function exampleLeaves(example) {
  const mode = example.values ? "noisy" : "blurred";
  return example.symbols.map((symbol) => ({ symbol, mode }));
}

export function modesOf(example) {
  return example.values ? ["noisy", "sharp", "blurred", "erased"] : ["sharp", "blurred", "erased"];
}

/** z of a leaf, the i-th. */
export function noisyValue(example, i, symbol, sigma) {
  return example.values[symbol] + sigma * example.noise[i];
}

/** Log evidence of every variable; inner ones have none. */
export function evidence(model, example, leaves, sigma) {
  const e = model.states.map((states) => new Float64Array(states));
  model.leaves.forEach((v, i) => {
    const { symbol, mode } = leaves[i];
    const states = e[v].length;
    if (mode === "noisy") {
      const z = noisyValue(example, i, symbol, sigma);
      e[v] = e[v].map((_, a) => -((z - example.values[a]) ** 2) / (2 * sigma * sigma));
    } else if (mode === "sharp") {
      e[v] = e[v].map((_, a) => (a === symbol ? 0 : -Infinity));
    } else if (mode === "blurred") {
      e[v] = e[v].map((_, a) => (a === symbol ? Math.log(1 - BLUR) : Math.log(BLUR / (states - 1))));
    }
  });
  return e;
}
