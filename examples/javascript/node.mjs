// Detect the objects of images, and print a line of JSON for each image:
//
//     npm install --ignore-scripts
//     node node.mjs model.onnx photo.jpg ...

import { readFile } from "node:fs/promises";
import * as ort from "onnxruntime-node";
import sharp from "sharp";
import { Detector } from "./detector.mjs";

const [model, ...images] = process.argv.slice(2);
if (images.length === 0) {
  console.error("usage: node node.mjs model.onnx IMAGE ...");
  process.exit(2);
}
const detector = await Detector.load(ort, await readFile(model));
for (const path of images) {
  const { data, info } = await sharp(path)
    .rotate() // as the camera was held
    .removeAlpha()
    .toColourspace("srgb")
    .raw()
    .toBuffer({ resolveWithObject: true });
  const detections = await detector.detect(data, info.width, info.height);
  console.log(JSON.stringify({ image: path, detections }));
}
