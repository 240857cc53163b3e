// The noise: a slider, and for each level of the tree the share of its variables that have flipped, at every noise.
//
// A variable has flipped when its likeliest state is another one than with next to no noise.

import { shownLevels } from "./layout.js";
import { evidence } from "./observation.js";
import { likeliest, passMessages } from "./passes.js";
import { html, svg } from "./svg.js";

const AT_ONCE = 12; // milliseconds of work, before the page may answer the reader

/** `slide(index)` tells of another level of noise, one of the `levels`, which go from little noise to much. */
export function noiseView(model, example, levels, container, { slide }) {
  const slider = html("input", {
    type: "range",
    id: "sigma",
    min: 0,
    max: levels.length - 1,
    step: 1,
    "aria-describedby": "flips-said",
    input: () => slide(Number(slider.value)),
  });
  const value = html("output", { for: "sigma" });
  const chart = html("div", { class: "drawing" });
  const sentence = html("p", { id: "flips-said" });
  container.hidden = false;
  container.replaceChildren(
    html("h2", { id: "noise-title" }, "Noise"),
    html("label", { for: "sigma" }, "Standard deviation σ of the noise at the noisy leaves: ", value),
    slider,
    chart,
    sentence,
    html(
      "p",
      { class: "why" },
      "Shaded: how many variables of a level have flipped, their likeliest state being another than without noise.",
    ),
  );
  let likeliestAt = []; // of every variable, at every level of noise
  let leaves = null;
  let run = 0;

  /** What is likeliest at all levels of noise, for other leaves: little by little, so that the page stays alive. */
  function observe(now, done) {
    leaves = now;
    likeliestAt = [];
    const mine = ++run;
    const work = () => {
      const start = performance.now();
      while (mine === run && likeliestAt.length < levels.length && performance.now() - start < AT_ONCE) {
        likeliestAt.push(at(likeliestAt.length));
      }
      if (mine !== run) return;
      if (likeliestAt.length < levels.length) setTimeout(work);
      else done();
    };
    likeliestAt.push(at(0));
    setTimeout(work);
  }

  function at(index) {
    const found = passMessages(model, evidence(model, example, leaves, levels[index]));
    return found && found.b.map(likeliest);
  }

  /** The variables whose likeliest state is not the one that they have with next to no noise. */
  function flipped(messages) {
    const clean = likeliestAt[0];
    if (!messages || !clean) return new Set();
    return new Set(messages.b.flatMap((log, v) => (likeliest(log) === clean[v] ? [] : [v])));
  }

  function shares(states) {
    return model.levels.slice(1).map((end, level) => {
      const first = model.levels[level];
      let count = 0;
      for (let v = first; v < end; v++) if (states && states[v] !== likeliestAt[0][v]) count += 1;
      return count / (end - first);
    });
  }

  function paint(index, messages) {
    slider.value = index;
    value.textContent = levels[index].toPrecision(3);
    slider.setAttribute("aria-valuetext", `σ = ${levels[index].toPrecision(3)}`);
    const now = flipped(messages);
    const counts = model.levels.slice(1).map(() => 0);
    for (const v of now) counts[model.level[v]] += 1;
    const size = (level) => model.levels[level + 1] - model.levels[level];
    const said = counts.map((count, level) => count && `${count} of ${size(level)} on level ${level}`).filter(Boolean);
    sentence.textContent = said.length ? `Flipped: ${said.reverse().join(", ")}.` : "No likeliest state has flipped.";
    if (likeliestAt.length === levels.length && likeliestAt[0])
      chart.replaceChildren(picture(index, chart.clientWidth || 320));
  }

  function picture(index, width) {
    const rows = shownLevels(model.depth, 0)
      .filter((row) => !row.folded)
      .map((row) => row.level);
    const left = 50,
      high = 18,
      step = (width - left - 4) / levels.length;
    const all = likeliestAt.map(shares);
    const cells = rows.flatMap((level, row) =>
      all.map((share, i) =>
        svg("rect", {
          x: left + i * step,
          y: row * high,
          width: step + 0.3,
          height: high - 2,
          class: "share",
          "fill-opacity": share[level].toFixed(3),
        }),
      ),
    );
    const names = rows.map((level, row) => svg("text", { x: 2, y: row * high + 12, class: "small" }, `level ${level}`));
    const frame = svg("rect", {
      x: left,
      y: 0,
      width: step * levels.length,
      height: rows.length * high - 2,
      class: "frame",
    });
    const now = svg("rect", {
      x: left + index * step - 0.5,
      y: -1,
      width: step + 1,
      height: rows.length * high,
      class: "now",
    });
    return svg(
      "svg",
      {
        width,
        height: rows.length * high + 2,
        viewBox: `0 -2 ${width} ${rows.length * high + 4}`,
        role: "img",
        "aria-label": "The share of flipped variables, by level and noise",
      },
      cells,
      frame,
      now,
      names,
    );
  }

  return { observe, flipped, paint };
}
