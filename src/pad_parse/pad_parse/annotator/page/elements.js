// Small helpers for building the page.
export const $ = (id) => document.getElementById(id);

// element("button", {className, onclick, ...}, ...children)
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("aria-") || name === "role" || name === "for") made.setAttribute(name, value);
    else if (name === "style") Object.assign(made.style, value);
    else if (name === "data") Object.assign(made.dataset, value);
    else made[name] = value;
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// Fill `parent` anew; the control that had the focus gets it back by its data-key.
export function refill(parent, ...children) {
  const key = parent.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  parent.replaceChildren(...children);
  if (key) parent.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus();
}

export function choice(values, value, change, properties = {}) {
  const list = element("select", { onchange: () => change(list.value), ...properties });
  for (const item of values) {
    const [name, label] = Array.isArray(item) ? item : [item, item];
    list.append(element("option", { value: name, selected: name === value }, label));
  }
  return list;
}

export function say(text, kind = "") {
  const status = $("status");
  status.textContent = text;
  status.className = kind;
}

export const seconds = (value) => `${value.toFixed(2)} s`;
export const typing = (target) => target.matches?.("input:not([type=range]), textarea, select");
