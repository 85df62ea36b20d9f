/** The page without a network: a service worker keeps its files. */

/** Register the service worker; `onState` is called with a sentence, and with a function that updates the page. */
export async function keepOffline(onState) {
  if (!("serviceWorker" in navigator)) {
    return; // not on plain http, except localhost
  }
  const isFirst = navigator.serviceWorker.controller === null;
  let registration;
  try {
    registration = await navigator.serviceWorker.register("service-worker.js");
    await navigator.serviceWorker.ready;
  } catch {
    return; // private windows and strict settings
  }
  onState("Ready without a network.");
  const offer = () => {
    if (registration.waiting && !isFirst) {
      onState("There is a newer version of this page.", () => registration.waiting.postMessage("replace"));
    }
  };
  offer();
  registration.addEventListener("updatefound", () => {
    registration.installing?.addEventListener("statechange", offer);
  });
  navigator.serviceWorker.addEventListener("controllerchange", () => isFirst || location.reload());
}
