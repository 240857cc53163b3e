// The network on the right, as the U-Net paper draws one: down the encoder, up the decoder, skips across.

import { titleOf } from "./blocks.js";
import { ROW, shownLevels } from "./layout.js";
import { roving, svg } from "./svg.js";

const BLOCK = "[data-block]";
const MARGIN = 34; // left and right of the U, for what goes in and comes out
const MIDDLE = 72; // between its halves, for the shapes of the skips
const STEP = 19; // from a block to the next, at least
const TOUCH = 28; // width of what belongs to a block for a finger

/**
 * Draws into a container. `choose(id)` and `point(id or null)` tell of blocks, `remove(part)` of what the reader
 * deletes; `parts` is the set of what can be deleted.
 */
export function networkView(network, blocks, gaussian, container, { choose, point, remove, parts }) {
  const byId = new Map(blocks.map((block) => [block.id, block]));
  let drawn = new Map();
  let skips = [];
  let painted = null;

  roving(container, BLOCK, (element, key) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[key];
    if (step === undefined) return null;
    for (let at = byId.get(element.dataset.block).at + step; blocks[at]; at += step) {
      if (drawn.has(blocks[at].id)) return drawn.get(blocks[at].id);
    }
    return null;
  });

  /** Lays everything out anew. `rows` are those of the tree, whose heights are taken where they are the same levels. */
  function draw(width, rows, focusLevel) {
    const last = network.rows.length - 1;
    const same = rows[0].level === last;
    const shown = same ? rows : spread(shownLevels(last, Math.min(focusLevel, last)));
    const step = Math.max(STEP, (width / 2 - MARGIN - MIDDLE / 2) / shown.length);
    const wide = Math.max(width, 2 * (MARGIN + step * shown.length) + MIDDLE);
    const height = shown.at(-1).y + ROW / 2 + 34;
    const column = (i) => MARGIN + (i + 0.4) * step;
    const picture = svg(
      "svg",
      {
        width: wide,
        height,
        viewBox: `0 0 ${wide} ${height}`,
        role: "group",
        "aria-label": "The network. Arrows move between blocks, in the order in which they run.",
      },
      arrowHeads(),
    );
    const lines = svg("g"),
      boxes = svg("g"),
      over = svg("g");
    drawn = new Map();
    skips = [];

    const box = (id, x, y, label) => {
      const block = byId.get(id);
      const size = sizeOf(block, step);
      const touch = Math.min(step, TOUCH);
      const group = svg(
        "g",
        {
          class: `block ${["channel", "h", "q"].includes(block.kind) ? "up" : "down"}`,
          role: "button",
          tabindex: -1,
          "data-block": id,
          "aria-label": `${titleOf(block, gaussian)}, shape ${block.shape.join(" by ")}`,
          click: () => choose(id),
          focus: () => point(id),
          blur: () => point(null),
          mouseenter: () => point(id),
          mouseleave: () => point(null),
        },
        svg("rect", { class: "touch", x: x - touch / 2, y: y - 27, width: touch, height: 54 }),
        svg("rect", {
          class: "frame",
          x: x - size.wide / 2,
          y: y - size.high / 2,
          width: size.wide,
          height: size.high,
          rx: 2,
        }),
        svg("text", { x, y: y + 4, class: "letter" }, label ?? block.kind),
      );
      drawn.set(id, group);
      boxes.append(group);
      return {
        x,
        y,
        left: x - size.wide / 2,
        right: x + size.wide / 2,
        top: y - size.high / 2,
        low: y + size.high / 2,
      };
    };

    shown.forEach(({ level, folded, y }, i) => {
      if (folded) {
        const words = `${folded} more rows`;
        over.append(
          ...[column(i), wide - column(i)].map((x) =>
            svg("text", { x, y: y + 4, class: "small middle" }, x < wide / 2 ? words : "⋮"),
          ),
        );
        return;
      }
      const h = box(`h${level}`, column(i), y);
      const b = box(`b${level}`, wide - column(i), y);
      if (i === 0) inputs(h, b);
      if (level === 0) {
        lines.append(arrow(`M${h.right} ${y}H${b.left}`, "turn"));
        over.append(svg("text", { x: wide / 2, y: y - 6, class: "small middle" }, "normalise"));
        return;
      }
      const q = box(`q${level}`, column(i) + step, y);
      const u = box(`u${level}`, wide - column(i) - step, y);
      const next = shown[i + 1];
      const arc = y - 33;
      lines.append(arrow(`M${h.right} ${y}H${q.left}`, "up"), arrow(`M${u.right} ${y}H${b.left}`, "down"));
      if (!next.folded) {
        const top = next.y - sizeOf(byId.get(`h${next.level}`), step).high / 2;
        lines.append(arrow(`M${q.x} ${q.low}V${top}`, "up"), arrow(`M${u.x} ${top}V${u.low}`, "down"));
      }
      skipOf("h", level, `M${h.x} ${h.top}V${arc}H${b.x}V${b.top}`, arc + 13);
      skipOf("q", level, `M${q.right} ${y}H${u.left}`, y - 5);
    });

    /** A skip, which a click deletes: with the finer ones, but for the finest, which can go alone. */
    function skipOf(kind, level, d, textAt) {
      const shape = byId.get(`${kind}${level}`).shape.join("×");
      removable(kind === "h" && level === last ? "own" : `skip ${level}`, "skip", { level, kind }, [
        svg("path", { class: "touch", d }),
        arrow(d, "across"),
        svg("text", { x: wide / 2, y: textAt, class: "small middle" }, `${kind} ${shape}`),
        cross(wide / 2, textAt - 4),
      ]);
    }

    function removable(part, kind, place, children) {
      const can = parts.has(part);
      const group = svg(
        "g",
        { class: can ? `${kind} removable` : kind, "data-part": part, click: can ? () => remove(part) : null },
        children,
      );
      if (can) group.append(svg("title", {}, "Click to delete"));
      lines.append(group);
      skips.push({ ...place, group });
    }

    /** The channel before the first block and the mean after the last one. */
    function inputs(h, b) {
      const e = box("channel", 18, h.y, gaussian ? "z" : "x");
      lines.append(arrow(`M${e.right} ${h.y}H${h.left}`, "up"));
      if (gaussian) {
        const mean = box("mean", wide - 18, b.y, "x̂");
        lines.append(arrow(`M${b.right} ${b.y}H${mean.left}`, "down"));
        removable("noise", "sigma", { kind: "noise" }, [
          svg("text", { x: 18, y: h.y + 46, class: "letter" }, "σ"),
          arrow(`M18 ${h.y + 34}V${e.low}`, "turn"),
          cross(18, h.y + 40),
        ]);
      }
    }

    picture.append(lines, boxes, over);
    container.replaceChildren(picture);
    drawn.values().next().value.setAttribute("tabindex", "0");
    if (painted) paint(painted);
  }

  /** Shows which blocks are lit, which one is chosen, which have run (up to number `ran`), and what is deleted. */
  function paint(now) {
    painted = now;
    const { lit, chosen, ran, deleted } = now;
    const gone = removed(deleted, network.rows.length - 1);
    container.classList.toggle("some-lit", lit !== null);
    for (const [id, group] of drawn) {
      const block = byId.get(id);
      group.classList.toggle("lit", lit !== null && lit.has(id));
      group.classList.toggle("chosen", id === chosen);
      group.classList.toggle("waiting", block.at > ran);
      group.classList.toggle("gone", gone.block(block));
      group.setAttribute("aria-pressed", String(id === chosen));
    }
    for (const { group, ...skip } of skips) group.classList.toggle("gone", gone.skip(skip));
  }

  return { draw, paint };
}

/** What a deletion takes away, of blocks and of skips. */
function removed(part, last) {
  const [what, number] = (part ?? "").split(" ");
  const coarse = (row) => what === "level" && row <= Number(number);
  return {
    block: ({ kind, row }) => coarse(row) || ("qu".includes(kind) && coarse(row - 1)),
    skip: ({ kind, level }) =>
      kind === what ||
      coarse(level - 1) ||
      (what === "skip" && level >= Number(number)) ||
      (what === "own" && kind === "h" && level === last),
  };
}

function cross(x, y) {
  return svg("path", { class: "cross", d: `M${x - 9} ${y - 7}l18 14m0-14l-18 14` });
}

/** As wide as a block has states and as high as it has positions, on log scales. */
function sizeOf({ shape }, step) {
  const [states, ...positions] = shape;
  const count = positions.reduce((a, n) => a * n, 1);
  return { wide: Math.min(step * 0.62, 12 + 2.4 * Math.log2(states)), high: Math.min(54, 18 + 6 * Math.log2(count)) };
}

/** Rows of their own heights, where the network has other levels than the tree. */
function spread(rows) {
  let y = -ROW / 2 + 10;
  return rows.map((row) => ({ ...row, y: (y += row.folded ? ROW / 2 : ROW) }));
}

function arrow(d, kind) {
  return svg("path", { class: `arrow ${kind}`, d, "marker-end": `url(#head-${kind})` });
}

function arrowHeads() {
  return svg(
    "defs",
    {},
    ["up", "down", "across", "turn"].map((kind) =>
      svg(
        "marker",
        {
          id: `head-${kind}`,
          class: `head ${kind}`,
          viewBox: "0 0 8 8",
          refX: 7,
          refY: 4,
          markerWidth: 7,
          markerHeight: 7,
          orient: "auto",
          markerUnits: "userSpaceOnUse",
        },
        svg("path", { d: "M0 0L8 4L0 8z" }),
      ),
    ),
  );
}
