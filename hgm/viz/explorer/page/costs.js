// What can be deleted, and what that costs beyond the optimum: measured when the page was written, exactly.

import { html, svg } from "./svg.js";

/** The parts of which a cost is known, in words. */
function inWords(part) {
  const [kind, number] = part.split(" ");
  return {
    level: () => (number === "0" ? "level 0, the root" : `level ${number} and all coarser ones`),
    skip: () => `the skips of level ${number}, and of finer ones`,
    own: () => "the finest skip alone: a leaf's own evidence",
    noise: () => "the time input: the noise level σ",
  }[kind]();
}

const WHY = {
  level: "Each block of leaves is then on its own. This is the best that is possible, however wide and well trained.",
  skip: "The decoder then has the beliefs of the level above, and no more. One that is trained so may do better.",
  own: "Each leaf is then guessed from all others: the decoder gives the leave-one-out posterior.",
  noise: "The network must infer the noise. At one level another blind network may do better, on average none can.",
};

/** `remove(part or null)` tells what the reader deletes. */
export function costsView(costs, container, { remove }) {
  const parts = Object.keys(costs.parts);
  const choice = (part, text) =>
    html(
      "label",
      {},
      html("input", {
        type: "radio",
        name: "deleted",
        value: part ?? "",
        checked: part === null,
        change: () => remove(part),
      }),
      text,
    );
  const result = html("div", { class: "result", "aria-live": "polite" });
  container.hidden = false;
  container.replaceChildren(
    html("h2", { id: "costs-title" }, "Delete a part, read what it costs"),
    html(
      "fieldset",
      { class: "parts" },
      html("legend", {}, "Delete"),
      choice(null, "nothing"),
      parts.map((part) => choice(part, inWords(part))),
    ),
    result,
  );

  function paint(part, sigma) {
    for (const input of container.querySelectorAll("input")) input.checked = input.value === (part ?? "");
    const at = costs.noise.indexOf(sigma);
    const least = costs.optimum[at];
    if (part === null) {
      result.replaceChildren(
        html("p", {}, `Squared error per leaf at σ = ${sigma.toPrecision(3)}: ${number(least)}. No network has less.`),
        chart(null, at),
      );
      return;
    }
    const { excess, low, high, nats } = costs.parts[part];
    const share = least > 0 ? `, ${percent(excess[at] / least)} more` : "";
    result.replaceChildren(
      html(
        "p",
        {},
        "Squared error per leaf at σ = ",
        sigma.toPrecision(3),
        ": ",
        html("b", {}, `${number(least)} → ${number(least + excess[at])}`),
        ` (+${number(excess[at])}, 95% interval ${number(low[at])} to ${number(high[at])}${share}).`,
      ),
      html(
        "p",
        {},
        nats
          ? [
              html("b", {}, `${number(nats[0])} nats`),
              ` per sample, over all levels of noise (${number(nats[1])} to ${number(nats[2])}).`,
            ]
          : "In nats, over all levels of noise: no finite number, because the error does not vanish with the noise.",
      ),
      chart(part, at),
      html("p", { class: "why" }, WHY[part.split(" ")[0]], ` ${costs.samples} samples.`),
    );
  }

  /** Squared error against the noise: of the optimum, and of what is left. */
  function chart(part, at) {
    const width = Math.max(260, Math.min(420, result.clientWidth || 320)),
      high = 130,
      left = 44,
      foot = 20;
    const noise = [...costs.noise].reverse(),
      best = [...costs.optimum].reverse();
    const worse =
      part &&
      costs.parts[part].excess
        .slice()
        .reverse()
        .map((x, i) => x + best[i]);
    const top = Math.max(...best, ...(worse ?? []));
    const x = (i) => left + (i / (noise.length - 1)) * (width - left - 8);
    const y = (value) => 8 + (1 - value / top) * (high - foot - 8);
    const line = (values, kind) =>
      svg("path", {
        class: `curve ${kind}`,
        d: `M${values.map((value, i) => `${x(i).toFixed(1)} ${y(value).toFixed(1)}`).join("L")}`,
      });
    const now = noise.length - 1 - at;
    return svg(
      "svg",
      {
        width,
        height: high,
        viewBox: `0 0 ${width} ${high}`,
        class: "chart",
        role: "img",
        "aria-label": "Squared error per leaf against the noise",
      },
      svg("path", { class: "axis", d: `M${left} 8V${high - foot}H${width - 8}` }),
      svg("text", { x: left - 4, y: 14, class: "small end" }, number(top)),
      svg("text", { x: left - 4, y: high - foot, class: "small end" }, "0"),
      svg("text", { x: left, y: high - 5, class: "small" }, noise[0].toPrecision(2)),
      svg("text", { x: width - 8, y: high - 5, class: "small end" }, `σ = ${noise.at(-1).toPrecision(2)}`),
      svg("path", { class: "now", d: `M${x(now)} 8V${high - foot}` }),
      line(best, "best"),
      worse ? line(worse, "worse") : null,
      svg("text", { x: width - 12, y: high - foot - 20, class: "small end best" }, "whole network"),
      worse
        ? svg("text", { x: width - 12, y: high - foot - 6, class: "small end worse" }, "with the part deleted")
        : null,
    );
  }

  return { paint, parts: new Set(parts) };
}

function number(x) {
  return String(Number(x.toPrecision(3)));
}

function percent(x) {
  return `${x >= 0.1 ? Math.round(100 * x) : (100 * x).toPrecision(2)}%`;
}
