// Keeps the page fresh: asks for the same page again, and takes over what has changed. Without this script the page is
// whole, and is as old as its last loading. There is no second source of numbers: charts are drawn from the tables.
"use strict";

const EVERY_MS = 5000;          // the pool makes a new page each second
const SHORTEST_S = 3600;        // of a chart
const SLOT_S = 600;
const SLOWEST_MS = 60000;       // while there is no answer, each wait is twice the one before it, up to this
let wait = EVERY_MS;
let answeredAt = Date.now();
let timer = 0;
let isAsking = false;
let why = "";                   // there is no answer
const charts = new Map();       // figure -> {plot, drawn}

// ---- taking over a newer page

// What the reader has changed stays: open details, the focus, marked text. Elements with data-own belong to this script.
function sync(old, fresh) {
  for (const { name, value } of [...fresh.attributes]) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !(old.tagName === "DETAILS" && name === "open")) old.removeAttribute(name);
  }
  arrange(old, wantedOf(old, fresh));
}

// What `old` is to contain: what it has, where that stands for the same thing, and what is new.
function wantedOf(old, fresh) {
  const known = new Map();
  for (const node of old.childNodes) {
    if (!isOwn(node)) known.set(keyOf(node), [...(known.get(keyOf(node)) ?? []), node]);
  }
  return [...fresh.childNodes].map((node) => {
    const here = known.get(keyOf(node))?.shift();
    if (!here || here.nodeName !== node.nodeName) return document.importNode(node, true);
    if (node.nodeType !== Node.ELEMENT_NODE) {
      if (here.nodeValue !== node.nodeValue) here.nodeValue = node.nodeValue;
    } else if (!node.hasAttribute("data-plot") && !isAbsent(node, here)) sync(here, node);
    return here;
  });
}

// A row is the same where its first cell is, so that a new one above it takes neither the focus nor the marked text.
function keyOf(node) {
  if (node.nodeType !== Node.ELEMENT_NODE) return "";
  return node.id || node.dataset.label || (node.tagName === "TR" ? node.cells[0].textContent : "");
}

// The pool has no chart at hand: the one that is shown stays.
function isAbsent(node, here) {
  return node.tagName === "SECTION" && node.querySelector(".absent") && here.querySelector("figure");
}

// Children in the order of `wanted`. The one that has the focus is never moved, since it would lose it.
function arrange(parent, wanted) {
  const stay = new Set(wanted);
  [...parent.childNodes].filter((node) => !isOwn(node) && !stay.has(node)).forEach((node) => node.remove());
  let at = parent.firstChild;
  for (const node of wanted) {
    if (node.contains(document.activeElement) && node.parentNode === parent) {
      while (at !== node) {
        const next = at.nextSibling;
        parent.append(at);
        at = next;
      }
    }
    if (at === node) at = at.nextSibling;
    else parent.insertBefore(node, at);
  }
}

function isOwn(node) {
  return node.nodeType === Node.ELEMENT_NODE && node.hasAttribute("data-own");
}

async function ask() {
  if (isAsking) return;
  isAsking = true;
  clearTimeout(timer);
  const stop = new AbortController();
  why = "";
  const deadline = setTimeout(() => stop.abort(), 10000);
  try {
    const answer = await fetch(location.href, {
      headers: { Accept: "text/html" }, credentials: "omit", redirect: "error", signal: stop.signal,
    });
    why = answer.status === 429 ? ": it has too many visitors just now" : "";
    if (!answer.ok && answer.status !== 404) throw new Error(`status ${answer.status}`);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const content = fresh.getElementById("content");
    if (!content) throw new Error("not the page");
    sync(document.getElementById("content"), content);
    sync(document.querySelector("footer"), fresh.querySelector("footer"));
    document.title = fresh.title;
    wait = EVERY_MS;
    answeredAt = Date.now();
    finish();
  } catch {
    wait = Math.min(2 * wait, SLOWEST_MS);
  } finally {
    clearTimeout(deadline);
    isAsking = false;
    tellIfOld();
    if (!document.hidden) timer = setTimeout(ask, wait);
  }
}

// A screen reader is told once that there is no answer, and not each second for how long.
function tellIfOld() {
  const line = document.getElementById("offline");
  const [word, rest] = line.children;
  const old = Math.round((Date.now() - answeredAt) / 1000);
  const isOld = wait > EVERY_MS;
  line.hidden = !isOld;
  setText(word, isOld ? "No answer from the pool" : "");
  setText(rest, isOld ? `for ${old} s${why}. The numbers below are as old as that.` : "");
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// ---- charts

function pointsOf(figure) {
  const times = [], values = [];
  for (const row of figure.querySelectorAll("tbody tr")) {
    const time = row.querySelector("time"), value = row.querySelector("data");
    if (!time || !value) continue;
    times.push(Date.parse(time.dateTime) / 1000);
    values.push(Number(value.value));
  }
  if (times.length) {                 // the last ten minutes have an end, too
    times.push(times.at(-1) + SLOT_S);
    values.push(values.at(-1));
  }
  return [times, values];
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function scaled(value) {
  const steps = ["", "k", "M", "G", "T", "P", "E", "Z"];
  let step = 0;
  while (value >= 1000 && step < steps.length - 1) { value /= 1000; step += 1; }
  return `${Number(value.toPrecision(3))} ${steps[step]}H/s`;
}

function draw(figure) {
  const place = figure.querySelector("[data-plot]");
  const data = pointsOf(figure);
  if (data[0].length < 3 || typeof uPlot === "undefined") return;
  const drawn = JSON.stringify(data);
  const known = charts.get(figure);
  if (known && known.drawn === drawn) return;
  if (known) { known.plot.setData(data); known.drawn = drawn; return; }
  const axis = {
    stroke: () => colour("--quiet"), grid: { stroke: () => colour("--grid"), width: 1 },
    ticks: { stroke: () => colour("--grid"), width: 1 },
  };
  const plot = new uPlot({
    ...sizeOf(place),
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),     // as in the table
    cursor: { drag: { x: false, y: false } },
    scales: {
      x: { range: (_, first, last) => [first, Math.max(last, first + SHORTEST_S)] },
      y: { range: (_, low, high) => [0, high > 0 ? high * 1.1 : 1] },
    },
    series: [
      { label: "Time (UTC)", value: (_, at) => (at == null ? "\u2013" : utc(at)) },
      {
        label: "Hash rate", stroke: () => colour("--chart"), fill: () => colour("--chart-fill"), width: 2,
        paths: uPlot.paths.stepped({ align: 1 }),           // a value is the average of ten minutes
        value: (_, hps) => (hps == null ? "\u2013" : scaled(hps)), points: { show: false },
      },
    ],
    axes: [
      {
        ...axis, incrs: [600, 1800, 3600, 7200, 10800, 21600],
        values: (_, at) => at.map((each) => utc(each).slice(11)),
      },
      { ...axis, size: 84, values: (_, rates) => rates.map(scaled) },
    ],
  }, data, place);
  charts.set(figure, { plot, drawn });
  new ResizeObserver(() => plot.setSize(sizeOf(place))).observe(place);
}

function sizeOf(place) {
  return { width: Math.max(240, place.clientWidth), height: 240 };
}

function utc(seconds) {
  return new Date(seconds * 1000).toISOString().slice(0, 16).replace("T", " ");
}

// ---- copying

function addButtons() {
  for (const line of document.querySelectorAll(".copy")) {
    if (line.querySelector("button")) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("data-own", "");
    button.textContent = "Copy";
    button.setAttribute("aria-label", `Copy ${line.dataset.label}`);
    button.addEventListener("click", async () => {
      button.textContent = (await copy(line.querySelector("code"))) ? "Copied" : "Marked: copy it yourself";
      setTimeout(() => { button.textContent = "Copy"; }, 3000);
    });
    line.append(button);
  }
}

// Browsers have `navigator.clipboard` on HTTPS and on localhost alone. Elsewhere the text is marked, and copied the old way.
async function copy(element) {
  try {
    await navigator.clipboard.writeText(element.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(element);
    return document.execCommand("copy");
  }
}

function finish() {
  for (const figure of charts.keys()) {
    if (!figure.isConnected) { charts.get(figure).plot.destroy(); charts.delete(figure); }
  }
  document.querySelectorAll("figure").forEach(draw);
  addButtons();
}

finish();
timer = setTimeout(ask, EVERY_MS);
setInterval(tellIfOld, 1000);
document.addEventListener("visibilitychange", () => {
  clearTimeout(timer);
  if (!document.hidden) ask();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  charts.forEach(({ plot }) => plot.redraw());
});
