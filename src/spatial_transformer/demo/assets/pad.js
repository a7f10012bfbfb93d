// The drawing pad: strokes of a pointer, or of a pen that the keys move.
import { arrowKeys } from "./live.js";

const STEP = 3; // of the pen, in the pad's pixels

/** `drawn(since)` is called with every stroke, `say` with what the keys do. */
export function makePad(canvas, drawn, say) {
  const ink = canvas.getContext("2d", { willReadFrequently: true });
  const mark = canvas.parentElement.querySelector(".stn-pen");
  const pen = { at: [canvas.width / 2, canvas.height / 4], down: false };

  function blank() {
    ink.fillStyle = "black";
    ink.fillRect(0, 0, canvas.width, canvas.height);
  }
  function stroke(from, to) {
    Object.assign(ink, { strokeStyle: "white", lineWidth: 10, lineCap: "round", lineJoin: "round" });
    ink.beginPath();
    ink.moveTo(...from);
    ink.lineTo(to[0] + 0.01, to[1]);
    ink.stroke();
  }

  let last = null; // of the pointer
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width * canvas.width, (event.clientY - box.top) / box.height * canvas.height];
  };
  function follow(event, from) {
    last = place(event);
    stroke(from ?? last, last);
    drawn(event.timeStamp);
  }
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    event.preventDefault();
    follow(event);
  });
  canvas.addEventListener("pointermove", (event) => { if (last) follow(event, last); });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { last = null; });

  function showPen() {
    mark.style.left = `${100 * pen.at[0] / canvas.width}%`;
    mark.style.top = `${100 * pen.at[1] / canvas.height}%`;
    mark.classList.toggle("stn-down", pen.down);
  }
  arrowKeys(canvas, {
    move(direction, steps, since) {
      const from = pen.at;
      pen.at = from.map((v, k) => Math.min(Math.max(v + STEP * steps * direction[k], 0), canvas.width));
      showPen();
      if (pen.down) { stroke(from, pen.at); drawn(since); }
    },
    space(_, since) {
      pen.down = !pen.down;
      showPen();
      say(pen.down ? "pen down" : "pen up");
      if (pen.down) { stroke(pen.at, pen.at); drawn(since); }
    },
  });
  canvas.addEventListener("blur", () => { pen.down = false; showPen(); });
  blank();
  showPen();

  return {
    blank,
    stroke,
    /** A picture over the whole pad. */
    show: (image) => ink.drawImage(image, 0, 0, canvas.width, canvas.height),
    blob: () => new Promise((done) => canvas.toBlob(done)),
  };
}
