/* What pages need beyond htmx: tokens, notices, copying, uploads and keys. */
"use strict";

const base = () => document.body.dataset.base;
const token = () => document.body.dataset.csrf;

htmx.config.includeIndicatorCSS = false;
htmx.config.defaultTimeout = 0; // a judge may think for long, and can be cancelled
htmx.config.morphIgnore.push("open", "tabindex"); // what somebody opened stays open when a page renews itself
document.addEventListener("htmx:config:request", (event) => {
  event.detail.ctx.request.headers["X-CSRF-Token"] = token();
});

/* A tab that is not looked at asks for nothing. */
document.addEventListener("htmx:before:request", (event) => {
  if (document.hidden && event.detail.ctx.sourceElement.getAttribute("hx-trigger")?.startsWith("every")) event.preventDefault();
});
document.addEventListener("htmx:error", (event) => {
  const by = event.detail.ctx?.sourceElement;
  if (by && !by.getAttribute("hx-trigger")) notice("The service did not answer. What you entered is still here.");
});

/* A problem has no part that a page selects: it stands above what it concerns, which stays. */
document.addEventListener("htmx:after:request", (event) => {
  const { ctx } = event.detail, fault = document.getElementById("fault");
  fault.replaceChildren();
  if (ctx.select && ctx.response.status >= 400) Object.assign(ctx, { select: null, target: fault, swap: "innerHTML" });
});

/* What takes long says so in its target, and can be cancelled: `data-progress="Judging …"`. */
document.addEventListener("htmx:before:request", (event) => {
  const { sourceElement: by, target } = event.detail.ctx;
  if (!by.dataset?.progress) return;
  const shown = document.createElement("div");
  const stop = document.createElement("button");
  shown.className = "card";
  stop.type = "button";
  stop.textContent = "Cancel";
  stop.addEventListener("click", () => {
    by.dispatchEvent(new Event("htmx:abort"));
    shown.textContent = "Cancelled. Calls that were under way may still be counted.";
  });
  const bar = document.createElement("progress");
  bar.setAttribute("aria-label", by.dataset.progress);
  shown.append(by.dataset.progress, bar, stop);
  target.replaceChildren(shown);
});

/* In a narrow window the navigation scrolls. */
document.addEventListener("DOMContentLoaded", () => document.querySelector("nav [aria-current]")?.scrollIntoView({ inline: "center", block: "nearest" }));

/* A form is sent once. */
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post" || form.matches("[hx-post]")) return;
  if (form.dataset.sent) event.preventDefault();
  form.dataset.sent = "yes";
});
addEventListener("pageshow", () => document.querySelectorAll("[data-sent]").forEach((form) => delete form.dataset.sent));

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
  let sent = false;
  request.upload.addEventListener("progress", (event) => { bar.max = event.total; bar.value = event.loaded; });
  request.upload.addEventListener("load", () => { sent = true; status.replaceChildren("Storing …", document.createElement("progress")); });
  request.addEventListener("load", () => {
    if (request.status < 300) location.assign(location.pathname);
    else if (request.status === 401) status.textContent = "The session has ended. Nothing was stored: load the page again, and sign in.";
    else status.replaceChildren(...faults(request));
  });
  request.addEventListener("abort", () => { status.textContent = "Cancelled. Nothing was stored."; });
  request.addEventListener("error", () => { status.textContent = sent ? "The connection was lost. Load the page again to see whether the file was stored." : "The connection was lost. Nothing was stored."; });
  request.open(field.querySelector("[name=append]")?.checked ? "POST" : "PUT", `${base()}/api${field.dataset.upload}`);
  request.setRequestHeader("X-CSRF-Token", token());
  request.setRequestHeader("Content-Type", type);
  request.setRequestHeader("HX-Request", "true"); // a 401 in place of the page to sign in
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
    if (kind !== "drop" || !event.dataTransfer.files[0]) return;
    if (event.dataTransfer.files.length > 1) field.querySelector("[role=status]").textContent = "One file at a time: each makes a version.";
    else upload(field, event.dataTransfer.files[0]);
  });
}

/* What scrolls can be reached, and so scrolled, by the keyboard. */
function reachable() {
  for (const each of document.querySelectorAll("pre, .text, .table, #beside")) {
    if (each.scrollHeight > each.clientHeight || each.scrollWidth > each.clientWidth) each.tabIndex = 0;
  }
}
for (const kind of ["DOMContentLoaded", "toggle", "htmx:after:settle"]) document.addEventListener(kind, reachable, true);
addEventListener("resize", reachable);

/* A browser takes minutes to find the direction of a megabyte. */
document.addEventListener("paste", (event) => {
  if (event.clipboardData.getData("text").length > 50000) event.target.removeAttribute("dir");
}, true);

document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("[data-copy]");
  if (!button) return;
  const source = document.querySelector(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(source.textContent);
    notice("Copied.");
  } catch { // without HTTPS a browser has no clipboard for scripts
    for (let around = source; around; around = around.parentElement) if (around.tagName === "DETAILS") around.open = true;
    getSelection().selectAllChildren(source);
    notice("This browser allows no copying here. The text is selected: copy it by the keyboard.");
  }
});

/* `data-key="n"` presses the element with that key, unless somebody is writing, or the key has a
   meaning for what has the focus. A key that is held down presses once. */
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.key === "Enter" && event.target.dataset.enter) {
    event.preventDefault();
    document.querySelector(event.target.dataset.enter).click();
  }
  if ([" ", "Enter"].includes(event.key) && event.target.closest("a, button, summary, input, [tabindex='0']")) return;
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
    const response = await fetch(`${base()}/playground/criterion?${query}`, { headers: { "HX-Request": "true" } }).catch(() => null);
    if (response?.status === 401) { offerSignIn(); return; }
    if (!response?.ok) { notice("The service did not answer."); return; }
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
