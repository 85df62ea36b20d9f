/** The page: loads the model, tests it on its golden cases, and answers pictures. */

import { canvasOf, makeAnswerList } from "./answer-list.js";
import { makeCamera } from "./camera.js";
import { connectDrawing } from "./drawing.js";
import { openModel } from "./model.js";
import { keepOffline } from "./offline.js";
import { readPageData } from "./resources.js";
import { scientific } from "./results.js";
import { selfTest } from "./self-test.js";
import { connectFiles, connectPanel } from "./sources.js";
import { toImageData } from "./tensor.js";

const page = readPageData();
const card = page.model;
const byId = (id) => document.getElementById(id);

start();

async function start() {
  let answer;
  try {
    answer = await openModel(page.files);
  } catch (error) {
    showAgreement("differs", "The model could not be loaded.", [error.message]);
    return;
  }
  const answers = makeAnswerList(answer, card);
  await testBrowser(answer, answers);
  connect(answers);
  document.body.dataset.state = "ready";
  if (page.offline) {
    keepOffline(showOffline);
  }
}

async function testBrowser(answer, answers) {
  if (!page.golden) {
    showAgreement("none", "The file has no golden cases: this browser is not tested.");
    return;
  }
  try {
    const { cases, largest, picture, problems } = await selfTest(answer, page.golden, card);
    const tested = `${cases.length} golden cases${picture.state === "agrees" ? " and a picture" : ""}`;
    const figures = `${tested}: largest difference ${scientific(largest)}, tolerance ${page.golden.tolerance}`;
    if (problems.length) {
      showAgreement("differs", "This browser does not agree with the exporting machine.", [...problems, figures]);
    } else {
      showAgreement("agrees", "This browser agrees with the exporting machine.", [figures]);
    }
    showExamples(cases, answers);
  } catch (error) {
    showAgreement("differs", "The golden cases could not be answered.", [error.message]);
  }
}

function showAgreement(state, heading, lines = []) {
  byId("agreement").dataset.state = state;
  byId("agreement-heading").textContent = heading;
  byId("agreement-lines").textContent = lines.join(" ");
}

/** The golden images as buttons, to begin with. */
function showExamples(cases, answers) {
  const buttons = cases.map(({ tensor, expected }, i) => {
    const origin = `golden case ${i + 1}`;
    const button = document.createElement("button");
    button.type = "button";
    const isForeign = i >= cases.length - page.golden.foreign; // a made image of no class, to test the familiarity
    button.title = `${origin}: ${isForeign ? "of no class" : card.names[expected]}`;
    button.setAttribute("aria-label", button.title);
    button.append(canvasOf(toImageData(tensor, card)));
    button.addEventListener("click", () => answers.addTensor(origin, tensor, canvasOf(toImageData(tensor, card))));
    return button;
  });
  byId("examples").hidden = buttons.length === 0;
  byId("example-buttons").replaceChildren(...buttons);
}

function connect(answers) {
  connectFiles({
    input: byId("files"),
    zone: byId("drop"),
    onFiles: async (files) => {
      for (const file of files) {
        await answers.addFile(file);
      }
    },
  });
  connectCamera(answers);
  if (page.drawing) {
    connectPad(answers);
  }
  byId("clear").addEventListener("click", () => {
    answers.clear();
    byId("files").focus();
  });
}

function connectCamera(answers) {
  const camera = makeCamera({
    video: byId("video"),
    onFrame: (picture) => answers.showLive(byId("camera-live"), picture),
    onError: (sentence) => (byId("camera-problem").textContent = sentence),
  });
  const onOpen = () => {
    byId("camera-problem").textContent = "";
    camera.start();
  };
  connectPanel({ button: byId("camera-button"), panel: byId("camera"), onOpen, onClose: camera.stop });
  byId("take").addEventListener("click", () => {
    const picture = camera.frame();
    if (picture) {
      answers.addPicture("camera", picture);
    }
  });
}

function connectPad(answers) {
  const live = byId("drawing-live");
  let changes = 0;
  const onChange = async () => {
    const mine = ++changes;
    await new Promise(requestAnimationFrame);
    if (mine === changes) {
      await answers.showLive(live, pad.picture()); // of the changes in a frame, the last one only
    }
  };
  const pad = connectDrawing({
    canvas: byId("pad"),
    cursor: byId("pad-cursor"),
    pen: byId("pen"),
    colours: page.drawing,
    onChange,
  });
  connectPanel({ button: byId("drawing-button"), panel: byId("drawing") });
  byId("pad-keep").addEventListener("click", () => answers.addPicture("drawing", pad.picture()));
  byId("pad-clear").addEventListener("click", () => {
    pad.clear();
    live.replaceChildren();
  });
}

function showOffline(sentence, update) {
  byId("offline").textContent = sentence;
  if (update) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Update";
    button.addEventListener("click", update);
    byId("offline").append(" ", button);
  }
}
