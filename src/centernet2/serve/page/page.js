// The page: an image goes to the service once; threshold and classes only change what is drawn.
import { draw } from "./drawing.js";
import { chosenLanguage, switchLanguage, text, translate } from "./texts.js";

const FLOOR = 0.01; // score of the weakest detections that are asked for
const STEP = 0.02; // of the cross, as a share of the image
const JPEG_QUALITY = 0.92;
const get = (id) => document.getElementById(id);

const state = {
  models: [],
  opened: null, // {image, file}, the last one: an ImageBitmap, and a Blob, as it is sent
  image: null, // the one whose detections are shown, with its file
  file: null,
  turn: 0, // of the last detection that was asked for
  hidden: new Set(), // names of classes
  views: [], // {model, colors, answer, seconds, point, turn, highlighted, root}
};

// --- the service ---

async function ask(path, options = {}) {
  const token = sessionStorage.getItem("token");
  const headers = { ...options.headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch {
    throw new Error(text("noService"));
  }
  if (answer.status === 401) {
    get("token-form").hidden = false;
    get("token").focus();
    throw new Error(text("needsToken"));
  }
  const content = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(content.detail ?? `${answer.status} ${answer.statusText}`);
  return content;
}

function send(path, query, file) {
  const headers = { "Content-Type": file.type || "application/octet-stream" };
  return ask(`${path}?${new URLSearchParams(query)}`, { method: "POST", body: file, headers });
}

async function loadModels() {
  state.models = await ask("models");
  get("token-form").hidden = true;
  const names = state.models.map((each) => each.name);
  fill(get("model"), names.map((name) => [name, name]));
  fill(get("compare"), [["", text("nothing")], ...names.map((name) => [name, name])]);
  get("model-field").hidden = get("compare-field").hidden = names.length < 2;
  if (names.length > 1) get("compare").value = names[1];
  const stored = state.models[0].score_threshold;
  get("threshold").value = Array.isArray(stored) ? Math.min(...stored) : stored;
  say("");
}

function fill(select, choices) {
  select.replaceChildren(...choices.map(([value, label]) => new Option(label, value)));
}

function say(words, bad = false) {
  get("status").textContent = words;
  get("status").classList.toggle("bad", bad);
}

/** Run a task of the page; say what went wrong. */
async function attempt(task) {
  try {
    return await task();
  } catch (error) {
    say(error.message, true);
  }
}

// --- images ---

async function open(file) {
  const image = await createImageBitmap(file).catch(() => null);
  if (!image) throw new Error(text("noImage", { name: file.name ?? file.type }));
  state.opened = { image, file };
  await detect();
}

/** Detect objects in the opened image; the answers to earlier calls may come later. */
async function detect() {
  const { image, file } = state.opened, turn = ++state.turn;
  const names = [get("model").value, get("compare").value];
  const wanted = [...new Set(names.filter((name) => name))];
  say(text("waiting"));
  const views = await Promise.all(wanted.map(async (model) => {
    const started = performance.now();
    const answer = await send("detect", { model, score_threshold: FLOOR }, file);
    const seconds = (performance.now() - started) / 1000;
    const { colors } = state.models.find((each) => each.name === model);
    return { model, colors, answer, seconds, point: null, turn: 0, highlighted: -1 };
  })).catch((error) => {
    if (turn === state.turn) throw error;
  });
  if (turn !== state.turn) return;
  get("work").hidden = false;
  Object.assign(state, { image, file, views });
  get("views").replaceChildren(...views.map(makeView));
  listClasses();
  show();
}

function listClasses() {
  const classes = new Map(); // label and color by name
  for (const { answer, colors } of state.views) {
    for (const { class: name, label } of answer.detections) classes.set(name, { label, fill: colors[label].fill });
  }
  const sorted = [...classes].sort(([, first], [, second]) => first.label - second.label);
  get("classes").replaceChildren(...sorted.map(([name, { fill }]) => {
    const box = Object.assign(document.createElement("input"), { type: "checkbox" });
    box.checked = !state.hidden.has(name);
    box.addEventListener("change", () => {
      box.checked ? state.hidden.delete(name) : state.hidden.add(name);
      show();
    });
    const dot = document.createElement("i");
    dot.style.background = fill;
    const chip = document.createElement("label");
    chip.append(box, dot, name);
    return chip;
  }));
}

// --- views ---

function shownIn(view) {
  const threshold = Number(get("threshold").value);
  return view.answer.detections.filter((each) => each.score >= threshold && !state.hidden.has(each.class));
}

function makeView(view) {
  const root = get("view").content.cloneNode(true).firstElementChild;
  view.root = root;
  translate(root);
  root.querySelector("h2").textContent = view.model;
  root.querySelector(".wide").setAttribute("aria-label", view.model);
  const canvas = root.querySelector("canvas");
  canvas.addEventListener("click", (event) => {
    const area = canvas.getBoundingClientRect();
    explainAt((event.clientX - area.left) / area.width, (event.clientY - area.top) / area.height);
  });
  canvas.addEventListener("keydown", (event) => moveCross(event, view));
  return root;
}

function show() {
  get("threshold-value").textContent = Number(get("threshold").value).toFixed(2);
  for (const view of state.views) {
    drawView(view);
    const rows = shownIn(view).map((each, index) => row(view, each, index));
    view.root.querySelector("tbody").replaceChildren(...rows);
  }
  if (state.views.length) say(state.views.map(describe).join(" · "));
}

function describe(view) {
  const all = view.answer.detections.length, shown = shownIn(view).length;
  const words = text("shown", { shown, all, seconds: view.seconds.toFixed(2) });
  return state.views.length > 1 ? `${view.model}: ${words}` : words;
}

function drawView(view) {
  const canvas = view.root.querySelector("canvas"), shown = shownIn(view);
  draw(canvas, state.image, shown, view.colors, view.point, view.highlighted);
  const { x, y } = view.point ?? { x: 0, y: 0 };
  const place = { shown: shown.length, x: Math.round(x), y: Math.round(y) };
  canvas.setAttribute("aria-label", text("canvas", place));
}

function row(view, each, index) {
  const line = document.createElement("tr");
  for (const value of [each.class, each.score.toFixed(3), each.box.map((side) => side.toFixed(0)).join(", ")]) {
    line.insertCell().textContent = value;
  }
  line.tabIndex = 0;
  const highlight = (number) => () => {
    view.highlighted = number;
    drawView(view);
  };
  for (const name of ["mouseenter", "focus"]) line.addEventListener(name, highlight(index));
  for (const name of ["mouseleave", "blur"]) line.addEventListener(name, highlight(-1));
  return line;
}

// --- explanations ---

function moveCross(event, view) {
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const { width, height } = state.image;
  const at = view.point ?? { x: width / 2, y: height / 2 };
  if (event.key === "Enter" || event.key === " ") {
    explainAt(at.x / width, at.y / height);
  } else if (moves[event.key]) {
    const [right, down] = moves[event.key];
    const step = event.shiftKey ? STEP / 4 : STEP;
    view.point = { x: clamp(at.x + right * step * width, width), y: clamp(at.y + down * step * height, height) };
    drawView(view);
  } else {
    return;
  }
  event.preventDefault();
}

function clamp(value, size) {
  return Math.max(0, Math.min(size - 1, value));
}

/** Explain a place, given as shares of the image, in all views. */
function explainAt(across, down) {
  for (const view of state.views) attempt(() => explain(view, across, down));
}

async function explain(view, across, down) {
  view.point = { x: clamp(across * state.image.width, state.image.width), y: clamp(down * state.image.height, state.image.height) };
  drawView(view);
  await explainPoint(view);
}

/** Explain the point of a view, in the chosen language. */
async function explainPoint(view) {
  const panel = view.root.querySelector(".explanation");
  const [sentence, details] = panel.children, turn = ++view.turn;
  panel.hidden = false;
  details.hidden = true;
  sentence.textContent = text("explaining");
  try {
    const query = { model: view.model, score_threshold: get("threshold").value, language: chosenLanguage(), ...view.point };
    const { summary, text: steps } = await send("explain", query, state.file);
    if (turn !== view.turn) return;
    sentence.textContent = summary;
    details.querySelector("pre").textContent = steps;
    details.hidden = false;
  } catch (error) {
    if (turn === view.turn) sentence.textContent = error.message; // such as of an exported file, which keeps no record
  }
}

// --- the camera ---

let stream = null;

async function openCamera() {
  closeCamera(); // else an earlier stream would go on
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    throw new Error(text("noCamera", { reason: error.message }));
  }
  get("camera-panel").hidden = false;
  get("video").srcObject = stream;
  await get("video").play();
}

function closeCamera() {
  get("live").checked = false;
  for (const track of stream?.getTracks() ?? []) track.stop();
  stream = null;
  get("camera-panel").hidden = true;
}

async function takePicture() {
  const video = get("video"), canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
  canvas.getContext("2d").drawImage(video, 0, 0);
  await open(await canvas.convertToBlob({ type: "image/jpeg", quality: JPEG_QUALITY }));
}

async function followCamera() {
  while (get("live").checked && stream) await takePicture();
}

// --- files ---

function save(name, blob) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function saveJson() {
  const found = state.views.map((view) => ({ ...view.answer, detections: shownIn(view) }));
  const content = JSON.stringify(found.length > 1 ? found : found[0], null, 1);
  save("detections.json", new Blob([content], { type: "application/json" }));
}

function savePictures() {
  state.views.forEach((view, index) => {
    const name = index ? `detections_${index + 1}.png` : "detections.png";
    view.root.querySelector("canvas").toBlob((blob) => save(name, blob));
  });
}

// --- events ---

function startEvents() {
  get("language").addEventListener("click", () => {
    switchLanguage();
    writeTexts();
    if (state.views.length) show();
    for (const view of state.views) {
      if (!view.root.querySelector(".explanation").hidden) attempt(() => explainPoint(view));
    }
  });
  get("token-form").addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem("token", get("token").value);
    attempt(loadModels);
  });
  get("file").addEventListener("change", (event) => {
    const [file] = event.target.files;
    if (file) attempt(() => open(file));
    event.target.value = ""; // the same file may be chosen again
  });
  document.addEventListener("paste", (event) => openFirst(event.clipboardData));
  for (const name of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      get("drop").classList.toggle("over", name === "dragover");
      if (name === "drop") openFirst(event.dataTransfer);
    });
  }
  get("threshold").addEventListener("input", show);
  for (const id of ["model", "compare"]) get(id).addEventListener("change", () => state.opened && attempt(detect));
  get("camera").addEventListener("click", () => attempt(openCamera));
  get("take").addEventListener("click", () => attempt(takePicture));
  get("live").addEventListener("change", () => attempt(followCamera));
  get("stop").addEventListener("click", closeCamera);
  get("save-json").addEventListener("click", saveJson);
  get("save-picture").addEventListener("click", savePictures);
  window.addEventListener("resize", () => state.views.forEach(drawView));
}

function openFirst(transfer) {
  const [file] = transfer?.files ?? [];
  if (file) attempt(() => open(file));
}

function writeTexts() {
  translate();
  get("language").textContent = text("other");
  const none = get("compare").options[0];
  if (none) none.textContent = text("nothing");
}

writeTexts();
startEvents();
attempt(loadModels);
