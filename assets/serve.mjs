// Serves a directory, and a trace as /trace.pftrace, on this machine only.
//
//     node serve.mjs DIRECTORY TRACE PORT

import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';

const [directory, trace, port] = process.argv.slice(2);
const types = {
  '.css': 'text/css', '.html': 'text/html', '.js': 'text/javascript', '.json': 'application/json', '.png': 'image/png',
  '.wasm': 'application/wasm', '.woff2': 'font/woff2',
};

http.createServer((request, response) => {
  const wanted = path.normalize(decodeURIComponent(request.url.split('?')[0]));
  const file = wanted === '/trace.pftrace' ? trace : path.join(directory, wanted === '/' ? 'index.html' : wanted);
  fs.readFile(file, (error, content) => {
    response.writeHead(error ? 404 : 200, { 'content-type': types[path.extname(file)] ?? 'application/octet-stream' });
    response.end(content);
  });
}).listen(Number(port), '127.0.0.1');
