// The report's own script: draws what the page carries as numbers and pictures.

import { FigureView } from "./figure.js";
import { ReportWall } from "./reportwall.js";

const drawn = JSON.parse(document.getElementById("drawn").textContent);
for (const element of document.querySelectorAll("[data-figure]"))
  new FigureView(element).show(drawn.figures[Number(element.dataset.figure)]);
for (const element of document.querySelectorAll("[data-features]")) new FigureView(element).show(drawn.features);
for (const element of document.querySelectorAll("[data-wall]")) new ReportWall(element, drawn.wall);
