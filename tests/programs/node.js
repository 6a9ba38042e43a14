// `serve` serves HTTP at port 3000; `call HOST` asks it in every way and prints what comes.
const http = require('http');

function serve() {
  const server = http.createServer(async (request, response) => {
    if (request.url === '/upper') {
      response.flushHeaders();
      for await (const chunk of request) response.write(`${chunk}`.toUpperCase());
      return response.end('.');
    }
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    if (request.url === '/trailers') {
      response.writeHead(200, { trailer: 'x-sum', 'transfer-encoding': 'chunked' });
      response.write('chunk one,');
      response.addTrailers({ 'x-sum': `${body.length} ${request.trailers['x-asked'] ?? 'none'}` });
      response.end('chunk two');
    } else if (request.url === '/hints') {
      response.writeEarlyHints({ link: '</style.css>; rel=preload; as=style' });
      response.end('hinted');
    } else if (request.url === '/events') {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      for (let event = 0; event < 3; event++) response.write(`data: ${event}\n\n`);
      response.write('data: last\n\n'); // and no end: the caller goes
    } else {
      response.writeHead(request.url === '/missing' ? 404 : 200, 'As Asked', {
        'x-method': request.method, 'set-cookie': ['a=1', 'b=2'],
      });
      response.end(body.length ? body : request.url);
    }
  });
  server.on('checkContinue', (request, response) => {
    if (request.headers['x-refuse']) return response.writeHead(417).end();
    response.writeContinue();
    server.emit('request', request, response);
  });
  server.listen(3000);
}

const agent = new http.Agent({ keepAlive: true, maxSockets: 8 });

function ask(host, path, options = {}, body) {
  return new Promise((resolve, reject) => {
    const request = http.request({ host, path, agent, port: 3000, ...options });
    const seen = [];
    request.on('continue', () => { seen.push('100'); request.end(body); });
    request.on('information', (information) => { if (information.statusCode !== 100) seen.push(information.statusCode, information.headers.link); });
    request.on('error', reject);
    request.on('response', async (response) => {
      const chunks = [];
      for await (const chunk of response) chunks.push(chunk);
      resolve({ seen, response, body: Buffer.concat(chunks) });
      if (options.headers?.expect) request.destroy();
    });
    if (options.trailers) { request.write(body); request.addTrailers(options.trailers); request.end(); }
    else if (options.headers?.expect) request.flushHeaders();
    else request.end(body);
  });
}

function firstEvents(host) {
  return new Promise((resolve, reject) => {
    http.get({ host, port: 3000, path: '/events' }, async (response) => {
      let text = '';
      response.setEncoding('utf8');
      for await (const chunk of response) { text += chunk; if (text.includes('last')) break; }
      resolve(text.split('\n\n').filter(Boolean));
    }).on('error', reject);
  });
}

// Each word is written after the answer to the one before.
function bothWays(host) {
  return new Promise((resolve, reject) => {
    const words = ['one', 'two', 'three'];
    const request = http.request({ host, port: 3000, path: '/upper', method: 'POST' }, async (response) => {
      const heard = [];
      request.write(words.shift());
      for await (const chunk of response) {
        heard.push(`${chunk}`);
        if (words.length) request.write(words.shift());
        else request.end();
      }
      resolve(heard);
    });
    request.on('error', reject);
    request.flushHeaders();
  });
}

async function call(host) {
  const plain = await ask(host, '/a%20path?query=%C3%BC');
  if (plain.response.statusCode === 403) { console.log(`refused: ${plain.body}`); process.exit(1); }
  console.log(plain.response.statusCode, plain.response.statusMessage, plain.response.headers['set-cookie'], `${plain.body}`);
  const missing = await ask(host, '/missing', { method: 'DELETE' });
  console.log(missing.response.statusCode, missing.response.headers['x-method']);
  const head = await ask(host, '/', { method: 'HEAD' });
  console.log('head:', head.response.statusCode, head.body.length);

  const large = Buffer.alloc(8 << 20, 'large ');
  const echoed = await ask(host, '/', { method: 'PUT' }, large);
  console.log('8 MiB there and back:', echoed.body.equals(large));
  const trailers = await ask(host, '/trailers', { method: 'POST', headers: { trailer: 'x-asked', 'transfer-encoding': 'chunked' }, trailers: { 'x-asked': 'yes' } }, 'abc');
  console.log('trailers:', trailers.response.trailers, `${trailers.body}`);
  const expects = await ask(host, '/', { method: 'POST', headers: { expect: '100-continue', 'content-length': 5 } }, 'after');
  console.log('continue:', expects.seen, `${expects.body}`);
  const refused = await ask(host, '/', { method: 'POST', headers: { expect: '100-continue', 'content-length': 5, 'x-refuse': 'yes' } }, 'never');
  console.log('no continue:', refused.seen, refused.response.statusCode);
  const hints = await ask(host, '/hints');
  console.log('early hints:', hints.seen, `${hints.body}`);
  console.log('both ways:', await bothWays(host));
  console.log('events:', await firstEvents(host));

  const many = await Promise.all(Array.from({ length: 200 }, (_, number) => ask(host, `/${number}`)));
  console.log('at once:', many.every(({ body }, number) => `${body}` === `/${number}`));
  agent.destroy();
}

if (process.argv[2] === 'serve') serve();
else call(process.argv[3]).catch((error) => { console.error(error); process.exit(1); });
