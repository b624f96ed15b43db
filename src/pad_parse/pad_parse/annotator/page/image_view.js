// An image on a canvas with zoom, pan, a cross-hair, and points that can be set, chosen, dragged and removed.
const NEAR = 9; // screen px within which the pointer means a point
const CLICK = 4; // screen px that the pointer may move in a click
const LOUPE = { size: 132, zoom: 7 };

export class ImageView {
  // handlers: set(pixel), choose(index), move(index, pixel), drop(), remove(index), cursor(pixel); any may be missing.
  constructor(canvas, size, handlers = {}) {
    this.canvas = canvas;
    this.size = size;
    this.handlers = handlers;
    this.image = null;
    this.points = []; // {pixel, colour, label, chosen, state: "seen" | "filled" | "lost"}
    this.trails = []; // {pixels: [[u, v] | null], colour}
    this.cursor = [size[0] / 2, size[1] / 2];
    this.view = null;
    this.pressed = null;
    new ResizeObserver(() => this.resize()).observe(canvas);
    canvas.addEventListener("pointerdown", (e) => this.down(e));
    canvas.addEventListener("pointermove", (e) => this.moveTo(e));
    canvas.addEventListener("pointerup", (e) => this.up(e));
    canvas.addEventListener("pointercancel", () => { this.pressed = null; });
    canvas.addEventListener("wheel", (e) => this.wheel(e), { passive: false });
    canvas.addEventListener("focus", () => this.draw());
    canvas.addEventListener("blur", () => this.draw());
    canvas.addEventListener("contextmenu", (e) => e.preventDefault());
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    const box = this.canvas.getBoundingClientRect();
    this.canvas.width = Math.max(1, Math.round(box.width * ratio));
    this.canvas.height = Math.max(1, Math.round(box.height * ratio));
    if (!this.view || this.view.fitted) this.fit(); else this.draw();
  }

  fit() {
    const box = this.canvas.getBoundingClientRect();
    const scale = Math.max(1e-3, Math.min(box.width / this.size[0], box.height / this.size[1]));
    this.view = {
      scale, x: (box.width - scale * this.size[0]) / 2, y: (box.height - scale * this.size[1]) / 2, fitted: true,
    };
    this.draw();
  }

  // Zoom so that the pixel under `at` (screen px on the canvas; default: the cross-hair) stays where it is.
  zoom(factor, at = this.toScreen(this.cursor)) {
    const fitted = Math.min(this.canvas.clientWidth / this.size[0], this.canvas.clientHeight / this.size[1]);
    const scale = Math.min(40, Math.max(0.5 * fitted, this.view.scale * factor));
    const pixel = this.toPixel(at);
    this.view = { scale, fitted: false, x: at[0] - scale * (pixel[0] + 0.5), y: at[1] - scale * (pixel[1] + 0.5) };
    this.draw();
  }

  // Pixel centres have whole numbers, so the image's corner is at (-0.5, -0.5).
  toScreen([u, v]) { return [this.view.x + this.view.scale * (u + 0.5), this.view.y + this.view.scale * (v + 0.5)]; }
  toPixel([x, y]) { return [(x - this.view.x) / this.view.scale - 0.5, (y - this.view.y) / this.view.scale - 0.5]; }

  clamp([u, v]) {
    const tenth = (value, most) => Math.round(10 * Math.min(most - 1, Math.max(0, value))) / 10;
    return [tenth(u, this.size[0]), tenth(v, this.size[1])];
  }

  setCursor(pixel) {
    this.cursor = this.clamp(pixel);
    const [x, y] = this.toScreen(this.cursor);
    const { clientWidth: w, clientHeight: h } = this.canvas;
    const back = (value, most) => value < 12 ? 12 - value : value > most - 12 ? most - 12 - value : 0;
    if (back(x, w) || back(y, h)) {
      this.view.x += back(x, w);
      this.view.y += back(y, h);
      this.view.fitted = false;
    }
    this.handlers.cursor?.(this.cursor);
    this.draw();
  }

  // The keys that every image understands; whether one was.
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return false;
    const step = event.shiftKey ? 10 : 1;
    const arrows = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (event.key in arrows) {
      const [du, dv] = arrows[event.key];
      this.setCursor([this.cursor[0] + du, this.cursor[1] + dv]);
    } else if (event.key === "+" || event.key === "=") this.zoom(1.4);
    else if (event.key === "-") this.zoom(1 / 1.4);
    else if (event.key === "0") this.fit();
    else if (event.key === "Enter") this.handlers.set?.(this.cursor);
    else return false;
    event.preventDefault();
    return true;
  }

  screenOf(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  at(screen) {
    let best = -1, nearest = NEAR;
    this.points.forEach((point, i) => {
      if (!point.pixel) return;
      const [x, y] = this.toScreen(point.pixel);
      const away = Math.hypot(x - screen[0], y - screen[1]);
      if (away <= nearest) [best, nearest] = [i, away];
    });
    return best;
  }

  down(event) {
    const screen = this.screenOf(event);
    const point = event.button === 0 && this.handlers.choose ? this.at(screen) : -1;
    this.pressed = { screen, last: screen, point, moved: false, button: event.button };
    this.canvas.setPointerCapture(event.pointerId);
    if (point >= 0) this.handlers.choose(point);
  }

  moveTo(event) {
    const screen = this.screenOf(event);
    const pressed = this.pressed;
    this.cursor = this.clamp(this.toPixel(screen));
    this.handlers.cursor?.(this.cursor);
    if (pressed) {
      pressed.moved ||= Math.hypot(screen[0] - pressed.screen[0], screen[1] - pressed.screen[1]) > CLICK;
      if (pressed.moved && pressed.point >= 0) this.handlers.move?.(pressed.point, this.cursor);
      else if (pressed.moved) {
        this.view.x += screen[0] - pressed.last[0];
        this.view.y += screen[1] - pressed.last[1];
        this.view.fitted = false;
      }
      pressed.last = screen;
    }
    this.hovered = true;
    this.draw();
  }

  up(event) {
    const pressed = this.pressed;
    this.pressed = null;
    if (!pressed) return;
    const pixel = this.toPixel(this.screenOf(event));
    const inside = pixel.every((value, i) => value >= -0.5 && value <= this.size[i] - 0.5);
    if (pressed.point >= 0 && pressed.moved) this.handlers.drop?.();
    else if (pressed.point < 0 && !pressed.moved && pressed.button === 0 && inside) this.handlers.set?.(this.clamp(pixel));
    this.draw();
  }

  wheel(event) {
    event.preventDefault();
    this.zoom(Math.exp(-Math.max(-100, Math.min(100, event.deltaY)) / 300), this.screenOf(event));
  }

  draw() {
    if (this.scheduled) return;
    this.scheduled = true;
    requestAnimationFrame(() => { this.scheduled = false; this.paint(); });
  }

  paint() {
    if (!this.view) return;
    const ratio = window.devicePixelRatio || 1, context = this.canvas.getContext("2d");
    const { scale, x, y } = this.view;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    context.imageSmoothingEnabled = scale < 3;
    if (this.image) context.drawImage(this.image, x, y, scale * this.size[0], scale * this.size[1]);
    this.trails.forEach((trail) => this.paintTrail(context, trail));
    this.points.forEach((point) => { if (point.pixel) this.paintPoint(context, point); });
    if (document.activeElement === this.canvas || this.pressed) this.paintCursor(context);
  }

  paintTrail(context, { pixels, colour }) {
    context.beginPath();
    let open = false;
    for (const pixel of pixels) {
      if (!pixel) { open = false; continue; }
      const [x, y] = this.toScreen(pixel);
      if (open) context.lineTo(x, y); else context.moveTo(x, y);
      open = true;
    }
    context.strokeStyle = colour;
    context.lineWidth = 1.5;
    context.stroke();
  }

  paintPoint(context, point) {
    const [x, y] = this.toScreen(point.pixel);
    const ring = (radius, width, style) => {
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.lineWidth = width;
      context.strokeStyle = style;
      context.stroke();
    };
    if (point.state === "filled") {
      ring(5, 4, "#000a");
      ring(5, 2, point.colour);
    } else {
      ring(5.5, 2, "#000c");
      context.beginPath();
      context.arc(x, y, 4.5, 0, 2 * Math.PI);
      context.fillStyle = point.colour;
      context.fill();
      context.fillStyle = "#000";
      context.fillRect(x - 0.75, y - 0.75, 1.5, 1.5);
    }
    if (point.chosen) ring(9.5, 2, "#fff");
    if (point.label && (point.chosen || this.view.scale > 1.6)) {
      context.font = "600 12px system-ui, sans-serif";
      context.lineWidth = 3;
      context.strokeStyle = "#000c";
      context.strokeText(point.label, x + 12, y + 4);
      context.fillStyle = "#fff";
      context.fillText(point.label, x + 12, y + 4);
    }
  }

  paintCursor(context) {
    const [x, y] = this.toScreen(this.cursor);
    for (const [width, style] of [[3, "#0009"], [1, "#fff"]]) {
      context.beginPath();
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        context.moveTo(x + 4 * dx, y + 4 * dy);
        context.lineTo(x + 16 * dx, y + 16 * dy);
      }
      context.lineWidth = width;
      context.strokeStyle = style;
      context.stroke();
    }
    this.paintLoupe(context);
  }

  // A magnified patch round the cross-hair, in the corner that is farther from it.
  paintLoupe(context) {
    if (!this.image || this.view.scale >= LOUPE.zoom) return;
    const { size, zoom } = LOUPE, width = this.canvas.clientWidth;
    const [sx] = this.toScreen(this.cursor);
    const left = sx < width / 2 ? width - size - 8 : 8, top = 8;
    const across = size / zoom;
    const ratio = (this.image.naturalWidth || this.image.width) / this.size[0];
    context.save();
    context.beginPath();
    context.roundRect(left, top, size, size, 8);
    context.fillStyle = "#0b0d10";
    context.fill();
    context.clip();
    context.imageSmoothingEnabled = false;
    context.drawImage(
      this.image, (this.cursor[0] + 0.5 - across / 2) * ratio, (this.cursor[1] + 0.5 - across / 2) * ratio,
      across * ratio, across * ratio, left, top, size, size,
    );
    context.restore();
    context.lineWidth = 1;
    for (const [offset, style] of [[1, "#000a"], [0, "#fffd"]]) {
      context.strokeStyle = style;
      context.strokeRect(left + size / 2 - zoom / 2 - offset, top + size / 2 - zoom / 2 - offset, zoom + 2 * offset, zoom + 2 * offset);
    }
    context.strokeStyle = "#fff8";
    context.beginPath();
    context.roundRect(left, top, size, size, 8);
    context.stroke();
  }
}
