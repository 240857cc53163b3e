// Where the variables of a tree go, leaves on top, and which of them are shown: what has no room is folded.
//
// A level on a 2-D grid is a plane of cells. All other levels are rows, their variables across as the tidy layout of
// hgm.draw has them. Where the tree is too wide for that, it is seen through a lens around the variable in focus:
// what is near is as wide as it must be, what is far is narrower, and what would be narrower than a line is left out.

import { childrenOf, parentOf } from "./model.js";

const LEVELS = 10; // more are folded
const CELLS = 32; // more along one side of a plane are folded
const NARROWEST = 5; // distance of two neighbours in a tree that needs no lens
const LENS = 26; // and of two neighbours under it
const THINNEST = 3; // a variable that is shown
const GUTTER = 62; // for the names of the levels
const EDGE = 34; // on both sides of rows that are folded,
const RIM = 10; // and of those that are not
export const ROW = 88; // from a row to the next

/** The levels that are shown, leaves first; a number of levels that are folded stands as `{ folded, middle }`. */
export function shownLevels(depth, focus) {
  const wanted = (level) => depth < LEVELS || level < 3 || level > depth - 3 || Math.abs(level - focus) < 2;
  const rows = [];
  for (let level = depth; level >= 0; level--) {
    const last = rows.at(-1);
    if (wanted(level)) rows.push({ level });
    else if (last?.folded) last.folded += 1;
    else rows.push({ folded: 1, first: level });
  }
  return rows.map((row) => (row.folded ? { ...row, middle: row.first - Math.floor(row.folded / 2) } : row));
}

/** Rows from top to bottom, with `cells` `{ v, x, y, wide, high }` by their middles, and `folds` at their ends. */
export function layout(model, focus, width) {
  const across = lens(model, focus, width);
  const rows = [];
  let y = 10;
  for (const row of shownLevels(model.depth, model.level[focus])) {
    if (row.folded) {
      rows.push({ ...row, y: y + 12 });
      y += 34;
    } else if (isPlane(model, row.level)) {
      const side = Math.min(170, Math.max(120, width * 0.28));
      rows.push({ ...row, y: y + side / 2, high: side, ...plane(model, row.level, focus, width, y, side) });
      y += side + 18;
    } else {
      rows.push({ ...row, y: y + ROW / 2, high: ROW, ...line(model, row.level, across, y + ROW / 2, width) });
      y += ROW;
    }
  }
  return { rows, height: y + 10 };
}

/** The variables of a level from left to right; on a plane row by row. */
export function variablesAt(model, level) {
  const [first, end] = model.levels.slice(level, level + 2);
  const variables = Array.from({ length: end - first }, (_, i) => first + i);
  return isPlane(model, level) ? variables : variables.sort((a, b) => model.x[a] - model.x[b]);
}

export function isPlane(model, level) {
  const shape = model.grid?.[level];
  return shape?.length === 2 && shape[0] > 1 && shape[1] > 1;
}

/**
 * From places in the tidy layout to places on the screen. Under the lens the distance d from the focus becomes
 * a log(1 + d / c): LENS wide at the focus, NARROWEST where it ends. What is still further shares what room is left.
 */
function lens(model, focus, width) {
  const span = model.x.reduce((a, x) => Math.max(a, x), 0) + 1;
  const left = GUTTER + EDGE,
    room = width - GUTTER - 2 * EDGE;
  if (isPlane(model, model.depth)) return () => left + room / 2;
  const step = (width - GUTTER - 2 * RIM) / span;
  if (step >= NARROWEST) return (v) => GUTTER + RIM + step * (model.x[v] + 0.5);
  const middle = model.x[focus] + 0.5;
  const at = left + room * Math.min(0.75, Math.max(0.25, middle / span));
  const side = (far, wide) => {
    const inner = 0.85 * wide,
      a = inner / Math.log(LENS / NARROWEST),
      c = a / LENS;
    const reach = c * (LENS / NARROWEST - 1);
    return (d) => (d <= reach ? a * Math.log(1 + d / c) : inner + ((wide - inner) * (d - reach)) / (far - reach));
  };
  const before = side(middle, at - left),
    after = side(span - middle, left + room - at);
  return (v) => {
    const d = model.x[v] + 0.5 - middle;
    return d < 0 ? at - before(-d) : at + after(d);
  };
}

/** The variables of a row: as wide as the distance to their neighbours allows; without those that have no width. */
function line(model, level, across, y, width) {
  const all = variablesAt(model, level).map((v) => ({ v, x: across(v) }));
  const cells = [];
  all.forEach(({ v, x }, i) => {
    const room = Math.min(x - (all[i - 1]?.x ?? 2 * GUTTER - x), (all[i + 1]?.x ?? 2 * width - x) - x);
    const apart = Math.min(40, x - (all[i - 1]?.x ?? -Infinity), (all[i + 1]?.x ?? Infinity) - x);
    const wide = apart > 10 ? Math.min(30, apart * 0.86) : apart - 0.6;
    if (wide >= THINNEST) cells.push({ v, x, y, wide, high: Math.min(30, Math.max(18, wide)), room, i });
  });
  if (!cells.length) cells.push({ ...all[0], y, wide: THINNEST, high: 18, room: THINNEST, i: 0 });
  const first = cells[0].i,
    last = cells.at(-1).i;
  const folds = [];
  if (first > 0) folds.push({ text: `‹${first}`, x: GUTTER + 14, v: all[first - 1].v });
  if (last + 1 < all.length) folds.push({ text: `${all.length - last - 1}›`, x: width - 16, v: all[last + 1].v });
  return { cells, folds };
}

/** The cells of a plane, or those around the variable in focus. */
function plane(model, level, focus, width, top, side) {
  const [height, breadth] = model.grid[level];
  const first = model.levels[level];
  const place = relative(model, focus, level) - first;
  const [r0, rows] = windowed(height, Math.floor(place / breadth));
  const [c0, columns] = windowed(breadth, place % breadth);
  const size = side / Math.max(rows, columns);
  const left = (width + GUTTER) / 2 - (columns * size) / 2;
  const cells = Array.from({ length: rows * columns }, (_, i) => {
    const row = Math.floor(i / columns),
      column = i % columns;
    return {
      v: first + (r0 + row) * breadth + c0 + column,
      x: left + (column + 0.5) * size,
      y: top + (side - rows * size) / 2 + (row + 0.5) * size,
      wide: size - 1,
      high: size - 1,
      room: 0,
    };
  });
  const hidden = height * breadth - rows * columns;
  const beyond = first + Math.min(height - 1, r0 + rows) * breadth + Math.min(breadth - 1, c0 + columns);
  return { cells, folds: hidden ? [{ text: `${hidden} more`, x: width - 40, v: beyond }] : [] };
}

/** Start and length of the part of `count` that is shown, around `middle`. */
function windowed(count, middle) {
  const length = Math.min(count, CELLS);
  return [Math.max(0, Math.min(count - length, middle - Math.floor(length / 2))), length];
}

/** The variable of a level that is above or below another one: of its children the first. */
function relative(model, v, level) {
  while (model.level[v] > level) v = parentOf(model, v);
  while (model.level[v] < level) {
    const children = childrenOf(model, v);
    if (!children.length) return model.levels[level];
    v = children[0];
  }
  return v;
}
