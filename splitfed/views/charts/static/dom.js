// Elements, made in one line. Text is always set as text: whatever a run is named, it cannot become markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes (a function listens, null and false are left away) and children (elements or text). */
export function h(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same in a drawing. */
export function s(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== null && value !== undefined && value !== false)
      element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Set the text of an element only where it changes: what did not change is neither drawn nor read out again. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A table: its caption, titles of columns, and rows of texts or elements, the first of each row its header. */
export function tableOf(caption, header, rows) {
  const cells = (row) => row.map((cell, place) => (place ? h("td", {}, cell) : h("th", { scope: "row" }, cell)));
  return h(
    "table",
    {},
    caption ? h("caption", {}, caption) : null,
    h("thead", {}, h("tr", {}, ...header.map((title) => h("th", { scope: "col" }, title)))),
    h("tbody", {}, ...rows.map((row) => h("tr", {}, ...cells(row)))),
  );
}
