/** The camera: its frames one after another while it runs, and one of them to keep. */

import { rgbaOf } from "./pictures.js";

const FRAME_MILLISECONDS = 100;

/**
 * A camera that is shown in `video`. `onFrame` is awaited for each picture, at most ten a second; `onError` is
 * called with a sentence if there is no camera. Returns start, stop, and frame, the current picture or null.
 */
export function makeCamera({ video, onFrame, onError }) {
  let stream = null;

  async function start() {
    if (!navigator.mediaDevices) {
      onError("A browser gives the camera only to pages on https or localhost.");
      return;
    }
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    } catch (error) {
      const refused = error.name === "NotAllowedError";
      onError(refused ? "The camera was not allowed." : "No camera was found, or another program uses it.");
      return;
    }
    video.srcObject = stream;
    await video.play();
    watch(stream);
  }

  function stop() {
    stream?.getTracks().forEach((track) => track.stop());
    stream = video.srcObject = null;
  }

  async function watch(current) {
    while (stream === current) {
      const picture = frame();
      await Promise.all([picture && onFrame(picture), pause(FRAME_MILLISECONDS)]);
    }
  }

  function frame() {
    return video.videoWidth ? rgbaOf(video, video.videoWidth, video.videoHeight) : null;
  }

  return { start, stop, frame };
}

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
