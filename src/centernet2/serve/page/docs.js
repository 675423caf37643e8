// The interface of the service, from openapi.json.
const operations = document.getElementById("operations");

/** Return an element with a text or children. */
function element(name, content, className = "") {
  const made = Object.assign(document.createElement(name), { className });
  made.append(...[content].flat());
  return made;
}

function table(head, rows) {
  const cells = (kind, row) => element("tr", row.map((each) => element(kind, each ?? "")));
  const made = element("table", [
    element("thead", cells("th", head)),
    element("tbody", rows.map((row) => cells("td", row))),
  ]);
  return element("div", made, "wide");
}

function code(value) {
  return element("pre", typeof value === "string" ? value : JSON.stringify(value, null, 1));
}

function body(content) {
  return Object.entries(content).flatMap(([media, { example, examples }]) => [
    element("p", element("code", media)),
    ...(example ? [code(example)] : []),
    ...Object.values(examples ?? {}).flatMap((each) => [element("p", each.summary), code(each.value)]),
  ]);
}

function describe(path, method, operation) {
  const parts = [
    element("h2", [element("span", method.toUpperCase(), "method"), ` ${path}`]),
    element("p", operation.description ?? operation.summary ?? ""),
  ];
  if (operation.parameters) {
    const rows = operation.parameters.map((each) => [
      element("code", each.name),
      each.description ?? each.schema?.description,
    ]);
    parts.push(element("h3", "Options"), table(["name", "meaning"], rows));
  }
  if (operation.requestBody) parts.push(element("h3", "Body"), ...body(operation.requestBody.content));
  const answers = Object.entries(operation.responses).map(([status, each]) => [status, each.description]);
  parts.push(element("h3", "Answers"), table(["status", "meaning"], answers));
  parts.push(...body(operation.responses[200]?.content ?? {}).filter((each) => each.tagName === "PRE"));
  return element("section", parts);
}

const { paths } = await (await fetch("openapi.json")).json();
for (const [path, methods] of Object.entries(paths)) {
  for (const [method, operation] of Object.entries(methods)) operations.append(describe(path, method, operation));
}
