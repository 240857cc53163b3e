// Belief propagation, as in hgm/bp/passes.py and in its notation. All messages are logs with a largest entry of 0.
//
//   collect      q_f(s) = log sum_a psi_f(s, a) prod_u exp h_u(a_u)        h_v = e_v + sum_f q_f
//   distribute   u_f = e_v + r_v + sum of the other q       r_u(a) = log sum psi_f exp(u_f + the others' h)
//                b_v = r_v + h_v

/** All messages of one observation, `e` the log evidence of every variable; `null` if it is impossible. */
export function passMessages(model, e) {
  const { factors, below, above } = model;
  const count = e.length;
  const h = Array(count),
    r = Array(count),
    b = Array(count),
    q = Array(factors.length),
    u = Array(factors.length);
  for (let v = count - 1; v >= 0; v--) {
    // children have higher numbers than their parents
    for (const f of below[v]) q[f] = send(factors[f], factors[f].up, (child) => h[child]);
    h[v] = normalised(summed([e[v], ...below[v].map((f) => q[f])]));
    if (h[v] === null) return null;
  }
  for (let v = 0; v < count; v++) {
    r[v] = above[v] < 0 ? new Float64Array(e[v].length) : r[v];
    b[v] = normalised(summed([r[v], h[v]]));
    if (b[v] === null) return null;
    const others = allOthers(
      below[v].map((f) => q[f]),
      e[v].length,
    );
    below[v].forEach((f, i) => {
      const { scope, up } = factors[f];
      u[f] = normalised(summed([e[v], r[v], others[i]]));
      scope.forEach((child, axis) => {
        if (axis !== up) r[child] = normalised(send(factors[f], axis, (other) => (other === v ? u[f] : h[other])));
      });
    });
  }
  return { e, h, q, u, b };
}

/** What a factor sends along one axis, `message(v)` what it gets from its other variables. */
function send({ scope, potential }, axis, message) {
  const { axes, log, states, shape } = potential;
  const incoming = scope.map((v, i) => (i === axis ? null : message(v)));
  const terms = Float64Array.from(log);
  const top = new Float64Array(shape[axis]).fill(-Infinity);
  for (let i = 0; i < terms.length; i++) {
    for (let j = 0; j < axes; j++) if (j !== axis) terms[i] += incoming[j][states[i * axes + j]];
    const s = states[i * axes + axis];
    if (terms[i] > top[s]) top[s] = terms[i];
  }
  const total = new Float64Array(shape[axis]);
  for (let i = 0; i < terms.length; i++) {
    const s = states[i * axes + axis];
    if (terms[i] > -Infinity) total[s] += Math.exp(terms[i] - top[s]);
  }
  return normalised(total.map((x, s) => Math.log(x) + (x > 0 ? top[s] : 0))) ?? total.fill(-Infinity);
}

function summed(messages) {
  const sum = Float64Array.from(messages[0]);
  for (const message of messages.slice(1)) for (let s = 0; s < sum.length; s++) sum[s] += message[s];
  return sum;
}

/** For each message the sum of all others: those before it plus those after it, never a sum minus a message. */
function allOthers(messages, states) {
  const before = [new Float64Array(states)],
    after = [new Float64Array(states)];
  for (let i = 0; i + 1 < messages.length; i++) {
    before.push(summed([before[i], messages[i]]));
    after.push(summed([after[i], messages[messages.length - 1 - i]]));
  }
  return messages.map((_, i) => summed([before[i], after[messages.length - 1 - i]]));
}

/** With a largest entry of 0; `null` if there is no possible state. */
function normalised(message) {
  let top = -Infinity;
  for (const x of message) if (x > top) top = x;
  return top > -Infinity ? message.map((x) => x - top) : null;
}

/** The probabilities that a message of logs stands for, which sum to 1. */
export function probabilities(message) {
  const p = message.map(Math.exp);
  const sum = p.reduce((a, x) => a + x, 0);
  return p.map((x) => x / sum);
}

export function likeliest(message) {
  return message.indexOf(message.reduce((a, x) => Math.max(a, x), -Infinity));
}
