/* What pages need beyond htmx: tokens, notices, copying, uploads and keys. */
"use strict";

const base = () => document.body.dataset.base;
const token = () => document.body.dataset.csrf;

htmx.config.includeIndicatorCSS = false;
document.addEventListener("htmx:config:request", (event) => {
  event.detail.ctx.request.headers["X-CSRF-Token"] = token();
});

function notice(text) {
  const shown = document.createElement("div");
  shown.textContent = text;
  document.getElementById("notices").append(shown);
  setTimeout(() => shown.remove(), 6000);
}

const TYPES = { jsonl: "application/x-ndjson", ndjson: "application/x-ndjson", csv: "text/csv", parquet: "application/vnd.apache.parquet" };

/* What is wrong with an upload: the lines, or what the problem says. */
function faults(request) {
  let problem = {};
  try { problem = JSON.parse(request.responseText); } catch { /* not of the service */ }
  const list = document.createElement("ul");
  for (const each of (problem.errors || []).slice(0, 50)) {
    const entry = document.createElement("li");
    entry.textContent = `${each.pointer} ${each.message}`.trim();
    list.append(entry);
  }
  return [problem.detail || problem.title || `The service answered ${request.status}.`, list];
}

/* A field for files uploads what is chosen or dropped to `data-upload`, and loads the page again. */
function upload(field, file) {
  const type = TYPES[file.name.split(".").pop().toLowerCase()];
  const status = field.querySelector("[role=status]");
  if (!type) { status.textContent = "Choose a file that ends with .jsonl, .csv or .parquet."; return; }
  const request = new XMLHttpRequest();
  const bar = document.createElement("progress");
  const stop = document.createElement("button");
  bar.setAttribute("aria-label", "Bytes sent");
  stop.type = "button";
  stop.textContent = "Cancel";
  stop.addEventListener("click", () => request.abort());
  status.replaceChildren(`Uploading ${file.name} …`, bar, stop);
  request.upload.addEventListener("progress", (event) => { bar.max = event.total; bar.value = event.loaded; });
  request.addEventListener("load", () => {
    if (request.status < 300) location.assign(location.pathname);
    else status.replaceChildren(...faults(request));
  });
  request.addEventListener("abort", () => { status.textContent = "Cancelled. Nothing was stored."; });
  request.addEventListener("error", () => { status.textContent = "The connection was lost. Nothing was stored."; });
  request.open(field.querySelector("[name=append]")?.checked ? "POST" : "PUT", `${base()}/api${field.dataset.upload}`);
  request.setRequestHeader("X-CSRF-Token", token());
  request.setRequestHeader("Content-Type", type);
  request.send(file);
}

document.addEventListener("change", (event) => {
  const field = event.target.closest?.("[data-upload]");
  if (field && event.target.type === "file" && event.target.files[0]) upload(field, event.target.files[0]);
});
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    const field = event.target.closest?.("[data-upload]");
    if (!field) return;
    event.preventDefault();
    field.classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files[0]) upload(field, event.dataTransfer.files[0]);
  });
}

/* What scrolls can be reached, and so scrolled, by the keyboard. */
function reachable() {
  for (const each of document.querySelectorAll("pre, .text, .table, #beside")) {
    if (each.scrollHeight > each.clientHeight || each.scrollWidth > each.clientWidth) each.tabIndex = 0;
  }
}
for (const kind of ["DOMContentLoaded", "toggle", "htmx:after:swap"]) document.addEventListener(kind, reachable, true);

document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(document.querySelector(button.dataset.copy).textContent);
  notice("Copied.");
});

/* `data-key="n"` presses the element with that key, unless somebody is writing. */
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input:not([type=checkbox]):not([type=radio]), textarea, select")) return;
  const name = event.key === " " ? "space" : event.key;
  const target = document.querySelector(`[data-key="${CSS.escape(name)}"]`);
  if (target) { event.preventDefault(); target.click(); }
});

/* Criteria of the playground are added and removed. */
document.addEventListener("click", async (event) => {
  const add = event.target.closest?.("[data-add-criterion]");
  if (add) {
    const places = [...document.querySelectorAll("[data-criterion] input[type=hidden]")].map((each) => parseInt(each.name.slice(1), 10));
    const query = new URLSearchParams({ type: document.getElementById("next-type").value, place: Math.max(-1, ...places) + 1 });
    const response = await fetch(`${base()}/playground/criterion?${query}`, { headers: { "HX-Request": "true" } });
    if (response.status === 401) { offerSignIn(); return; }
    const criteria = document.getElementById("criteria");
    criteria.insertAdjacentHTML("beforeend", await response.text());
    criteria.lastElementChild?.querySelector("input:not([type=hidden]), textarea, select")?.focus();
  }
  const remove = event.target.closest?.("[data-remove]");
  if (remove) {
    remove.closest(remove.dataset.remove).remove();
    document.querySelector("[data-add-criterion]")?.focus();
  }
});

/* What cannot be undone is asked first. */
document.addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-confirm]");
  if (button && !confirm(button.dataset.confirm)) { event.preventDefault(); event.stopPropagation(); }
}, true);

/* What scrolls can be reached by keyboard. */
function reachable() {
  for (const each of document.querySelectorAll(".table, pre, .text")) {
    if (each.scrollWidth > each.clientWidth || each.scrollHeight > each.clientHeight) each.tabIndex = 0;
  }
}
document.addEventListener("DOMContentLoaded", reachable);
document.addEventListener("htmx:after:settle", reachable);
addEventListener("resize", reachable);

/* A session ends while a page is open: the page stays as it is, and goes on with the next session. */
function offerSignIn() {
  if (document.getElementById("signed-out")) return;
  const shown = document.createElement("div"), link = document.createElement("a");
  shown.id = "signed-out";
  link.href = `${base()}/sign-in`;
  link.target = "_blank";
  link.textContent = "Sign in";
  shown.append("You are signed out: the key was revoked or has expired. What you entered is still here. ", link, " in another tab, then try again.");
  document.getElementById("notices").append(shown);
}
document.addEventListener("htmx:before:response", (event) => {
  if (event.detail.ctx.response.status !== 401) return;
  event.preventDefault();
  offerSignIn();
});
document.addEventListener("htmx:error", (event) => {
  if (event.detail.ctx?.status?.startsWith("error")) notice("The service did not answer. What you entered is still here: try again.");
});
addEventListener("focus", async () => {
  const shown = document.getElementById("signed-out");
  if (!shown) return;
  const response = await fetch(`${base()}/models`);
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html").body.dataset.csrf;
  if (!fresh) return;
  document.body.dataset.csrf = fresh;
  document.querySelectorAll("[name=csrf_token]").forEach((field) => { field.value = fresh; });
  shown.remove();
});
