// The annotation under way, as plain data with undo and redo; and as the task that the server checks.
const REGION = { x: [-0.06, 0.08], y: [-0.3, 0.3], yaw: [-0.4, 0.4] };

export class Draft {
  constructor(task) {
    this.now = task ? fromTask(task) : empty();
    this.past = [];
    this.future = [];
    this.savedAt = JSON.stringify(this.now);
    this.listeners = [];
  }

  onChange(listener) { this.listeners.push(listener); }
  get unsaved() { return JSON.stringify(this.now) !== this.savedAt; }
  markSaved() { this.savedAt = JSON.stringify(this.now); this.tell(); }
  tell() { this.listeners.forEach((listener) => listener()); }

  // One step that undo takes back. Steps with the same `key` in a row (a drag) are one.
  change(edit, key = null) {
    const before = JSON.stringify(this.now);
    const next = JSON.parse(before);
    edit(next);
    if (JSON.stringify(next) === before) return;
    if (key === null || key !== this.lastKey) this.past.push(before);
    this.lastKey = key;
    this.future = [];
    this.now = next;
    this.tell();
  }

  endStep() { this.lastKey = null; }

  undo() {
    if (!this.past.length) return false;
    this.future.push(JSON.stringify(this.now));
    this.now = JSON.parse(this.past.pop());
    this.lastKey = null;
    this.tell();
    return true;
  }

  redo() {
    if (!this.future.length) return false;
    this.past.push(JSON.stringify(this.now));
    this.now = JSON.parse(this.future.pop());
    this.lastKey = null;
    this.tell();
    return true;
  }

  groups() {
    return this.now.objects.flatMap((object) => object.groups.map((group) => ({ ...group, object: object.name })));
  }

  // Names of all points: their own where they have one, else the group's, numbered where it has several.
  names() {
    const taken = new Set(this.now.points.map((p) => p.name).filter(Boolean));
    const counts = {}, seen = {};
    this.now.points.forEach((p) => { counts[p.group] = (counts[p.group] ?? 0) + 1; });
    return this.now.points.map((p) => {
      if (p.name) return p.name;
      let name;
      do {
        seen[p.group] = (seen[p.group] ?? -1) + 1;
        name = counts[p.group] === 1 ? p.group : `${p.group}_${seen[p.group]}`;
      } while (taken.has(name));
      taken.add(name);
      return name;
    });
  }

  // In the order of objects and groups, as in the task.
  keypoints() {
    const names = this.names(), order = this.groups().map((g) => g.name);
    return this.now.points.map((p, i) => ({ name: names[i], object: p.object, group: p.group, pixel: p.pixel }))
      .sort((a, b) => order.indexOf(a.group) - order.indexOf(b.group));
  }

  task() {
    const { name, description, objects, stages, segments, success } = this.now;
    const specs = {};
    for (const object of objects) {
      specs[object.name] = {
        groups: Object.fromEntries(object.groups.map((group) => [group.name, group.asked || 1])), region: object.region,
      };
    }
    return { name, description, objects: specs, stages, keypoints: this.keypoints(), segments, success };
  }
}

function fromTask(task) {
  return {
    name: task.name,
    description: task.description,
    objects: Object.entries(task.objects).map(([name, spec]) => ({
      name, region: spec.region, groups: Object.entries(spec.groups).map(([group, asked]) => ({ name: group, asked })),
    })),
    points: task.keypoints.filter((k) => k.pixel).map((k) => ({
      name: automatic(k) ? null : k.name, object: k.object, group: k.group, pixel: k.pixel,
    })),
    stages: task.stages,
    segments: task.segments,
    success: task.success,
  };
}

const automatic = (keypoint) => keypoint.name === keypoint.group
  || (keypoint.name.startsWith(`${keypoint.group}_`) && /^\d+$/.test(keypoint.name.slice(keypoint.group.length + 1)));

function empty() {
  return { name: "", description: "", objects: [newObject([])], points: [], stages: [], segments: [], success: {} };
}

export function newObject(objects) {
  const names = objects.flatMap((o) => [o.name, ...o.groups.map((g) => g.name)]);
  const name = unused("object", names);
  return { name, region: structuredClone(REGION), groups: [{ name: unused(`${name}_body`, names), asked: 0 }] };
}

export function unused(name, names) {
  if (!names.includes(name)) return name;
  let i = 2;
  while (names.includes(`${name}_${i}`)) i += 1;
  return `${name}_${i}`;
}
