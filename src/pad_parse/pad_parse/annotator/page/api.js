// Talks to the page's own server; every address lies below the page's own.
export async function get(path) {
  const answer = await fetch(path, { cache: "no-store" });
  return read(answer);
}

export async function post(path, value) {
  const answer = await fetch(path, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(value ?? null),
  });
  return read(answer);
}

async function read(answer) {
  let value = null;
  try { value = await answer.json(); } catch { /* told below */ }
  if (!answer.ok) throw new Error(value?.error ?? `the server answered ${answer.status}`);
  return value;
}

export function loadImage(path) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => reject(new Error(`the picture ${path} did not come`));
    image.src = path;
  });
}

// Asks for `path` again and again until the work there has ended; `tell(status)` on the way.
export async function watch(path, tell) {
  for (;;) {
    const status = await get(path);
    tell(status);
    if (!status.running) return status;
    await new Promise((resolve) => setTimeout(resolve, 150));
  }
}
