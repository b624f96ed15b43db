"use strict";
(() => {
  const canvas = document.getElementById("scene");
  if (!canvas) return;
  const scene = JSON.parse(document.getElementById("scene-data").textContent);
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const view = { yaw: 0.5, pitch: 0.55, distance: 1500, centre: [0, 0, 150] };

  function project(point, width, height) {
    const [x, y, z] = point.map((value, i) => value - view.centre[i]);
    const c = Math.cos(view.yaw), s = Math.sin(view.yaw);
    const towards = c * x + s * y, across = -s * x + c * y;
    const cp = Math.cos(view.pitch), sp = Math.sin(view.pitch);
    const depth = view.distance - (cp * towards + sp * z);
    const up = -sp * towards + cp * z;
    const scale = 1.5 * Math.min(width, height) / Math.max(1, depth);
    return [width / 2 + across * scale, height / 2 - up * scale, depth];
  }

  function line(context, points, width, height, stroke, thickness) {
    context.beginPath();
    points.forEach((point, i) => {
      const [u, v] = project(point, width, height);
      if (i) context.lineTo(u, v); else context.moveTo(u, v);
    });
    context.strokeStyle = stroke;
    context.lineWidth = thickness;
    context.stroke();
  }

  function draw() {
    const ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    const [tx, ty] = scene.table;
    for (let x = -tx; x <= tx; x += 200) line(context, [[x, -ty, 0], [x, ty, 0]], width, height, colour("--line"), 1);
    for (let y = -ty; y <= ty; y += 130) line(context, [[-tx, y, 0], [tx, y, 0]], width, height, colour("--line"), 1);
    for (const path of scene.lines.filter((l) => !l.demonstrated)) {
      context.globalAlpha = 0.45;
      line(context, path.points, width, height, colour(path.arm ? "--right" : "--left"), 1.2);
    }
    context.globalAlpha = 1;
    for (const path of scene.lines.filter((l) => l.demonstrated)) {
      line(context, path.points, width, height, colour("--ink"), 1.8);
    }
    for (const dot of scene.dots) {
      const [u, v] = project(dot.at, width, height);
      context.beginPath();
      context.arc(u, v, 4.5, 0, 7);
      context.fillStyle = dot.colour;
      context.fill();
      context.strokeStyle = colour("--card");
      context.lineWidth = 1;
      context.stroke();
    }
    context.fillStyle = colour("--soft");
    context.font = "11px system-ui";
    for (const [label, at] of [["x", [tx, -ty, 0]], ["y", [-tx, ty, 0]]]) {
      const [u, v] = project(at, width, height);
      context.fillText(label, u + 4, v);
    }
  }

  function turn(dx, dy) {
    view.yaw -= dx * 0.008;
    view.pitch = Math.max(-0.2, Math.min(1.55, view.pitch + dy * 0.008));
    draw();
  }
  canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
  canvas.addEventListener("pointermove", (event) => {
    if (event.buttons) turn(event.movementX, event.movementY);
  });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    view.distance = Math.max(500, Math.min(6000, view.distance * Math.exp(event.deltaY * 0.001)));
    draw();
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [12, 0], ArrowRight: [-12, 0], ArrowUp: [0, -12], ArrowDown: [0, 12] }[event.key];
    if (step) { event.preventDefault(); turn(...step); }
  });
  new ResizeObserver(draw).observe(canvas);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  draw();
})();
