// The official JavaScript client in headless Chromium, with a microphone that plays a WAV file over and over.
// Argument: the browser. Plans come on standard input, what was seen goes to standard output, in JSON.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

const asked = readFileSync(0);
const profile = mkdtempSync(join(tmpdir(), "chromium-"));
const pages = {
  "/": ["page.html", "text/html"],
  "/converse.js": ["converse.js", "text/javascript"],
  "/node_modules/@elevenlabs/client/dist/lib.iife.js": ["node_modules/@elevenlabs/client/dist/lib.iife.js", "text/javascript"],
};

let browser;
const killBrowser = () => process.kill(-browser.pid, "SIGKILL"); // with all the processes that it consists of
const seen = await new Promise((resolve) => {
  const server = createServer(async (request, answer) => {
    if (request.url === "/plans") answer.end(asked);
    else if (request.url === "/seen") {
      answer.end();
      resolve(Buffer.concat(await request.toArray()).toString());
    } else if (request.url in pages) {
      const [file, type] = pages[request.url];
      answer.setHeader("Content-Type", type).end(readFileSync(new URL(file, import.meta.url)));
    } else answer.writeHead(404).end();
  }).listen(0, "127.0.0.1", () => {
    browser = spawn(process.argv[2], [
      "--headless=new", "--no-sandbox", // the sandbox does not work for root
      "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
      "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream", // every permission is given
      `--use-file-for-fake-audio-capture=${JSON.parse(asked).speech}`,
      "--autoplay-policy=no-user-gesture-required", // nobody clicks
      "--enable-logging=stderr", `--user-data-dir=${profile}`, `http://127.0.0.1:${server.address().port}/`,
    ], { stdio: ["ignore", "ignore", "inherit"], detached: true });
    for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => (killBrowser(), process.exit(1)));
    browser.on("exit", (code) => {
      console.error(`${process.argv[2]} has ended by itself: ${code}`);
      process.exit(1);
    });
  });
});
browser.removeAllListeners("exit");
await new Promise((resolve) => browser.on("exit", resolve) && killBrowser());
rmSync(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
console.log(seen);
process.exit(0);
