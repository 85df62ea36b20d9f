/*
 * Keeps the files of a page, so that it needs no network once it was loaded.
 *
 * The export writes `self.PAGE` in front: the version, and the files with their integrity, by which the files of two
 * versions are never mixed. A new version waits until the page asks for it or is closed.
 */

const CACHE = `clf-edge ${self.registration.scope} ${self.PAGE.version}`;

self.addEventListener("install", (event) => {
  event.waitUntil(keepFiles());
});

self.addEventListener("activate", (event) => {
  event.waitUntil(dropEarlier().then(() => self.clients.claim()));
});

self.addEventListener("message", (event) => {
  if (event.data === "replace") {
    self.skipWaiting();
  }
});

self.addEventListener("fetch", (event) => {
  if (event.request.method === "GET") {
    event.respondWith(answer(event.request));
  }
});

async function keepFiles() {
  const cache = await caches.open(CACHE);
  await Promise.all(
    Object.entries(self.PAGE.files).map(async ([url, integrity]) => {
      const request = new Request(url, { integrity, cache: "reload" });
      const response = await fetch(request);
      if (!response.ok) {
        throw new Error(`${url}: ${response.status}`);
      }
      await cache.put(url, response);
    }),
  );
}

async function dropEarlier() {
  const ours = (await caches.keys()).filter((name) => name.startsWith(`clf-edge ${self.registration.scope} `));
  await Promise.all(ours.filter((name) => name !== CACHE).map((name) => caches.delete(name)));
}

async function answer(request) {
  const url = new URL(request.url);
  const isPage = request.mode === "navigate" && url.href.split(/[?#]/)[0] === self.registration.scope;
  const cache = await caches.open(CACHE);
  return (await cache.match(isPage ? "index.html" : request, { ignoreSearch: isPage })) ?? fetch(request);
}
