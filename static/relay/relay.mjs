// The relay in Node (18 or newer), at https://www.example.com/relay/wt of your own site. In the page:
//   wtSmart.advanced.set({ sendViaServer: { activated: true, serverDomain: 'www.example.com', serverPath: 'relay/wt' } });
import { createServer } from 'node:http';

const TRACKER = process.env.TRACKER ?? 'https://t.example.com/111111111111111';
const SECRET = process.env.TRACKER_SECRET ?? 'the secret of the track id in mapp.secrets';
// Of the browser's cookies only the tracker's own pass.
const OWN = /^(wteid_[\d,]+|wtsid_[\d,]+|visitorId|broadlogId|deliveryId|webtrekkOptOut)=/;
const GIF = Buffer.from('R0lGODlhAQABAIAAAAAAAP///yH5BAAAAAAALAAAAAABAAEAAAICRAEAOw==', 'base64');

export async function relay(request, response) {
  const query = request.url.includes('?') ? request.url.slice(request.url.indexOf('?')) : '';
  const agent = request.headers['user-agent'] ?? '';
  const cookies = (request.headers.cookie ?? '').split(/; ?/).filter((cookie) => OWN.test(cookie));
  const headers = {
    'X-WT-Secret': SECRET,
    // Behind a proxy of your own: the address that it names.
    'X-WT-IP': request.socket.remoteAddress,
    'X-WT-UA': agent,
    'User-Agent': agent,
    Referer: request.headers.referer ?? '',
    Cookie: cookies.join('; '),
  };
  let gif = GIF;
  try {
    const options = { headers, redirect: 'manual', signal: AbortSignal.timeout(3000) };
    const answer = await fetch(`${TRACKER}/wt${query}`, options);
    gif = Buffer.from(await answer.arrayBuffer());
    response.setHeader('Set-Cookie', answer.headers.getSetCookie());
  } catch (error) {
    // The page does not mind a tracker that is away.
    console.error('tracker:', error.message);
  }
  response.setHeader('Content-Type', 'image/gif');
  response.setHeader('Cache-Control', 'private, no-cache, no-store');
  response.end(gif);
}

createServer(relay).listen(process.env.PORT ?? 8081, '127.0.0.1');
