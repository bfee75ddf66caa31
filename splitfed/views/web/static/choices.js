// Labeled fields: a select, a range, a set of buttons of which one is pressed.

import { h } from "./charts/dom.js";

/** A select under its label; `options` replaces what there is to choose and keeps the choice where it can. */
export class Choice {
  constructor(label, changed) {
    this.select = h("select", { change: () => changed(this.select.value) });
    this.element = h("label", { class: "field" }, h("span", {}, label), this.select);
  }

  get value() {
    return this.select.value;
  }

  set value(value) {
    this.select.value = value;
  }

  options(listed) {
    const wanted = JSON.stringify(listed);
    if (wanted === this.listed) return;
    this.listed = wanted;
    const before = this.value;
    this.select.replaceChildren(...listed.map(([value, text]) => h("option", { value }, text)));
    if (listed.some(([value]) => value === before)) this.select.value = before;
  }
}

/** Buttons of which one is pressed. */
export function switchOf(label, options, changed) {
  const buttons = options.map(([value, text], place) =>
    h(
      "button",
      {
        type: "button",
        "aria-pressed": String(place === 0),
        click: () => {
          for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.value === value));
          changed(value);
        },
        "data-value": value,
      },
      text,
    ),
  );
  return h("div", { class: "switch", role: "group", "aria-label": label }, ...buttons);
}
