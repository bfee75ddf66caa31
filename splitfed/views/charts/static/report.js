// The report's own script: draws what the page carries as numbers and pictures.

import { FigureView } from "./figure.js";
import { ReportWall } from "./reportwall.js";

const drawn = JSON.parse(document.getElementById("drawn").textContent);
for (const element of document.querySelectorAll("[data-figure]"))
  new FigureView(element).show(drawn.figures[Number(element.dataset.figure)]);
for (const element of document.querySelectorAll("[data-features]")) new FigureView(element).show(drawn.features);
for (const element of document.querySelectorAll("[data-wall]")) new ReportWall(element, drawn.wall);

// paper cannot be clicked: what is folded away is printed, but for the numbers of figures
const folded = () => document.querySelectorAll("details:not(.numbers):not([open])");
window.addEventListener("beforeprint", () => {
  const opened = [...folded()];
  for (const details of opened) details.open = true;
  const close = () => opened.forEach((details) => (details.open = false));
  window.addEventListener("afterprint", close, { once: true });
});
