/** A canvas to draw on, with a pointer or with the keys, in the grey of the training images. */

import { rgbaOf } from "./pictures.js";

const STEP = 1 / 32; // of the canvas, for each arrow key
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Connect a canvas; `onChange` is called after each change. Returns clear, and picture, its RGBA pixels. */
export function connectDrawing({ canvas, cursor, pen, colours, onChange }) {
  const context = canvas.getContext("2d", { willReadFrequently: true });
  let last = null; // where the pointer's line has come to
  let keys = { x: canvas.width / 2, y: canvas.height / 2, down: false };

  function clear() {
    context.fillStyle = colours.ground;
    context.fillRect(0, 0, canvas.width, canvas.height);
  }

  function picture() {
    return rgbaOf(canvas, canvas.width, canvas.height);
  }

  function line(from, to) {
    Object.assign(context, { strokeStyle: colours.ink, lineCap: "round", lineJoin: "round" });
    context.lineWidth = (Number(pen.value) / 100) * canvas.width;
    context.beginPath();
    context.moveTo(from.x, from.y);
    context.lineTo(to.x, to.y);
    context.stroke();
    onChange();
  }

  function placeOf(event) {
    const box = canvas.getBoundingClientRect();
    const scale = canvas.width / box.width;
    return { x: (event.clientX - box.left) * scale, y: (event.clientY - box.top) * scale };
  }

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    last = placeOf(event);
    line(last, last);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (last) {
      const here = placeOf(event);
      line(last, here);
      last = here;
    }
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, () => (last = null));
  }

  canvas.addEventListener("keydown", (event) => {
    if (event.key === " ") {
      keys.down = !keys.down;
    } else if (event.key in ARROWS) {
      const [x, y] = ARROWS[event.key].map((direction) => direction * STEP * canvas.width);
      const to = { x: within(keys.x + x, canvas.width), y: within(keys.y + y, canvas.height), down: keys.down };
      if (keys.down) {
        line(keys, to);
      }
      keys = to;
    } else {
      return;
    }
    event.preventDefault();
    showCursor();
  });

  function showCursor() {
    cursor.classList.toggle("down", keys.down);
    cursor.style.left = `${(100 * keys.x) / canvas.width}%`;
    cursor.style.top = `${(100 * keys.y) / canvas.height}%`;
  }

  clear();
  showCursor();
  return { clear, picture };
}

function within(value, size) {
  return Math.min(size, Math.max(0, value));
}
