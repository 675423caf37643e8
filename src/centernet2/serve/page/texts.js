// The texts of the page in its languages; {name} is replaced by a value.
export const TEXTS = {
  en: {
    other: "中文",
    interface: "Interface",
    token: "Token of the service",
    enter: "Enter",
    input: "Image",
    choose: "Choose an image",
    drop: "or drop or paste one here",
    camera: "Use the camera",
    take: "Take a picture",
    live: "Continuously",
    stop: "Close the camera",
    controls: "Options",
    threshold: "Minimum score",
    classes: "Classes",
    model: "Model",
    compare: "Compare with",
    nothing: "no other model",
    views: "Detections",
    saveJson: "Save JSON",
    savePicture: "Save picture",
    hint: "Click a place, or move the cross by the arrow keys and press Enter, to read why there is a box or none.",
    steps: "All steps",
    class: "Class",
    score: "Score",
    box: "Left, top, right, bottom",
    waiting: "Detecting …",
    explaining: "Explaining …",
    shown: "{shown} of {all} objects shown, {seconds} s",
    canvas: "Image with {shown} objects; the cross is at {x}, {y}",
    noImage: "This is no image: {name}",
    noCamera: "The camera cannot be used ({reason}). Browsers allow it on localhost and on https only.",
    noService: "The service does not answer.",
    needsToken: "The service needs its token.",
  },
  zh: {
    other: "English",
    interface: "接口说明",
    token: "服务的令牌",
    enter: "确定",
    input: "图像",
    choose: "选择图像",
    drop: "或者拖放、粘贴到这里",
    camera: "使用摄像头",
    take: "拍照",
    live: "连续检测",
    stop: "关闭摄像头",
    controls: "选项",
    threshold: "最低分数",
    classes: "类别",
    model: "模型",
    compare: "与之比较",
    nothing: "不比较",
    views: "检测结果",
    saveJson: "保存 JSON",
    savePicture: "保存图片",
    hint: "点击某处，或用方向键移动十字并按回车键，即可了解那里为什么有框或没有框。",
    steps: "全部步骤",
    class: "类别",
    score: "分数",
    box: "左、上、右、下",
    waiting: "正在检测……",
    explaining: "正在解释……",
    shown: "显示 {all} 个物体中的 {shown} 个，用时 {seconds} 秒",
    canvas: "图像中有 {shown} 个物体；十字位于 {x}, {y}",
    noImage: "这不是图像：{name}",
    noCamera: "无法使用摄像头（{reason}）。浏览器只在 localhost 和 https 下允许使用。",
    noService: "服务没有响应。",
    needsToken: "服务需要令牌。",
  },
};

const KEY = "centernet2-language";
let language = localStorage.getItem(KEY) ?? (navigator.language.startsWith("zh") ? "zh" : "en");

/** Return the chosen language, en or zh. */
export function chosenLanguage() {
  return language;
}

/** Return a text in the chosen language. */
export function text(key, values = {}) {
  return TEXTS[language][key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

/** Write the texts of all elements below a root: data-text is content, data-label a name. */
export function translate(root = document) {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  for (const each of root.querySelectorAll("[data-text]")) each.textContent = text(each.dataset.text);
  for (const each of root.querySelectorAll("[data-label]")) each.setAttribute("aria-label", text(each.dataset.label));
}

/** Change to the other language. */
export function switchLanguage() {
  language = language === "zh" ? "en" : "zh";
  localStorage.setItem(KEY, language);
}
