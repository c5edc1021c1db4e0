// Starts the page: one store, kept true by `live`; every view draws itself from it, at most once a frame.

import { Actions } from "./actions.js";
import { Api } from "./api.js";
import { Card } from "./card.js";
import { Changes } from "./changes.js";
import { Head } from "./head.js";
import { Live } from "./live.js";
import { Services } from "./services.js";
import { Store } from "./store.js";
import { TokenDialog } from "./token.js";

const store = new Store();
let isDrawDue = false;

function drawSoon() {
  // Out of sight, only the title tells; a hidden page is given no frame.
  if (document.hidden) head.draw(store, live, api.role);
  if (isDrawDue) return;
  isDrawDue = true;
  requestAnimationFrame(() => {
    isDrawDue = false;
    draw();
  });
}

const api = new Api((role) => {
  document.body.dataset.may = role ?? "";
  drawSoon();
});
const tokens = new TokenDialog((token) => {
  api.token = token;
});
const live = new Live(api, store, drawSoon, (message) => tokens.ask(message));
const actions = new Actions(api, store, () => live.nudge());
const card = new Card(() => live.now());
const head = new Head();
const changes = new Changes();
const services = new Services({ actions, card });

function draw() {
  head.draw(store, live, api.role);
  services.draw(store);
  changes.draw(store);
  card.draw();
}

store.onChange(drawSoon);
document.addEventListener("themechange", () => services.redrawCharts());
// Figures that only time changes, such as how long ago lb answered.
setInterval(drawSoon, 1000);
live.start();
