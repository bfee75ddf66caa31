// The report's own script: draws what the page carries as numbers.

import { FigureView } from "./figure.js";

const drawn = JSON.parse(document.getElementById("drawn").textContent);
for (const element of document.querySelectorAll("[data-figure]"))
  new FigureView(element).show(drawn.figures[Number(element.dataset.figure)]);
for (const element of document.querySelectorAll("[data-features]")) new FigureView(element).show(drawn.features);
