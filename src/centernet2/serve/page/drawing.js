// Draw an image with its detections on a canvas.
const MAX_SIDE = 1600; // of a canvas, in pixels
const BORDER = "#0000006e"; // of boxes

/**
 * Draw an image, masks, boxes, labels and the cross at a point.
 * @param {HTMLCanvasElement} canvas
 * @param {ImageBitmap} image
 * @param {Array} detections best first, in pixels of the image
 * @param {Array<{fill: string, text: string}>} colors by label
 * @param {{x: number, y: number}|null} point in pixels of the image
 * @param {number} highlighted index of a detection with a thick box, or -1
 */
export function draw(canvas, image, detections, colors, point, highlighted) {
  // as many pixels as are shown, so that the letters on a small image are sharp
  const shown = (canvas.clientWidth * devicePixelRatio) / image.width;
  const scale = Math.min(Math.max(1, shown), MAX_SIDE / Math.max(image.width, image.height));
  canvas.width = Math.max(1, Math.round(image.width * scale));
  canvas.height = Math.max(1, Math.round(image.height * scale));
  const pen = canvas.getContext("2d");
  pen.drawImage(image, 0, 0, canvas.width, canvas.height);
  // the canvas is shown smaller or larger than it is: lines and letters keep their size
  const unit = canvas.width / (canvas.clientWidth || canvas.width);
  for (let i = detections.length - 1; i >= 0; i--) {
    const each = detections[i], { fill } = colors[each.label];
    if (each.segmentation) drawMask(pen, each, fill, scale);
    drawBox(pen, each, fill, scale, unit * (i === highlighted ? 5 : 2.5));
  }
  const taken = [];
  for (const each of detections) drawLabel(pen, each, colors[each.label], scale, unit, taken);
  if (point) drawCross(pen, point.x * scale, point.y * scale, unit);
}

/** Draw a colored box with a faint dark border, visible on any background. */
function drawBox(pen, { box }, fill, scale, width) {
  const [left, top, right, bottom] = box.map((each) => each * scale);
  for (const [color, extra] of [[BORDER, 1.6], [fill, 1]]) {
    pen.strokeStyle = color;
    pen.lineWidth = width * extra;
    pen.strokeRect(left, top, right - left, bottom - top);
  }
}

/** Draw the label of a detection where it covers no other one, if there is such a place. */
function drawLabel(pen, each, { fill, text }, scale, unit, taken) {
  const size = 14 * unit, gap = 4 * unit;
  pen.font = `600 ${size}px system-ui, sans-serif`;
  pen.textBaseline = "top";
  const words = `${each.class} ${each.score.toFixed(2)}`;
  const width = pen.measureText(words).width + 2 * gap, height = size + 2 * gap;
  const box = each.box.map((side) => side * scale);
  const place = placeLabel(box, [width, height], [pen.canvas.width, pen.canvas.height], taken);
  if (!place) return;
  taken.push(place);
  const [left, top] = place;
  pen.fillStyle = fill;
  pen.fillRect(left, top, width, height);
  pen.fillStyle = text;
  pen.fillText(words, left + gap, top + gap);
}

/** Return [left, top, right, bottom] above, below or in a box, off the places that are taken. */
export function placeLabel([left, top, right, bottom], [width, height], [across, down], taken) {
  for (const y of [top - height, bottom, top, bottom - height]) {
    if (y < 0 || y + height > down) continue;
    for (const wanted of [left, right - width]) {
      const x = Math.max(0, Math.min(wanted, across - width));
      const apart = ([l, t, r, b]) => x >= r || x + width <= l || y >= b || y + height <= t;
      if (taken.every(apart)) return [x, y, x + width, y + height];
    }
  }
  return null;
}

function drawCross(pen, x, y, unit) {
  for (const [color, width] of [["black", 5], ["white", 2]]) {
    pen.strokeStyle = color;
    pen.lineWidth = width * unit;
    pen.beginPath();
    pen.moveTo(x - 12 * unit, y);
    pen.lineTo(x + 12 * unit, y);
    pen.moveTo(x, y - 12 * unit);
    pen.lineTo(x, y + 12 * unit);
    pen.stroke();
  }
}

function drawMask(pen, { segmentation }, fill, scale) {
  const [height, width] = segmentation.size;
  const layer = new OffscreenCanvas(width, height), own = layer.getContext("2d");
  own.fillStyle = fill;
  let position = 0, inside = false;
  for (const count of runLengths(segmentation.counts)) {
    if (inside) fillColumns(own, position, position + count, height);
    position += count;
    inside = !inside;
  }
  pen.globalAlpha = 0.45;
  pen.drawImage(layer, 0, 0, width * scale, height * scale);
  pen.globalAlpha = 1;
}

/** Fill the pixels from start to end, counted column by column. */
function fillColumns(pen, start, end, height) {
  while (start < end) {
    const row = start % height, length = Math.min(height - row, end - start);
    pen.fillRect(Math.floor(start / height), row, 1, length);
    start += length;
  }
}

/** Decode COCO's compressed run lengths: digits of 5 bits, differences to the run two before. */
export function runLengths(text) {
  const counts = [];
  for (let at = 0; at < text.length; ) {
    let value = 0, shift = 0, digit;
    do {
      digit = text.charCodeAt(at++) - 48;
      value |= (digit & 31) << shift;
      shift += 5;
    } while (digit & 32);
    if (digit & 16 && shift < 32) value |= -1 << shift;
    counts.push(counts.length > 2 ? value + counts[counts.length - 2] : value);
  }
  return counts;
}
