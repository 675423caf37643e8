// A detector in an ONNX file of `centernet2 export`, for onnxruntime-web and onnxruntime-node.

const DEFAULT_THRESHOLD = 0.3; // where `centernet2 threshold` has stored none

const METADATA_PROPS = 14; // field of ModelProto: pairs of a key (field 1) and a value (field 2)
const KEY = "centernet2";

export class Detector {
  // ort: the module onnxruntime-web or onnxruntime-node
  // content: Uint8Array of the file
  static async load(ort, content, options = {}) {
    const text = readMetadata(content).get(KEY);
    if (text === undefined) throw new Error("the file was not written by `centernet2 export`");
    return new Detector(ort, await ort.InferenceSession.create(content, options), JSON.parse(text));
  }

  constructor(ort, session, metadata) {
    Object.assign(this, { ort, session, metadata });
  }

  // pixels: bytes of height x width x 3 or 4 channels, RGB or RGBA
  // returns [{ label, name, score, box: [x1, y1, x2, y2] }] in pixels of the image, best first
  async detect(pixels, width, height) {
    const area = width * height;
    const channels = pixels.length / area;
    const planes = new Uint8Array(3 * area);
    for (let i = 0; i < area; i++)
      for (let c = 0; c < 3; c++) planes[c * area + i] = pixels[channels * i + c];
    const images = new this.ort.Tensor("uint8", planes, [1, 3, height, width]);
    const { boxes, scores, labels, count } = await this.session.run({ images });
    const number = count ? Number(count.data[0]) : scores.dims[0]; // without padding: --lists
    const { class_names: names, score_thresholds: thresholds } = this.metadata;
    return Array.from({ length: number }, (_, i) => {
      const label = Number(labels.data[i]);
      const box = Array.from(boxes.data.slice(4 * i, 4 * i + 4));
      return { label, name: names[label] ?? `class ${label}`, score: scores.data[i], box };
    }).filter(({ label, score }) => score >= (thresholds[label] ?? DEFAULT_THRESHOLD));
  }
}

// The metadata of an ONNX file, a Map of texts; onnxruntime does not offer it in JavaScript.
export function readMetadata(content) {
  const decoder = new TextDecoder();
  const pairs = fields(content)
    .filter(([number]) => number === METADATA_PROPS)
    .map(([, pair]) => fields(pair).map(([, text]) => decoder.decode(text)));
  return new Map(pairs);
}

// The [number, bytes] of the fields of a message of Protocol Buffers that have a length.
function fields(bytes) {
  const found = [];
  let at = 0;
  const readNumber = () => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * scale;
      if (byte === undefined) throw new Error("the file is damaged, or no ONNX file");
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = readNumber();
    if (tag % 8 === 2) {
      const length = readNumber();
      found.push([Math.floor(tag / 8), bytes.subarray(at, at + length)]);
      at += length;
    } else if (tag % 8 === 0) readNumber();
    else throw new Error("the file is damaged, or no ONNX file");
  }
  return found;
}
