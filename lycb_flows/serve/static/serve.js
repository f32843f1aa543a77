// Keeps a page up to date, sends changes, answers to the pointer, shows structures.
"use strict";

// -- live: when the server tells of a change, the parts marked data-live are read anew ----------

const live = document.getElementById("live");
let reading = false, again = false;

async function refresh() {
  if (reading) { again = true; return; }
  reading = true;
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (answer.redirected) { location.reload(); return; }
    if (!answer.ok) throw new Error(await answer.text());
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of document.querySelectorAll("[data-live]")) {
      const fresh = page.getElementById(part.id);
      if (!fresh) setTimeout(refresh, 3000); // what is new is still being drawn
      else if (!part.isEqualNode(fresh)) part.replaceWith(document.adoptNode(fresh));
    }
    live.textContent = "live";
  } catch (error) {
    live.textContent = "not up to date: " + String(error.message || error).slice(0, 120);
  } finally {
    reading = false;
    if (again) { again = false; setTimeout(refresh, 1000); }
  }
}

if (document.querySelector("[data-live]")) {
  const events = new EventSource("/events");
  events.addEventListener("open", () => { live.textContent = "live"; });
  events.addEventListener("look", () => { if (!document.hidden) refresh(); });
  events.addEventListener("error", () => {
    live.textContent = events.readyState === EventSource.CLOSED
      ? "not live: too many open pages, or logged out" : "connecting …";
  });
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
}

// -- levers: a POST with the token of this page in a header ---------------------------------------

const token = document.querySelector('meta[name="lycb-token"]');
const outcome = document.getElementById("outcome");

async function pull(form) {
  const body = new URLSearchParams();
  if (form.dataset.asks) {
    if (!confirm(form.dataset.lever + " this campaign, whoever has submitted it?")) return;
    body.set("sure", "yes");
  }
  outcome.classList.remove("wrong");
  outcome.textContent = form.dataset.lever + " …";
  try {
    const answer = await fetch(form.action, {
      method: "POST", body, headers: { "x-lycb-token": token.content },
    });
    outcome.textContent = (await answer.text()).trim();
    outcome.classList.toggle("wrong", !answer.ok);
  } catch (error) {
    outcome.textContent = "The server does not answer.";
    outcome.classList.add("wrong");
  }
}

if (token) {
  for (const form of document.querySelectorAll("form[data-lever]")) {
    form.querySelector("button").disabled = false;
    form.addEventListener("submit", (event) => { event.preventDefault(); pull(form); });
  }
}

// -- figures: the data point that is nearest to the pointer ------------------------------------

const REACH = 40; // of the screen's pixels

document.addEventListener("pointermove", (event) => {
  const picture = event.target.closest ? event.target.closest("svg.picture") : null;
  for (const old of document.querySelectorAll("circle.near")) old.classList.remove("near");
  if (!picture) return;
  const matrix = picture.getScreenCTM().inverse();
  const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix);
  let nearest = null, best = REACH * matrix.a;
  for (const circle of picture.querySelectorAll("circle")) {
    const distance = Math.hypot(circle.cx.baseVal.value - at.x, circle.cy.baseVal.value - at.y);
    if (distance < best) { best = distance; nearest = circle; }
  }
  const readout = picture.closest("figure").querySelector(".readout");
  readout.textContent = nearest ? nearest.textContent : "";
  if (nearest) nearest.classList.add("near");
});

// -- viewer ----------------------------------------------------------------------------------

const RADII = { Li: 0.45, Y: 0.75, Br: 0.6, Cl: 0.55, H: 0.3, O: 0.5 };

function legend(atoms, colours) {
  const place = document.getElementById("legend");
  const counts = new Map();
  for (const atom of atoms) counts.set(atom.elem, (counts.get(atom.elem) || 0) + 1);
  for (const [element, n] of counts) {
    const entry = document.createElement("span");
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const dot = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    svg.setAttribute("viewBox", "0 0 14 14");
    for (const [name, value] of [["cx", 7], ["cy", 7], ["r", 6]]) dot.setAttribute(name, value);
    dot.setAttribute("fill", "#" + colours(element).toString(16).padStart(6, "0"));
    svg.append(dot);
    entry.append(svg, `${element}, ${n} atoms`);
    place.append(entry);
  }
}

const AXES = ["#d0453a", "#3f9b58", "#4a7fd6"];

function outline(viewer, model, text, color) {
  const numbers = text.match(/Lattice="([^"]*)"/)[1].split(" ").map(Number);
  const rows = [0, 3, 6].map((first) => numbers.slice(first, first + 3));
  const corner = (bits) => {
    const at = [0, 1, 2].map((i) => rows.reduce((sum, row, k) => sum + bits[k] * row[i], 0));
    return { x: at[0], y: at[1], z: at[2] };
  };
  for (let k = 0; k < 3; k++) {
    for (const [u, v] of [[0, 0], [0, 1], [1, 0], [1, 1]]) {
      const bits = [0, 0, 0];
      bits[(k + 1) % 3] = u;
      bits[(k + 2) % 3] = v;
      const end = bits.slice();
      end[k] = 1;
      viewer.addLine({ start: corner(bits), end: corner(end), color });
    }
  }
  const label = (fontColor) => ({ fontColor, showBackground: false, alignment: "center" });
  const axis = (color) => ({ color, radius: 0.08, midpos: -1 });
  viewer.addUnitCell(model, {
    box: { hidden: true }, alabel: "a", blabel: "b", clabel: "c",
    astyle: axis(AXES[0]), bstyle: axis(AXES[1]), cstyle: axis(AXES[2]),
    alabelstyle: label(AXES[0]), blabelstyle: label(AXES[1]), clabelstyle: label(AXES[2]),
  });
}

async function view(place) {
  const state = document.getElementById("viewer-state");
  const answer = await fetch(place.dataset.frames);
  const text = await answer.text();
  if (!answer.ok) { state.textContent = text; return; }
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const ground = () => (dark.matches ? "#12171d" : "#ffffff");
  const viewer = $3Dmol.createViewer(place, { backgroundColor: ground() });
  const model = viewer.addModelsAsFrames(text, "xyz");
  const colours = (element) => $3Dmol.elementColors.Jmol[element] || 0x999999;
  viewer.setStyle({}, { sphere: { scale: 0.3, colorscheme: "Jmol" } });
  for (const [elem, radius] of Object.entries(RADII)) {
    viewer.setStyle({ elem }, { sphere: { radius, colorscheme: "Jmol" } });
  }
  outline(viewer, model, text, dark.matches ? "#a0abb8" : "#5b6674");
  viewer.zoomTo();
  viewer.render();
  state.remove();
  legend(model.selectedAtoms({}), colours);
  dark.addEventListener("change", () => { viewer.setBackgroundColor(ground()); });
  const notes = text.split("\n").filter((line) => line.startsWith("Lattice="))
    .map((line) => line.split('" ')[1]);
  if (notes.length > 1) play(viewer, notes);
}

function play(viewer, notes) {
  const slider = document.getElementById("frame"), button = document.getElementById("play");
  let timer = null;
  slider.max = notes.length - 1;
  const show = async () => {
    await viewer.setFrame(Number(slider.value));
    viewer.render();
    document.getElementById("frame-name").textContent =
      `${notes[slider.value]}, frame ${Number(slider.value) + 1} of ${notes.length}`;
  };
  slider.addEventListener("input", show);
  button.addEventListener("click", () => {
    if (timer) { clearInterval(timer); timer = null; button.textContent = "Play"; return; }
    button.textContent = "Stop";
    timer = setInterval(() => { slider.value = (Number(slider.value) + 1) % notes.length; show(); }, 100);
  });
  document.getElementById("player").hidden = false;
  show();
}

const place = document.getElementById("viewer");
if (place) view(place).catch((error) => { (document.getElementById("viewer-state") || place).textContent = "The viewer failed: " + error; });
