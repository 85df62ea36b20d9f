/** Answers as elements of the page. Class and file names are only ever text, never markup. */

import { argmax } from "./model.js";

const FIRST_BARS = 5;
const MORE_BARS = 95;

/** What an answer says: the class or "unknown", its probability, why, and all classes by probability. */
export function readAnswer({ probabilities, familiarity }, { names, threshold }) {
  const best = argmax(probabilities);
  const isUnknown = threshold !== null && familiarity < threshold;
  return {
    name: isUnknown ? "unknown" : names[best],
    probability: probabilities[best],
    likeliest: names[best],
    isUnknown,
    familiarity,
    ranking: Array.from(probabilities, (probability, i) => ({ name: names[i], probability })).sort(
      (a, b) => b.probability - a.probability,
    ),
  };
}

/** An answer in one sentence, for a screen reader. */
export function sentenceOf(answer, origin) {
  const { name, probability, isUnknown } = answer;
  return isUnknown ? `${origin}: unknown, unlike what the model knows.` : `${origin}: ${name}, ${percent(probability)}.`;
}

/** Write an answer into an element that was made of the template. */
export function showAnswer(element, answer, threshold) {
  element.classList.toggle("unknown", answer.isUnknown);
  textOf(element, ".name", answer.name);
  textOf(element, ".share", answer.isUnknown ? "" : percent(answer.probability));
  textOf(element, ".why", reason(answer, threshold));
  const bars = answer.ranking.map(({ name, probability }) => makeBar(name, probability));
  element.querySelector(".bars").replaceChildren(...bars.slice(0, FIRST_BARS));
  const more = element.querySelector(".more");
  more.hidden = bars.length <= FIRST_BARS;
  const rest = bars.slice(FIRST_BARS, FIRST_BARS + MORE_BARS);
  const all = rest.length === bars.length - FIRST_BARS;
  more.querySelector("summary").textContent = all ? `${rest.length} more classes` : `the next ${rest.length} classes`;
  more.querySelector("ol").replaceChildren(...rest);
}

/** Write what went wrong into an element that was made of the template. */
export function showProblem(element, message) {
  element.classList.add("problem");
  textOf(element, ".name", "no answer");
  textOf(element, ".why", message);
}

/** A new element of the template, with the picture and what the model sees of it, and a line on its origin. */
export function makeResult(template, { picture, seen, origin }) {
  const element = template.content.firstElementChild.cloneNode(true);
  const figure = element.querySelector("figure");
  const canvases = [picture, seen].filter(Boolean);
  canvases.forEach((canvas, i) => {
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", i === 0 ? origin : "as the model sees it");
    canvas.title = canvas.getAttribute("aria-label");
    canvas.classList.toggle("inset", i === 1);
    canvas.classList.toggle("pixels", Math.max(canvas.width, canvas.height) <= 96);
  });
  figure.replaceChildren(...canvases);
  figure.hidden = canvases.length === 0;
  textOf(element, ".origin", origin);
  return element;
}

function reason({ isUnknown, familiarity, likeliest, probability }, threshold) {
  if (!isUnknown) {
    return "";
  }
  const share = familiarity < 0.0005 ? "Hardly any known image is" : `${percent(familiarity)} of known images are`;
  const why = `${share} less familiar than this one; below ${percent(threshold)} an image is unknown.`;
  return `${why} The likeliest class would be ${likeliest}, ${percent(probability)}.`;
}

function makeBar(name, probability) {
  const bar = document.createElement("span");
  bar.className = "bar";
  bar.style.setProperty("--share", `${100 * probability}%`);
  const item = document.createElement("li");
  item.append(textElement("class", name), bar, textElement("percent", percent(probability)));
  return item;
}

function textElement(className, text) {
  const element = document.createElement("span");
  element.className = className;
  element.textContent = text;
  return element;
}

function textOf(element, selector, text) {
  const found = element.querySelector(selector);
  found.textContent = text;
  found.hidden = text === "";
}

/** A share in 0..1 as per cent, with one decimal; the line does not break before the sign. */
export function percent(share) {
  return `${(100 * share).toFixed(1)}\u00a0%`;
}

/** A small number with one decimal and its power of ten, such as 5.1e−7, in which a line does not break. */
export function scientific(value) {
  return value.toExponential(1).replace("-", "\u2212");
}
