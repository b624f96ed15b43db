// The segments of both arms and the states of all groups over time.
import { $, element, refill, seconds } from "./elements.js";

export const KINDS = [
  ["motion", "motion, planned anew"], ["idle", "idle"], ["async_skill", "skill of one arm"], ["sync_skill", "skill in sync"],
];
const STATES = ["lost", "seen", "filled"];
const ARMS = ["left", "right"];
const SHORTEST = 0.02; // s

export class Timeline {
  // draft; options: duration() s, time() s, seek(s), chosen() index, choose(index), tracks() result or null, propose or null.
  constructor(parent, draft, options) {
    Object.assign(this, { parent, draft, options });
    this.head = element("span", { className: "head" });
  }

  // Where a segment of `arm` could go: the gap round time `at`; null if there is none.
  gap(arm, at, but = -1) {
    const others = this.draft.now.segments.filter((s, i) => s.arm === arm && i !== but).sort((a, b) => a.start - b.start);
    let low = 0;
    for (const other of others) {
      if (at < other.start) return [low, other.start];
      if (at < other.end) return null;
      low = other.end;
    }
    return [low, this.options.duration()];
  }

  add(arm) {
    const now = Math.min(this.options.time(), this.options.duration() - SHORTEST);
    const gap = this.gap(arm, now);
    if (!gap || gap[1] - gap[0] < SHORTEST) return false;
    const start = Math.max(gap[0], now), end = Math.min(gap[1], start + Math.max(1, this.options.duration() / 8));
    this.draft.change((d) => d.segments.push({
      arm, kind: "async_skill", start: round(start), end: round(end), stage: "", object: "", reference: "",
    }));
    this.options.choose(this.draft.now.segments.length - 1);
    return true;
  }

  // Move the start, the end or both of segment `index` by `by` seconds, within its gap. `key` joins steps for undo.
  shift(index, part, by, key = null) {
    const segment = this.draft.now.segments[index];
    const low = Math.max(0, ...this.others(index).filter((s) => s.end <= segment.start + 1e-9).map((s) => s.end));
    const high = Math.min(this.options.duration(), ...this.others(index).filter((s) => s.start >= segment.end - 1e-9).map((s) => s.start));
    this.draft.change((d) => {
      const moved = d.segments[index];
      if (part === "both") {
        const step = Math.max(low - moved.start, Math.min(high - moved.end, by));
        moved.start = round(moved.start + step);
        moved.end = round(moved.end + step);
      } else if (part === "start") moved.start = round(Math.max(low, Math.min(moved.end - SHORTEST, moved.start + by)));
      else moved.end = round(Math.min(high, Math.max(moved.start + SHORTEST, moved.end + by)));
    }, key);
  }

  others(index) {
    const arm = this.draft.now.segments[index].arm;
    return this.draft.now.segments.filter((s, i) => s.arm === arm && i !== index);
  }

  remove(index) {
    this.draft.change((d) => d.segments.splice(index, 1));
    this.options.choose(-1);
  }

  moveHead() {
    const share = this.options.time() / Math.max(1e-6, this.options.duration());
    const lane = this.parent.querySelector(".lane");
    if (!lane) return;
    this.head.style.left = `${lane.offsetLeft + share * lane.offsetWidth}px`;
  }

  draw() {
    if (this.dragging) return this.place();
    const lanes = element("div", { className: "lanes" });
    for (const arm of ARMS) {
      const add = element("button", {
        className: "plain", data: { key: `add-${arm}` }, title: `Add a segment of the ${arm} arm at this time`,
        "aria-label": `Add segment of the ${arm} arm`,
        onclick: () => this.add(arm) || this.options.say(`there is a segment of the ${arm} arm at this time already`),
      }, "+");
      const lane = this.lane(false);
      this.draft.now.segments.forEach((segment, i) => { if (segment.arm === arm) lane.append(this.bar(segment, i)); });
      lanes.append(element("span", { className: "name" }, `${arm} arm `, add), lane);
    }
    const tracks = this.options.tracks();
    if (tracks) {
      for (const [group, states] of Object.entries(tracks.groups)) {
        const lane = this.lane(true);
        lane.append(...this.strip(states, tracks.stamps));
        lanes.append(element("span", { className: "name" }, group), lane);
      }
    }
    lanes.append(this.head);
    const kinds = KINDS.map(([kind, label]) => element("span", {}, element("i", { className: kind }), label));
    const states = tracks ? ["seen", "filled in", "lost"].map((label) => element("span", {}, element("i", { className: label.split(" ")[0] }), label)) : [];
    const propose = this.options.propose ? element("button", {
      id: "propose", data: { key: "propose" }, onclick: this.options.propose,
      title: "Parse the recording with these points and ground the stages: a timeline to begin with",
    }, "Propose segments") : null;
    refill(this.parent, lanes, element("p", { className: "legend" }, element("span", {}, ...kinds, ...states), propose));
    this.moveHead();
  }

  lane(thin) {
    const lane = element("div", { className: thin ? "lane thin" : "lane" });
    lane.addEventListener("pointerdown", (event) => {
      if (event.target !== lane && event.target.tagName !== "I") return;
      const box = lane.getBoundingClientRect();
      const to = (e) => this.options.seek(this.options.duration() * Math.min(1, Math.max(0, (e.clientX - box.left) / box.width)));
      to(event);
      lane.setPointerCapture(event.pointerId);
      lane.onpointermove = to;
      lane.onpointerup = lane.onpointercancel = () => { lane.onpointermove = null; };
    });
    return lane;
  }

  strip(states, stamps) {
    const total = Math.max(1e-6, this.options.duration()), bars = [];
    let start = 0;
    for (let i = 1; i <= states.length; i += 1) {
      if (i < states.length && states[i] === states[start]) continue;
      const from = stamps[start], to = i < states.length ? stamps[i] : total;
      bars.push(element("i", {
        className: STATES[states[start]], title: `${STATES[states[start]]}: ${seconds(from)} to ${seconds(to)}`,
        style: { left: `${100 * from / total}%`, width: `${100 * (to - from) / total}%` },
      }));
      start = i;
    }
    return bars;
  }

  bar(segment, index) {
    const label = segment.stage || segment.kind.replace("_", " ");
    const bar = element("button", {
      className: `${segment.kind}${index === this.options.chosen() ? " chosen" : ""}`, data: { key: `segment-${index}`, index },
      title: this.describe(segment), "aria-label": `${segment.arm} arm: ${this.describe(segment)}`,
    }, label, element("b", { className: "l" }), element("b", { className: "r" }));
    this.position(bar, segment);
    bar.addEventListener("focus", () => { if (this.options.chosen() !== index) this.options.choose(index); });
    bar.addEventListener("keydown", (event) => this.key(event, index));
    bar.addEventListener("pointerdown", (event) => this.drag(event, bar, index));
    return bar;
  }

  describe(segment) { return `${segment.stage || segment.kind.replace("_", " ")}, ${seconds(segment.start)} to ${seconds(segment.end)}`; }

  position(bar, segment) {
    const total = Math.max(1e-6, this.options.duration());
    bar.style.left = `${100 * segment.start / total}%`;
    bar.style.width = `${100 * (segment.end - segment.start) / total}%`;
  }

  // Move the bars that are there; those of removed segments wait for the next drawing.
  place() {
    for (const bar of this.parent.querySelectorAll("button[data-index]")) {
      const segment = this.draft.now.segments[bar.dataset.index];
      if (segment) this.position(bar, segment);
    }
  }

  key(event, index) {
    if (event.key === "Delete" || event.key === "Backspace") this.remove(index);
    else if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      const by = (event.key === "ArrowLeft" ? -1 : 1) * this.options.step();
      this.shift(index, event.shiftKey ? "end" : "both", by, `keys-${index}`);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  drag(event, bar, index) {
    const part = event.target.className === "l" ? "start" : event.target.className === "r" ? "end" : "both";
    const perPixel = this.options.duration() / bar.parentElement.getBoundingClientRect().width;
    const begin = structuredClone(this.draft.now.segments[index]), from = event.clientX;
    this.options.choose(index);
    // choosing draws the bars anew
    const live = this.parent.querySelector(`button[data-index="${index}"]`);
    live.focus();
    live.setPointerCapture(event.pointerId);
    this.dragging = true;
    live.onpointermove = (e) => {
      const now = this.draft.now.segments[index];
      const wanted = (e.clientX - from) * perPixel;
      const done = part === "end" ? now.end - begin.end : now.start - begin.start;
      this.shift(index, part, wanted - done, `drag-${index}`);
    };
    live.onpointerup = live.onpointercancel = () => {
      live.onpointermove = null;
      this.dragging = false;
      this.draft.endStep();
      this.draw();
      this.parent.querySelector(`button[data-index="${index}"]`)?.focus();
    };
    event.preventDefault();
  }
}

const round = (value) => Math.round(1000 * value) / 1000;
