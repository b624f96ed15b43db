// Clicking the named points of a demonstration in the image of a new scene.
import { get, loadImage, post } from "./api.js";
import { $, element, refill, say } from "./elements.js";
import { ImageView } from "./image_view.js";

const state = await get("state").catch((error) => { say(error.message, "bad"); throw error; });
let pixels = state.start;
let chosen = Math.max(0, pixels.indexOf(null));
let dragging = false;
const past = [], future = [];

const groups = [...new Set(state.groups)];
const colour = (i) => state.colours[groups.indexOf(state.groups[i]) % state.colours.length];

const reference = new ImageView($("reference"), state.referenceSize, { choose });
const scene = new ImageView($("scene"), state.size, {
  set: (pixel) => {
    change((now) => { now[chosen] = pixel; });
    const next = [...pixels.keys()].map((i) => (chosen + 1 + i) % pixels.length).find((i) => !pixels[i]);
    if (next !== undefined) choose(next);
  },
  choose,
  move: (i, pixel) => {
    if (!dragging) remember();
    dragging = true;
    pixels = pixels.map((p, j) => (j === i ? pixel : p));
    draw();
  },
  drop: () => { dragging = false; },
});
[reference.image, scene.image] = await Promise.all([loadImage("picture/reference"), loadImage("picture/scene")]);
choose(chosen);
$("scene").focus();

function remember() { past.push(pixels); future.length = 0; }

function change(edit) {
  remember();
  pixels = [...pixels];
  edit(pixels);
  draw();
}

function choose(i) {
  chosen = i;
  draw();
}

function draw() {
  reference.points = state.reference.map((pixel, i) => ({ pixel, colour: colour(i), label: state.names[i], chosen: i === chosen, state: "seen" }));
  scene.points = pixels.map((pixel, i) => ({ pixel, colour: colour(i), label: state.names[i], chosen: i === chosen, state: "seen" }));
  reference.draw();
  scene.draw();
  const missing = pixels.filter((p) => !p).length;
  $("done").disabled = missing > 0;
  $("undo").disabled = !past.length;
  $("redo").disabled = !future.length;
  refill($("names"), ...state.names.map((name, i) => element("button", {
    "aria-pressed": String(i === chosen), className: pixels[i] ? "done" : "", data: { key: name }, onclick: () => choose(i),
  }, element("span", { className: "swatch", style: { background: colour(i) } }), `${name}${pixels[i] ? " ✓" : ""}`)));
  say(missing ? `Click ${state.names[chosen]} in the new scene; ${missing} to go.` : "All points are set: correct them or press Done.", missing ? "" : "good");
}

function step(from, to) {
  if (!from.length) return;
  to.push(pixels);
  pixels = from.pop();
  draw();
}

async function end(path, value, words) {
  try {
    await post(path, value);
    document.querySelectorAll("button").forEach((button) => { button.disabled = true; });
    say(words, "good");
  } catch (error) { say(error.message, "bad"); }
}

$("scene").addEventListener("keydown", (event) => {
  if (scene.key(event) || event.ctrlKey || event.metaKey) return;
  if (event.key === "n" || event.key === "b") choose((chosen + (event.key === "n" ? 1 : -1) + pixels.length) % pixels.length);
  else if (event.key === "Delete" || event.key === "Backspace") { if (pixels[chosen]) change((now) => { now[chosen] = null; }); }
  else return;
  event.preventDefault();
});
document.addEventListener("keydown", (event) => {
  if (!(event.ctrlKey || event.metaKey)) return;
  const key = event.key.toLowerCase();
  if (key === "z" && !event.shiftKey) step(past, future);
  else if (key === "y" || key === "z") step(future, past);
  else return;
  event.preventDefault();
});
for (const [id, action] of Object.entries({
  undo: () => step(past, future), redo: () => step(future, past), "zoom-in": () => scene.zoom(1.4),
  "zoom-out": () => scene.zoom(1 / 1.4), fit: () => { scene.fit(); reference.fit(); },
  "give-up": () => end("give-up", null, "Given up: this page can be closed."),
  done: () => end("finish", { pixels: Object.fromEntries(state.names.map((name, i) => [name, pixels[i]])) }, "Done: this page can be closed."),
})) $(id).addEventListener("click", action);
