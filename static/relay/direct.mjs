// A hit while the page is built, without any script in the page.
import { createServer } from 'node:http';

const TRACKER = process.env.TRACKER ?? 'https://t.example.com/111111111111111';
const SECRET = process.env.TRACKER_SECRET ?? 'the secret of the track id in mapp.secrets';

export async function track(request, response, pageName, parameters = {}) {
  // The visitor, in a cookie of the site: 8 (made by a server), ten digits of seconds, eight at random.
  let [, visitor] = /(?:^|; ?)site_eid=(8\d{18})(?:;|$)/.exec(request.headers.cookie ?? '') ?? [];
  if (!visitor) {
    visitor = `8${Math.floor(Date.now() / 1000)}${String(Math.floor(Math.random() * 1e8)).padStart(8, '0')}`;
    response.setHeader('Set-Cookie', `site_eid=${visitor}; Max-Age=15552000; Path=/; HttpOnly; SameSite=Lax`);
  }
  const p = [300, pageName, 0, '', '', '', Date.now(), request.headers.referer ?? '0'];
  const query = {
    eid: visitor,
    'X-WT-IP': request.socket.remoteAddress,
    'X-WT-UA': request.headers['user-agent'] ?? '',
    'X-WT-RQ': `https://${request.headers.host}${request.url}`,
    ...parameters,
  };
  const pairs = Object.entries(query).map(([name, value]) => `${name}=${encodeURIComponent(value)}`);
  const url = `${TRACKER}/wt?p=${p.map(encodeURIComponent).join(',')}&${pairs.join('&')}`;
  try {
    const answer = await fetch(url, { headers: { 'X-WT-Secret': SECRET }, signal: AbortSignal.timeout(1000) });
    await answer.arrayBuffer();
  } catch (error) {
    // The page is more important than its hit.
    console.error('tracker:', error.message);
  }
}

createServer(async (request, response) => {
  await track(request, response, 'thank you', { ov: '49.90', cr: 'EUR', oi: 'A-1' });
  response.end('<!doctype html><title>Thank you</title>');
}).listen(process.env.PORT ?? 8081, '127.0.0.1');
