// A run that is over can be seen again, at a chosen speed.

import { h } from "./charts/dom.js";
import { Choice } from "./choices.js";

const SPEEDS = [1, 5, 20, 100];

export class Replay {
  constructor(element, begin) {
    this.begin = begin;
    this.element = element;
    this.speed = new Choice("speed", () => this.playing && this.start());
    this.speed.options(SPEEDS.map((speed) => [String(speed), `${speed}×`]));
    this.speed.value = "20";
    this.button = h("button", { type: "button", click: () => (this.playing ? this.stop() : this.start()) }, "replay");
    element.append(this.button, this.speed.element);
    element.hidden = true;
  }

  /** Begin at a speed, that of the field where none is given. */
  start(speed = Number(this.speed.value)) {
    this.playing = true;
    this.button.textContent = "show the end";
    this.begin(speed);
  }

  stop() {
    this.ended();
    this.begin(null);
  }

  /** The run's last event has come. */
  ended() {
    this.playing = false;
    this.button.textContent = "replay";
  }

  update(run) {
    this.element.hidden = !(this.playing || run.finished);
  }
}
