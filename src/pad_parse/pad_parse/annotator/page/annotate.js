// The annotation page: image, points, tracks, time line, and saving.
import { get, loadImage, post, watch } from "./api.js";
import { Draft, newObject, unused } from "./draft.js";
import { $, choice, element, refill, say, seconds, typing } from "./elements.js";
import { ImageView } from "./image_view.js";
import { KINDS, Timeline } from "./timeline.js";

const STATES = ["lost", "seen", "filled"];
const TRAIL = 20; // frames
const NAME = /^[a-z][a-z0-9_]{0,63}$/;

const state = await get("state").catch((error) => { say(error.message, "bad"); throw error; });
const draft = new Draft(state.task);
let pictures = { stamps: [0], every: 1, complete: false };
let frame = 0; // of the pictures
let wanted = 0;
let tracks = null; // {stamps, pixels, states, ...} and the points that they belong to
let chosenPoint = -1, chosenSegment = -1;
let group = draft.groups()[0]?.name ?? null;
let playing = null;
const openRegions = new Set(), openStages = new Set();

$("recording").textContent = state.recording;
document.title = `PAD: annotate ${state.recording}`;
$("file").textContent = `Saves to ${state.file}`;

const colourOf = (name) => {
  const names = draft.groups().map((g) => g.name);
  return state.colours[Math.max(0, names.indexOf(name)) % state.colours.length];
};
const period = () => pictures.stamps.length > 1 ? pictures.stamps[1] - pictures.stamps[0] : 1 / 30;
const duration = () => pictures.complete || pictures.stamps.length > 1
  ? Math.max(pictures.complete ? 0 : state.duration, pictures.stamps.at(-1) + period()) : Math.max(state.duration, 0.1);
const time = () => pictures.stamps[frame] ?? 0;

const view = new ImageView($("image"), [state.width, state.height], {
  set: setPoint,
  choose: (i) => { if (frame === 0) choosePoint(i); },
  move: (i, pixel) => { if (frame === 0) draft.change((d) => { d.points[i].pixel = pixel; }, `drag-point-${i}`); },
  drop: () => draft.endStep(),
  cursor: drawTime,
});
const timeline = new Timeline($("timeline"), draft, {
  duration, time, seek: (s) => show(nearest(s)), step: period, chosen: () => chosenSegment, choose: chooseSegment,
  tracks: () => tracks, say: (text) => say(text, "bad"), propose: state.proposals ? propose : null,
});
const first = await loadImage("frame/0");
view.image = first;

async function readPictures() {
  try {
    for (;;) {
      pictures = await get("pictures");
      $("frame").max = Math.max(0, pictures.stamps.length - 1);
      if (pictures.error) say(`The recording cannot be read to its end: ${pictures.error}`, "bad");
      drawTime();
      if (pictures.complete) return timeline.draw();
      timeline.place();
      timeline.moveHead();
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
  } catch (error) { say(`The page has lost its server: ${error.message}`, "bad"); }
}

// ---- points

function setPoint(pixel) {
  if (frame !== 0) return say("Points are set in the first frame: press Home to go there.", "bad");
  const chosen = draft.groups().find((g) => g.name === group);
  if (!chosen) return say("Add a group first; a point belongs to a group.", "bad");
  draft.change((d) => d.points.push({ name: null, object: chosen.object, group: chosen.name, pixel }));
  choosePoint(draft.now.points.length - 1);
  const count = draft.now.points.filter((p) => p.group === chosen.name).length;
  say(`${draft.names().at(-1)} at ${pixel.map((v) => v.toFixed(1)).join(", ")}.`);
  if (chosen.asked && count === chosen.asked) {
    const next = draft.groups().find((g) => g.asked > draft.now.points.filter((p) => p.group === g.name).length);
    if (next) {
      group = next.name;
      say(`${draft.names().at(-1)} set; ${chosen.name} is complete. Next: ${group}.`);
    } else say("All points are set: look at the track preview, then save.", "good");
    drawObjects();
  }
}

function removePoint(index) {
  if (index < 0) return;
  const name = draft.names()[index];
  chosenPoint = -1;
  draft.change((d) => d.points.splice(index, 1));
  say(`${name} removed.`);
}

function choosePoint(index) {
  chosenPoint = index;
  if (index >= 0) group = draft.now.points[index].group;
  drawImage();
  drawObjects();
}

function renamed(kind, before, after, names) {
  if (after === before) return false;
  if (!NAME.test(after)) say(`${JSON.stringify(after)} is no name: lower case letters, digits and _, a letter first.`, "bad");
  else if (names.includes(after)) say(`There is a ${kind} ${after} already.`, "bad");
  else return true;
  drawObjects();
  return false;
}

function renameObject(i, after) {
  const before = draft.now.objects[i].name;
  if (!renamed("object", before, after, draft.now.objects.map((o) => o.name))) return;
  draft.change((d) => {
    d.objects[i].name = after;
    for (const p of d.points) if (p.object === before) p.object = after;
    for (const s of [...d.stages, ...d.segments]) for (const role of ["object", "reference"]) if (s[role] === before) s[role] = after;
  });
}

function renameGroup(i, j, after) {
  const before = draft.now.objects[i].groups[j].name;
  if (!renamed("group", before, after, draft.groups().map((g) => g.name))) return;
  if (group === before) group = after;
  draft.change((d) => {
    d.objects[i].groups[j].name = after;
    for (const p of d.points) if (p.group === before) p.group = after;
  });
}

function removeGroup(i, j) {
  draft.change((d) => {
    const [gone] = d.objects[i].groups.splice(j, 1);
    d.points = d.points.filter((p) => p.group !== gone.name);
  });
}

function removeObject(i) {
  const { name } = draft.now.objects[i];
  const used = [...draft.now.stages, ...draft.now.segments].some((s) => s.object === name || s.reference === name);
  if (used) return say(`${name} is used by a stage or a segment; change that first.`, "bad");
  draft.change((d) => {
    d.objects.splice(i, 1);
    d.points = d.points.filter((p) => p.object !== name);
  });
}

function drawObjects() {
  const names = draft.names();
  if (!draft.groups().some((g) => g.name === group)) group = draft.groups()[0]?.name ?? null;
  refill($("objects"), ...draft.now.objects.map((object, i) => element("div", { className: "object" },
    element("div", { className: "row" },
      element("input", {
        value: object.name, spellcheck: false, data: { key: `object-${i}` }, "aria-label": "Name of the object",
        onchange: (e) => renameObject(i, e.target.value.trim()),
      }),
      element("button", {
        className: "plain", title: "Add a group of points", data: { key: `add-group-${i}` }, "aria-label": `Add a group to ${object.name}`,
        onclick: () => {
          const name = unused(`${object.name}_part`, draft.groups().map((g) => g.name));
          draft.change((d) => d.objects[i].groups.push({ name, asked: 0 }));
          group = name;
          drawObjects();
        },
      }, "+ group"),
      remove(`Remove ${object.name}`, `remove-object-${i}`, () => removeObject(i))),
    ...object.groups.map((item, j) => drawGroup(object, i, item, j, names)),
    drawRegion(object, i))));
}

function drawGroup(object, i, item, j, names) {
  const mine = draft.now.points.map((p, index) => ({ p, index })).filter(({ p }) => p.group === item.name);
  const count = item.asked ? `${mine.length} of ${item.asked}` : `${mine.length}`;
  const full = item.asked ? mine.length === item.asked : mine.length > 0;
  const box = element("div", { className: `group${item.name === group ? " chosen" : ""}` },
    element("div", { className: "row" },
      element("input", {
        type: "radio", name: "group", value: item.name, checked: item.name === group, data: { key: `pick-${item.name}` },
        style: { flex: "none" }, "aria-label": `Set points of ${item.name}`,
        onchange: () => { group = item.name; chosenPoint = -1; drawObjects(); drawImage(); },
      }),
      element("span", { className: "swatch", style: { background: colourOf(item.name) } }),
      element("input", {
        value: item.name, spellcheck: false, data: { key: `group-${i}-${j}` }, "aria-label": "Name of the group",
        onchange: (e) => renameGroup(i, j, e.target.value.trim()),
      }),
      element("span", { className: `count ${full ? "full" : item.asked || !mine.length ? "short" : ""}` }, count),
      remove(`Remove ${item.name}`, `remove-group-${i}-${j}`, () => removeGroup(i, j))),
    element("div", { className: "points" }, ...mine.map(({ p, index }) => element("button", {
      "aria-pressed": String(index === chosenPoint), data: { key: `point-${index}` },
      title: p.pixel.map((v) => v.toFixed(1)).join(", "),
      onclick: () => { choosePoint(index); view.setCursor(p.pixel); },
      onkeydown: (e) => { if (e.key === "Delete" || e.key === "Backspace") { e.preventDefault(); e.stopPropagation(); removePoint(index); $("image").focus(); } },
    }, names[index]))));
  return box;
}

function drawRegion(object, i) {
  const number = (axis, end) => element("input", {
    type: "number", step: axis === "yaw" ? 0.05 : 0.01, value: object.region[axis][end], data: { key: `region-${i}-${axis}-${end}` },
    "aria-label": `${object.name}: ${end ? "highest" : "lowest"} ${axis}`,
    onchange: (e) => {
      const value = e.target.valueAsNumber;
      if (Number.isFinite(value)) draft.change((d) => { d.objects[i].region[axis][end] = value; });
      else drawObjects();
    },
  });
  const table = element("details", { open: openRegions.has(object.name) },
    element("summary", {}, "Where it may stand"),
    element("div", { className: "region" }, ...["x", "y", "yaw"].flatMap((axis) => [
      element("span", {}, axis === "yaw" ? "yaw, rad" : `${axis}, m`), number(axis, 0), number(axis, 1)])));
  table.addEventListener("toggle", () => { if (table.open) openRegions.add(object.name); else openRegions.delete(object.name); });
  return table;
}

function remove(label, key, onclick) {
  return element("button", { className: "plain", title: label, "aria-label": label, data: { key }, onclick }, "×");
}

// ---- the image and time

function drawImage() {
  const names = draft.names();
  const at = frame * pictures.every;
  if (frame === 0) {
    view.points = draft.now.points.map((p, i) => ({
      pixel: p.pixel, colour: colourOf(p.group), label: names[i], chosen: i === chosenPoint, state: "seen",
    }));
    view.trails = [];
  } else if (tracks && at < tracks.pixels.length) {
    view.points = tracks.points.map((p, i) => ({
      pixel: tracks.pixels[at][i], colour: colourOf(p.group), label: p.name, state: STATES[tracks.states[at][i]],
    }));
    view.trails = tracks.points.map((p, i) => ({
      colour: colourOf(p.group), pixels: tracks.pixels.slice(Math.max(0, at - TRAIL), at + 1).map((row) => row[i]),
    }));
  } else {
    view.points = [];
    view.trails = [];
  }
  $("hint").textContent = frame === 0 ? "" : tracks ? lostHere(at) : "No tracks yet: press Track preview. Home returns to the first frame.";
  view.draw();
}

function lostHere(at) {
  if (at >= tracks.states.length) return "";
  const lost = tracks.points.filter((_, i) => tracks.states[at][i] === 0).map((p) => p.name);
  return lost.length ? `lost: ${lost.join(", ")}` : "";
}

function drawTime() {
  $("time").textContent = `${seconds(time())} · px ${view.cursor.map((v) => v.toFixed(0)).join(", ")}`;
}

const nearest = (s) => {
  let best = 0;
  pictures.stamps.forEach((stamp, i) => { if (Math.abs(stamp - s) < Math.abs(pictures.stamps[best] - s)) best = i; });
  return best;
};

async function show(index) {
  wanted = Math.max(0, Math.min(pictures.stamps.length - 1, index));
  if (show.busy) return;
  show.busy = true;
  try {
    while (frame !== wanted) {
      const target = wanted;
      const image = target === 0 ? first : await loadImage(`frame/${target}`);
      frame = target;
      view.image = image;
      $("frame").value = frame;
      drawImage();
      drawTime();
      timeline.moveHead();
    }
  } catch (error) { say(error.message, "bad"); wanted = frame; } finally { show.busy = false; }
}

function play() {
  if (playing) {
    cancelAnimationFrame(playing);
    playing = null;
    $("play").textContent = "Play";
    return;
  }
  $("play").textContent = "Pause";
  const from = frame >= pictures.stamps.length - 1 ? 0 : time(), begin = performance.now();
  const step = (now) => {
    const s = from + (now - begin) / 1000;
    show(nearest(s));
    if (s > pictures.stamps.at(-1)) { playing = 1; play(); } else playing = requestAnimationFrame(step);
  };
  playing = requestAnimationFrame(step);
}

// ---- track preview, proposals

async function preview() {
  if ($("preview").dataset.running) return post("tracks/stop");
  const keypoints = draft.keypoints(); // in the order of groups, as the server puts them
  $("preview").dataset.running = "1";
  $("preview").textContent = "Stop";
  $("tracks").hidden = false;
  try {
    await post("tracks", draft.task());
    const bar = element("progress", { max: 1, value: 0, "aria-label": "Track preview" });
    const stage = element("p", { className: "soft" });
    refill($("tracks-result"), bar, stage);
    const status = await watch("tracks", (s) => { bar.value = s.fraction; stage.textContent = s.stage; });
    if (status.error) throw new Error(status.error);
    tracks = { ...status.result, points: keypoints };
    const worst = Object.values(tracks.spans).flat().filter((span) => span.state === 0).length;
    say(worst ? `Tracked; ${worst} lost span${worst > 1 ? "s" : ""}.` : "Tracked to the end, nothing lost.", worst ? "bad" : "good");
  } catch (error) {
    tracks = null;
    $("tracks").hidden = true;
    say(error.message === "stopped" ? "Preview stopped." : error.message, error.message === "stopped" ? "" : "bad");
  } finally {
    delete $("preview").dataset.running;
    $("preview").textContent = "Track preview";
  }
  drawTracks();
  drawImage();
  timeline.draw();
}

function drawTracks() {
  if (!tracks) return;
  const rows = Object.entries(tracks.visible).map(([name, share]) => {
    const spans = tracks.spans[name];
    const list = (kind, label) => spans.filter((s) => s.state === kind).map((s) => element("button", {
      className: "plain", title: `Go to ${seconds(s.begin)}`, onclick: () => show(nearest(s.begin)),
    }, `${label} ${s.begin.toFixed(1)}–${s.end.toFixed(1)} s`));
    return element("tr", {},
      element("td", {}, element("div", { className: "row" }, element("span", { className: "swatch", style: { background: colourOf(name) } }), name)),
      element("td", { className: "n" }, `${Math.round(100 * share)} %`),
      element("td", {}, ...shortened(list(0, "lost"), 6), ...shortened(list(2, "filled"), 3)));
  });
  refill($("tracks-result"), element("table", {}, element("tbody", {}, element("tr", {},
    element("th", {}, "group"), element("th", { className: "n" }, "seen"), element("th", {}, "not seen")), ...rows)),
    ...tracks.notes.map((note) => element("p", { className: "soft" }, note)));
}

function shortened(items, most) {
  if (items.length <= most + 1) return items;
  return [...items.slice(0, most), element("span", { className: "soft" }, ` and ${items.length - most} more`)];
}

async function propose() {
  if (draft.now.segments.length && !window.confirm("Replace the segments by proposed ones? Undo brings them back.")) return;
  const button = $("propose");
  button.disabled = true;
  try {
    await post("proposal", draft.task());
    const status = await watch("proposal", (s) => say(`Proposal: ${s.stage} ${Math.round(100 * s.fraction)} %`));
    if (status.error) throw new Error(status.error);
    chosenSegment = -1;
    draft.change((d) => { d.segments = status.result; });
    say(`${status.result.length} segments proposed; correct them where they are wrong.`, "good");
  } catch (error) { say(error.message, "bad"); }
  timeline.draw();
}

// ---- segments and stages

function chooseSegment(index) {
  chosenSegment = index;
  timeline.draw();
  drawSegment();
}

function drawSegment() {
  const segment = draft.now.segments[chosenSegment];
  if (!segment) {
    chosenSegment = -1;
    return refill($("segment"), element("p", { className: "soft" },
      "Choose a segment in the time line, or add one with +. Without segments they are found when the recording is parsed."));
  }
  const set = (name) => (value) => draft.change((d) => { d.segments[chosenSegment][name] = value; });
  const border = (part) => element("input", {
    type: "number", step: 0.01, min: 0, value: segment[part], data: { key: `segment-${part}` },
    onchange: (e) => { if (Number.isFinite(e.target.valueAsNumber)) timeline.shift(chosenSegment, part, e.target.valueAsNumber - segment[part]); drawSegment(); },
  });
  const here = (part) => element("button", {
    data: { key: `here-${part}` }, onclick: () => timeline.shift(chosenSegment, part, time() - segment[part]),
  }, `${part === "start" ? "Starts" : "Ends"} here`);
  const none = ["", "none"], objects = [none, ...draft.now.objects.map((o) => o.name)];
  refill($("segment"),
    element("div", { className: "fields" },
      element("label", {}, "Arm", choice(["left", "right"], segment.arm, set("arm"), { data: { key: "segment-arm" } })),
      element("label", {}, "Kind", choice(KINDS, segment.kind, set("kind"), { data: { key: "segment-kind" } })),
      element("label", {}, "Start, s", border("start")),
      element("label", {}, "End, s", border("end")),
      element("label", {}, "Stage", choice([none, ...draft.now.stages.map((s) => s.name)], segment.stage, (value) => draft.change((d) => {
        const chosen = d.segments[chosenSegment], stage = d.stages.find((s) => s.name === value);
        chosen.stage = value;
        if (stage) Object.assign(chosen, { object: stage.object, reference: stage.reference, kind: stage.sync ? "sync_skill" : "async_skill" });
      }), { data: { key: "segment-stage" } })),
      element("label", {}, "Object", choice(objects, segment.object, set("object"), { data: { key: "segment-object" } })),
      element("label", {}, "Relative to", choice(objects, segment.reference, set("reference"), { data: { key: "segment-reference" } }))),
    element("div", { className: "row" }, here("start"), here("end"),
      element("button", { data: { key: "segment-remove" }, onclick: () => timeline.remove(chosenSegment) }, "Remove")));
}

function drawStages() {
  const objects = draft.now.objects.map((o) => o.name);
  refill($("stages"), ...draft.now.stages.map((stage, i) => {
    const key = (name) => ({ data: { key: `stage-${i}-${name}` } });
    const set = (name) => (value) => draft.change((d) => {
      d.stages[i][name] = value;
      if (name === "arm" && value !== "both") d.stages[i].sync = false;
    });
    const summary = `${stage.name}: ${stage.arm}, ${stage.kind} ${stage.object}`;
    const box = element("details", { className: "card", open: openStages.has(i) }, element("summary", {}, summary),
      element("div", { className: "fields" },
        element("label", {}, "Name", element("input", {
          value: stage.name, ...key("name"),
          onchange: (e) => {
            const after = e.target.value.trim(), before = stage.name;
            if (!after || draft.now.stages.some((s) => s.name === after)) return drawStages();
            draft.change((d) => {
              d.stages[i].name = after;
              for (const s of d.segments) if (s.stage === before) s.stage = after;
            });
          },
        })),
        element("label", {}, "Arm", choice(["left", "right", "both"], stage.arm, set("arm"), key("arm"))),
        element("label", {}, "Kind", choice(["grasp", "skill"], stage.kind, set("kind"), key("kind"))),
        element("label", {}, "In sync", choice([["", "no"], ["yes", "yes"]], stage.sync ? "yes" : "", (v) => set("sync")(v === "yes"), { ...key("sync"), disabled: stage.arm !== "both" })),
        element("label", {}, "Object", choice(objects, stage.object, set("object"), key("object"))),
        element("label", {}, "Relative to", choice(objects, stage.reference, set("reference"), key("reference")))),
      element("button", { ...key("remove"), onclick: () => removeStage(i) }, "Remove stage"));
    box.addEventListener("toggle", () => { if (box.open) openStages.add(i); else openStages.delete(i); });
    return box;
  }));
}

function removeStage(i) {
  const { name } = draft.now.stages[i];
  openStages.clear();
  draft.change((d) => {
    d.stages.splice(i, 1);
    for (const s of d.segments) if (s.stage === name) s.stage = "";
  });
}

// ---- saving, keys, buttons

async function save() {
  try {
    const { file } = await post("save", draft.task());
    draft.markSaved();
    say(`Saved ${file}.`, "good");
    return true;
  } catch (error) { say(`Not saved: ${error.message}`, "bad"); return false; }
}

async function finish() {
  if (draft.unsaved && !window.confirm("There are unsaved changes. End without them?")) return;
  draft.markSaved();
  try { await post("finish"); } catch { /* the server ends with its answer under way */ }
  document.querySelectorAll("button, input, select, textarea").forEach((control) => { control.disabled = true; });
  say("Finished: this page can be closed.", "good");
}

function back(way) {
  chosenPoint = -1;
  if (!draft[way]()) say(`Nothing to ${way}.`);
}

// A field that is left by pressing a button changes the draft between press and release: the panels are drawn anew only
// after the release, or the button would be gone before its click.
let pressed = null;
for (const panel of [document.querySelector("aside"), $("timeline")]) {
  panel.addEventListener("pointerdown", () => { pressed = setTimeout(released, 400); }, true);
}
window.addEventListener("pointerup", () => setTimeout(released, 0), true);

function released() {
  if (pressed === null) return;
  clearTimeout(pressed);
  pressed = null;
  refresh();
}

function refresh() {
  if (pressed !== null) return timeline.place();
  if (chosenPoint >= draft.now.points.length) chosenPoint = -1;
  $("undo").disabled = !draft.past.length;
  $("redo").disabled = !draft.future.length;
  $("save").textContent = draft.unsaved ? "Save *" : "Save";
  if (document.activeElement !== $("task-name")) $("task-name").value = draft.now.name;
  if (document.activeElement !== $("task-description")) $("task-description").value = draft.now.description;
  drawObjects();
  drawStages();
  drawImage();
  timeline.draw();
  drawSegment();
}

function nextPoint(by) {
  const count = draft.now.points.length;
  if (!count) return;
  choosePoint(chosenPoint < 0 ? (by > 0 ? 0 : count - 1) : (chosenPoint + by + count) % count);
  view.setCursor(draft.now.points[chosenPoint].pixel);
  say(`${draft.names()[chosenPoint]} chosen.`);
}

function nextGroup() {
  const names = draft.groups().map((g) => g.name);
  if (!names.length) return;
  group = names[(names.indexOf(group) + 1) % names.length];
  chosenPoint = -1;
  drawObjects();
  drawImage();
  say(`Points of ${group}.`);
}

const imageKeys = {
  Delete: () => removePoint(chosenPoint), Backspace: () => removePoint(chosenPoint),
  n: () => nextPoint(1), b: () => nextPoint(-1), g: nextGroup,
  m: () => { if (chosenPoint >= 0 && frame === 0) draft.change((d) => { d.points[chosenPoint].pixel = view.cursor; }); },
};
const pageKeys = {
  ",": () => show(frame - 1), ".": () => show(frame + 1), Home: () => show(0), End: () => show(pictures.stamps.length - 1),
  p: play, t: preview, "?": () => $("keys").showModal(),
};

$("image").addEventListener("keydown", (event) => {
  if (view.key(event)) return;
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const action = imageKeys[event.key];
  if (action) { event.preventDefault(); action(); }
});
document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || $("keys").open) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (event.ctrlKey || event.metaKey) {
    if (key === "s") { event.preventDefault(); save(); }
    else if (typing(event.target)) return;
    else if (key === "z") { event.preventDefault(); back(event.shiftKey ? "redo" : "undo"); }
    else if (key === "y") { event.preventDefault(); back("redo"); }
    return;
  }
  if (event.altKey || typing(event.target)) return;
  const action = pageKeys[key];
  if (action && !(event.target.id === "frame" && (key === "Home" || key === "End"))) { event.preventDefault(); action(); }
});
for (const [id, action] of Object.entries({
  undo: () => back("undo"), redo: () => back("redo"), "zoom-in": () => view.zoom(1.4), "zoom-out": () => view.zoom(1 / 1.4),
  fit: () => view.fit(), preview, save, finish, help: () => $("keys").showModal(), play,
  "add-object": () => draft.change((d) => d.objects.push(newObject(d.objects))),
  "add-stage": () => draft.change((d) => {
    const name = d.objects[0]?.name ?? "";
    d.stages.push({ name: unused("stage", d.stages.map((s) => s.name)), arm: "right", object: name, reference: name, kind: "grasp", sync: false });
  }),
})) $(id).addEventListener("click", action);
$("frame").addEventListener("input", (event) => show(Number(event.target.value)));
$("task-name").addEventListener("change", (e) => draft.change((d) => { d.name = e.target.value.trim(); }));
$("task-description").addEventListener("change", (e) => draft.change((d) => { d.description = e.target.value; }));
window.addEventListener("beforeunload", (event) => { if (draft.unsaved) event.preventDefault(); });
window.addEventListener("resize", () => timeline.moveHead());

draft.onChange(refresh);
refresh();
readPictures();
if (state.notes.length) say(state.notes.join(" "));
else say(draft.now.points.length ? "The saved annotation is loaded." : "Choose a group, then click its points in the image.");
