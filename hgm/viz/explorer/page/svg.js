// Elements of the page and of its drawings, made in one call.

export function html(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

/** Attributes that are `null` or `false` are left out; those that are functions listen to the event of their name. */
function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null));
  return element;
}

/** Bars side by side that fill a box, one for each probability, as the outline of one path. */
export function bars(p, x, y, wide, high) {
  const step = wide / p.length;
  const gap = step > 3 ? 1 : 0;
  const outline = Array.from(p, (value, s) => {
    const tall = (value * high).toFixed(2);
    return `M${(x + s * step).toFixed(2)} ${(y + high).toFixed(2)}v-${tall}h${(step - gap).toFixed(2)}v${tall}z`;
  });
  return outline.join("");
}

const RAMP = [
  [0, 34, 78],
  [87, 92, 109],
  [124, 123, 120],
  [187, 175, 113],
  [254, 232, 56],
]; // cividis

/** The colours of the states, mixed by their probabilities. */
export function mixed(p) {
  const color = [0, 0, 0];
  p.forEach((value, s) => {
    const at = p.length > 1 ? (s / (p.length - 1)) * (RAMP.length - 1) : 0;
    const low = Math.min(Math.floor(at), RAMP.length - 2);
    color.forEach((_, i) => {
      color[i] += value * (RAMP[low][i] + (at - low) * (RAMP[low + 1][i] - RAMP[low][i]));
    });
  });
  return `rgb(${color.map(Math.round).join(" ")})`;
}

/** Keeps one of several elements in the order of focus; arrow keys move between them as `next(element, key)` says. */
export function roving(container, selector, next) {
  container.addEventListener("keydown", (event) => {
    const here = event.target.closest(selector);
    const there = here && next(here, event.key);
    if (here && (event.key === "Enter" || event.key === " ")) {
      event.preventDefault();
      here.dispatchEvent(new MouseEvent("click", { bubbles: true }));
    } else if (there) {
      event.preventDefault();
      focusOn(container, selector, there);
    }
  });
}

export function focusOn(container, selector, element) {
  container.querySelectorAll(selector).forEach((other) => other.setAttribute("tabindex", "-1"));
  element.setAttribute("tabindex", "0");
  element.focus();
}

/** A name on a picture: cut where it is long. */
export function short(name) {
  const letters = [...name];
  return letters.length <= 18 ? name : `${letters.slice(0, 17).join("")}…`;
}

/** About how long a name is, in pixels; letters of East Asia are as wide as they are high. */
export const lengthOf = (name) => [...name].reduce((sum, letter) => sum + (letter < "\u1100" ? 6.2 : 11), 0);
