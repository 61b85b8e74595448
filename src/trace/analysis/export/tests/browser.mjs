// Does things in a headless Chromium and tells what came of it.
//
//     node browser.mjs CHROMIUM URL < steps.json > results.json
//
// The steps are an array of objects:
//   { "evaluate": "EXPRESSION" }     its value, which may be a promise, as JSON
//   { "screenshot": "FILE.png" }     [width, height] of the picture
//   { "pixels": ["#rrggbb", ..] }    how many pixels of these colours are on the screen
//   { "size": [WIDTH, HEIGHT] }      of the window, from here on
//   { "dark": true }                 what the page is told that the user prefers
//   { "mouse": "mousePressed", "x": .., "y": .., "deltaY": .., "modifiers": .. }   an event of the mouse's
//   { "wait": MILLISECONDS }
// The result is { "results": [..], "console": [..], "requests": [..] }: one result for each step, what
// the page wrote to its console with warnings and errors and uncaught exceptions, and every address
// that it asked for.

import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

const [chromium, url] = process.argv.slice(2);
if (!url) {
  console.error('usage: browser.mjs CHROMIUM URL < steps.json');
  process.exit(2);
}
const steps = JSON.parse(fs.readFileSync(0, 'utf8'));
const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'greenlet-browser-'));
const child = spawn(chromium, [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--hide-scrollbars', '--no-first-run',
  // No page gets out of this machine.
  '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1', '--force-device-scale-factor=1', '--remote-debugging-pipe', `--user-data-dir=${profile}`, 'about:blank',
], { stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'], detached: true });
let said = '';
child.stderr.on('data', (data) => { said += data; });

// The protocol of the developer tools: JSON with a NUL behind, through two pipes.
const waiting = new Map();
const listeners = [];
let sequence = 0;
let pending = Buffer.alloc(0);
child.stdio[4].on('data', (data) => {
  pending = Buffer.concat([pending, data]);
  for (let end; (end = pending.indexOf(0)) >= 0; pending = pending.subarray(end + 1)) {
    const message = JSON.parse(pending.subarray(0, end).toString());
    if (message.id === undefined) {
      listeners.forEach((listener) => listener(message));
      continue;
    }
    const { resolve, reject, method } = waiting.get(message.id);
    waiting.delete(message.id);
    if (message.error) reject(new Error(`${method}: ${message.error.message}`));
    else resolve(message.result);
  }
});
child.on('exit', (code, signal) => {
  for (const { reject } of waiting.values()) reject(new Error(`the browser ended (${code ?? signal}):\n${said}`));
});

let session;
function call(method, params = {}) {
  const id = ++sequence;
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject, method });
    child.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId: session })}\0`);
  });
}

const event = (name) => new Promise((resolve) => listeners.push((message) => message.method === name && resolve(message.params)));
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

// Done in the page: it knows how to read pictures.
async function countPixels(data, colours) {
  const image = new Image();
  image.src = `data:image/png;base64,${data}`;
  await image.decode();
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [image.width, image.height];
  const context = canvas.getContext('2d');
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, image.width, image.height).data;
  return colours.map((colour) => {
    const wanted = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
    let count = 0;
    for (let at = 0; at < pixels.length; at += 4) count += wanted.every((part, index) => Math.abs(pixels[at + index] - part) <= 2);
    return count;
  });
}

async function perform(step) {
  if ('evaluate' in step) {
    const { result, exceptionDetails } = await call('Runtime.evaluate', { expression: step.evaluate, awaitPromise: true, returnByValue: true });
    if (exceptionDetails) throw new Error(`${step.evaluate}: ${exceptionDetails.exception?.description ?? exceptionDetails.text}`);
    return result.value ?? null;
  }
  if ('screenshot' in step) {
    const picture = Buffer.from((await call('Page.captureScreenshot', { format: 'png' })).data, 'base64');
    fs.writeFileSync(step.screenshot, picture);
    return [picture.readUInt32BE(16), picture.readUInt32BE(20)];
  }
  if ('pixels' in step) {
    const { data } = await call('Page.captureScreenshot', { format: 'png' });
    return perform({ evaluate: `(${countPixels})(${JSON.stringify(data)}, ${JSON.stringify(step.pixels)})` });
  }
  if ('size' in step) {
    const [width, height] = step.size;
    await call('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: false });
  } else if ('dark' in step) {
    await call('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: step.dark ? 'dark' : 'light' }] });
  } else if ('mouse' in step) {
    const { mouse: type, x, y, deltaY = 0, modifiers = 0 } = step;
    const button = type === 'mouseWheel' ? 'none' : step.button ?? 'left';
    await call('Input.dispatchMouseEvent', { type, x, y, deltaX: 0, deltaY, button, buttons: type === 'mouseReleased' ? 0 : Number(button === 'left'), clickCount: 1, modifiers });
  } else if ('wait' in step) {
    await pause(step.wait);
  } else {
    throw new Error(`no such step: ${JSON.stringify(step)}`);
  }
  // So that the page has drawn what the step leads to.
  await call('Runtime.evaluate', { expression: 'new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))', awaitPromise: true });
  return null;
}

let failed;
try {
  const { targetId } = await call('Target.createTarget', { url: 'about:blank' });
  session = (await call('Target.attachToTarget', { targetId, flatten: true })).sessionId;
  const complaints = [];
  const requests = [];
  listeners.push(({ method, params }) => {
    if (method === 'Runtime.exceptionThrown') complaints.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text);
    if (method === 'Runtime.consoleAPICalled' && ['warning', 'error', 'assert'].includes(params.type)) {
      complaints.push(params.args.map((argument) => argument.value ?? argument.description).join(' '));
    }
    if (method === 'Log.entryAdded') complaints.push(params.entry.text);
    if (method === 'Network.requestWillBeSent') requests.push(params.request.url);
  });
  await Promise.all(['Page.enable', 'Runtime.enable', 'Network.enable', 'Log.enable'].map((method) => call(method)));
  // Steps at the beginning that set up the window come before the page.
  const setup = steps.findIndex((step) => !('size' in step || 'dark' in step));
  const results = [];
  for (const step of steps.slice(0, setup)) results.push(await perform(step));
  const loaded = event('Page.loadEventFired');
  const { errorText } = await call('Page.navigate', { url });
  if (errorText) throw new Error(`${url}: ${errorText}`);
  await loaded;
  for (const step of steps.slice(setup)) results.push(await perform(step));
  process.stdout.write(JSON.stringify({ results, console: complaints, requests }));
} catch (error) {
  failed = error;
}
// With all the processes that it has started, which are of its group.
try {
  process.kill(-child.pid, 'SIGKILL');
} catch {
  // It has ended.
}
// Some of them may still be writing.
for (let tries = 0; tries < 20; tries++) {
  try {
    fs.rmSync(profile, { recursive: true, force: true });
    break;
  } catch {
    await pause(50);
  }
}
if (failed) {
  console.error(failed.stack);
  process.exit(1);
}
