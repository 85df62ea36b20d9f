/** The list of answers, the newest first, and places that show the answer of the moment. */

import { toInput } from "./geometry.js";
import { decodePicture, thumbnailOf } from "./pictures.js";
import { makeResult, percent, readAnswer, sentenceOf, showAnswer, showProblem } from "./results.js";
import { toImageData, toTensor } from "./tensor.js";

const THUMBNAIL = 256; // pixels
const MOST_RESULTS = 200; // the oldest ones go

/** Functions that answer pictures and show it. `answer` is that of the model, `card` what the page knows of it. */
export function makeAnswerList(answer, card) {
  const byId = (id) => document.getElementById(id);
  const template = byId("result-template");

  async function addFile(file) {
    const origin = file.name || "pasted picture";
    try {
      await addPicture(origin, await decodePicture(file));
    } catch (error) {
      const element = makeResult(template, { origin });
      showProblem(element, error.message);
      add(element, `${origin}: no answer. ${error.message}`);
    }
  }

  /** `picture` holds RGBA pixels. */
  async function addPicture(origin, picture) {
    const tensor = toTensor(toInput(picture, card), card);
    const seen = card.resizes ? null : canvasOf(toImageData(tensor, card));
    await addTensor(`${origin}, ${picture.width}×${picture.height}`, tensor, thumbnailOf(picture, THUMBNAIL), seen);
  }

  /** `picture` and `seen` are canvases: the picture, and what the model sees of it. */
  async function addTensor(origin, tensor, picture, seen = null) {
    const found = await answer(tensor);
    const said = readAnswer(found, card);
    const familiar = found.familiarity === null ? "" : `, familiarity ${percent(found.familiarity)}`;
    const line = `${origin}${familiar}, ${found.milliseconds.toFixed(1)}\u00a0ms`;
    const element = makeResult(template, { picture, seen, origin: line });
    showAnswer(element, said, card.threshold);
    Object.assign(element, { answer: { ...found, name: said.name } });
    add(element, sentenceOf(said, origin));
  }

  function add(element, sentence) {
    const results = byId("results");
    results.prepend(element);
    while (results.children.length > MOST_RESULTS) {
      results.lastElementChild.remove();
    }
    showEmpty();
    byId("announcement").textContent = sentence;
  }

  function clear() {
    byId("results").replaceChildren();
    showEmpty();
  }

  function showEmpty() {
    const isEmpty = byId("results").children.length === 0;
    byId("empty").hidden = !isEmpty;
    byId("clear").hidden = isEmpty;
  }

  /** Show a picture's answer in place of the one before; it is not announced, since it changes all the time. */
  async function showLive(place, picture) {
    const found = await answer(toTensor(toInput(picture, card), card));
    const element = place.firstElementChild ?? makeResult(template, { origin: "" });
    showAnswer(element, readAnswer(found, card), card.threshold);
    place.replaceChildren(element);
  }

  return { addFile, addPicture, addTensor, clear, showLive };
}

/** A canvas that shows ImageData. */
export function canvasOf(image) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: image.width, height: image.height });
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}
